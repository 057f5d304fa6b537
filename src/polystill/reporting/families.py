"""The runs of a report: their rows on one test set, the points that charts compare, and which differences are noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from polystill.errors import UserError
from polystill.evaluation.figures import TITLES, figure, measured, search
from polystill.evaluation.resampling import RESAMPLES, Difference
from polystill.evaluation.significance import compare
from polystill.runs import Run
from polystill.runs.results import DeviceRow, QualityRow, Results
from polystill.storage import text_lines
from polystill.students import Student


@dataclass(frozen=True)
class Family:
    """A run, its name in the report, and its rows on the report's test set. `rows` is empty if nothing is measured."""

    run: Run
    name: str
    test_set: str | None
    rows: Sequence[QualityRow]

    @cached_property
    def results(self) -> Results:
        return self.run.results()

    @property
    def beams(self) -> list[int]:
        return sorted({row.beam for row in self.rows})

    def as_recipe(self, beam: int) -> list[QualityRow]:
        """The rows with this beam and the recipe's engine, precision and length penalty, the smallest student first."""
        rows = [row for row in self.rows if row.beam == beam and row.measured_as(self.run.recipe)]
        return sorted(rows, key=lambda row: (row.parameters or 0, Student.parse(row.model)))

    def text(self, side: Literal["source", "target"]) -> list[str] | None:
        """The `source` or `target` lines of the test set. None if the run was copied without them.

        Raises:
            UserError: they have changed since the run prepared them.
        """
        if self.test_set is None or not (self.run.data / "test" / f"{self.test_set}.{side}.txt").is_file():
            return None
        return self.run.test_lines(self.test_set, side)

    def translations(self, row: QualityRow) -> list[str] | None:
        """The stored translations of the test set. None if their file is missing.

        Raises:
            UserError: the file and the test set have different numbers of lines.
        """
        path = self.run.folder / row.hypotheses
        lines, references = text_lines(path) if path.is_file() else None, self.text("target")
        if lines is not None and references is not None and len(lines) != len(references):
            raise UserError(
                f"{path}: {len(lines)} lines, but the test set has {len(references)}; measure them again with "
                f"polystill evaluate {self.run.folder} --force"
            )
        return lines


def title_end(family: Family, families: Sequence[Family]) -> str:
    """The end of a chart's title: the family's name if the report has several."""
    return f": {family.name}" if len(families) > 1 else ""


def open_families(folders: Sequence[Path]) -> list[Family]:
    """Open the runs, in the given order. The report's test set is the first one that all of them have.

    Raises:
        UserError: a folder is no run or is given twice, or the runs have no test set in common.
    """
    runs = [Run.open(folder) for folder in folders]
    resolved = [run.folder.resolve() for run in runs]
    if twice := [folder for folder in resolved if resolved.count(folder) > 1]:
        raise UserError(f"{twice[0]}: given twice")
    test_set = _common_test_set(runs)
    # The names of the recipes, or of the folders where two recipes share a name, or else whole paths.
    choices = [[run.recipe.name for run in runs], [folder.name for folder in resolved]]
    names = next((names for names in choices if len(set(names)) == len(names)), [str(run.folder) for run in runs])
    families = [
        Family(run, name, test_set, [row for row in run.results().rows if row.test_set == test_set])
        for run, name in zip(runs, names, strict=True)
    ]
    _check_same_sentences(families)
    return families


def _common_test_set(runs: Sequence[Run]) -> str | None:
    common = [name for name in runs[0].recipe.data.test if all(name in run.recipe.data.test for run in runs)]
    if common or len(runs) == 1:
        return common[0] if common else None
    has = "; ".join(f"{run.folder}: {' '.join(run.recipe.data.test) or 'none'}" for run in runs)
    raise UserError(f"the runs have no test set in common ({has}); report them one by one")


def _check_same_sentences(families: Sequence[Family]) -> None:
    first = families[0]
    for other in families[1:]:
        sides = (first.text("source"), other.text("source")), (first.text("target"), other.text("target"))
        if any(expected is not None and lines is not None and expected != lines for expected, lines in sides):
            raise UserError(
                f"{other.run.folder}: its test set {first.test_set} is not the same as that of {first.run.folder}; "
                "report them one by one"
            )


