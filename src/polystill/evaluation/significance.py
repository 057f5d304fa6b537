"""Whether translations of one test set differ by more than luck (`polystill compare`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from polystill.errors import UserError
from polystill.evaluation.resampling import METRICS, Difference, corpus_metrics, difference, mean_score
from polystill.runs import Run
from polystill.runs.results import WITH_SHORTLIST
from polystill.storage import text_lines

if TYPE_CHECKING:
    from polystill.config import Recipe


@dataclass(frozen=True)
class Comparison:
    """One system's score in one metric, and its difference from the first system."""

    system: str
    metric: str
    score: float
    signature: str
    difference: Difference | None = None
    """None for the first system itself."""


def compare(
    systems: Mapping[str, Sequence[str]],
    references: Sequence[str],
    *,
    target_language: str = "",
    lowercase: bool = False,
    metrics: Sequence[str] = METRICS,
) -> list[Comparison]:
    """Compare each system's translations with the first system's, in BLEU and chrF2 or one of them.

    With `lowercase` also in BLEU as `sacrebleu -lc` counts it. Scores are those of `decoding.metrics.corpus_scores`,
    with the same names; differences those of `resampling.difference`. Returns the systems metric by metric.

    Raises:
        UserError: fewer than two systems, or a system has another number of lines than the references.
    """
    if len(systems) < 2:
        raise UserError(
            f"only {' '.join(systems) or 'nothing'} is given; comparing takes two different systems or more"
        )
    for name, lines in systems.items():
        if len(lines) != len(references):
            raise UserError(f"{name} has {len(lines)} translations, but there are {len(references)} references")
    rows = []
    for name, metric in corpus_metrics(references, target_language, lowercase=lowercase, names=metrics).items():
        first, *others = ((system, [[metric.counts(lines)]]) for system, lines in systems.items())
        rows.append(Comparison(first[0], name, mean_score(metric, first[1]), metric.signature))
        for system, counts in others:
            found = difference(metric, first[1], counts)
            rows.append(Comparison(system, name, found.second, metric.signature, found))
    return rows


def disagreements(rows: Sequence[Comparison]) -> list[str]:
    """A line for each system on which BLEU and chrF say different things."""
    lines = []
    for system in dict.fromkeys(row.system for row in rows):
        said = {row.metric: row.difference.verdict for row in rows if row.system == system and row.difference}
        if len({said[metric] for metric in METRICS if metric in said}) > 1:
            lines.append(f"{system}: the metrics disagree: {', '.join(f'{m} {said[m]}' for m in METRICS)}")
    return lines


# --- a run's students -----------------------------------------------------------------------------------------------


def compare_students(folder: Path, names: Sequence[str], test_set: str | None, beam: int | None) -> list[Comparison]:
    """Compare the first student with each other one, on the translations that their runs have stored.

    A name is STUDENT, or OTHER_RUN/STUDENT, with `:PRECISION` behind it for another precision than the recipe's, and
    `+list` at the end for its shortlist. `test_set` is the recipe's first by default, `beam` its largest. Engine and
    length penalty are those by which the recipe in `folder` evaluates such a student, also for students of other runs.

    Raises:
        UserError: a folder is no run, a student was not evaluated there, or the runs' references differ.
    """
    run = Run.open(folder)
    known = list(run.recipe.data.test)
    if not known and test_set is None:
        raise UserError(f"{folder}: the run has no test sets to compare on; add one to data.test")
    if test_set not in (None, *run.held_out):
        raise UserError(f"--test-set {test_set}: the run has {' '.join(run.held_out)}")
    test_set, beam = test_set or known[0], beam or max(run.recipe.evaluation.beams)
    references = run.test_lines(test_set, "target")
    systems = {}
    for name in names:
        place, _, student = name.rpartition("/")
        other = Run.open(Path(place)) if place else run
        if place and (test_set not in other.held_out or other.test_lines(test_set, "target") != references):
            raise UserError(f"{place}: its test set {test_set} is not the same as that of {folder}")
        systems[name] = _stored_translations(other, student, test_set, beam, run.recipe)
    language, lowercase = run.recipe.data.target_language, run.recipe.evaluation.lowercase
    return compare(systems, references, target_language=language, lowercase=lowercase)


def _stored_translations(run: Run, name: str, test_set: str, beam: int, recipe: Recipe) -> list[str]:
    """The translations of a student (`STUDENT[:PRECISION][+list]`) that were measured as `recipe` says."""
    from polystill.runs.family import family_space

    run.need_family()
    shortlist = name.endswith(WITH_SHORTLIST)
    name, _, precision = name.removesuffix(WITH_SHORTLIST).partition(":")
    student = family_space(run.family).get(name)
    rows = [row for row in run.results().rows if (row.test_set, row.model) == (test_set, student.name)]
    for row in rows:
        if row.beam == beam and row.measured_as(recipe, precision, shortlist):
            return text_lines(run.folder / row.hypotheses)
    settings = recipe.evaluation
    engine = settings.engine_for(run.recipe.architecture_of(student.supernet))
    wanted = f"{engine} {precision or settings.precision}, length penalty {settings.length_penalty:g}"
    wanted += ", with its shortlist" * shortlist
    measured = {f"{row.engine} {row.precision}{' +list' * row.shortlist} beam {row.beam}" for row in rows}
    raise UserError(
        f"{run.folder}: {student} was not evaluated on {test_set} with beam {beam} ({wanted}); "
        f"it was with {', '.join(sorted(measured)) or 'none'}"
    )
