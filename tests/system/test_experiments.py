"""python -m experiments, as a user goes: both studies to their ends, stopped in the middle of a row, and bad input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
import yaml

from experiments.__main__ import app
from polystill import cli

from .conftest import TINY_RECIPE, Done, run_here

ROOT = Path(__file__).parents[2]
LSTM = {"architecture": "lstm", "encoder_layers": 1, "decoder_layers": 1, "d_model": 16, "max_positions": 64}


@pytest.fixture
def kim_rush(tmp_path: Path) -> Path:
    """A Transformer teaches an LSTM."""
    tiny = yaml.safe_load(TINY_RECIPE)
    tiny["data"]["cleaning"] = {"enabled": False}  # an untrained teacher's words pass
    values = {
        **{"name": "tiny", "data": tiny["data"], "training": {**tiny["training"], "precision": "fp32"}},
        "teacher": {"model": tiny["model"], "stages": [{"name": "teacher", "updates": 400}]},
        "student": {"model": LSTM, "stages": [{"name": "student", "updates": 8}]},
        "rows": ["teacher", "baseline", "seq-kd+word-kd", "seq-kd+seq-inter"],
        "generate": {"beam": 2, "n_best": 2},
        "tuning": {"updates": 4},
        "pruning": {"sparsities": [0.5], "stages": [{"name": "retrain", "updates": 4}]},
        "families": {"family-beam": {"targets": {"beam": 1.0}}},
        "family": {"model": tiny["model"], "students": tiny["students"], "stages": [{"name": "all", "updates": 8}]},
        "speed": {"rows": ["baseline"], "sentences": 2, "rounds": 1},
    }
    path = tmp_path / "kim-rush.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    """In a process group of its own, with the repository's experiments and package."""
    command = [sys.executable, "-m", "experiments", *map(str, arguments)]
    paths = [str(ROOT), str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, text=True, env=environment, process_group=0, stdout=pipe, stderr=pipe)


def experiments(*arguments: str | Path) -> Done:
    process = start(*arguments)
    out, errors = process.communicate(timeout=900)
    return Done(process.returncode, out, errors)


def refused(*arguments: str | Path) -> Done:
    """In this process, which saves the imports; nothing runs."""
    main = partial(cli.main, command=app, name="python -m experiments")
    return run_here([str(argument) for argument in arguments], main=main)


def wait_for(path: Path, pattern: str) -> None:
    end = time.monotonic() + 300
    while not list(path.glob(pattern)):
        assert time.monotonic() < end, f"{path / pattern} did not appear"
        time.sleep(0.05)


