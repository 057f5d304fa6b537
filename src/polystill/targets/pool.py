"""Spread work over processes: a task is one shard of lines, and workers get one task at a time.

If a worker dies in a shard (killed, out of memory), it is replaced and the shard is done again; the others go on.
Results come when they are ready, once for each shard.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from polystill.environment.extras import installing
from polystill.errors import UserError, reason

MOST_ATTEMPTS = 3
"""The number of workers that may die at a shard before it is given up."""
PATIENCE_S = 60
"""Seconds that no Ray worker has had a node to run on when this is first said, and then each time again."""
LIMIT_S = 600
"""Seconds of that when it is given up."""

Lines = list[str]
Work = Callable[[Lines], Any]
Task = tuple[int, Lines]
"""A shard's number and its lines."""


class Pool(Protocol):
    def run(self, open_work: Callable[[], Work], tasks: Iterable[Task]) -> Iterator[tuple[int, Any]]:
        """Do all tasks and yield each one's (number, result) when it is ready. Each worker calls `open_work` once.

        Raises:
            UserError: the work itself raised it, or MOST_ATTEMPTS workers died at a task.
        """
        ...


class _Tasks:
    """Hands out tasks, first those that are to be done again, and counts the workers that have died at each."""

    def __init__(self, tasks: Iterable[Task], say: Callable[[str], None]) -> None:
        self._waiting, self._say = iter(tasks), say
        self._deaths = Counter[int]()
        self.again = deque[Task]()

    def next(self) -> Task | None:
        return self.again.popleft() if self.again else next(self._waiting, None)

    def lost(self, task: Task, how: str) -> None:
        """Do a task again whose worker died, unless too many have."""
        number = task[0]
        self._deaths[number] += 1
        if self._deaths[number] == MOST_ATTEMPTS:
            raise UserError(
                f"shard {number}: {MOST_ATTEMPTS} workers died at it ({how}); if memory ran out, use fewer --workers, "
                "a smaller --batch-tokens or a smaller --beam"
            )
        self._say(f"shard {number}: its worker died ({how}); it is done again")
        self.again.append(task)


# --- this process -------------------------------------------------------------------------------------------------


class ThisProcess:
    """Does one task after the other in this process."""

    def run(self, open_work: Callable[[], Work], tasks: Iterable[Task]) -> Iterator[tuple[int, Any]]:
        work: Work | None = None
        for number, lines in tasks:
            work = work or open_work()
            yield number, work(lines)


# --- local processes ----------------------------------------------------------------------------------------------


@dataclass
class _Worker:
    process: Any
    connection: Connection
    task: Task

    def give(self, task: Task) -> bool:
        """Whether the worker, which may have died, could be given the task."""
        self.task = task
        try:
            self.connection.send(task)
        except OSError:
            return False
        return True


class LocalPool:
    """Processes on this machine, spawned because the threads of torch and CTranslate2 do not survive a fork."""

    def __init__(self, workers: int, say: Callable[[str], None]) -> None:
        self._count, self._say = workers, say
        self._context = multiprocessing.get_context("spawn")

    def run(self, open_work: Callable[[], Work], tasks: Iterable[Task]) -> Iterator[tuple[int, Any]]:
        left, workers = _Tasks(tasks, self._say), list[_Worker]()
        try:
            while True:
                while len(workers) < self._count and (task := left.next()):
                    workers.append(self._start(open_work, task))
                if not workers:
                    return
                for ready in wait([worker.connection for worker in workers]):
                    worker = next(w for w in workers if w.connection is ready)
                    task = worker.task
                    try:
                        result = worker.connection.recv()
                    except (EOFError, OSError):
                        workers.remove(worker)
                        left.lost(task, _how(worker))
                        continue
                    if isinstance(result, Exception):
                        raise result
                    following = left.next()  # before this result is used, so the worker need not wait
                    if following is None or not worker.give(following):
                        left.again.extend([following] if following else [])
                        workers.remove(worker)
                        _stop(worker)
                    yield task[0], result
        finally:
            for worker in workers:
                _stop(worker)

    def _start(self, open_work: Callable[[], Work], task: Task) -> _Worker:
        connection, of_worker = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(open_work, of_worker), daemon=True)
        process.start()
        of_worker.close()  # or the end of the worker would go unnoticed here
        worker = _Worker(process, connection, task)
        worker.give(task)  # if the process is dead already, waiting for its answer will show that
        return worker


