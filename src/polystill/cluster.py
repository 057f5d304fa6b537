"""Take a run through its stages on a Ray cluster, by the code that does it on one machine.

    data ── one task │ training.<stage> ── Ray Train, one rank a worker │ evaluation ── one task a student

The process that starts it holds the run's lock, hands out the work, and writes the evaluation's results. All else is
written into the run's folder by the workers, so every node needs that folder at the same path.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from polystill import pipeline
from polystill.config import Recipe
from polystill.environment.following import following, write_stderr_into
from polystill.environment.pool import MOST_ATTEMPTS, Lines, Wording, Work
from polystill.environment.process import cpu_seconds
from polystill.environment.ray_pool import LIMIT_S, PATIENCE_S, Node, RayPool, connection, nodes_of
from polystill.errors import UserError, reason
from polystill.progress import show_log
from polystill.runs import Run
from polystill.runs.provenance import provenance
from polystill.runs.results import Provenance, QualityRow
from polystill.storage import clear_left_overs, write_atomic

Say = Callable[[str], None]

MOST_STARTS = 10
"""Times that Ray Train looks for free CPUs before it gives up. Each time it waits for a minute."""
_PREPARING_THREADS = 8
"""More hardly make the data stage faster (`environment.threads`)."""


def run_on_cluster(recipe: Recipe, folder: Path, workers: int, say: Say) -> Run:
    """Take a run from wherever it is to its end and return it, unlocked. Equals `pipeline.run_recipe` by torchrun with
    as many ranks as `workers`.

    The cluster is that of `ray_pool.connection`. Each worker has `training.threads` CPUs, or an equal share of all of
    them, and a GPU if the cluster has any.

    Raises:
        UserError: as `run_recipe`; there is no cluster, or it has no room for the workers; a node does not see the
            run's folder; or workers died MOST_ATTEMPTS times without getting any further.
    """
    recipe, folder = recipe.with_absolute_paths(), folder.resolve()
    pipeline.check_recipe(recipe, folder)
    with Run.start(folder, recipe) as run, connection() as ray, following(_logs(folder), say):
        share = Share.of(nodes_of(ray), workers, recipe.training.threads)
        place = Place(folder, run.run_id)
        _check_nodes(ray, place)
        _prepare(ray, place, say)
        if not run.finished("family"):
            _train(ray, run, place, share, say)
        if not run.finished("evaluation"):
            share.wait_for_room(ray, say)
            _evaluate(run, place, share, say)
    return run


@dataclass(frozen=True)
class Share:
    """What each of the workers has for itself."""

    workers: int
    threads: int
    gpus: int

    @classmethod
    def of(cls, nodes: Sequence[Node], workers: int, threads: int) -> Share:
        """threads: of each worker; 0 is as many as fit.

        Raises:
            UserError: the cluster has not enough CPUs or GPUs.
        """
        gpus = sum(node.gpus for node in nodes)
        if 0 < gpus < workers:
            raise UserError(f"--workers {workers}: the cluster has {gpus} GPUs; use --workers {gpus} or fewer")
        wanted = [threads] if threads else range(max([1, *(node.cpus for node in nodes)]), 0, -1)
        shares = (cls(workers, each, min(1, gpus)) for each in wanted)
        if share := next((share for share in shares if share._room(nodes) >= workers), None):
            return share
        have = [f"{node.cpus} and {node.gpus} GPUs" if gpus else str(node.cpus) for node in nodes]
        raise UserError(
            f"--workers {workers}: the cluster has no room for {workers} workers with {wanted[-1]} CPUs"
            f"{' and a GPU' if gpus else ''} each (its nodes have {', '.join(have)}); start more nodes, or use fewer "
            "workers or threads (--set training.threads=N)"
        )

    def wait_for_room(self, ray: Any, say: Say) -> None:
        """Wait until there is room for all workers: nodes may have been lost, or others may use them.

        Raises:
            UserError: there is none for LIMIT_S.
        """
        begin = time.monotonic()
        said = 0.0
        while not self._has_room(ray):
            waited = time.monotonic() - begin
            each = f"{self.threads} CPUs {'and a GPU ' if self.gpus else ''}each"
            what = f"no room for {self.workers} workers ({each}) for {waited / 60:.0f} min"
            if waited >= LIMIT_S:
                raise UserError(
                    f"--engine ray: {what}; start nodes (ray status shows them), and the same command goes on where "
                    "this one ended"
                )
            if waited - said >= PATIENCE_S:
                said = waited
                say(f"{what}; waiting for it")
            time.sleep(1)

    def _has_room(self, ray: Any) -> bool:
        free, needed = ray.available_resources(), {"CPU": self.threads, "GPU": self.gpus}
        return self._room(nodes_of(ray)) >= self.workers and all(
            self.workers * each <= free.get(kind, 0) for kind, each in needed.items()
        )

    def _room(self, nodes: Sequence[Node]) -> int:
        """How many workers fit on the nodes."""
        by_cpus = [node.cpus // self.threads for node in nodes]
        return sum(map(min, by_cpus, [node.gpus for node in nodes])) if self.gpus else sum(by_cpus)


@dataclass(frozen=True)
class Place:
    """Where a worker finds the run."""

    folder: Path
    run_id: str

    def open(self) -> Run:
        """The run, in a worker; what is said there is shown by the process that `following` runs in.

        Raises:
            UserError: this node does not see the run's folder.
        """
        run = self.check()
        write_stderr_into(_logs(self.folder))
        show_log()
        return run

    def check(self) -> Run:
        """The same run. Raises the same errors."""
        if not (self.folder / "state.json").is_file() or (run := Run.open(self.folder)).run_id != self.run_id:
            raise UserError(
                f"{self.folder}: node {socket.gethostname()} does not see this run; give an --out on storage that all "
                "nodes have at the same path, such as NFS"
            )
        return run


def _logs(folder: Path) -> Path:
    return folder / "logs" / "ray"


def _check_nodes(ray: Any, place: Place) -> None:
    """Raise UserError where one of the nodes that may get work does not see the run's folder."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    check = ray.remote(num_cpus=0)(_check)
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    on_each = [NodeAffinitySchedulingStrategy(node, soft=False) for node in nodes]
    try:
        ray.get([check.options(scheduling_strategy=on_this).remote(place) for on_this in on_each])
    except ray.exceptions.RayTaskError as error:
        raise error.cause if isinstance(error.cause, UserError) else error from None


