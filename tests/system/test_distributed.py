"""Two processes on one global batch give the losses of one process: students, detaching and scaling are global."""

from __future__ import annotations

import copy
import os
import shutil
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from polystill.runs import Run
from tests.apart import call, free_port, start_command, start_ranks


def _run(recipe: dict[str, Any], folder: Path, processes: int) -> dict[str, Any]:
    folder.mkdir()
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    arguments = ["run", str(path), "--out", str(folder / "run")]
    if processes > 1:
        ranks = start_ranks([arguments] * processes, folder)
    else:
        ranks = [start_command(arguments, folder / "0.log")]
    for rank, process in enumerate(ranks):
        process.join(300)
        assert process.exitcode == 0, (folder / f"{rank}.log").read_text()
    run = Run.open(folder / "run")
    return {stage.name: run.record(f"training.{stage.name}") for stage in run.recipe.stages}


def test_two_processes_equal_one_without_dropout(counting_recipe: dict[str, Any], tmp_path: Path) -> None:
    counting_recipe["model"]["dropout"] = 0.0
    shape = {"encoder_layers": 2, "decoder_layers": 1, "d_model": 8, "ffn_dim": 16, "heads": 2, "dropout": 0.0}
    counting_recipe["supernets"] = {"tiny": shape}
    counting_recipe["objective"] = {"detach_threshold": 1.002}
    counting_recipe["stages"].insert(0, {"name": "shallow", "updates": 4, "networks": "smallest"})
    counting_recipe["stages"][-1]["select_by"] = "bleu"  # the ranks share the students
    counting_recipe["evaluation"] = {"beams": [1], "students": ["e1d1"]}
    one = _run(copy.deepcopy(counting_recipe), tmp_path / "one", 1)
    two = _run(copy.deepcopy(counting_recipe), tmp_path / "two", 2)
    for stage, record in one.items():
        for point, other in zip(record["history"], two[stage]["history"], strict=True):
            assert point["nll"] == pytest.approx(other["nll"], rel=2e-4), (stage, point["update"])
            assert point.get("bleu") == pytest.approx(other.get("bleu"), abs=0.5), (stage, point["update"])
    losses = [_training_losses(tmp_path / name / "run" / "logs" / "distillation") for name in ("one", "two")]
    assert losses[0]["train/loss"] == pytest.approx(losses[1]["train/loss"], rel=2e-4)
    ratios = [value for name, values in losses[0].items() if name.startswith("ce_ratio/") for value in values]
    assert min(ratios) < 1.002 < max(ratios)


def test_ranks_that_see_other_checkpoints_are_told(counting_recipe: dict[str, Any], tmp_path: Path) -> None:
    """Folders of one path that two nodes do not share, or whose changes one of them sees too late."""
    counting_recipe["stages"] = [{"name": "distillation", "updates": 2000}]
    path, folder, other = tmp_path / "recipe.yaml", tmp_path / "run", tmp_path / "other"
    path.write_text(yaml.safe_dump(counting_recipe), encoding="utf-8")
    alone = start_command(["run", str(path), "--out", str(folder)], tmp_path / "log")
    saved = folder / "checkpoints" / "distillation"
    while len([*saved.glob("state-*.pt")]) < 2:
        assert alone.exitcode is None, (tmp_path / "log").read_text()
        time.sleep(0.005)
    assert alone.pid is not None
    os.kill(alone.pid, signal.SIGKILL)
    alone.join()
    shutil.copytree(folder, other)
    max((other / "checkpoints" / "distillation").glob("state-*.pt")).unlink()
    ranks = start_ranks([["run", str(path), "--out", str(each)] for each in (folder, other)], tmp_path)
    for rank, process in enumerate(ranks):
        process.join(300)
        said = (tmp_path / f"{rank}.log").read_text()
        assert process.exitcode == 2, said
        assert "not all ranks see the same checkpoints in" in said and f"rank {rank} sees that of update" in said


def test_the_first_ranks_processor_decides_the_precision(
    counting_recipe: dict[str, Any], prepared_run: Callable[..., Run]
) -> None:
    counting_recipe["training"]["precision"] = "auto"
    folder, port = prepared_run(counting_recipe).folder, free_port()
    with ThreadPoolExecutor(2) as threads:
        ranks = [threads.submit(call, _precision, folder, port, *rank) for rank in ((1, "bf16"), (0, "fp32"))]
        assert [rank.result() for rank in ranks] == ["fp32", "fp32"]


def _precision(folder: Path, port: int, rank: int, best: str) -> str:
    """The precision that a rank trains with where this one is best for its processor."""
    from polystill.training import session

    def best_precision() -> str:
        time.sleep(2 * (rank == 0))  # the other rank comes first
        return best

    vars(session)["best_precision"] = best_precision
    several = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}
    os.environ.update(several, RANK=str(rank), LOCAL_RANK=str(rank))
    return session.Session(Run.open(folder)).precision


def _training_losses(logs: Path) -> dict[str, list[float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(logs))
    events.Reload()
    return {tag: [event.value for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
