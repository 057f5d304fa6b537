"""Is one system better than another, or was it luck? sacreBLEU's paired bootstrap resampling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from polystill.errors import UserError
from polystill.metrics import bleu_metric


def compare(
    systems: Mapping[str, Sequence[str]],
    references: Sequence[str],
    *,
    target_language: str = "",
    samples: int = 1000,
    lowercase: bool = False,
    metrics: Sequence[str] = ("bleu", "chrf"),
) -> list[dict[str, Any]]:
    """Compare systems' translations with the first system's, in BLEU (with `lowercase` BLEU -lc) and chrF2, or one.

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
        made["bleu_lc" if lowercase else "bleu"] = bleu_metric(
            target_language, lowercase=lowercase, references=[list(references)]
        )
    if "chrf" in metrics:
        made["chrf"] = CHRF(references=[list(references)])
    named: list[tuple[str, Sequence[str]]] = [(name, list(lines)) for name, lines in systems.items()]
    signatures, results = PairedTest(named, made, references=None, test_type="bs", n_samples=samples)()
    rows = []
    for metric, title in zip(made, (t for t in results if t != "System"), strict=True):
        for name, result in zip(systems, results[title], strict=True):
            assert not isinstance(result, str)
            row = {"system": name, "metric": metric, "score": result.score, "mean": result.mean, "ci": result.ci}
            if result.p_value is not None:
                # sacreBLEU counts resamples whose difference is *larger* than the observed one: none, if all are 0.
                equal = list(systems[name]) == list(next(iter(systems.values())))
                row["p_value"] = 1.0 if equal else result.p_value
            rows.append({**row, "signature": signatures[title].format()})
    return rows
