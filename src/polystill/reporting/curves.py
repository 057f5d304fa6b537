"""Training curves: every candidate's validation, over all stages of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from polystill.reporting.document import Chart
from polystill.reporting.families import Family
from polystill.reporting.lines import by_depth, line_table, student_lines
from polystill.students import Student


@dataclass(frozen=True)
class Curves:
    """Validations of the finished stages; updates are counted on from stage to stage."""

    updates: Sequence[int]
    nll: dict[str, Sequence[float]]
    """By student: nats a target token at each of the updates, label smoothing left out."""
    stages: Sequence[tuple[str, int]]
    """Names, and the updates they end at."""

    @property
    def largest(self) -> str:
        return max(self.nll, key=Student.parse)

    @property
    def gaps(self) -> dict[str, Sequence[float]]:
        """By student: its loss minus that of the largest one."""
        reference = self.nll[self.largest]
        return {name: [a - b for a, b in zip(line, reference, strict=True)] for name, line in self.nll.items()}


def read_curves(family: Family) -> Curves | None:
    """From RUN/state.json; None where no stage is finished or none has kept its validations."""
    updates: list[int] = []
    nll: dict[str, list[float]] = {}
    stages: list[tuple[str, int]] = []
    end = 0
    for stage in family.run.recipe.stages:
        record = family.run.record(f"training.{stage.name}")
        if record is None or not record.get("history"):
            break
        for point in record["history"]:
            updates.append(end + point["update"])
            for student, value in point["nll"].items():
                nll.setdefault(student, []).append(value)
        end += record["updates"]
        stages.append((stage.name, end))
    return Curves(updates, dict(nll), stages) if updates else None


def curve_charts(curves: Curves, prefix: str, suffix: str) -> Iterator[Chart]:
    """The curves themselves and, of several students, how far each is from the largest one."""
    last = {student: values[-1] for student, values in curves.nll.items()}
    best = min(last, key=last.__getitem__)
    worst = max(last, key=last.__getitem__)
    span = f"over {curves.updates[-1]:,} updates ({', '.join(name for name, _ in curves.stages)})"
    summary = (
        f"Validation loss of {len(last)} students {span}. At the end it is lowest for {best} ({last[best]:.3f} nats a "
        f"token) and highest for {worst} ({last[worst]:.3f})."
    )
    caption = "Validation loss after so many updates (nats a token)"
    table = line_table(caption, curves.updates, curves.nll, ".3f", lowest=True)
    yield Chart(f"{prefix}-loss", f"Validation loss{suffix}", summary, _spec(curves, "nll"), table)
    if len(last) > 1:
        gaps = curves.gaps
        far = max(gaps, key=lambda student: gaps[student][-1])
        summary = (
            f"The same as a difference to the largest student, {curves.largest}; below zero is better than that. At "
            f"the end {far} is farthest behind, by {gaps[far][-1]:.3f} nats a token."
        )
        caption = f"Distance to {curves.largest} after so many updates (nats a token)"
        others = {student: line for student, line in gaps.items() if student != curves.largest}
        table = line_table(caption, curves.updates, others, "+.3f")
        title = f"Distance to {curves.largest}{suffix}"
        yield Chart(f"{prefix}-distance", title, summary, _spec(curves, "gap"), table)


def _spec(curves: Curves, field: str) -> dict[str, Any]:
    gaps = curves.gaps
    values = [
        {
            "update": update,
            "student": student,
            "nll": round(curves.nll[student][i], 5),
            "gap": round(gaps[student][i], 5),
        }
        for student in by_depth(curves.nll)
        for i, update in enumerate(curves.updates)
    ]
    tooltip = [
        {"field": "nll", "title": "nats a token", "format": ".3f"},
        {"field": "gap", "title": f"distance to {curves.largest}", "format": "+.3f"},
    ]
    return student_lines(values, field, "nats a token", tooltip, ends=curves.stages[:-1])
