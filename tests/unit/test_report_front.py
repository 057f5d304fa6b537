"""The Pareto front, its labels, and the words of a translation that differ."""

from __future__ import annotations

from typing import Any

import pytest

from polystill.reporting.families import Family
from polystill.reporting.points import Labels, Point, pareto
from polystill.reporting.samples import MISSING, differing
from polystill.reporting.shown import count, duration


def point(size: float, bleu: float, **row: Any) -> Point:
    family: Any = Family.__new__(Family)
    object.__setattr__(family, "name", row.pop("family", "run"))
    known = {"engine": "ctranslate2", "precision": "int8", "beam": 1, "model": "e1d1"}
    return Point(family, {**known, "size_bytes": size, "bleu": bleu, **row})


def test_the_front_has_what_nothing_beats() -> None:
    cheap, beaten, better, equal, dear = point(1, 10), point(2, 9), point(3, 12), point(4, 12), point(5, 13)
    assert pareto([dear, equal, beaten, better, cheap], "size_bytes") == [cheap, better, dear]


def test_of_one_size_the_best_counts() -> None:
    worse, best = point(1, 10), point(1, 11)
    assert pareto([worse, best], "size_bytes") == [best]


def test_labels_say_only_what_differs() -> None:
    assert Labels([point(1, 1), point(2, 2)]).series(point(1, 1)) == ""
    several = [point(1, 1), point(2, 2, precision="float32", beam=5)]
    assert [Labels(several).series(each) for each in several] == ["int8, greedy", "float32, beam 5"]
    assert Labels(several).full(point(1, 1, shortlist=True)) == "e1d1 +list, int8, greedy"
    families = [point(1, 1, family="a"), point(1, 1, family="b")]
    assert Labels(families).full(families[1]) == "e1d1, b"


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("ein Hund rennt", []),
        ("ein Wolf rennt", ["Wolf"]),
        ("ein großer Hund rennt", ["großer"]),
        ("ein rennt", [MISSING]),
        ("", [MISSING]),
    ],
)
def test_words_that_differ(text: str, marked: list[str]) -> None:
    stretches = differing("ein Hund rennt", text)
    assert [words for words, is_marked in stretches if is_marked] == marked
    assert "".join(words for words, _ in stretches).replace(MISSING, "").split() == text.split()


def test_characters_differ_where_a_language_has_no_spaces() -> None:
    assert differing("狗跑得快", "狗跑得慢", unspaced=True) == [("狗跑得", False), ("慢", True)]


def test_figures_in_words() -> None:
    assert (duration(187), duration(11643)) == ("3:07 min", "3:14 h")
    assert (count(14_577_257), count(4.24163e14)) == ("14.6 million", "4.24 × 10¹⁴")
