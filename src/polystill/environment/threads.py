"""Work that is spread over threads, with its results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from polystill.environment.process import available_cores

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD = 2
"""Items for each thread that are begun before the first result is taken; it bounds the memory that they hold."""

_MOST_THREADS = 8
"""The calling thread, which reads items and takes results, hardly keeps more of them busy."""


def in_order(work: Callable[[Item], Result], items: Iterable[Item], threads: int | None = None) -> Iterator[Result]:
    """Do the work on all items, by default on up to eight cores, and yield the results in their order.

    The calling thread reads the items. Work that spends its time in libraries that release Python's lock gains by it.
    """
    threads = threads or min(available_cores(), _MOST_THREADS)
    if threads == 1:
        yield from map(work, items)
        return
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) == _AHEAD * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
