"""Several exported folders measured against each other on a machine whose speed varies."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polystill.decoding.contract import DecodingOptions
from polystill.evaluation.speed import figures

Row = dict[str, Any]
_TIMED = ("words_per_second", "latency_p50_ms", "latency_p95_ms")


@dataclass(frozen=True)
class Subject:
    """A folder, and how it is to be run."""

    folder: Path
    lines: Sequence[str]
    options: DecodingOptions
    precision: str = "default"
    threads: int = 1


def measure_in_turn(
    subjects: Sequence[Subject], *, rounds: int, log: Callable[[str], object], speed: bool = False
) -> list[Row]:
    """`measuring.figures.figures` of every subject: in each round all of them in turn, each in a fresh process.

    Medians over the rounds, with the least and the most as `…_min` and `…_max`; of peak memory the largest.

    Raises:
        UserError: as `figures`.
    """
    found: list[list[Row]] = [[] for _ in subjects]
    for number in range(rounds):
        for subject, rows in zip(subjects, found, strict=True):
            rows.append(
                figures(
                    subject.folder,
                    subject.lines,
                    options=subject.options,
                    precision=subject.precision,
                    threads=subject.threads,
                    speed=speed,
                )
            )
        log(f"round {number + 1} of {rounds}")
    return [_summary(rows) for rows in found]


def _summary(rounds: Sequence[Row]) -> Row:
    summary = {**rounds[0], "peak_memory_bytes": max(row["peak_memory_bytes"] for row in rounds)}
    for name in _TIMED:
        if name in summary:
            values = [row[name] for row in rounds]
            summary |= {name: statistics.median(values), f"{name}_min": min(values), f"{name}_max": max(values)}
    return summary
