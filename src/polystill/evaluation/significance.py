"""Paired bootstrap resampling: the difference of systems, or of families of them, against the luck of the sentences."""

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
    from numpy.typing import NDArray

    from polystill.config import Recipe

SIGNIFICANT = 0.05
"""A difference is significant where its p-value is below this, and otherwise noise."""
SEED = 12345
"""sacreBLEU's own."""


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


def compare_families(
    first: Mapping[str, Sequence[str]],
    second: Mapping[str, Sequence[str]],
    references: Sequence[str],
    *,
    target_language: str = "",
    samples: int = 1000,
) -> dict[str, dict[str, float]]:
    """The second family's BLEU minus the first's, member by member and as `mean` over all members.

    Each resample of the sentences (Koehn 2004) is scored as a corpus for every member of both families, so all members
    are compared on the same sentences. `first` and `second` are translations by member, with the same members.

    Returns `difference` for each member and for `mean`, with `low` and `high`: 95 % of the resamples' differences lie
    between them. The resampling is seeded.
    """
    import numpy as np

    assert first and first.keys() == second.keys() and "mean" not in first
    metric = bleu_metric(target_language, references=[list(references)])
    generator = np.random.default_rng(SEED)
    draws = generator.integers(len(references), size=(samples, len(references)))
    counts = np.stack([np.bincount(draw, minlength=len(references)) for draw in draws])
    weights = np.concatenate([np.ones((1, len(references))), counts])  # The first row is the sentences as they are.

    def scores(lines: Sequence[str]) -> NDArray[Any]:
        assert len(lines) == len(references), (len(lines), len(references))
        statistics = weights @ np.array(metric._extract_corpus_statistics(list(lines), None), dtype=np.float64)
        return np.array([metric._compute_score_from_stats(list(row)).score for row in statistics])

    gains = {name: scores(second[name]) - scores(first[name]) for name in first}
    gains["mean"] = np.mean(list(gains.values()), axis=0)
    figures = {name: (gain[0], *np.quantile(gain[1:], (0.025, 0.975))) for name, gain in gains.items()}
    keys = ("difference", "low", "high")
    return {name: dict(zip(keys, map(float, values), strict=True)) for name, values in figures.items()}


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
    from polystill.models.folder import family_space

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
