"""Repetition: loops are found, and what the source repeats as well is none."""

from __future__ import annotations

import pytest

from polystill.data.repetition import Repetition, most_repeats


@pytest.mark.parametrize(
    ("words", "most"), [("", 0), ("a", 1), ("a b", 1), ("a a", 2), ("x a b a b a b y", 3), ("a b c a b", 1)]
)
def test_most_repeats(words: str, most: int) -> None:
    assert most_repeats(words.split()) == most


@pytest.mark.parametrize(
    ("source", "hypothesis", "loops"),
    [
        ("a b c d", "der Hund der Hund der Hund der Hund", True),
        ("a b c", "der Hund der Hund der Hund", False),
        ("no no no no", "nein nein nein nein", False),
        ("It rains.", "Es regnetetetetetetetetetetet.", True),
        ("", "", False),
    ],
)
def test_loops(source: str, hypothesis: str, loops: bool) -> None:
    assert Repetition(("en", "de")).is_looping(source, hypothesis) == loops
