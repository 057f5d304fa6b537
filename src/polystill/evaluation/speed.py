"""Latency, memory and speed of one exported folder, in a fresh process that holds nothing else.

The process loads the model and translates some sentences one after another: each one's seconds are its latency, and
what the process then held at most is its peak memory, Python and libraries included. Only then, where speed is asked
for, the same sentences go through in batches, which may take more memory.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polystill.decoding.contract import Cuts, DecodingOptions
from polystill.decoding.ctranslate2 import CTranslate2Translator
from polystill.environment import child
from polystill.environment.child import peak_memory
from polystill.errors import UserError

WARM_UP_LINES = 8


def figures(
    folder: Path,
    lines: Sequence[str],
    *,
    options: DecodingOptions,
    precision: str = "default",
    threads: int = 1,
    speed: bool = False,
) -> dict[str, Any]:
    """`latency_p50_ms`, `latency_p95_ms` (one sentence at a time), `latency_sentences`, `peak_memory_bytes`,
    `compute_type` and, with `speed`, `words_per_second` (source words, in batches on that many threads).

    Raises:
        UserError: the folder does not load in that precision, or there is no sentence to translate.
    """
    found: dict[str, Any] = child.call(
        f"{__name__}:measure_here",
        folder=str(folder.absolute()),
        lines=list(lines),
        beam_size=options.beam_size,
        length_penalty=options.length_penalty,
        precision=precision,
        threads=threads,
        speed=speed,
    )
    if "error" in found:
        raise UserError(found["error"])
    return found


def measure_here(
    folder: str,
    lines: list[str],
    beam_size: int,
    length_penalty: float,
    precision: str,
    threads: int,
    speed: bool,
) -> dict[str, Any]:
    """For `child.call`: what `figures` returns, or `error`."""
    options = DecodingOptions(beam_size=beam_size, length_penalty=length_penalty)
    try:
        with peak_memory() as peak:
            translator = CTranslate2Translator(Path(folder), precision, threads)
            for line in lines[:WARM_UP_LINES]:
                translator.translate([line], options, Cuts())
            latencies = [_seconds(translator, [line], options) for line in lines]
    except UserError as error:
        return {"error": str(error)}
    found = {
        "latency_p50_ms": 1000 * statistics.median(latencies),
        "latency_p95_ms": 1000 * percentile(latencies, 95),
        "latency_sentences": len(lines),
        "peak_memory_bytes": peak.peak,
        "compute_type": translator.compute_type,
    }
    if speed:
        words = sum(len(line.split()) for line in lines)
        found["words_per_second"] = words / _seconds(translator, lines, options)
    return found


def _seconds(translator: CTranslate2Translator, lines: Sequence[str], options: DecodingOptions) -> float:
    start = time.perf_counter()
    translator.translate(lines, options, Cuts())
    return time.perf_counter() - start


def sample(lines: Sequence[str], count: int) -> list[str]:
    """At most so many of the lines that have words, evenly spread, in their order.

    Raises:
        UserError: no line has any.
    """
    filled = [line for line in lines if line.strip()]
    if not filled:
        raise UserError("there is no sentence to measure with: all lines are blank")
    count = min(count, len(filled))
    return [filled[i * len(filled) // count] for i in range(count)]


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest value that so many percent of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-percent * len(ordered) // 100) - 1))]
