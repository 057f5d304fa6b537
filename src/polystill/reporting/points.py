"""What a report compares: students as engines run them, their names, and the Pareto front of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from polystill.evaluation.figures import search
from polystill.reporting.families import Family, Row
from polystill.runs.rows import student_name


@dataclass(frozen=True)
class Point:
    """One student as one engine runs it."""

    family: Family
    row: Row

    @property
    def bleu(self) -> float:
        return float(self.row["bleu"])

    @property
    def student(self) -> str:
        """As it is shown."""
        return student_name(self.row)


def pareto(points: Sequence[Point], cost: str) -> list[Point]:
    """Those that no other point beats: none costs as little or less and has as good a BLEU or a better one.

    The cheapest first. Of equals the first counts.
    """
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p.row[cost], -p.bleu)):
        if not front or point.bleu > front[-1].bleu:
            front.append(point)
    return front


class Labels:
    """Names of points: as short as tells them apart."""

    def __init__(self, points: Sequence[Point]) -> None:
        self._parts = [
            part
            for part in (_family_name, _engine, _precision, _search)
            if len({part(point) for point in points}) > 1  # what all have in common is said once
        ]

    def series(self, point: Point) -> str:
        """What its colour means; "" where all points are of one series."""
        return ", ".join(part(point) for part in self._parts)

    def full(self, point: Point) -> str:
        return ", ".join(filter(None, (point.student, self.series(point))))


def _family_name(point: Point) -> str:
    return point.family.name


def _engine(point: Point) -> str:
    return str(point.row["engine"])


def _precision(point: Point) -> str:
    return str(point.row["precision"])


def _search(point: Point) -> str:
    return search(point.row["beam"])
