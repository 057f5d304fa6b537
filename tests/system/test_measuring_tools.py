"""The tools that measure time, on tiny models."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from ctypes.util import find_library
from pathlib import Path

import pytest

pytestmark = pytest.mark.long  # they time steps in processes of their own

TOOLS = Path(__file__).parents[2] / "tools"
Tool = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def tool(tiny_recipe: Path) -> Tool:
    def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, TOOLS / name, tiny_recipe, "--rounds", "1", "--batches", "1", *arguments]
        return subprocess.run(command, capture_output=True, text=True)

    return run


def test_one_by_one_times_every_student_and_every_stage(tool: Tool, tmp_path: Path) -> None:
    out = tmp_path / "one.json"
    done = tool("measure_one_by_one.py", "--json", str(out))
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    seconds = {name: own["median"] for name, own in result["seconds_an_update"].items()}
    families = {f"family, {stage}": updates for stage, updates in result["updates"].items()}
    apart = sum(own for name, own in seconds.items() if name not in families) * sum(families.values())
    together = sum(seconds[name] * updates for name, updates in families.items())
    assert result["one_by_one_to_family"]["median"] == pytest.approx(apart / together)
    assert len(seconds) > len(families) + 1 and all(name in done.stdout for name in seconds)
    narrow = ("--set", "supernets={tiny: {encoder_layers: 2, decoder_layers: 1, d_model: 8, ffn_dim: 16, heads: 2}}")
    some = tool("measure_one_by_one.py", *narrow, "--student", "e1d1,tiny-e2d1")
    assert some.returncode == 0, some.stderr
    names = [line.split()[0] for line in some.stdout.splitlines()]
    assert {"e1d1", "tiny-e2d1"} < set(names) and "tiny-e1d1" not in names
    again = tool("measure_one_by_one.py", "--json", str(out))
    assert again.returncode == 2 and "exists already" in again.stderr


def test_time_to_quality_is_read_from_a_curve(tiny_recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "curve.json"
    stages = "stages=[{name: shallow, updates: 4, networks: smallest}, {name: all, updates: 6}]"
    options = ["--set", stages, "--every", "2", "--below", "9", "0.1", "--json", out]
    command = [sys.executable, TOOLS / "time_to_quality.py", tiny_recipe, *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    seconds = [point[0] for point in result["points"]]
    assert len(seconds) == 5 and seconds == sorted(seconds)
    assert 0 < result["seconds"]["9.0"] <= seconds[-1] and result["seconds"]["0.1"] is None
    assert "0.1 nats: not reached" in done.stdout


def test_generation_is_timed_beside_a_bare_loop(counting_ctranslate2: Path, tmp_path: Path) -> None:
    text, out = tmp_path / "text", tmp_path / "figures.json"
    text.write_text("one two\n\nthree\none two\nfour five six\n")
    command = [
        sys.executable,
        TOOLS / "measure_generation.py",
        counting_ctranslate2,
        text,
        "--rounds",
        "1",
        "--json",
        out,
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    assert result["lines"] == 3
    assert 0 < result["share_of_bare"][0] < 1
    assert "generate / bare: 0.0" in done.stdout


def test_malloc_is_timed_in_processes_of_their_own(tool: Tool) -> None:
    done = tool("measure_start.py", "--batches", "4")
    assert done.returncode == 0, done.stderr
    found = dict(re.findall(r"^(\w+) +\d+ \(.*\) target tokens/s, ([\d.]+) .* \d+ MiB$", done.stdout, re.M))
    assert found.pop("system") == "1.00"
    assert all(map(find_library, found))


def test_waiting_is_timed_beside_other_processes(tool: Tool) -> None:
    done = tool("measure_start.py", "--batches", "4", "--spins", "10,2000", "--beside", "1")
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^(.+?) +\d+ \(.*\) target tokens/s, ([\d.]+) ", done.stdout, re.M)[0] == ("OpenMP's", "1.00")
    assert re.findall(r"^(\d+) spins ", done.stdout, re.M) == ["10", "2000"]


def test_compile_is_timed_beside_the_step_as_it_is(tool: Tool) -> None:
    done = tool("measure_compile.py")
    assert done.returncode == 0, done.stderr
    ratios = re.findall(r"([\d.]+) \(.*\) times as fast", done.stdout)
    assert len(ratios) == 3 and float(ratios[0]) == 1
