"""Timing several things in turn, so that what slows the machine down slows all of them alike.

Every round runs all subjects one after another, each round beginning with another one; figures are compared within a
round, and their least, median and largest value over the rounds are reported.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

Spread = dict[str, float]
"""min, median and max over the rounds."""


def interleaved(
    subjects: Mapping[str, Callable[[], object]],
    rounds: int,
    synchronize: Callable[[], object] = lambda: None,
    log: Callable[[str], object] = lambda line: None,
    warm_up: bool = True,
) -> dict[str, list[float]]:
    """Wall seconds of each subject in each round; with `warm_up` an unmeasured round goes before.

    `synchronize` waits for what the device has queued, before a subject's time begins and before it ends.
    """
    assert rounds > 0
    names = list(subjects)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for i in range(-1 if warm_up else 0, rounds):
        shift = max(i, 0) % len(names)
        for name in names[shift:] + names[:shift]:
            synchronize()
            start = time.perf_counter()
            subjects[name]()
            synchronize()
            if i >= 0:
                seconds[name].append(time.perf_counter() - start)
        log(f"round {i + 1} of {rounds}" if i >= 0 else "warmed up")
    return seconds


def spread(values: Sequence[float]) -> Spread:
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def quotients(numerators: Sequence[float], denominators: Sequence[float]) -> Spread:
    """The spread of the quotients within each round."""
    return spread([a / b for a, b in zip(numerators, denominators, strict=True)])