def shown_beam(families: Sequence[Family]) -> int | None:
    """The beam size of most rows, the largest on a tie. None if nothing is measured.

    Beam sizes measured with the recipe's own engine and precision come first, since most charts show only those.
    """
    beams = [row.beam for family in families for row in family.rows]
    as_recipe = [beam for beam in beams if any(family.as_recipe(beam) for family in families)]
    return max(as_recipe or beams, key=lambda beam: (beams.count(beam), beam), default=None)


def figure_columns(names: Sequence[str], rows: Sequence[QualityRow | DeviceRow]) -> dict[str, list[str]]:
    """The columns of a table, by title, for those figures that at least one row has."""
    return {TITLES[name]: [figure(name, row) for row in rows] for name in measured(names, rows)}


@dataclass(frozen=True)
class Point:
    """One student as one engine runs it."""

    family: Family
    row: QualityRow

    @property
    def bleu(self) -> float:
        return self.row.bleu

    def cost(self, name: str) -> float:
        """A figure that was measured, such as `size_bytes`."""
        value: float | None = getattr(self.row, name)
        assert value is not None
        return value


def pareto(points: Sequence[Point], cost: str) -> list[Point]:
    """The points that no other point beats, the cheapest first. The first of equal points stays.

    One point beats another if it costs no more and its BLEU is at least as high.
    """
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p.cost(cost), -p.bleu)):
        if not front or point.bleu > front[-1].bleu:
            front.append(point)
    return front


class Labels:
    """Names of points that are as short as possible: they leave out what all points have in common."""

    def __init__(self, points: Sequence[Point]) -> None:
        columns = zip(*map(self._parts, points), strict=True)
        self._differing = [i for i, values in enumerate(columns) if len(set(values)) > 1]

    @staticmethod
    def _parts(point: Point) -> tuple[str, ...]:
        row = point.row
        penalty = f"length penalty {row.length_penalty:g}"
        return point.family.name, row.engine, row.precision, search(row.beam), penalty

    def series(self, point: Point) -> str:
        """The meaning of the point's colour. Empty if all points belong to one series."""
        return ", ".join(self._parts(point)[i] for i in self._differing)

    def full(self, point: Point) -> str:
        return ", ".join(filter(None, (point.row.label, self.series(point))))


NOISE = f"noise (0 is in the 95 % interval of a paired bootstrap of {RESAMPLES:,} resamples)"


class Noise:
    """Differences of stored translations of one test set, and their intervals. Each pair of points is compared once."""

    def __init__(self, references: Sequence[str] | None, target_language: str) -> None:
        self._references, self._language = references, target_language
        self._known: dict[tuple[int, int], dict[str, Difference]] = {}
        """By the identities of the two rows, then by metric."""

    def is_noise(self, one: Point, other: Point) -> bool:
        """Whether the difference in BLEU may be luck. False if translations are missing."""
        return self.tested(one, [other]).get(0, False)

    def tested(self, one: Point, others: Sequence[Point]) -> dict[int, bool]:
        """Whether differences in BLEU from `one` are noise, by index in `others`, without those of `differences`."""
        return {i: found["bleu"].better is None for i, found in self.differences(one, others).items()}

    def differences(self, one: Point, others: Sequence[Point]) -> dict[int, dict[str, Difference]]:
        """Differences from `one` by index in `others` and by metric, without those that lack translations."""
        keys = [(id(one.row), id(other.row)) for other in others]
        new = {str(i): other for i, other in enumerate(others) if keys[i] not in self._known}
        systems = {i: lines for i, p in new.items() if (lines := p.family.translations(p.row)) is not None}
        baseline = one.family.translations(one.row)
        if self._references is not None and baseline is not None and systems:
            for row in compare({"one": baseline, **systems}, self._references, target_language=self._language):
                if row.difference is not None:
                    self._known.setdefault(keys[int(row.system)], {})[row.metric] = row.difference
        return {i: self._known[key] for i, key in enumerate(keys) if key in self._known}
