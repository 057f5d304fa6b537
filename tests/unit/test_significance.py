"""Comparisons of systems: equal ones do not differ, a clearly better one does, and metrics may disagree."""

from __future__ import annotations

import random

import pytest

from polystill.decoding.metrics import corpus_scores
from polystill.errors import UserError
from polystill.evaluation.resampling import Difference
from polystill.evaluation.significance import Comparison, compare, disagreements


def test_a_better_system_is_told_from_an_equal_one() -> None:
    generator = random.Random(1)
    words = [f"word{i}" for i in range(50)]
    references = [" ".join(generator.choices(words, k=10)) for _ in range(80)]

    def spoil(share: float) -> list[str]:
        return [" ".join(w if generator.random() > share else "x" for w in line.split()) for line in references]

    base = spoil(0.3)
    rows = compare({"base": base, "same": list(base), "better": spoil(0.05)}, references)
    assert [(row.system, row.metric) for row in rows] == [
        (system, metric) for metric in ("bleu", "chrf") for system in ("base", "same", "better")
    ]
    for base_row, same, better in (rows[:3], rows[3:]):
        assert base_row.difference is None
        assert same.difference is not None and better.difference is not None
        assert same.difference.verdict == "as good" and same.difference.p == 1
        assert better.difference.verdict == "better" and better.difference.p == pytest.approx(1 / 10_001)
        assert better.difference.value == pytest.approx(better.score - base_row.score)
        assert better.difference.low < better.difference.value < better.difference.high
        for row in (base_row, same, better):
            assert {"ar:10000", "bs:10000", "seed:12345", "nrefs:1"} <= set(row.signature.split("|"))
    assert disagreements(rows) == []


def test_disagreeing_metrics_are_named() -> None:
    rows = [
        Comparison("b", "bleu", 31.0, "", Difference(30.0, 31.0, 0.5, 1.5)),
        Comparison("b", "chrf", 49.0, "", Difference(50.0, 49.0, -1.5, -0.5)),
        Comparison("c", "bleu", 31.0, "", Difference(30.0, 31.0, 0.5, 1.5)),
        Comparison("c", "chrf", 51.0, "", Difference(50.0, 51.0, 0.5, 1.5)),
    ]
    assert disagreements(rows) == ["b: the metrics disagree: bleu better, chrf worse"]


@pytest.mark.parametrize(
    ("language", "lowercase", "references", "system"),
    [
        (
            "de",
            True,
            ["Ein Hund läuft schnell, sagt Anna.", "Zwei Katzen schlafen."],
            ["ein Hund läuft Schnell.", "Zwei."],
        ),
        ("zh", False, ["一只狗跑得很快。", "两只猫在睡觉。"], ["一只狗跑得快。", "两只猫睡觉。"]),
        ("ja", True, ["犬が速く走る。", "猫が二匹寝ている。"], ["犬が走る。", "猫が寝ている。"]),
    ],
)
def test_scores_are_those_of_the_results(
    language: str, lowercase: bool, references: list[str], system: list[str]
) -> None:
    names = ("bleu", *(["bleu_lc"] if lowercase else []), "chrf")
    expected = corpus_scores(system, references, target_language=language, lowercase=lowercase)
    systems = {"base": references, "system": system}
    rows = compare(systems, references, target_language=language, lowercase=lowercase)
    found = {row.metric: row for row in rows if row.system == "system"}
    assert tuple(found) == names
    for name in names:
        assert found[name].score == pytest.approx(expected[f"{name}"])
        parts = set(found[name].signature.split("|"))
        assert {part for part in parts if not part.startswith(("ar:", "bs:", "seed:"))} == set(
            expected[f"{name}_signature"].split("|")
        )


def test_systems_must_fit_the_references() -> None:
    with pytest.raises(UserError, match="b has 2 translations, but there are 1 references"):
        compare({"a": ["x"], "b": ["x", "y"]}, ["x"])
    with pytest.raises(UserError, match="only a is given; comparing takes two"):
        compare({"a": ["x"]}, ["x"])
