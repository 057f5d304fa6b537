"""generate → select → a recipe with targets → evaluation, as a user goes; killed on the way, and with bad input."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from polystill.targets.store import Entry, TargetSet


def entries(folder: Path) -> list[Entry]:
    return sorted(TargetSet.open(folder).entries(), key=lambda entry: entry.ids)


@pytest.fixture
def loose_recipe(tiny_recipe: Path) -> Path:
    """The tiny recipe, its cleaning so lax that an untrained teacher's words pass."""
    recipe = yaml.safe_load(tiny_recipe.read_text())
    recipe["data"]["cleaning"] = {"enabled": False}
    tiny_recipe.write_text(yaml.safe_dump(recipe))
    return tiny_recipe


def test_the_whole_way(polystill: Any, finished_run: Path, loose_recipe: Path, tmp_path: Path) -> None:
    n_best, chosen = tmp_path / "n-best", tmp_path / "interpolated"
    said = polystill(
        "generate", finished_run, "--run", loose_recipe, "--beam", "3", "--n-best", "3", "--out", n_best
    ).ok()
    assert "400 sentences, 400 different ones" in said.stderr
    assert "left out: " in said.stderr
    polystill("select", n_best, "--by", "chrf", "--share", "0.5", "--out", chosen).ok()
    assert len(entries(chosen)) <= 200

    recipe = yaml.safe_load(loose_recipe.read_text())
    recipe["data"]["targets"] = {"beam": str(n_best), "interpolated": str(chosen)}
    recipe["targets"] = {"gold": 1.0, "beam": 0.5}
    recipe["stages"] = [
        {"name": "first", "updates": 4},
        {
            "name": "tuning",
            "updates": 4,
            "targets": {"interpolated": 1.0},
            "schedule": "constant",
            "warmup": 0,
            "learning_rate": 5e-4,
            "select_by": "bleu",
        },
    ]
    loose_recipe.write_text(yaml.safe_dump(recipe))
    run = tmp_path / "run"
    polystill("run", loose_recipe, "--out", run).ok()
    state = json.loads((run / "state.json").read_text())["stages"]
    pairs = sum(len(entry.hypotheses) for entry in entries(n_best))
    packed = state["data"]["targets"]
    assert packed["beam"]["pairs"] + packed["beam"]["too_many_tokens"] == pairs
    assert set(state["training.tuning"]["validation"]["bleu"]) == {"e1d1", "e2d1", "e2d2"}
    label = "gold+0.5xbeam,interpolated"
    assert json.loads((run / "family/family.json").read_text())["targets"] == label
    rows = json.loads((run / "results.json").read_text())["rows"]
    assert {row["targets"] for row in rows} == {label}
    assert {row["model_id"] for row in rows} == {f"aio_kd-{label}-{name}" for name in ("e1d1", "e2d1", "e2d2")}
    polystill("export", run, "e1d1", "--to", "hf", "--out", tmp_path / "model").ok()
    assert f"targets: {label}" in (tmp_path / "model/README.md").read_text()

    recipe["data"]["train"][0]["pairs"] = 399
    loose_recipe.write_text(yaml.safe_dump(recipe))
    other = tmp_path / "other"
    done = polystill("run", loose_recipe, "--out", other)
    done.refused("data.targets.beam", "does not line up with the training text", "400", "399")
    assert not (other / "checkpoints").exists() and not (other / "data").exists()


# --- killed -------------------------------------------------------------------------------------------------------


def generation(teacher: Path, recipe: Path, out: Path) -> list[str | Path]:
    """In torch, which takes its time."""
    search = ["--engine", "torch", "--beam", "3", "--n-best", "2", "--shard-size", "25", "--threads", "1"]
    return ["generate", teacher, "--run", recipe, "--out", out, *search]


