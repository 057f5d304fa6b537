"""Paired bootstrap: equal systems do not differ, a clearly better one does."""

from __future__ import annotations

import random

import pytest

from polystill.decoding.metrics import corpus_scores
from polystill.errors import UserError
from polystill.evaluation.significance import compare


def test_a_better_system_is_told_from_an_equal_one() -> None:
    generator = random.Random(1)
    words = [f"word{i}" for i in range(50)]
    references = [" ".join(generator.choices(words, k=10)) for _ in range(80)]

    def spoil(share: float) -> list[str]:
        return [" ".join(w if generator.random() > share else "x" for w in line.split()) for line in references]

    base = spoil(0.3)
    rows = compare({"base": base, "same": list(base), "better": spoil(0.05)}, references, samples=200)
    assert [(row["system"], row["metric"]) for row in rows] == [
        (system, metric) for metric in ("bleu", "chrf") for system in ("base", "same", "better")
    ]
    for base_row, same, better in (rows[:3], rows[3:]):
        assert "p_value" not in base_row
        assert same["score"] == base_row["score"]
        assert same["p_value"] > 0.5
        assert better["p_value"] < 0.05
        assert better["score"] > base_row["score"]
        for row in (base_row, same, better):
            assert abs(row["score"] - row["mean"]) < row["ci"] * 2
            assert "bs:200" in row["signature"] and "seed:12345" in row["signature"]


def test_other_words_of_the_same_score_are_no_difference() -> None:
    """No resample differs by more than nothing, and sacreBLEU would make p = 1 / (samples + 1) of that."""
    rows = compare({"one": ["x y z"] * 20, "other": ["u v w"] * 20}, ["a b c d"] * 20, samples=50)
    assert [row["p_value"] for row in rows if row["system"] == "other"] == [1.0, 1.0]


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
    rows = compare(systems, references, target_language=language, lowercase=lowercase, samples=10)
    found = {row["metric"]: row for row in rows if row["system"] == "system"}
    assert tuple(found) == names
    for name in names:
        assert found[name]["score"] == pytest.approx(expected[f"{name}"])
        parts = set(found[name]["signature"].split("|"))
        assert {part for part in parts if not part.startswith(("bs:", "seed:"))} == set(
            expected[f"{name}_signature"].split("|")
        )


def test_systems_must_fit_the_references() -> None:
    with pytest.raises(UserError, match="b has 2 translations, but there are 1 references"):
        compare({"a": ["x"], "b": ["x", "y"]}, ["x"])
    with pytest.raises(UserError, match="at least two systems"):
        compare({"a": ["x"]}, ["x"])
