"""Translate sentences of several requests in one call of the engine.

Nothing waits for a batch to fill: a free worker takes the sentences that are there, and while all workers are busy,
sentences gather. Requests take turns, so a long one does not hold up short ones. Only when the server is stopping,
those come first that are nearest to their end, so that as many as possible are answered.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Generic, NamedTuple, TypeVar

LARGEST_BATCH = 64
"""The most sentences of a batch. It takes a second at most, so no request waits long for an earlier one."""


class Wanted(NamedTuple):
    """What a request wants of each sentence; a batch has sentences that want the same."""

    n_best: int = 1
    alignment: bool = False


_ONE = Wanted()
T = TypeVar("T")
Translate = Callable[[list[str], Wanted], list[list[T]]]
"""Translates sentences into n translations of each; runs in a thread."""


@dataclass
class _Job(Generic[T]):
    sentences: Sequence[str]
    wanted: Wanted
    done: asyncio.Future[list[list[T]]]
    taken: int = 0
    translations: dict[int, list[T]] = field(default_factory=dict)

    @property
    def left(self) -> int:
        """The number of sentences that no worker has taken yet."""
        return len(self.sentences) - self.taken


class Batcher(Generic[T]):
    """One model's queue."""

    def __init__(
        self, translate: Translate[T], executor: Executor, workers: int, observe: Callable[[int], None] | None = None
    ) -> None:
        """Translate at most `workers` batches at a time, and call `observe` with the size of each."""
        self._translate, self._executor, self._workers, self._observe = translate, executor, workers, observe
        self._waiting: deque[_Job[T]] = deque()
        self.is_stopping = False
        self._running: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> int:
        """The number of sentences that no worker has taken yet."""
        return sum(job.left for job in self._waiting)

    async def translate(self, sentences: Sequence[str], wanted: Wanted = _ONE) -> list[list[T]]:
        """Return each sentence's n-best translations, in order. A cancelled call leaves the queue.

        Raises:
            Exception: the engine's error; every request with a sentence in that batch gets it.
        """
        if not sentences:
            return []
        job = _Job[T](sentences, wanted, asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        self._start()
        try:
            return await job.done
        finally:
            if job in self._waiting:
                self._waiting.remove(job)

    def _start(self) -> None:
        while len(self._running) < self._workers and (batch := self._take()):
            task = asyncio.get_running_loop().create_task(self._run(batch))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            task.add_done_callback(lambda _: self._start())

    def _take(self) -> list[tuple[_Job[T], int]]:
        """Take the sentences of one batch in turn from all requests that want the same as the first."""
        if not self._waiting:
            return []
        if self.is_stopping:
            self._waiting = deque(sorted(self._waiting, key=attrgetter("left")))
        wanted = self._waiting[0].wanted
        turns = deque(job for job in self._waiting if job.wanted == wanted)
        batch: list[tuple[_Job[T], int]] = []
        while turns and len(batch) < LARGEST_BATCH:
            job = turns.popleft()
            batch.append((job, job.taken))
            job.taken += 1
            if job.left and self.is_stopping:
                turns.appendleft(job)
            elif job.left:
                turns.append(job)
        had_a_turn = {id(job) for job, _ in batch}  # these go behind those that have not
        left = (job for job in self._waiting if job.left)
        self._waiting = deque(sorted(left, key=lambda job: id(job) in had_a_turn))
        return batch

    async def _run(self, batch: list[tuple[_Job[T], int]]) -> None:
        if self._observe is not None:
            self._observe(len(batch))
        sentences = [job.sentences[i] for job, i in batch]
        loop = asyncio.get_running_loop()
        try:
            results = await loop.run_in_executor(self._executor, self._translate, sentences, batch[0][0].wanted)
        except Exception as error:
            for job, _ in batch:
                if not job.done.done():
                    job.done.set_exception(error)
            return
        for (job, i), translations in zip(batch, results, strict=True):
            job.translations[i] = translations
            if len(job.translations) == len(job.sentences) and not job.done.done():
                job.done.set_result([job.translations[k] for k in range(len(job.sentences))])
