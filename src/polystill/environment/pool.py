"""Spread work over processes: a task is some lines, such as a shard of a text, and workers get one task at a time.

If a worker dies in a task (killed, out of memory), it is replaced and the task is done again; the others go on.
Results come when they are ready, once for each task. `ray_pool` does the same on a cluster.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from polystill.errors import UserError

MOST_ATTEMPTS = 3
"""The number of workers that may die at a task before it is given up."""

Lines = list[str]
Work = Callable[[Lines], Any]
Task = tuple[int, Lines]
"""A number and the lines."""


class Pool(Protocol):
    def run(self, open_work: Callable[[], Work], tasks: Iterable[Task]) -> Iterator[tuple[int, Any]]:
        """Do all tasks and yield each one's (number, result) when it is ready. Each worker calls `open_work` once.

        Raises:
            UserError: the work itself raised it, or MOST_ATTEMPTS workers died at a task.
        """
        ...


@dataclass(frozen=True)
class Wording:
    """How messages name a task, and what helps."""

    task: Callable[[Task], str] = lambda task: f"shard {task[0]}"
    remedy: str = "use fewer --workers, a smaller --batch-tokens or a smaller --beam"
    """What to try if workers keep running out of memory."""
    too_large: Callable[[int], str] = lambda cpus: f"use --threads {cpus} or fewer"
    """Where a worker has more threads than the largest node's CPUs, which are given."""


class Tasks:
    """Hands out tasks, first those that are to be done again, and counts the workers that have died at each."""

    def __init__(self, tasks: Iterable[Task], say: Callable[[str], None], wording: Wording | None = None) -> None:
        self._waiting, self._say, self._wording = iter(tasks), say, wording or Wording()
        self._deaths = Counter[int]()
        self.again = deque[Task]()

    def next(self) -> Task | None:
        return self.again.popleft() if self.again else next(self._waiting, None)

    def lost(self, task: Task, how: str) -> None:
        """Do a task again whose worker died, unless too many have."""
        number, name = task[0], self._wording.task(task)
        self._deaths[number] += 1
        if self._deaths[number] == MOST_ATTEMPTS:
            raise UserError(
                f"{name}: {MOST_ATTEMPTS} workers died while doing it ({how}); if memory ran out, "
                f"{self._wording.remedy}"
            )
        self._say(f"{name}: its worker died ({how}); it is done again")
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
        left, workers = Tasks(tasks, self._say), list[_Worker]()
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
