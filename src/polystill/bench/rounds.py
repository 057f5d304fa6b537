"""Timing several things in turn, so that what slows the machine down slows all of them alike.

Every round runs all subjects one after another, each round beginning with another one; figures are compared within a
round, and their least, median and largest value over the rounds are reported. Also the machine's speed with large
matrices, the limit that a training step is held against.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

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


def shown_spread(values: Spread, digits: int) -> str:
    """Such as "1619 (1580–1650)": the median, the least and the largest."""
    return f"{values['median']:.{digits}f} ({values['min']:.{digits}f}–{values['max']:.{digits}f})"


def shown_speed(name: str, speeds: Sequence[float], baseline: Sequence[float]) -> str:
    """A line on target tokens a second in each round, and on their quotients to those of a baseline."""
    times = shown_spread(quotients(speeds, baseline), 2)
    return f"{name:24} {shown_spread(spread(speeds), 0):>20} target tokens/s, {times} times as fast"


# --- the device -------------------------------------------------------------------------------------------------------

_GEMM_SIZE = {"cpu": 1536, "cuda": 8192}
_GEMM_SECONDS = 0.3


def synchronize(device: torch.device) -> None:
    """Wait for what the device has queued."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


def gemm_flops_per_second(device: torch.device, precision: str) -> float:
    """FLOP/s of the fastest square product in 0.3 seconds (of three at least), a multiply-add counted as two."""
    import torch

    size = _GEMM_SIZE.get(device.type, 4096)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    out = a @ b
    fastest, tried, begun = float("inf"), 0, time.perf_counter()
    while tried < 3 or time.perf_counter() - begun < _GEMM_SECONDS:
        synchronize(device)
        start = time.perf_counter()
        torch.mm(a, b, out=out)
        synchronize(device)
        fastest, tried = min(fastest, time.perf_counter() - start), tried + 1
    return 2 * size**3 / fastest