def wait_for_shards(folder: Path, count: int) -> None:
    deadline = time.monotonic() + 240
    while len(list(folder.glob("shards/*.parquet"))) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_killed_worker_and_a_killed_command_lose_and_double_nothing(
    polystill: Any, finished_run: Path, loose_recipe: Path, tmp_path: Path
) -> None:
    arguments = [*generation(finished_run, loose_recipe, tmp_path / "killed"), "--workers", "2"]
    command = [sys.executable, "-m", "polystill", *map(str, arguments)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"})
    wait_for_shards(tmp_path / "killed", 2)
    workers = [child for child in psutil.Process(process.pid).children() if "spawn_main" in " ".join(child.cmdline())]
    workers[0].send_signal(signal.SIGKILL)
    wait_for_shards(tmp_path / "killed", 5)
    process.kill()
    _, said = process.communicate(timeout=60)
    assert b"its worker died (signal 9); it is done again" in said
    done = {
        path: path.stat().st_mtime_ns for path in (tmp_path / "killed/shards").iterdir() if path.suffix == ".parquet"
    }
    assert 5 <= len(done) < 16
    polystill(*generation(finished_run, loose_recipe, tmp_path / "killed")).ok()
    assert {path: path.stat().st_mtime_ns for path in done} == done
    polystill(*generation(finished_run, loose_recipe, tmp_path / "undisturbed")).ok()
    found = entries(tmp_path / "killed")
    assert [entry.ids for entry in found] == [[i] for i in range(400)]
    assert found == entries(tmp_path / "undisturbed")


@pytest.mark.long
def test_ray_gives_what_local_processes_give(
    polystill: Any, finished_run: Path, loose_recipe: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    sizes = ["--shard-size", "150", "--workers", "2", "--threads", "1"]
    command = ["generate", finished_run, "--run", loose_recipe, *sizes]
    polystill(*command, "--out", tmp_path / "local").ok()
    polystill(*command, "--engine", "ray", "--out", tmp_path / "ray", before=time.monotonic).ok()
    assert len(list((tmp_path / "ray").glob("shards/*.parquet"))) == 3
    assert entries(tmp_path / "ray") == entries(tmp_path / "local")


@pytest.mark.parametrize("size", [16_384, 65_536])
def test_no_space_left(polystill: Any, tmp_path: Path, mounting: Any, size: int) -> None:
    """On the smaller disk for the text, on the larger one for its translations."""
    lines = [f"{number:x}" for number in range(40_000, 44_000)]
    (tmp_path / "text").write_text("".join(f"{line}\n" for line in lines))
    (tmp_path / "done.tsv").write_text("".join(f"{line}\t{line[::-1]} {hash(line)}\n" for line in lines))
    (tmp_path / "out").mkdir()
    command = ["generate", tmp_path / "done.tsv", "--source", tmp_path / "text", "--out", tmp_path / "out"]
    polystill(*command, before=mounting(tmp_path / "out", size)).refused(tmp_path / "out", "no space left")


# --- bad input ----------------------------------------------------------------------------------------------------


def test_bad_input(polystill: Any, finished_run: Path, tiny_recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    polystill("generate", finished_run, "--out", out).refused("give one of --run")
    polystill("generate", tmp_path, "--run", tiny_recipe, "--out", out).refused("no model here", "recipe.yaml")
    polystill("generate", finished_run, "--run", tiny_recipe, "--beam", "2", "--n-best", "3", "--out", out).refused(
        "3 translations", "a beam of 2", "3 at least"
    )
    polystill("generate", finished_run, "--run", tiny_recipe, "--precision", "int3", "--out", out).refused("int3")
    polystill("select", tmp_path, "--out", out).refused("no generated targets here")
    both = ["--engine", "torch", "--engine", "ctranslate2"]
    polystill("generate", finished_run, "--run", tiny_recipe, *both, "--out", out).refused("one engine")
    for key, value, words in (
        ("data.targets.beam", tmp_path / "nothing", ["data.targets.beam", "no such folder"]),
        ("data.targets.gold", tmp_path, ["data.targets", "'gold' is the name of the corpus' own targets"]),
        ("targets.beem", 1, ["'beem' is not in data.targets", "gold"]),
        ("targets.gold", 0, ["targets.gold", "greater than 0"]),
    ):
        polystill("run", tiny_recipe, "--out", tmp_path / "run", "--set", f"{key}={value}").refused(*words)
    assert not (tmp_path / "run").exists()


def test_an_ensemble_of_two_vocabularies(polystill: Any, finished_run: Path, tiny_recipe: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(finished_run / "family", other)
    vocabulary = json.loads((other / "vocab.json").read_text())
    first, second = list(vocabulary)[5:7]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    (other / "vocab.json").write_text(json.dumps(vocabulary))
    done = polystill("generate", finished_run, other, "--run", tiny_recipe, "--out", tmp_path / "out")
    done.refused(other, "its vocabulary is not that of", "piece 5")
    assert not list((tmp_path / "out").glob("shards/*"))
