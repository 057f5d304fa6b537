"""Lines in capitals are translated by way of small letters."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from polystill.decoding.capitals import in_capitals, in_small_letters, is_in_capitals
from polystill.decoding.stream import translate_n_best
from polystill.decoding.translator import EMPTY, Cuts, DecodingOptions, Hypothesis
from polystill.translation import translate_texts


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("THE OLD DOG RUNS.", True),
        ("PRESS %s AT https://example.org/page NOW", True),
        ("ПРИВЕТ, МИР", True),
        ("USB HTTP", False),  # acronyms
        ("README", False),
        ("INSTALLATIONSANLEITUNG", False),  # one word, which may be a name
        ("The USB DRIVE IS FULL", False),
        ("12 345 678", False),
        ("漢字かな交じり文 のような文章", False),
        ("", False),
    ],
)
def test_lines_in_capitals(line: str, expected: bool) -> None:
    assert is_in_capitals(line) == expected


@pytest.mark.parametrize(
    ("line", "language", "expected"),
    [
        ("THE OLD DOG RUNS. IT BARKS!", "en", "The old dog runs. It barks!"),
        ("SEE %PRODUCTNAME, {Name} OR WWW.EXAMPLE.ORG", "en", "See %PRODUCTNAME, {Name} Or www.example.org"),
        ("VERSION 2.5 OF IT", "en", "Version 2.5 of it"),
        ("IŞIK VE İSTANBUL", "tr", "Işık ve istanbul"),
        ("IŞIK", "tr-Latn-TR", "Işık"),
    ],
)
def test_small_letters(line: str, language: str, expected: str) -> None:
    assert in_small_letters(line, language) == expected


def test_capitals_follow_the_language() -> None:
    assert in_capitals("Die Straße ist kalt: {name}.", "de") == "DIE STRASSE IST KALT: {name}."
    assert in_capitals("bir ışık", "tr") == "BİR IŞIK"
    assert in_capitals("bir", None) == "BIR"


class Parrot:
    """Repeats a line, and breaks on capitals as a small model does."""

    max_source_tokens = 64
    languages = ("en", "de")

    def translate(
        self, lines: Sequence[str], options: DecodingOptions, cuts: Cuts | None = None
    ) -> list[list[Hypothesis]]:
        texts = ("DIE DIE DIE DIE" if line.isupper() else line for line in lines)
        return [[Hypothesis(text, [], -1.0)] if text.strip() else [EMPTY] for text in texts]


def test_a_model_never_sees_a_line_in_capitals() -> None:
    lines = ["THE OLD DOG RUNS TO %s.", "The old dog", "", "USB"]
    expected = ["THE OLD DOG RUNS TO %s.", "The old dog", "", "DIE DIE DIE DIE"]
    n_best = translate_n_best(Parrot(), lines, DecodingOptions())
    assert [hypotheses[0].text for hypotheses in n_best] == expected
    assert translate_texts(Parrot(), lines, DecodingOptions()) == expected
