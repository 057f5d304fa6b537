"""The students that a server has loaded, what is measured of each, and which one answers a request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

from polystill.data.tokenizer import Tokenizer
from polystill.decoding.contract import Translator
from polystill.errors import UserError, nearest
from polystill.runs.rows import system_key

Row = dict[str, Any]


class Engine(Translator, Protocol):
    """A translator that shows its tokenizer, as all of polystill's do."""

    tokenizer: Tokenizer


@dataclass(frozen=True)
class Measured:
    """What RUN/results.json says of a student as it is served; None for what was not measured."""

    bleu: float | None = None
    chrf: float | None = None
    test_set: str | None = None
    parameters: int | None = None
    size_bytes: int | None = None
    latency_p50_ms: float | None = None
    latency_p95_ms: float | None = None

    @property
    def latency_ms(self) -> float | None:
        """What a budget is compared with: nearly all requests are as quick as p95 says."""
        return self.latency_p50_ms if self.latency_p95_ms is None else self.latency_p95_ms


@dataclass(frozen=True)
class Student:
    """A loaded model."""

    name: str
    engine: Engine
    measured: Measured = field(default_factory=Measured)
    length_penalty: float = 1.0

    def fits(self, sentence: str) -> bool:
        """Whether the model takes the sentence whole."""
        return len(self.engine.tokenizer.source_pieces([sentence])[0]) <= self.engine.max_source_tokens


def measured(
    rows: Sequence[Row],
    student: str,
    *,
    engine: str,
    precision: str,
    shortlist: bool = False,
    beam: int,
    length_penalty: float,
) -> Measured:
    """What a run's rows say of one student in one engine and search: each figure of the first test set that has it."""
    wanted = (student, engine, precision, shortlist, beam)
    own = [row for row in rows if system_key(row) == wanted and row.get("length_penalty") == length_penalty]
    names = [field.name for field in fields(Measured)]
    return Measured(**{name: next((row[name] for row in own if row.get(name) is not None), None) for name in names})


@dataclass(frozen=True)
class Family:
    """All students of a server, which translate between the same two languages."""

    name: str
    students: Sequence[Student]
    """The first one answers where a request does not choose."""
    source_language: str
    target_language: str

    def choose(self, name: str | None, budget_ms: float | None) -> Student:
        """The student of that name, or the best one whose latency is within the budget; the first if neither is given.

        Raises:
            UserError: there is no such student, none is quick enough, or latencies were not measured.
        """
        if name is not None and budget_ms is not None:
            raise UserError("give model or latency_budget_ms, not both")
        if budget_ms is not None:
            return self._within(budget_ms)
        if name is None:
            return self.students[0]
        for student in self.students:
            if student.name == name:
                return student
        names = [student.name for student in self.students]
        raise UserError(f"model: no such student is served{nearest(name, names)}; there are: {' '.join(names)}")

    def _within(self, budget_ms: float) -> Student:
        known = [(s, s.measured.latency_ms) for s in self.students]
        timed = [(student, latency) for student, latency in known if latency is not None]
        if not timed:
            raise UserError(
                "latency_budget_ms: no student's latency at batch 1 has been measured with the engine, precision and "
                "beam size of this server; choose by model instead"
            )
        quick = [student for student, latency in timed if latency <= budget_ms]
        if not quick:
            student, least = min(timed, key=lambda pair: pair[1])
            raise UserError(
                f"latency_budget_ms: no student is as quick; the quickest is {student.name}, {least:.3g} ms"
            )
        return max(quick, key=lambda s: (s.measured.bleu or 0.0, s.measured.parameters or 0))
