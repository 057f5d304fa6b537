"""Paired bootstrap of families: by member, and by the mean of all."""

from __future__ import annotations

import random

import pytest

from experiments.family_bootstrap import compare_families
from polystill.decoding.metrics import corpus_scores


def test_a_family_is_compared_by_the_mean_of_its_members() -> None:
    generator = random.Random(1)
    references = [" ".join(generator.choices("abcdefghij", k=10)) for _ in range(60)]

    def spoil(share: float) -> list[str]:
        return [" ".join(w if generator.random() > share else "x" for w in line.split()) for line in references]

    first = {"e1d1": spoil(0.3), "e2d2": spoil(0.2)}
    better = {"e2d2": spoil(0.2), "e1d1": spoil(0.1)}
    found = compare_families(first, better, references, samples=200)
    assert found.keys() == {"e1d1", "e2d2", "mean"}
    scores = {
        name: corpus_scores(better[name], references)["bleu"] - corpus_scores(first[name], references)["bleu"]
        for name in first
    }
    for name, difference in scores.items():
        assert found[name]["difference"] == pytest.approx(difference)
    assert found["mean"]["difference"] == pytest.approx(sum(scores.values()) / 2)
    assert found["mean"]["low"] > 0  # one is much better
    assert found["e2d2"]["low"] < 0 < found["e2d2"]["high"]  # of the other that is not to be said
    for row in found.values():
        assert row["low"] < row["difference"] < row["high"]
    assert compare_families(first, better, references, samples=200) == found
    same = compare_families(first, first, references, samples=50)
    assert same["mean"] == {"difference": 0, "low": 0, "high": 0}