def _check(place: Place) -> None:
    place.check()


def _start_larger(cpus: int) -> str:
    return "start larger nodes, and the same command goes on where this one ended"


# --- data ---------------------------------------------------------------------------------------------------------


def _prepare(ray: Any, place: Place, say: Say) -> None:
    threads = min(_PREPARING_THREADS, max((node.cpus for node in nodes_of(ray)), default=1))
    wording = Wording(lambda task: "data", "use nodes with more", _start_larger)
    for _ in RayPool(1, say, threads, wording=wording).run(partial(_preparation, place), [(0, [])]):
        pass


def _preparation(place: Place) -> Work:
    run = place.open()

    def work(lines: Lines) -> None:
        clear_left_overs(run.folder)  # of a worker that died before
        pipeline.data_stage(run)

    return work


# --- training -----------------------------------------------------------------------------------------------------


def _train(ray: Any, run: Run, place: Place, share: Share, say: Say) -> None:
    """Train to the end; if a worker dies, all begin again from the last checkpoint.

    Ray Train's own restarts are off: it would repeat users' mistakes as well, and count deaths without regard to what
    was reached between them.
    """
    fit = ray.remote(num_cpus=0, max_retries=0)(_fit)
    mistake = _mistake(place.folder)
    in_vain = 0
    while True:
        share.wait_for_room(ray, say)
        before = _reached(run)
        mistake.unlink(missing_ok=True)
        try:
            ray.get(fit.remote(place, share))
            return
        except ray.exceptions.RayError as error:
            if mistake.is_file():
                raise UserError(mistake.read_text(encoding="utf-8")) from None
            if isinstance(cause := getattr(error, "cause", None), UserError):  # of `_fit` itself
                raise cause from None
            why = _why(error)
        with suppress(ray.exceptions.RayError):  # of a node that is lost; one that came later may not see the run
            _check_nodes(ray, place)
        in_vain = in_vain + 1 if _reached(run) == before else 0
        if in_vain == MOST_ATTEMPTS:
            raise UserError(
                f"training: stopped {MOST_ATTEMPTS} times without reaching another checkpoint ({why}); the workers' "
                "logs are in /tmp/ray/session_latest/logs on their nodes, and the same command tries again"
            )
        say(f"training: {why}; all ranks go on from the last checkpoint")
        clear_left_overs(run.folder)


