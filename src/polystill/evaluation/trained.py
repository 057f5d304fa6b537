"""What can be done with a run whose training is finished: measure its students, and compare them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polystill.decoding.contract import need_precision
from polystill.errors import UserError
from polystill.runs import Run
from polystill.runs.rows import WITH_SHORTLIST, has_shortlist, measured_as_recipe
from polystill.storage import text_lines

if TYPE_CHECKING:
    from polystill.config import Recipe
    from polystill.students import StudentSpace

Row = dict[str, Any]


def family_space(run: Run) -> StudentSpace:
    """The members of a run's family."""
    from polystill.models.folder import family_space

    return family_space(run.family)


def evaluate_run(
    folder: Path,
    *,
    students: Sequence[str] | None = None,
    beams: Sequence[int] | None = None,
    engine: str | None = None,
    precisions: Sequence[str] | None = None,
    shortlist: bool = False,
    force: bool = False,
) -> tuple[Run, list[Row]]:
    """Measure a run whose training is finished; what is not given comes from its recipe. Returns the run, unlocked.

    Of CTranslate2's models also latency and memory, all in turn. What results.json has already is not measured again,
    unless `force`. With `shortlist` the students are measured with the run's.

    Raises:
        UserError: the folder is no run, its training is not finished, a student or setting is unknown, or the engine
            has no shortlists.
    """
    from polystill.evaluation.device_figures import add_device_figures
    from polystill.evaluation.quality import evaluate_students

    with Run.open(folder, lock=True) as run:
        run.need_family()
        with run.spending("evaluation"):
            rows = [
                row
                for precision in _known_precisions(run, engine, precisions)
                for row in evaluate_students(
                    run,
                    students=students,
                    beams=beams,
                    engine=engine,
                    precision=precision,
                    shortlist=shortlist,
                    measured_here=True,
                    force=force,
                )
            ]
            rows = add_device_figures(run, rows)
    return run, rows


def _known_precisions(run: Run, engine: str | None, wanted: Sequence[str] | None) -> list[str]:
    """Those to measure, once each; a wrong one is found before the others have taken hours."""
    precisions = list(dict.fromkeys(wanted or [run.recipe.evaluation.precision]))
    for precision in precisions:
        need_precision(engine or run.recipe.evaluation.engine, precision)
    return precisions


def probe_run(
    folder: Path,
    *,
    students: Sequence[str] | None = None,
    engine: str | None = None,
    precision: str | None = None,
    shortlist: bool = False,
    beam: int | None = None,
) -> list[Row]:
    """Give a finished run's students lines unlike their data, and count what comes of them.

    Raises:
        UserError: as `evaluate_run`, and `evaluation.robustness.probe_students`.
    """
    from polystill.evaluation.robustness import probe_students

    with Run.open(folder, lock=True) as run:
        run.need_family()
        return probe_students(
            run, students=students, engine=engine, precision=precision, shortlist=shortlist, beam=beam
        )


def compare_students(folder: Path, names: Sequence[str], test_set: str | None, beam: int | None) -> list[Row]:
    """Paired bootstrap of the first student against the others, on the translations that their runs have stored.

    A name is a student of the run in `folder`, or `OTHER_RUN/student`; with `:precision` behind it, in that one, and
    with `+list` behind all, with its shortlist.
    `test_set` is the recipe's first by default, `beam` its largest; engine, length penalty and, where none is named,
    precision are that recipe's for all students. Returns `evaluation.significance.compare`'s rows.

    Raises:
        UserError: a folder is no run, a student was not evaluated there, or the runs' references differ.
    """
    from polystill.evaluation.significance import compare

    run = Run.open(folder)
    known = list(run.recipe.data.test)
    if not known:
        raise UserError(f"{folder}: the run has no test sets to compare on; add one to data.test")
    if test_set not in (None, *known):
        raise UserError(f"--test-set {test_set}: the run has {' '.join(known)}")
    test_set, beam = test_set or known[0], beam or max(run.recipe.evaluation.beams)
    expected = references(run, test_set)
    systems = {}
    for name in names:
        place, _, student = name.rpartition("/")
        other = Run.open(Path(place)) if place else run
        if place and (test_set not in other.recipe.data.test or references(other, test_set) != expected):
            raise UserError(f"{place}: has not the same test set {test_set} as {folder}")
        systems[name] = _stored_translations(other, student, test_set, beam, run.recipe)
    language, lowercase = run.recipe.data.target_language, run.recipe.evaluation.lowercase
    return compare(systems, expected, target_language=language, lowercase=lowercase)


def references(run: Run, test_set: str) -> list[str]:
    return text_lines(run.data / "test" / f"{test_set}.target.txt")


def _stored_translations(run: Run, name: str, test_set: str, beam: int, recipe: Recipe) -> list[str]:
    """Translations measured as `recipe` says, which may be another run's, but for what `name` says."""
    run.need_family()
    shortlist = name.endswith(WITH_SHORTLIST)
    name, _, precision = name.removesuffix(WITH_SHORTLIST).partition(":")
    student = family_space(run).get(name).name
    rows = [row for row in run.results()["rows"] if (row["test_set"], row["model"]) == (test_set, student)]
    for row in rows:
        if row["beam"] == beam and measured_as_recipe(row, recipe, precision, shortlist):
            return text_lines(run.folder / row["hypotheses"])
    settings = recipe.evaluation
    how = f"{settings.engine} {precision or settings.precision}, length penalty {settings.length_penalty:g}"
    how += ", with its shortlist" * shortlist
    there = [f"{row['engine']} {row['precision']}{' +list' * has_shortlist(row)} beam {row['beam']}" for row in rows]
    raise UserError(
        f"{run.folder}: {student} was not evaluated on {test_set} with beam {beam} ({how}); "
        f"it was with {', '.join(sorted(set(there))) or 'none'}"
    )