@pytest.mark.long
@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=["killed", "terminated", "Ctrl-C"]
)
def test_kim_rush_goes_on_where_it_was_stopped(kim_rush: Path, tmp_path: Path, number: signal.Signals) -> None:
    out = tmp_path / "study"
    stopped = start("kim-rush", "--recipe", kim_rush, "--out", out, "--rows", "teacher,baseline", "--parallel", "2")
    wait_for(out / "runs" / "teacher" / "checkpoints", "*/state-*.pt")
    rows = psutil.Process(stopped.pid).children(recursive=True)  # make, and what it runs
    if number == signal.SIGINT:  # a terminal sends it to all of its foreground
        os.killpg(stopped.pid, number)
    else:
        stopped.send_signal(number)
    _, said = stopped.communicate(timeout=120)
    assert stopped.returncode == {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[number]
    assert ("the same command goes on from the rows that are not finished" in said) == (number != signal.SIGKILL)
    _, alive = psutil.wait_procs(rows, timeout=60)
    assert not alive  # no row trains on alone
    assert "stopping after this update" in (out / "logs" / "teacher.log").read_text()
    assert ": saved" in (out / "logs" / "teacher.log").read_text()
    identity = json.loads((out / "runs" / "teacher" / "state.json").read_text())["run_id"]
    assert "evaluation" not in json.loads((out / "runs" / "teacher" / "state.json").read_text())["stages"]

    again = start("kim-rush", "--recipe", kim_rush, "--out", out, "--rows", "teacher,baseline", "--parallel", "2")
    _, said = again.communicate(timeout=600)
    assert again.returncode == 0, said
    assert json.loads((out / "runs" / "teacher" / "state.json").read_text())["run_id"] == identity
    assert "continues after update" in (out / "logs" / "teacher.log").read_text()


@pytest.mark.long
def test_kim_rush_to_its_end(kim_rush: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    few = ["kim-rush", "--recipe", kim_rush, "--out", out, "--set", "teacher.stages.0.updates=8"]
    done = experiments(*few, "--rows", "baseline").ok()
    assert "not measured" in done.stdout
    state = (out / "runs" / "baseline" / "state.json").read_bytes()
    done = experiments(*few, "--parallel", "2").ok()
    assert "13 rows, 1 of them finished" in done.stderr
    assert (out / "runs" / "baseline" / "state.json").read_bytes() == state  # it was not touched again
    result = json.loads((out / "results.json").read_text())
    rows = {"teacher", "baseline", "seq-kd", "seq-kd+word-kd", "seq-kd+seq-inter", "pruned-50", "family-beam"}
    assert {row["row"] for row in result["rows"]} == rows
    undecided = [claim["verdict"] for claim in result["claims"] if "holds" not in claim]
    assert all(verdict.startswith("not clear") for verdict in undecided)
    whole, pruned = result["pruning"]
    assert pruned["bytes"]["int8"] < pruned["bytes"]["float32"] < pruned["bytes"]["dense"] == whole["bytes"]["dense"]
    assert {row["engine"] for row in result["speed"]["rows"]} == {"torch"}
    vocabularies = {(out / "runs" / row / "data/tokenizer/source.spm").read_bytes() for row in rows}
    assert len(vocabularies) == 1

    done = experiments(*few, "--rows", "baseline", "--seed", "5").ok()
    assert (out / "runs" / "baseline-seed5").is_dir()
    experiments(*few, "--rows", "baseline").ok()
    assert "| baseline-seed5 |" in (out / "results.md").read_text()

    # On another machine all rows are finished, targets and sparse forms among them, and the tables are the same.
    experiments("keep", out, "--out", tmp_path / "rows.tar.xz").ok()
    there = [*few[:4], tmp_path / "there", *few[5:], "--rows-from", tmp_path / "rows.tar.xz"]
    assert "14 rows, 14 of them finished" in experiments(*there).ok().stderr
    same = [json.loads((folder / "results.json").read_text()) for folder in (out, tmp_path / "there")]
    for key in ("claims", "comparisons", "pruning", "speed", "rows", "cost"):
        assert same[0][key] == same[1][key], key
    changed = experiments(*few, "--set", "student.stages.0.updates=9", "--rows", "baseline")
    changed.refused(out, "baseline was begun with other settings", "stages.0.updates: was 8, now 9")


@pytest.mark.long
def test_aio_kd_to_its_end(tmp_path: Path) -> None:
    tiny = yaml.safe_load(TINY_RECIPE)
    values = {
        **{key: tiny[key] for key in ("name", "data", "model", "students", "stages")},
        "training": {**tiny["training"], "precision": "fp32"},
        "evaluation": {"beams": [1, 5]},
        "alone": {"students": ["e1d1", "e2d2"]},
        "strategies": ["no-detaching"],
        "pretrained": {"stages": [{"name": "few", "updates": 4, "select_by": "bleu"}]},
    }
    path, out = tmp_path / "aio-kd.yaml", tmp_path / "study"
    path.write_text(yaml.safe_dump(values))
    experiments("aio-kd", "--recipe", path, "--out", out, "--parallel", "2").ok()
    result = json.loads((out / "results.json").read_text())
    assert not {claim["verdict"] for claim in result["claims"]} & {"not measured", "not tested yet"}
    assert [family["row"] for family in result["families"]] == ["family", "no-detaching", "pretrained", "from-scratch"]
    assert set(result["interaction"]["family"]) == {"distillation", "mutual"}
    assert set(result["cost_of_ways"]) == set(result["cost_of_all"]) == {"family", "alone", "word-kd"}
    assert (out / "pretrained" / "model.safetensors").is_file()
    assert (out / "comparisons.svg").read_text().startswith("<svg") and (out / "translations.jsonl.xz").is_file()


def test_bad_input(kim_rush: Path, tiny_recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    study = ["kim-rush", "--out", out, "--recipe"]
    refused(*study, tmp_path / "none.yaml").refused("none.yaml", "no such recipe")
    refused(*study, tiny_recipe).refused(tiny_recipe, "unknown key 'model'", "teacher")
    refused(*study, kim_rush, "--rows", "seq").refused("--rows seq", "no such row", "there are: teacher beam")
    refused(*study, kim_rush, "--seed", "2").refused("--seed 2", "--rows")
    wrong = ["--set", "student.model.d_model=0"]
    refused(*study, kim_rush, *wrong).refused(kim_rush, "row baseline: model.d_model: ", "(got 0)")
    refused("aio-kd", "--out", out, "--recipe", kim_rush).refused(
        f"{kim_rush}: is a recipe of `python -m experiments kim-rush`"
    )
    refused(*study, kim_rush, "--rows", ",").refused("--rows ,: expected names")
    refused(*study, kim_rush, "--rows-from", tmp_path / "none.tar.xz").refused("none.tar.xz: no such file")
    refused("keep", tmp_path, "--out", tmp_path / "a.tar.xz").refused(f"{tmp_path}: holds no study")
    assert not out.exists()
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").write_text("dear")
    refused("kim-rush", "--recipe", kim_rush, "--out", tmp_path / "letters").refused("holds a.txt")
