"""What fits on a cluster, and what a worker needs, as far as no cluster is needed to tell."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polystill import cluster
from polystill.cluster import Place, Share, _rank
from polystill.environment.pool import Wording
from polystill.environment.ray_pool import Node, RayPool, nodes_of
from polystill.errors import UserError
from polystill.runs import Run


def nodes(*cpus: int) -> list[Node]:
    return [Node(each) for each in cpus]


@pytest.mark.parametrize(
    ("cpus", "workers", "threads"),
    [([8], 1, 8), ([8], 3, 2), ([8, 4], 2, 4), ([8, 4], 3, 4), ([8, 4], 4, 2), ([1, 1], 2, 1), ([0, 16], 2, 8)],
)
def test_workers_share_all_cpus_of_nodes(cpus: list[int], workers: int, threads: int) -> None:
    assert Share.of(nodes(*cpus), workers, 0) == Share(workers, threads, 0)


def test_a_recipes_threads_and_gpus() -> None:
    assert Share.of([Node(8, 2), Node(8, 2)], 4, 2) == Share(4, 2, 1)


def test_nodes_without_gpus_have_no_room_where_there_are_gpus() -> None:
    head = Node(64)
    assert Share.of([head, Node(8, 8)], 8, 0) == Share(8, 1, 1)
    assert Share.of([head, Node(8, 1), Node(8, 8)], 3, 0) == Share(3, 4, 1)
    with pytest.raises(
        UserError, match=r"8: .* workers with 2 CPUs and a GPU each \(its nodes have 64 and 0 GPUs, 8 and 8 GPU"
    ):
        Share.of([head, Node(8, 8)], 8, 2)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"--workers 3: the cluster has no room for 3 workers with 4 CPUs each .* have 8, 2\)"
    ):
        Share.of(nodes(8, 2), 3, 4)
    with pytest.raises(
        UserError, match=r"--workers 3: .* 3 workers with 1 CPUs each .* have 1, 1\); .* or use fewer workers"
    ):
        Share.of(nodes(1, 1), 3, 0)
    with pytest.raises(
        UserError, match=r"--workers 1: .* 1 workers with 1 CPUs each \(its nodes have 0\); start more nodes"
    ):
        Share.of(nodes(0), 1, 0)
    with pytest.raises(UserError, match=r"--workers 3: the cluster has 2 GPUs; use --workers 2 or fewer"):
        Share.of([Node(8, 2), Node(8)], 3, 1)


@pytest.mark.long
def test_room_is_waited_for_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a cluster whose head has no GPU."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    monkeypatch.setattr(cluster, "LIMIT_S", 0)
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 4, "num_gpus": 0})
    try:
        nodes.add_node(num_cpus=2, num_gpus=2)
        ray.init(address=nodes.address, log_to_driver=False, logging_level="error")
        assert sorted(nodes_of(ray)) == [Node(2, 2), Node(4)]
        Share(2, 1, 1).wait_for_room(ray, pytest.fail)
        Share(3, 2, 0).wait_for_room(ray, pytest.fail)
        with pytest.raises(UserError, match=r"no room for 2 workers \(2 CPUs and a GPU each\) for 0 min; start nodes"):
            Share(2, 2, 1).wait_for_room(ray, pytest.fail)
        worker = RayPool(1, pytest.fail, 3, gpus=1, wording=Wording(too_large=lambda cpus: f"{cpus} and no more"))
        with pytest.raises(UserError, match="3 threads, but the largest node with a GPU 2 CPUs; 2 and no more"):
            next(worker.run(lambda: lambda lines: lines, [(0, ["a"])]))
    finally:
        ray.shutdown()
        nodes.shutdown()


def test_a_node_that_does_not_see_the_run(
    prepared_run: Callable[..., Run], counting_recipe: dict[str, Any], tmp_path: Path
) -> None:
    with prepared_run(counting_recipe) as run:
        with pytest.raises(UserError, match=rf"{re.escape(str(tmp_path))}/nothing: node .* does not see this run"):
            Place(tmp_path / "nothing", run.run_id).check()
        with pytest.raises(UserError, match="does not see this run"):  # but one of its own at that path
            Place(run.folder, "counting-0000").check()


def test_a_mistake_that_a_rank_finds_before_it_trains(
    prepared_run: Callable[..., Run], counting_recipe: dict[str, Any]
) -> None:
    with prepared_run(counting_recipe) as run:
        place = Place(run.folder, run.run_id)
        logs = run.logs / "ray"
        logs.mkdir(parents=True)
        (run.folder / "state.json").write_text("{")
        with pytest.raises(UserError, match=r"state\.json") as error:
            _rank({"place": place})
        assert (logs / "mistake").read_text() == str(error.value)
        shutil.rmtree(run.logs)  # a node without the run hides nothing
        with pytest.raises(UserError, match=r"state\.json"):
            _rank({"place": place})
