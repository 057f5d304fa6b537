"""A pool of workers on a Ray cluster; and the cluster: how it is reached, and what fits on it."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from polystill.environment.extras import installing
from polystill.environment.pool import Lines, Task, Tasks, Wording, Work
from polystill.errors import UserError, reason

PATIENCE_S = 60
"""Seconds that no worker has had a node to run on when this is first said, and then each time again."""
LIMIT_S = 600
"""Seconds of that when it is given up."""


class RayPool:
    """Actors on the cluster that this process is connected to, or else on that of `connection`.

    Lines and results travel through Ray. Every node must be able to read what the work reads, at its path. If a node
    is lost, its tasks are done again on others; if none is left with room for a worker, new ones are waited for.
    """

    def __init__(
        self,
        workers: int,
        say: Callable[[str], None],
        threads: int = 1,
        *,
        gpus: int = 0,
        wording: Wording | None = None,
    ) -> None:
        """threads, gpus: of each worker."""
        self._count, self._say, self._threads, self._gpus = workers, say, threads, gpus
        self._wording = wording or Wording()

    def run(self, open_work: Callable[[], Work], tasks: Iterable[Task]) -> Iterator[tuple[int, Any]]:
        with connection() as ray:
            self._check_room(ray)
            yield from self._run(ray, open_work, tasks)

    def _check_room(self, ray: Any) -> None:
        """Raise UserError where no node is large enough for a worker: Ray would wait for one without a message."""
        most = max((node.cpus for node in nodes_of(ray) if node.gpus >= self._gpus), default=0)
        if self._threads > most:
            raise UserError(
                f"--engine ray: a worker has {self._threads} threads, but the largest node "
                f"{'with a GPU ' if self._gpus else ''}{most} CPUs; {self._wording.too_large(most)}"
            )

    def _run(self, ray: Any, open_work: Callable[[], Work], tasks: Iterable[Task]) -> Iterator[tuple[int, Any]]:
        left = Tasks(tasks, self._say, self._wording)
        actor_class = ray.remote(num_cpus=self._threads, num_gpus=self._gpus)(_Actor)
        running: dict[Any, tuple[Any, Any, Task]] = {}  # pending answer -> actor, its start, task
        while True:
            while len(running) < self._count and (task := left.next()):
                actor = actor_class.remote(open_work)
                started = actor.start.remote()
                running[actor.work.remote(task[1])] = actor, started, task
            if not running:
                return
            for answer in self._wait(ray, {answer: started for answer, (_, started, _) in running.items()}):
                actor, started, task = running.pop(answer)
                try:
                    result = ray.get(answer)
                except ray.exceptions.RayActorError as error:
                    left.lost(task, type(error).__name__)
                    continue
                except ray.exceptions.RayTaskError as error:
                    raise error.cause if isinstance(error.cause, UserError) else error from None
                if following := left.next():
                    running[actor.work.remote(following[1])] = actor, started, following
                yield task[0], result

    def _wait(self, ray: Any, running: dict[Any, Any]) -> list[Any]:
        """Return the first answers; `running` has the start of the worker that each is of.

        Raises:
            UserError: for LIMIT_S no worker has had a node to run on.
        """
        begin = time.monotonic()
        while not (answers := ray.wait(list(running), timeout=PATIENCE_S)[0]):
            if ray.wait(list(running.values()), timeout=0)[0]:  # a worker has started, and its task takes its time
                begin = time.monotonic()
                continue
            minutes = (time.monotonic() - begin) / 60
            what = f"no node has had room for a worker ({self._threads} CPUs) for {minutes:.0f} min"
            if time.monotonic() - begin >= LIMIT_S:
                raise UserError(
                    f"--engine ray: {what}; start nodes (ray status shows them), and the same command goes on where "
                    "this one ended"
                )
            self._say(f"{what}; waiting for one")
        return answers


class _Actor:
    def __init__(self, open_work: Callable[[], Work]) -> None:
        self._open = open_work
        self._work: Work | None = None

    def start(self) -> None:
        """Answers when the actor has a node."""

    def work(self, lines: Lines) -> Any:
        if self._work is None:  # in __init__ a user's mistake would count as the actor's death
            self._work = self._open()
        return self._work(lines)


# --- the cluster --------------------------------------------------------------------------------------------------


@contextmanager
def connection() -> Iterator[Any]:
    """The module `ray`, connected to the cluster that RAY_ADDRESS names, or to one started here for the block.

    A connection that is there already is used, and stays.

    Raises:
        UserError: Ray is not installed, nothing answers at the address, or no cluster can be started.
    """
    try:
        import ray
    except ImportError:
        raise UserError(f"--engine ray needs Ray: {installing('ray')}") from None
    if ray.is_initialized():
        yield ray
        return
    _check_address(os.environ.get("RAY_ADDRESS", ""))
    try:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="error")
    except Exception as error:  # Ray raises many kinds
        raise UserError(f"--engine ray: Ray does not start ({reason(error)})") from None
    try:
        yield ray
    finally:
        ray.shutdown()


class Node(NamedTuple):
    """What a node has for workers."""

    cpus: int
    gpus: int = 0


def nodes_of(ray: Any) -> list[Node]:
    """Each node that is alive."""
    resources = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [Node(int(each.get("CPU", 0)), int(each.get("GPU", 0))) for each in resources]


def _check_address(address: str) -> None:
    """Raise UserError where nothing answers at the cluster's address: Ray would try for minutes without a word."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():  # none, "auto" or "local"
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except OSError as error:
        raise UserError(
            f"--engine ray: no cluster answers at {address} ({reason(error)}); correct RAY_ADDRESS, or start it"
        ) from None