def _fit(place: Place, share: Share) -> None:
    """Train with Ray Train. Runs on the cluster, where Ray may have SIGINT for itself."""
    from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    place.check()
    logs = _logs(place.folder)
    os.environ["RAY_TRAIN_ENABLE_PRINT_PATCH"] = "0"  # workers would print every line twice
    resources = {"CPU": share.threads} | ({"GPU": share.gpus} if share.gpus else {})
    TorchTrainer(
        _rank,
        train_loop_config={"place": place},
        scaling_config=ScalingConfig(num_workers=share.workers, use_gpu=share.gpus > 0, resources_per_worker=resources),
        run_config=RunConfig(
            name=logs.name,
            storage_path=str(logs.parent),  # for its checkpoints, of which there are none
            failure_config=FailureConfig(max_failures=0, controller_failure_limit=MOST_STARTS),
            logging_config=LoggingConfig(log_level="CRITICAL"),
        ),
    ).fit()


def _rank(config: dict[str, Place]) -> None:
    """What each worker does; Ray Train has set it up as torchrun would have."""
    place = config["place"]
    try:
        pipeline.training_stage(place.open())
    except UserError as error:  # Ray Train would hand on its traceback
        with suppress(OSError, UserError):  # where this node does not see the run
            write_atomic(_mistake(place.folder), str(error))
        raise


def _mistake(folder: Path) -> Path:
    """The message about a user's mistake that a rank has found."""
    return _logs(folder) / "mistake"


def _reached(run: Run) -> object:
    """What changes when a training gets further."""
    return len(run.stages()), sorted(run.checkpoints.glob("*/state-*.pt"))


def _why(error: Exception) -> str:
    """Why a training ended, in a few words."""
    cause = getattr(error, "cause", None) or error
    failures: dict[int, Exception] = getattr(cause, "worker_failures", {})
    died = [rank for rank, failure in failures.items() if not str(failure).startswith("Traceback")]
    if died:
        return f"rank{'s' * (len(died) > 1)} {', '.join(map(str, sorted(died)))} died"
    for rank, failure in failures.items():
        return f"rank {rank}: {str(failure).strip().splitlines()[-1]}"
    return reason(cause)


# --- evaluation ---------------------------------------------------------------------------------------------------


def _evaluate(run: Run, place: Place, share: Share, say: Say) -> None:
    from polystill.evaluation.students import choose_students

    students = list(map(str, choose_students(run)))
    pool = RayPool(
        share.workers,
        say,
        share.threads,
        gpus=share.gpus,
        wording=Wording(lambda task: f"evaluation of {task[1][0]}", "use fewer --workers", _start_larger),
    )
    measuring = partial(_measuring, place, share.threads)
    count = 0
    with run.spending("evaluation") as elsewhere:
        for _, measured in pool.run(measuring, enumerate([student] for student in students)):
            run.add(measured.new, measured.by)
            elsewhere.append(measured.cpu_seconds)
            count += measured.rows
    run.finish("evaluation", {"rows": count})


@dataclass(frozen=True)
class _Measured:
    """A student's rows of results: the new ones, and how many there are with those that were measured before."""

    new: list[QualityRow]
    rows: int
    by: Provenance
    cpu_seconds: float


def _measuring(place: Place, threads: int) -> Work:
    from polystill.evaluation.quality import evaluate_students

    run = place.open()

    def work(students: Lines) -> _Measured:
        new: list[QualityRow] = []
        begin = cpu_seconds()
        rows = evaluate_students(run, students=students, sets=run.held_out, threads=threads, add=new.extend)
        return _Measured(new, len(rows), provenance(), cpu_seconds() - begin)

    return work
