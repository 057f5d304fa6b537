"""Translation speed of a family's members: words a second in batches, latency of single sentences.

Every system translates the same sentences in the same batches, tokenisation and detokenisation included, all systems in
turn. Batches hold sentences of like length, as the engines themselves would sort them; at batch size 1 the sentences
come in their own order and one waits for the other, so each one's seconds are its latency.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from polystill.bench.rounds import interleaved, quotients, spread
from polystill.decoding.contract import Cuts, DecodingOptions, Translator
from polystill.evaluation.speed import percentile

Row = dict[str, Any]
REFERENCE = ("ctranslate2", "float32")
"""Engine and precision of the teacher with the largest beam that everything is compared with."""


@dataclass(frozen=True)
class System:
    """A member of the family on an engine. An engine with `inner_threads` uses them all for one batch."""

    student: str
    engine: str
    precision: str
    beam_size: int
    translator: Translator
    inner_threads: bool
    device: str = "cpu"
    shortlist: bool = False
    """Whether it looks at the likely part of the vocabulary only."""

    def name(self, batch_size: int) -> str:
        how = f"{self.engine} {self.precision}{' shortlist' * self.shortlist}"
        return f"{self.student} {how} beam {self.beam_size} batch {batch_size}"


class _Pass:
    """One system over all sentences in batches of one size."""

    def __init__(self, system: System, batches: list[list[str]], batch_size: int, threads: int) -> None:
        self.system, self.batches, self.batch_size = system, batches, batch_size
        self.latencies: list[list[float]] = []  # of each sentence, in each measured round
        self._side_by_side = 1 if system.inner_threads or batch_size == 1 else threads
        # So many source tokens that batches are parted by their sources' length only, as all engines part them.
        self._options = DecodingOptions(beam_size=system.beam_size, batch_tokens=10**6)

    def warm_up(self) -> None:
        self._translate(self.batches[0])

    def run(self) -> None:
        if self._side_by_side == 1:
            self.latencies.append([self._translate(batch) for batch in self.batches])
            return
        with ThreadPoolExecutor(self._side_by_side) as pool:
            self.latencies.append(list(pool.map(self._translate, self.batches)))

    def _translate(self, lines: list[str]) -> float:
        start = time.perf_counter()
        self.system.translator.translate(lines, self._options, Cuts())
        return time.perf_counter() - start


def measure(
    systems: Sequence[System],
    lines: Sequence[str],
    *,
    batch_sizes: Sequence[int],
    rounds: int,
    threads: int,
    log: Callable[[str], object],
) -> list[Row]:
    """A row for each system and batch size, as docs/benchmark.md describes them."""
    passes = {
        system.name(size): _Pass(system, batches_of(lines, size), size, threads)
        for size in batch_sizes
        for system in systems
    }
    for each in passes.values():
        each.warm_up()
    seconds = interleaved({name: each.run for name, each in passes.items()}, rounds, log=log, warm_up=False)
    words = sum(len(line.split()) for line in lines)
    return [_row(each, passes, seconds, words) for each in passes.values()]


def batches_of(lines: Sequence[str], size: int) -> list[list[str]]:
    """Batches of `size` sentences of like length (in words), the longest first; single sentences in their own order."""
    ordered = list(lines) if size == 1 else sorted(lines, key=lambda line: -len(line.split()))
    return [ordered[i : i + size] for i in range(0, len(ordered), size)]


def _row(of: _Pass, passes: dict[str, _Pass], seconds: dict[str, list[float]], words: int) -> Row:
    system = of.system
    own = seconds[system.name(of.batch_size)]
    row: Row = {
        "student": system.student,
        "engine": system.engine,
        "precision": system.precision,
        "device": system.device,
        "shortlist": system.shortlist,
        "beam": system.beam_size,
        "batch_size": of.batch_size,
        "words_per_second": spread([words / s for s in own]),
    }
    for key, (engine, precision) in (
        ("speed_to_reference", REFERENCE),
        ("speed_to_teacher_same_engine", (system.engine, system.precision)),
    ):
        teacher = _slowest_teacher(passes, engine, precision, of.batch_size)
        if teacher is not None:
            row[key] = quotients(seconds[teacher.name(of.batch_size)], own)
    if of.batch_size == 1:
        row["latency_ms"] = {
            "p50": spread([1000 * statistics.median(each) for each in of.latencies]),
            "p95": spread([1000 * percentile(each, 95) for each in of.latencies]),
        }
    return row


def _slowest_teacher(passes: dict[str, _Pass], engine: str, precision: str, batch_size: int) -> System | None:
    """The teacher with the largest beam on that engine."""
    found = [
        each.system
        for each in passes.values()
        if (each.system.student, each.system.engine, each.system.precision) == ("teacher", engine, precision)
        and each.batch_size == batch_size
    ]
    return max(found, key=lambda system: system.beam_size) if found else None
