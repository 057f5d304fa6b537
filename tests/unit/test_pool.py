"""Pools: every task once, whoever dies on the way."""

from __future__ import annotations

import importlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from polystill.environment import ray_pool
from polystill.environment.pool import LocalPool, Pool, ThisProcess
from polystill.environment.ray_pool import RayPool
from polystill.errors import UserError

# What workers run; a module of its own, for they are processes that import it.
WORK = """
import os, time
from pathlib import Path
from polystill.errors import UserError

def open_work(folder):
    return lambda lines: [work(Path(folder), line) for line in lines]

def work(folder, line):
    kind, _, text = line.partition(" ")
    if kind == "refuse":
        raise UserError(f"cannot translate {text}")
    if kind == "die":
        os._exit(3)
    if kind == "wait" and not (folder / text).exists():
        (folder / (text + ".new")).write_text(str(os.getpid()))
        (folder / (text + ".new")).rename(folder / text)
        time.sleep(60)
    return line.upper()
"""


@pytest.fixture
def open_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Any]]:
    (tmp_path / "pool_work.py").write_text(WORK)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    yield partial(importlib.import_module("pool_work").open_work, str(tmp_path))


def tasks(*first_lines: str) -> Iterator[tuple[int, list[str]]]:
    """Five shards of two lines; the first ones begin with the given lines."""
    for number in range(5):
        yield number, [first_lines[number] if number < len(first_lines) else f"a {number}", f"b {number}"]


def kill_when_it_waits(path: Path) -> threading.Thread:
    """Kill the worker that has written its id to `path`."""

    def kill() -> None:
        while not path.exists():
            time.sleep(0.01)
        os.kill(int(path.read_text()), signal.SIGKILL)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    return thread


EXPECTED = {number: [line.upper() for line in lines] for number, lines in tasks("wait x")}


def test_this_process(open_work: Callable[[], Any]) -> None:
    assert list(ThisProcess().run(open_work, tasks())) == [
        (number, [line.upper() for line in lines]) for number, lines in tasks()
    ]


def check_a_killed_workers_shard_is_done_again(
    pool: Pool, open_work: Callable[[], Any], folder: Path, said: Any
) -> None:
    killer = kill_when_it_waits(folder / "x")
    found = list(pool.run(open_work, tasks("wait x")))
    killer.join()
    assert len(found) == 5 and dict(found) == EXPECTED
    assert len(said) == 1 and said[0].startswith("shard 0: its worker died (")


def test_a_killed_workers_shard_is_done_again(open_work: Callable[[], Any], tmp_path: Path) -> None:
    said: list[str] = []
    check_a_killed_workers_shard_is_done_again(LocalPool(2, said.append), open_work, tmp_path, said)
    assert said == ["shard 0: its worker died (signal 9); it is done again"]


def test_a_shard_that_kills_every_worker(open_work: Callable[[], Any]) -> None:
    with pytest.raises(UserError, match=r"shard 1: 3 workers died while doing it \(exit status 3\); if memory ran out"):
        list(LocalPool(2, lambda line: None).run(open_work, tasks("a 0", "die")))


def test_a_users_mistake_in_a_worker(open_work: Callable[[], Any]) -> None:
    with pytest.raises(UserError, match="cannot translate this"):
        list(LocalPool(1, lambda line: None).run(open_work, tasks("refuse this")))


def test_nobody_is_left_behind(open_work: Callable[[], Any]) -> None:
    import multiprocessing

    results = LocalPool(2, lambda line: None).run(open_work, tasks())
    next(results)
    assert len(multiprocessing.active_children()) == 2
    results.close()  # type: ignore[attr-defined]
    assert not multiprocessing.active_children()


@pytest.mark.long
def test_a_killed_ray_workers_shard_is_done_again(open_work: Callable[[], Any], tmp_path: Path) -> None:
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    try:
        said: list[str] = []
        check_a_killed_workers_shard_is_done_again(RayPool(2, said.append), open_work, tmp_path, said)
        with pytest.raises(UserError, match="cannot translate this"):
            list(RayPool(1, said.append).run(open_work, tasks("refuse this")))
        with pytest.raises(UserError, match="a worker has 3 threads, but the largest node 2 CPUs; use --threads 2"):
            list(RayPool(1, said.append, threads=3).run(open_work, tasks()))
    finally:
        ray.shutdown()


@pytest.mark.long
def test_a_cluster_whose_only_node_is_gone_is_said_and_given_up(
    open_work: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    monkeypatch.setattr(ray_pool, "PATIENCE_S", 5)
    monkeypatch.setattr(ray_pool, "LIMIT_S", 20)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    node = cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
    said: list[str] = []
    try:
        results = RayPool(1, said.append).run(open_work, tasks())
        next(results)
        cluster.remove_node(node, allow_graceful=False)
        with pytest.raises(UserError, match=r"no node has had room for a worker .* goes on where this one ended"):
            list(results)
        assert any(line.endswith("; waiting for one") for line in said)
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_cluster_that_is_not_there_is_said_at_once(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    pytest.importorskip("ray")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"{scheme}127.0.0.1:{taken.getsockname()[1]}"
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(UserError, match=rf"ray: no cluster answers at {address} \(Connection refused\); correct RAY"):
        next(RayPool(1, lambda line: None).run(lambda: lambda lines: lines, iter([(0, ["a"])])))


def test_the_option_is_named_where_ray_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"--engine ray needs Ray: pip install .* '\.\[ray\]'"):
        next(RayPool(1, lambda line: None).run(lambda: lambda lines: lines, iter([(0, ["a"])])))
