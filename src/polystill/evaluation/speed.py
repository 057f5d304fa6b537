"""Latency, memory and speed of exported folders, each measured in a fresh process that holds nothing else.

The process loads the model and translates sentences one after another: the seconds of each are its latency, and the
most that the process then held is its peak memory, Python and libraries included. Where speed is wanted, the same
sentences then go through in batches, which may take more memory.

This module imports nothing that the measured process does not need.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polystill.decoding import ENGINES
from polystill.decoding.ctranslate2 import CTranslate2
from polystill.decoding.translator import Cuts, DecodingOptions, Translator
from polystill.environment import child
from polystill.environment.child import peak_memory
from polystill.errors import UserError
from polystill.progress import format_seconds

WARM_UP_LINES = 8
_TIMED = ("words_per_second", "latency_p50_ms", "latency_p95_ms")


@dataclass(frozen=True)
class Subject:
    """A folder, and the search and sentences to measure it with."""

    folder: Path
    lines: Sequence[str]
    options: DecodingOptions
    precision: str = "default"
    threads: int = 1
    engine: str = CTranslate2.name


def measure_in_turn(
    subjects: Sequence[Subject], *, rounds: int, log: Callable[[str], object], speed: bool = False
) -> list[dict[str, Any]]:
    """Measure all subjects in every round, one after another, so that a machine whose speed varies treats them alike.

    Returns what `measure_once` does, as fields of `QualityRow` and `DeviceRow`. Times are medians over the rounds, with
    the least and the most as `…_min` and `…_max`; peak memory is the largest.

    Raises:
        UserError: as `measure_once`.
    """
    figures: list[list[dict[str, Any]]] = [[] for _ in subjects]
    start = time.monotonic()
    for number in range(1, rounds + 1):
        for subject, rows in zip(subjects, figures, strict=True):
            rows.append(measure_once(subject, speed=speed))
        left = (time.monotonic() - start) / number * (rounds - number)
        log(f"round {number} of {rounds}" + (f", {format_seconds(left)} left" if number < rounds else ""))
    return [_summary(rows) for rows in figures]


def _summary(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    summary = {**rounds[0], "peak_memory_bytes": max(row["peak_memory_bytes"] for row in rounds)}
    for name in _TIMED:
        if name in summary:
            values = [row[name] for row in rounds]
            summary |= {name: statistics.median(values), f"{name}_min": min(values), f"{name}_max": max(values)}
    return summary


def measure_once(subject: Subject, *, speed: bool = False) -> dict[str, Any]:
    """`latency_p50_ms`, `latency_p95_ms` (one sentence at a time), `latency_sentences`, `peak_memory_bytes`,
    `compute_type` and, with `speed`, `words_per_second` (source words, in batches on the subject's threads).

    Raises:
        UserError: the folder does not load in that precision, or there is no sentence to translate.
    """
    figures: dict[str, Any] = child.call(
        f"{__name__}:measure_here",
        folder=str(subject.folder.absolute()),
        lines=list(subject.lines),
        beam_size=subject.options.beam_size,
        length_penalty=subject.options.length_penalty,
        precision=subject.precision,
        threads=subject.threads,
        speed=speed,
        engine=subject.engine,
    )
    if "error" in figures:
        raise UserError(figures["error"])
    return figures


def measure_here(
    folder: str,
    lines: list[str],
    beam_size: int,
    length_penalty: float,
    precision: str,
    threads: int,
    speed: bool,
    engine: str = CTranslate2.name,
) -> dict[str, Any]:
    """The measuring itself, for `child.call`: what `measure_once` returns, or `error`."""
    options = DecodingOptions(beam_size=beam_size, length_penalty=length_penalty)
    try:
        with peak_memory() as peak:
            translator = ENGINES[engine].open(Path(folder), precision, threads)
            for line in lines[:WARM_UP_LINES]:
                translator.translate([line], options, Cuts())
            latencies = [_seconds(translator, [line], options) for line in lines]
    except UserError as error:
        return {"error": str(error)}
    figures = {
        "latency_p50_ms": 1000 * statistics.median(latencies),
        "latency_p95_ms": 1000 * percentile(latencies, 95),
        "latency_sentences": len(lines),
        "peak_memory_bytes": peak.peak,
        "compute_type": translator.compute_type,
    }
    if speed:
        words = sum(len(line.split()) for line in lines)
        figures["words_per_second"] = words / _seconds(translator, lines, options)
    return figures


def _seconds(translator: Translator, lines: Sequence[str], options: DecodingOptions) -> float:
    start = time.perf_counter()
    translator.translate(lines, options, Cuts())
    return time.perf_counter() - start


def sample(lines: Sequence[str], count: int) -> list[str]:
    """At most `count` of the lines that have words, evenly spread, in their order.

    Raises:
        UserError: no line has words.
    """
    filled = [line for line in lines if line.strip()]
    if not filled:
        raise UserError("there is no sentence to measure with: all lines are blank")
    count = min(count, len(filled))
    return [filled[i * len(filled) // count] for i in range(count)]


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest value that `percent` percent of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-percent * len(ordered) // 100) - 1))]
