"""The runs of a report: their rows on one test set, the points that charts compare, and which differences are noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from polystill.decoding.stream import read_lines
from polystill.errors import UserError
from polystill.evaluation.figures import search
from polystill.evaluation.significance import SIGNIFICANT, compare
from polystill.runs import Run
from polystill.runs.results import QualityRow, Results
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

    def text(self, side: str) -> list[str] | None:
        """The `source` or `target` lines of the test set. None if the run was copied without them."""
        return _lines(self.run.data / "test" / f"{self.test_set}.{side}.txt")

    @cached_property
    def _test_lines(self) -> int | None:
        references = self.text("target")
        return None if references is None else len(references)

    def translations(self, row: QualityRow) -> list[str] | None:
        """The stored translations of the test set. None if their file is missing.

        Raises:
            UserError: the file and the test set have different numbers of lines.
        """
        path = self.run.folder / row.hypotheses
        lines, expected = _lines(path), self._test_lines
        if lines is not None and expected is not None and len(lines) != expected:
            raise UserError(
                f"{path}: {len(lines)} lines, but the test set has {expected}; measure them again with "
                f"polystill evaluate {self.run.folder} --force"
            )
        return lines


def title_end(family: Family, families: Sequence[Family]) -> str:
    """The end of a chart's title: the family's name if the report has several."""
    return f": {family.name}" if len(families) > 1 else ""


def _lines(path: Path) -> list[str] | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return list(read_lines(file, str(path)))


# --- opening runs ---------------------------------------------------------------------------------------------------


def open_families(folders: Sequence[Path]) -> list[Family]:
    """Open the runs, in the given order. The report's test set is the first one that all of them have.

    Raises:
        UserError: a folder is no run or is given twice, or the runs have no test set in common.
    """
    runs = [Run.open(folder) for folder in folders]
    resolved = [run.folder.resolve() for run in runs]
    for folder in resolved:
        if resolved.count(folder) > 1:
            raise UserError(f"{folder}: given twice")
    test_set = _common_test_set(runs)
    families = []
    for run, name in zip(runs, _names(runs), strict=True):
        rows = [row for row in run.results().rows if row.test_set == test_set]
        families.append(Family(run, name, test_set, rows))
    _check_same_sentences(families)
    return families


def _common_test_set(runs: Sequence[Run]) -> str | None:
    test_sets = [list(run.recipe.data.test) for run in runs]
    common = [name for name in test_sets[0] if all(name in others for others in test_sets)]
    if common:
        return common[0]
    if len(runs) == 1:
        return None
    has = "; ".join(f"{run.folder}: {' '.join(names) or 'none'}" for run, names in zip(runs, test_sets, strict=True))
    raise UserError(f"the runs have no test set in common ({has}); report them one by one")


def _check_same_sentences(families: Sequence[Family]) -> None:
    first = families[0]
    for other in families[1:]:
        for side in ("source", "target"):
            expected, lines = first.text(side), other.text(side)
            if expected is not None and lines is not None and expected != lines:
                raise UserError(
                    f"{other.run.folder}: has not the same test set {first.test_set} as {first.run.folder}; "
                    "report them one by one"
                )


def _names(runs: Sequence[Run]) -> list[str]:
    """The names of the recipes, or of the folders where two recipes share a name, or else whole paths."""
    choices = [[run.recipe.name for run in runs], [run.folder.resolve().name for run in runs]]
    return next((names for names in choices if len(set(names)) == len(names)), [str(run.folder) for run in runs])


def shown_beam(families: Sequence[Family]) -> int | None:
    """The beam size of most rows, the largest on a tie. None if nothing is measured.

    Beam sizes measured with the recipe's own engine and precision come first, since most charts show only those.
    """
    beams = [row.beam for family in families for row in family.rows]
    as_recipe = [beam for beam in beams if any(family.as_recipe(beam) for family in families)]
    return max(as_recipe or beams, key=lambda beam: (beams.count(beam), beam), default=None)


# --- points of charts -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Point:
    """One student as one engine runs it."""

    family: Family
    row: QualityRow

    @property
    def bleu(self) -> float:
        return self.row.bleu

    @property
    def student(self) -> str:
        """The name that charts show, with a mark for a shortlist."""
        return self.row.label

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
        rows = [self._parts(point) for point in points]
        self._differing = [i for i, values in enumerate(zip(*rows, strict=True)) if len(set(values)) > 1]

    @staticmethod
    def _parts(point: Point) -> tuple[str, ...]:
        row = point.row
        return point.family.name, row.engine, row.precision, search(row.beam)

    def series(self, point: Point) -> str:
        """The meaning of the point's colour. Empty if all points belong to one series."""
        parts = self._parts(point)
        return ", ".join(parts[i] for i in self._differing)

    def full(self, point: Point) -> str:
        return ", ".join(filter(None, (point.student, self.series(point))))


# --- noise ----------------------------------------------------------------------------------------------------------

SAMPLES = 1000
NOISE = f"noise (paired bootstrap of {SAMPLES} samples, p ≥ {SIGNIFICANT:g})"


class Noise:
    """Paired bootstrap of BLEU over the stored translations of one test set. Each pair of points is compared once."""

    def __init__(self, references: Sequence[str] | None, target_language: str) -> None:
        self._references, self._language = references, target_language
        self._p_values: dict[tuple[int, int], float] = {}

    def is_noise(self, one: Point, other: Point) -> bool:
        """Whether the difference may be luck. False if translations are missing."""
        return self.is_noise_at(self.p_values(one, [other]).get(0, 0.0))

    @staticmethod
    def is_noise_at(p_value: float) -> bool:
        return p_value >= SIGNIFICANT

    def p_values(self, one: Point, others: Sequence[Point]) -> dict[int, float]:
        """p-values of the differences from `one` by index in `others`, without those whose translations are missing."""
        new = {i: other for i, other in enumerate(others) if self._key(one, other) not in self._p_values}
        lines = {i: other.family.translations(other.row) for i, other in new.items()}
        systems = {str(i): texts for i, texts in lines.items() if texts is not None}
        baseline = one.family.translations(one.row)
        if self._references is not None and baseline is not None and systems:
            rows = compare(
                {"one": baseline, **systems},
                self._references,
                target_language=self._language,
                samples=SAMPLES,
                metrics=("bleu",),
            )
            for row in rows:
                if "p_value" in row:
                    self._p_values[self._key(one, new[int(row["system"])])] = row["p_value"]
        keys = {i: self._key(one, other) for i, other in enumerate(others)}
        return {i: self._p_values[key] for i, key in keys.items() if key in self._p_values}

    @staticmethod
    def _key(one: Point, other: Point) -> tuple[int, int]:
        return id(one.row), id(other.row)
