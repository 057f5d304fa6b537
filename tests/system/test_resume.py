"""Killed with SIGKILL at any moment and run again, a training ends with the very same weights."""

from __future__ import annotations

import gc
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from polystill import pipeline
from polystill.config import load_recipe
from polystill.runs import Run
from polystill.targets.store import Candidate, Entry
from polystill.training.checkpoint import Checkpoints
from polystill.training.update import Update, Updated
from tests.apart import PROCESSES, start_command


def _train(folder: Path, recipe: Path, kind: str, moment: int, log: Path) -> None:
    """Train in this process, and kill it at a call of os.fsync (every checkpoint makes some) or after an update."""
    gc.freeze()  # or the garbage that each stage collects would be looked for in all of torch
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    calls = 0

    def count() -> None:
        nonlocal calls
        calls += 1
        if calls == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    fsync, update = os.fsync, Update.__call__

    def counted_fsync(fd: Any) -> None:
        count()
        fsync(fd)

    def counted_update(self: Update, *arguments: Any) -> Updated:
        result = update(self, *arguments)
        count()
        return result

    if kind == "fsync":
        os.fsync = counted_fsync
    elif kind == "update":
        Update.__call__ = counted_update  # type: ignore[method-assign, assignment]
    with Run.start(folder, load_recipe(recipe)) as run:
        pipeline.data_stage(run)
        pipeline.training_stage(run)
    os.fsync, Update.__call__ = fsync, update  # type: ignore[method-assign]


@pytest.fixture
def train(tmp_path: Path) -> Callable[..., int]:
    def run(folder: str, recipe: dict[str, Any], kind: str = "never", moment: int = 0, says: str = "") -> int:
        path, log = tmp_path / "recipe.yaml", tmp_path / "log"
        path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
        process = PROCESSES.Process(target=_train, args=(tmp_path / folder, path, kind, moment, log))
        process.start()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL), log.read_text()
        assert says in log.read_text()
        return process.exitcode

    return run


@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=pytest.mark.long)])
def test_weights_are_those_of_an_undisturbed_run(
    counting_recipe: dict[str, Any], train: Callable[..., int], make_targets: Any, tmp_path: Path, precision: str
) -> None:
    counting_recipe["training"]["precision"] = precision
    if precision == "fp32":  # the one with a mixture, the other with gold targets alone
        lines = [Entry([i], f"one {i % 10}", [], [Candidate(f"{i % 7} eins")]) for i in range(300)]
        make_targets(tmp_path / "news", lines, kind="text", size=300)
        counting_recipe["data"]["targets"] = {"news": str(tmp_path / "news")}
        counting_recipe["targets"] = {"gold": 0.3, "news": 1.5}
    counting_recipe["training"]["average_last"] = 2
    assert train("whole", counting_recipe) == 0
    killed = 0
    checkpoints = tmp_path / "killed" / "checkpoints"
    # Update 3: before the first checkpoint. 11, after the checkpoint of update 4: in stage 2 (stage 1 has 12 updates).
    # fsync 7: in the middle of writing the checkpoint of update 8. 4: between a validation point's weights and what
    # follows. 14: in the files that the stage's end writes, results.json among them.
    for kind, moment in (("update", 3), ("fsync", 7), ("update", 11), ("fsync", 4), ("fsync", 14)):
        killed += train("killed", counting_recipe, kind, moment) != 0
        unfinished = list(checkpoints.glob("*/.state-00000008.pt.tmp-*"))
        assert len(unfinished) == ((kind, moment) == ("fsync", 7))
    assert killed == 5
    assert train("killed", counting_recipe) == 0
    whole, again = (tmp_path / name / "family" / "model.safetensors" for name in ("whole", "killed"))
    assert whole.read_bytes() == again.read_bytes()
    assert not [path for path in (tmp_path / "killed").rglob("*") if ".tmp-" in path.name]


