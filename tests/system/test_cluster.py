"""A run on a Ray cluster of two nodes gives what torchrun gives, whoever dies on the way."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest
import yaml

from polystill.runs import Run
from tests.apart import start_command, start_ranks

PATIENCE = 900
"""Seconds; Ray takes long to start on a busy machine."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The address of a cluster of two nodes with a CPU each."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RAY_raylet_start_wait_time_s", str(PATIENCE))
        environment.setenv("RAY_worker_register_timeout_seconds", str(PATIENCE))
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        try:
            cluster.add_node(num_cpus=1)
            yield cluster.address
        finally:
            cluster.shutdown()


def start_on(address: str, recipe: dict[str, Any], folder: Path) -> ForkServerProcess:
    """Start a run of two workers in folder/run, with its output in folder/log."""
    arguments = [*_arguments(recipe, folder), "--engine", "ray", "--workers", "2"]
    return start_command(arguments, folder / "log", {"RAY_ADDRESS": address})


def _arguments(recipe: dict[str, Any], folder: Path) -> list[str]:
    folder.mkdir()
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return ["run", str(folder / "recipe.yaml"), "--out", str(folder / "run")]


def end_of(process: ForkServerProcess, log: Path, status: int = 0) -> str:
    """What the process has said when it has ended with this status."""
    process.join(PATIENCE)
    said = log.read_text()
    assert process.exitcode == status, said
    return said


def weights(folder: Path) -> bytes:
    return (folder / "run" / "family" / "model.safetensors").read_bytes()


def quality(folder: Path) -> dict[Any, dict[str, Any]]:
    """The rows of results by their keys, but for when and how fast they were measured."""
    rows = {row.key: asdict(row) for row in Run.open(folder / "run").results().rows}
    for row in rows.values():
        del row["words_per_second"], row["run_id"]
    return rows


@pytest.fixture(scope="module")
def by_torchrun(tmp_path_factory: pytest.TempPathFactory, counting_data: Path) -> tuple[dict[str, Any], Path]:
    """A recipe, and what two processes without Ray make of it."""
    from tests.conftest import recipe_on

    recipe = {**recipe_on(counting_data), "evaluation": {"beams": [1], "students": ["e1d1", "e2d1", "e2d2"]}}
    for stage in recipe["stages"]:
        stage["updates"] = 60
    folder = tmp_path_factory.mktemp("torchrun") / "both"
    arguments = _arguments(recipe, folder)
    for rank, process in enumerate(start_ranks([arguments] * 2, folder)):
        end_of(process, folder / f"{rank}.log")
    return recipe, folder


@pytest.mark.long
def test_a_cluster_gives_what_torchrun_gives(
    address: str, by_torchrun: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    recipe, undisturbed = by_torchrun
    folder = tmp_path / "ray"
    said = end_of(start_on(address, recipe, folder), folder / "log")
    assert weights(folder) == weights(undisturbed)
    assert quality(folder) == quality(undisturbed)
    assert len(quality(folder)) == 6
    run = Run.open(folder / "run")
    assert [*run.stages()] == ["data", "training.distillation", "training.mutual", "family", "evaluation"]
    cost = run.results().cost
    assert cost["training.mutual"].processes == 2
    assert all((cost[stage].cpu_seconds or 0) > 0 for stage in ("data", "training.distillation", "evaluation"))
    assert "distillation 60: validation nll" in said and "packed: " in said
    assert "Traceback" not in said and ":task_name:" not in said


@pytest.mark.long
def test_killed_workers_cost_what_they_did_since_the_last_checkpoint(
    address: str, by_torchrun: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    recipe, undisturbed = by_torchrun
    folder = tmp_path / "ray"
    process = start_on(address, recipe, folder)
    first = kill_a_rank(folder, process, "distillation 10: validation", set())
    kill_a_rank(folder, process, "mutual 10: validation", first, other=True)
    said = end_of(process, folder / "log")
    died = r"training: ranks? [01, ]+ died; all ranks go on from the last checkpoint"  # a rank may take its peer along
    assert len(re.findall(died, said)) == 2
    for stage in ("distillation", "mutual"):
        (update,) = re.findall(rf"{stage}: continues after update (\d+) of 60", said)
        assert 8 <= int(update) < 60
    assert weights(folder) == weights(undisturbed)
    assert quality(folder) == quality(undisturbed)
    assert not [path for path in (folder / "run").rglob("*") if ".tmp-" in path.name]
    assert ":task_name:" not in said


def kill_a_rank(
    folder: Path, process: ForkServerProcess, says: str, before: set[Path], *, other: bool = False
) -> set[Path]:
    """Kill the first rank as soon as it says this, or the other one; returns the logs of all workers so far."""
    logs, begin = folder / "run" / "logs" / "ray", time.monotonic()
    while not (found := [path for path in {*logs.glob("*.log")} - before if says in path.read_text()]):
        assert process.exitcode is None and time.monotonic() - begin < PATIENCE, (folder / "log").read_text()
        time.sleep(0.005)
    rank = found[0]
    if other:
        (rank,) = [path for path in {*logs.glob("*.log")} - before if path != rank]
    os.kill(int(rank.stem.rpartition("-")[2]), signal.SIGKILL)
    return {*logs.glob("*.log")}


@pytest.mark.long
def test_a_users_mistake_is_said_once(address: str, by_torchrun: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    recipe, _ = by_torchrun
    folder = tmp_path / "ray"
    training = {**recipe["training"], "learning_rate": 1e30, "warmup": 0}
    said = end_of(start_on(address, {**recipe, "training": training}, folder), folder / "log", 2)
    assert said.count("error: stage distillation, update") == 1
    assert "all ranks go on" not in said and "Traceback" not in said


@pytest.mark.long
def test_one_worker_on_a_cluster_of_its_own(counting_recipe: dict[str, Any], tmp_path: Path) -> None:
    """By a command that starts Ray for itself, it is what a run without Ray is."""
    pytest.importorskip("ray")
    recipe = {**counting_recipe, "evaluation": {"beams": [1], "students": ["e1d1"]}}
    alone, folder = tmp_path / "alone", tmp_path / "ray"
    end_of(start_command(_arguments(recipe, alone), alone / "log"), alone / "log")
    arguments = [*_arguments(recipe, folder), "--engine", "ray"]
    end_of(start_command(arguments, folder / "log", {"RAY_ADDRESS": "local"}), folder / "log")
    assert weights(folder) == weights(alone)
    assert quality(folder) == quality(alone)


def test_workers_are_rays(polystill: Any, tmp_path: Path) -> None:
    command = ["run", tmp_path / "recipe.yaml", "--out", tmp_path / "run", "--workers", "2"]
    polystill(*command).refused("--workers 2: needs --engine ray", "torchrun")
