"""Paired bootstrap resampling of families: their difference in BLEU against the luck of the sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polystill.decoding.metrics import bleu_metric

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
    """The second family's BLEU minus the first's, member by member and as `mean` over all members.

    Each resample of the sentences (Koehn 2004) is scored as a corpus for every member of both families, so all members
    are compared on the same sentences. `first` and `second` are translations by member, with the same members.

    Returns `difference` for each member and for `mean`, with `low` and `high`: 95 % of the resamples' differences lie
    between them. The resampling is seeded.
    """
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