def test_a_truncated_checkpoint_is_passed_over(
    counting_recipe: dict[str, Any], train: Callable[..., int], tmp_path: Path
) -> None:
    assert train("whole", counting_recipe) == 0
    assert train("damaged", counting_recipe, "update", 11) != 0  # states of updates 4 and 8 are there
    newest = tmp_path / "damaged" / "checkpoints" / "distillation" / "state-00000008.pt"
    newest.write_bytes(newest.read_bytes()[:5000])
    assert train("damaged", counting_recipe, says=f"{newest}: this checkpoint is damaged, and is passed over") == 0
    whole, again = (tmp_path / name / "family" / "model.safetensors" for name in ("whole", "damaged"))
    assert whole.read_bytes() == again.read_bytes()


def test_pruning_goes_on_as_if_nothing_had_happened(
    counting_recipe: dict[str, Any], train: Callable[..., int], tmp_path: Path
) -> None:
    """Killed on the way to the full sparsity (update 7 of 9), and in the stage that holds it."""
    pruning = {"schedule": "gradual", "sparsity": 0.8, "updates": 9, "every": 2}
    counting_recipe["stages"][0]["pruning"] = pruning
    assert train("whole", counting_recipe) == 0
    assert train("killed", counting_recipe, "update", 7) != 0
    assert train("killed", counting_recipe, "update", 10) != 0  # of those after update 4: update 2 of stage 2
    assert train("killed", counting_recipe) == 0
    whole, again = (tmp_path / name / "family" / "model.safetensors" for name in ("whole", "killed"))
    assert whole.read_bytes() == again.read_bytes()


def test_a_training_that_is_stopped_saves_the_update_in_progress(
    counting_recipe: dict[str, Any], train: Callable[..., int], tmp_path: Path
) -> None:
    """Long before its next checkpoint; and it goes on as if nothing had happened."""
    counting_recipe["training"] |= {"checkpoint_every": 1000, "validate_every": 2}
    counting_recipe["stages"] = [{"name": "distillation", "updates": 60}]
    path, folder = tmp_path / "stopped.yaml", tmp_path / "stopped"
    path.write_text(yaml.safe_dump(counting_recipe), encoding="utf-8")
    saved = 0
    for number, status, update in ((signal.SIGINT, 130, 4), (signal.SIGTERM, 143, 12)):
        before, saved = saved, _stop_after(path, folder, update, number, status)
        assert (folder / "checkpoints" / "distillation" / f"state-{saved:08d}.pt").is_file()
        assert update <= saved < 60
    assert before < saved
    _note_more_memory(folder / "checkpoints" / "distillation", MUCH)
    assert train("stopped", counting_recipe, says=f"continues after update {saved} of 60") == 0
    assert train("whole", counting_recipe) == 0
    whole, again = (tmp_path / name / "family" / "model.safetensors" for name in ("whole", "stopped"))
    assert whole.read_bytes() == again.read_bytes()
    cost = Run.open(folder).results().to_json()["cost"]["training.distillation"]
    assert cost["peak_rss_bytes"] == MUCH, "the memory that it took before it was stopped"


MUCH = 2**50


def _note_more_memory(stage: Path, peak: int) -> None:
    checkpoints = Checkpoints(stage)
    state = checkpoints.load_state(pytest.fail)
    assert state is not None and 0 < state["stage"]["peak_rss_bytes"] < peak
    noted = state["stage"] | {"peak_rss_bytes": peak}
    checkpoints.save_state(noted["update"], state | {"stage": noted}, noted["best_update"])


def _stop_after(recipe: Path, folder: Path, update: int, number: int, status: int) -> int:
    """Train by the command and send it a signal after this update's validation; returns which update it saved."""
    log = folder.with_suffix(".log")
    process = start_command(["run", str(recipe), "--out", str(folder)], log)
    while not (log.is_file() and f"distillation {update}: validation" in log.read_text()):
        assert process.exitcode is None, log.read_text()
        time.sleep(0.005)
    assert process.pid is not None
    os.kill(process.pid, number)
    process.join()
    said = log.read_text()
    assert process.exitcode == status, said
    assert "stopping after this update" in said
    assert "stopped; the same command goes on from the last checkpoint" in said
    assert "Traceback" not in said
    (saved,) = re.findall(r"distillation (\d+): saved", said)
    return int(saved)
