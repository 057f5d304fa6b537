"""Is one system, or one family of them, better than another, or was it luck? Paired bootstrap resampling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from polystill.decoding.metrics import bleu_metric
from polystill.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def compare(
    systems: Mapping[str, Sequence[str]],
    references: Sequence[str],
    *,
    target_language: str = "",
    samples: int = 1000,
    lowercase: bool = False,
    metrics: Sequence[str] = ("bleu", "chrf"),
) -> list[dict[str, Any]]:
    """Compare systems' translations with the first system's in BLEU (with `lowercase` also BLEU -lc) and chrF2, or one.

    Scores are those of `evaluation.quality.corpus_scores`, of the same names.

    Returns one row a system and metric: `system`, `metric`, `score`, `mean` and `ci` (the true score lies within
    mean ± ci at 95 % by bootstrap), `signature` and, but for the first system, `p_value` of the difference to it.
    The resampling is seeded (SACREBLEU_SEED, 12345).

    Raises:
        UserError: fewer than two systems, or a system has another number of lines than the references.
    """
    from sacrebleu import CHRF
    from sacrebleu.significance import PairedTest

    if len(systems) < 2:
        raise UserError("comparing needs at least two systems")
    for name, lines in systems.items():
        if len(lines) != len(references):
            raise UserError(f"{name} has {len(lines)} translations, but there are {len(references)} references")
    # References are given to the metrics at once, which then keep their n-grams.
    made: dict[str, Any] = {}
    if "bleu" in metrics:
        for name, ignores_case in {"bleu": False, **({"bleu_lc": True} if lowercase else {})}.items():
            made[name] = bleu_metric(target_language, lowercase=ignores_case, references=[list(references)])
    if "chrf" in metrics:
        made["chrf"] = CHRF(references=[list(references)])
    named: list[tuple[str, Sequence[str]]] = [(name, list(lines)) for name, lines in systems.items()]
    rows = []
    for metric, scorer in made.items():  # one by one, since sacreBLEU would call both kinds of BLEU the same
        test = PairedTest(named, {metric: scorer}, references=None, test_type="bs", n_samples=samples)
        signatures, results = test()
        (title,) = (title for title in results if title != "System")
        found = [result for result in results[title] if not isinstance(result, str)]
        for name, result in zip(systems, found, strict=True):
            row = {"system": name, "metric": metric, "score": result.score, "mean": result.mean, "ci": result.ci}
            if result.p_value is not None:
                # sacreBLEU counts resamples whose difference is *larger* than the observed one: none, if all are 0.
                row["p_value"] = 1.0 if result.score == found[0].score else result.p_value
            rows.append({**row, "signature": signatures[title].format()})
    return rows


SEED = 12345
"""sacreBLEU's own."""


def compare_families(
    first: Mapping[str, Sequence[str]],
    second: Mapping[str, Sequence[str]],
    references: Sequence[str],
    *,
    target_language: str = "",
    samples: int = 1000,
) -> dict[str, dict[str, float]]:
    """What the second family has in BLEU over the first, member by member and as `mean` over all members.

    Each resample of the sentences (Koehn 2004) is scored as a corpus for every member of both, so that what all members
    say of a sentence goes together. `first` and `second` are translations by member, the same members in both.

    Returns of each member and of `mean`: `difference`, and `low` and `high`, between which 95 % of the resamples'
    differences lie. The resampling is seeded.
    """
    import numpy as np

    assert first and first.keys() == second.keys() and "mean" not in first
    metric = bleu_metric(target_language, references=[list(references)])
    generator = np.random.default_rng(SEED)
    draws = generator.integers(len(references), size=(samples, len(references)))
    counts = np.stack([np.bincount(draw, minlength=len(references)) for draw in draws])
    weights = np.concatenate([np.ones((1, len(references))), counts])  # first all sentences as they are

    def scores(lines: Sequence[str]) -> NDArray[Any]:
        assert len(lines) == len(references), (len(lines), len(references))
        statistics = weights @ np.array(metric._extract_corpus_statistics(list(lines), None), dtype=np.float64)
        return np.array([metric._compute_score_from_stats(list(row)).score for row in statistics])

    gains = {name: scores(second[name]) - scores(first[name]) for name in first}
    gains["mean"] = np.mean(list(gains.values()), axis=0)
    limits = {name: np.quantile(gain[1:], (0.025, 0.975)) for name, gain in gains.items()}
    return {
        name: {"difference": float(gain[0]), "low": float(limits[name][0]), "high": float(limits[name][1])}
        for name, gain in gains.items()
    }
