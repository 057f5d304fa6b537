"""Paired bootstrap resampling: the difference of systems against the luck of the sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

from polystill.decoding.metrics import bleu_metric
from polystill.errors import UserError
from polystill.runs import Run
from polystill.runs.results import WITH_SHORTLIST
from polystill.storage import text_lines

if TYPE_CHECKING:
    from polystill.config import Recipe

SIGNIFICANT = 0.05
"""A difference is significant where its p-value is below this, and otherwise noise."""


class Comparison(TypedDict):
    """One system's score in one metric, and its difference from the first system."""

    system: str
    metric: str
    score: float
    mean: float
    ci: float
    """The true score lies within mean ± ci at 95 %, by bootstrap."""
    signature: str
    p_value: NotRequired[float]
    """Of the difference from the first system, which has none itself."""


def compare(
    systems: Mapping[str, Sequence[str]],
    references: Sequence[str],
    *,
    target_language: str = "",
    samples: int = 1000,
    lowercase: bool = False,
    metrics: Sequence[str] = ("bleu", "chrf"),
) -> list[Comparison]:
    """Compare each system's translations with the first system's, in BLEU and chrF2 or one of them.

    With `lowercase` also in BLEU as `sacrebleu -lc` counts it. Scores are those of `decoding.metrics.corpus_scores`,
    with the same names. The resampling is seeded (SACREBLEU_SEED, 12345). Returns the systems metric by metric.

    Raises:
        UserError: fewer than two systems, or a system has another number of lines than the references.
    """
    from sacrebleu.significance import PairedTest

    if len(systems) < 2:
        raise UserError("comparing needs at least two systems")
    for name, lines in systems.items():
        if len(lines) != len(references):
            raise UserError(f"{name} has {len(lines)} translations, but there are {len(references)} references")
    named: list[tuple[str, Sequence[str]]] = [(name, list(lines)) for name, lines in systems.items()]
    rows: list[Comparison] = []
    scorers = _scorers([list(references)], target_language, lowercase, metrics)
    for metric, scorer in scorers.items():  # One by one: sacreBLEU has one name for both kinds of BLEU.
        test = PairedTest(named, {metric: scorer}, references=None, test_type="bs", n_samples=samples)
        signatures, results = test()
        (title,) = (title for title in results if title != "System")
        scores = [result for result in results[title] if not isinstance(result, str)]
        for name, result in zip(systems, scores, strict=True):
            assert result.mean is not None and result.ci is not None
            signature = signatures[title].format()
            row = Comparison(
                system=name, metric=metric, score=result.score, mean=result.mean, ci=result.ci, signature=signature
            )
            if result.p_value is not None:
                # sacreBLEU counts resamples whose difference is *larger* than the observed one: none, if all are 0.
                row["p_value"] = 1.0 if result.score == scores[0].score else result.p_value
            rows.append(row)
    return rows


def _scorers(references: list[list[str]], language: str, lowercase: bool, metrics: Sequence[str]) -> dict[str, Any]:
    """sacreBLEU's metrics, with the references, so that their n-grams are counted once."""
    from sacrebleu import CHRF

    scorers: dict[str, Any] = {}
    if "bleu" in metrics:
        scorers["bleu"] = bleu_metric(language, references=references)
        if lowercase:
            scorers["bleu_lc"] = bleu_metric(language, lowercase=True, references=references)
    if "chrf" in metrics:
        scorers["chrf"] = CHRF(references=references)
    return scorers


# --- a run's students -----------------------------------------------------------------------------------------------


def compare_students(folder: Path, names: Sequence[str], test_set: str | None, beam: int | None) -> list[Comparison]:
    """Compare the first student with each other one, on the translations that their runs have stored.

    A name is STUDENT, or OTHER_RUN/STUDENT, with `:PRECISION` behind it for another precision than the recipe's, and
    `+list` at the end for its shortlist. `test_set` is the recipe's first by default, `beam` its largest. Engine and
    length penalty are those of the recipe in `folder`, also for students of other runs.

    Raises:
        UserError: a folder is no run, a student was not evaluated there, or the runs' references differ.
    """
    run = Run.open(folder)
    known = list(run.recipe.data.test)
    if not known:
        raise UserError(f"{folder}: the run has no test sets to compare on; add one to data.test")
    if test_set not in (None, *known):
        raise UserError(f"--test-set {test_set}: the run has {' '.join(known)}")
    test_set, beam = test_set or known[0], beam or max(run.recipe.evaluation.beams)
    references = run.test_lines(test_set, "target")
    systems = {}
    for name in names:
        place, _, student = name.rpartition("/")
        other = Run.open(Path(place)) if place else run
        if place and (test_set not in other.recipe.data.test or other.test_lines(test_set, "target") != references):
            raise UserError(f"{place}: has not the same test set {test_set} as {folder}")
        systems[name] = _stored_translations(other, student, test_set, beam, run.recipe)
    language, lowercase = run.recipe.data.target_language, run.recipe.evaluation.lowercase
    return compare(systems, references, target_language=language, lowercase=lowercase)


def _stored_translations(run: Run, name: str, test_set: str, beam: int, recipe: Recipe) -> list[str]:
    """The translations of a student (`STUDENT[:PRECISION][+list]`) that were measured as `recipe` says."""
    from polystill.runs.family import family_space

    run.need_family()
    shortlist = name.endswith(WITH_SHORTLIST)
    name, _, precision = name.removesuffix(WITH_SHORTLIST).partition(":")
    student = family_space(run.family).get(name).name
    rows = [row for row in run.results().rows if (row.test_set, row.model) == (test_set, student)]
    for row in rows:
        if row.beam == beam and row.measured_as(recipe, precision, shortlist):
            return text_lines(run.folder / row.hypotheses)
    settings = recipe.evaluation
    wanted = f"{settings.engine} {precision or settings.precision}, length penalty {settings.length_penalty:g}"
    wanted += ", with its shortlist" * shortlist
    measured = {f"{row.engine} {row.precision}{' +list' * row.shortlist} beam {row.beam}" for row in rows}
    raise UserError(
        f"{run.folder}: {student} was not evaluated on {test_set} with beam {beam} ({wanted}); "
        f"it was with {', '.join(sorted(measured)) or 'none'}"
    )