def _how(worker: _Worker) -> str:
    worker.process.join(10)
    code = worker.process.exitcode
    return f"signal {-code}" if code is not None and code < 0 else f"exit status {code}"


def _stop(worker: _Worker) -> None:
    worker.connection.close()
    worker.process.terminate()
    worker.process.join(10)
    if worker.process.exitcode is None:
        worker.process.kill()
        worker.process.join()


def _serve(open_work: Callable[[], Work], connection: Connection) -> None:
    """Do tasks in a worker until its connection closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the first process stops the others
    try:
        work = open_work()
        while True:
            _, lines = connection.recv()
            connection.send(work(lines))
    except (EOFError, OSError):
        return
    except Exception as error:
        connection.send(error if isinstance(error, UserError) else RuntimeError(f"{type(error).__name__}: {error}"))


# --- Ray ----------------------------------------------------------------------------------------------------------


class RayPool:
    """Actors on the Ray cluster that RAY_ADDRESS names, or on a local one started for this job.

    Lines and translations travel through Ray. Every node must be able to read the model's folder at its path. If a node
    is lost, its shards are done again on others; if none is left with room for a worker, new ones are waited for.
    """

    def __init__(self, workers: int, say: Callable[[str], None], threads: int = 1) -> None:
        self._count, self._say, self._threads = workers, say, threads

    def run(self, open_work: Callable[[], Work], tasks: Iterable[Task]) -> Iterator[tuple[int, Any]]:
        try:
            import ray
        except ImportError:
            raise UserError(f"--engine ray needs Ray: {installing('ray')}") from None
        started = not ray.is_initialized()
        if started:
            _connect(ray)
        try:
            self._check_room(ray)
            yield from self._run(ray, open_work, tasks)
        finally:
            if started:
                ray.shutdown()

    def _check_room(self, ray: Any) -> None:
        """Raise UserError where no node is large enough for a worker: Ray would wait for one without a message."""
        most = max((int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]), default=0)
        if self._threads > most:
            raise UserError(
                f"--engine ray: a worker has {self._threads} threads, but the largest node {most} CPUs; use --threads "
                f"{most} or fewer"
            )

    def _run(self, ray: Any, open_work: Callable[[], Work], tasks: Iterable[Task]) -> Iterator[tuple[int, Any]]:
        left = _Tasks(tasks, self._say)
        actor_class = ray.remote(num_cpus=self._threads)(_Actor)
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
            if ray.wait(list(running.values()), timeout=0)[0]:  # a worker has started, and its shard takes its time
                begin = time.monotonic()
                continue
            minutes = (time.monotonic() - begin) / 60
            what = f"no node has had room for a worker ({self._threads} CPUs) for {minutes:.0f} min"
            if time.monotonic() - begin >= LIMIT_S:
                raise UserError(
                    f"--engine ray: {what}; start nodes (ray status shows them), and the same command goes on from the "
                    "first shard that is missing"
                )
            self._say(f"{what}; waiting for one")
        return answers


def _connect(ray: Any) -> None:
    """Connect to the cluster, or start a local one.

    Raises:
        UserError: neither is possible.
    """
    _check_address(os.environ.get("RAY_ADDRESS", ""))
    try:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="error")
    except Exception as error:  # Ray raises many kinds
        raise UserError(f"--engine ray: Ray does not start ({reason(error)})") from None


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
