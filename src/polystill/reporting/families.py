"""The runs of a report: their rows on one test set, and what names and tells them apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from polystill.decoding.stream import read_lines
from polystill.errors import UserError
from polystill.runs import Run
from polystill.runs.rows import measured_as_recipe
from polystill.students import Student

Row = dict[str, Any]


@dataclass(frozen=True)
class Family:
    """A run, its name in the report, and its rows on the report's test set (empty where nothing is measured yet)."""

    run: Run
    name: str
    test_set: str | None
    rows: Sequence[Row]

    @cached_property
    def results(self) -> dict[str, Any]:
        return self.run.results()

    @property
    def beams(self) -> list[int]:
        return sorted({row["beam"] for row in self.rows})

    def as_recipe(self, beam: int) -> list[Row]:
        """The rows of one beam size in the recipe's own engine, precision and length penalty, the smallest first."""
        rows = [row for row in self.rows if measured_as_recipe(row, self.run.recipe)]
        return by_size(row for row in rows if row["beam"] == beam)

    def text(self, side: str) -> list[str] | None:
        """The test set's `source` or `target`; None where the run was copied without it."""
        return _lines(self.run.data / "test" / f"{self.test_set}.{side}.txt")

    @cached_property
    def _test_lines(self) -> int | None:
        references = self.text("target")
        return None if references is None else len(references)

    def translations(self, row: Row) -> list[str] | None:
        """Of the test set; None where the file is missing.

        Raises:
            UserError: it has another number of lines than the test set.
        """
        path = self.run.folder / row["hypotheses"]
        lines, expected = _lines(path), self._test_lines
        if lines is not None and expected is not None and len(lines) != expected:
            raise UserError(
                f"{path}: {len(lines)} lines, but the test set has {expected}; measure them again with "
                f"polystill evaluate {self.run.folder} --force"
            )
        return lines


def open_families(folders: Sequence[Path]) -> list[Family]:
    """The runs in the order given; their test set is the first that all of them have.

    Raises:
        UserError: a folder is no run or is given twice, or the runs have no test set, or none in common.
    """
    runs = [Run.open(folder) for folder in folders]
    places = [run.folder.resolve() for run in runs]
    for place in places:
        if places.count(place) > 1:
            raise UserError(f"{place}: given twice")
    test_set = _common_test_set(runs)
    names = _names(runs)
    families = []
    for run, name in zip(runs, names, strict=True):
        rows = [row for row in run.results()["rows"] if row["test_set"] == test_set]
        families.append(Family(run, name, test_set, rows))
    _check_same_references(families)
    return families


def _common_test_set(runs: Sequence[Run]) -> str | None:
    known = [list(run.recipe.data.test) for run in runs]
    common = [name for name in known[0] if all(name in others for others in known)]
    if common:
        return common[0]
    if len(runs) == 1:
        return None
    listed = "; ".join(f"{run.folder}: {' '.join(names) or 'none'}" for run, names in zip(runs, known, strict=True))
    raise UserError(f"the runs have no test set in common ({listed}); report them one by one")


def _check_same_references(families: Sequence[Family]) -> None:
    first = families[0]
    for other in families[1:]:
        for side in ("source", "target"):
            ours, theirs = first.text(side), other.text(side)
            if ours is not None and theirs is not None and ours != theirs:
                raise UserError(
                    f"{other.run.folder}: has not the same test set {first.test_set} as {first.run.folder}; "
                    "report them one by one"
                )


def _names(runs: Sequence[Run]) -> list[str]:
    """The recipes' names, or where two are the same those of the folders, or the whole paths."""
    choices = [[run.recipe.name for run in runs], [run.folder.resolve().name for run in runs]]
    return next((names for names in choices if len(set(names)) == len(names)), [str(run.folder) for run in runs])


def by_size(rows: Iterable[Row]) -> list[Row]:
    """From the smallest to the largest student."""
    return sorted(rows, key=lambda row: (row.get("parameters", 0), Student.parse(row["model"])))


def shown_beam(families: Sequence[Family]) -> int | None:
    """The beam size that most rows were measured with, the largest of several; None where nothing is measured.

    One that a recipe's own engine and precision were measured with, if there is any: most charts show these alone.
    """
    beams = [row["beam"] for family in families for row in family.rows]
    as_recipe = [beam for beam in beams if any(family.as_recipe(beam) for family in families)]
    return max(as_recipe or beams, key=lambda beam: (beams.count(beam), beam), default=None)


def _lines(path: Path) -> list[str] | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return list(read_lines(file, str(path)))
