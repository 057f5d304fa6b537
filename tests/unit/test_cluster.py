"""What fits on a cluster, and what a worker needs, as far as no cluster is needed to tell."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polystill.cluster import Place, Share
from polystill.errors import UserError
from polystill.runs import Run


@pytest.mark.parametrize(
    ("nodes", "workers", "threads"),
    [([8], 1, 8), ([8], 3, 2), ([8, 4], 2, 4), ([8, 4], 3, 4), ([8, 4], 4, 2), ([1, 1], 2, 1), ([0, 16], 2, 8)],
)
def test_workers_share_all_cpus_of_nodes(nodes: list[int], workers: int, threads: int) -> None:
    assert Share.of(nodes, 0, workers, 0) == Share(workers, threads, 0)


def test_a_recipes_threads_and_gpus() -> None:
    assert Share.of([8, 8], 4, 4, 2) == Share(4, 2, 1)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match=r"--workers 3: the cluster has no room for as many of 4 CPUs .* have 8, 2\)"):
        Share.of([8, 2], 0, 3, 4)
    with pytest.raises(UserError, match=r"--workers 3: .* as many of 1 CPUs .* have 1, 1\); use fewer workers"):
        Share.of([1, 1], 0, 3, 0)
    with pytest.raises(UserError, match=r"--workers 3: the cluster has 2 GPUs; use --workers 2 or fewer"):
        Share.of([8, 8], 2, 3, 1)


def test_a_node_that_does_not_see_the_run(
    prepared_run: Callable[..., Run], counting_recipe: dict[str, Any], tmp_path: Path
) -> None:
    with prepared_run(counting_recipe) as run:
        with pytest.raises(UserError, match=rf"{re.escape(str(tmp_path))}/nothing: node .* does not see this run"):
            Place(tmp_path / "nothing", run.run_id).check()
        with pytest.raises(UserError, match="does not see this run"):  # but one of its own at that path
            Place(run.folder, "counting-0000").check()
