"""Numbers of two digits and more come out of a translation as they went in."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from polystill.decoding.numbers import long_numbers, readings, split_at_long_numbers
from polystill.decoding.stream import translate_lines
from polystill.decoding.translator import Cuts, DecodingOptions, Hypothesis


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("In 1984, 42 more and 7 less", {"1984", "42"}),
        ("1,250 or 1.250 or 1\u202f250 dogs", {"1250"}),
        ("12,345,678.90", {"1234567890"}),
        ("3.75 %", {"375"}),
        ("2024-03-15, 15.03.2024 and 3/15/2024", {"2024", "15"}),
        ("at 9:05 on 1/2/03", set()),
        ("version 10.4.2 of 192.168.0.1", {"10", "192", "168"}),
        ("٣٤٥ كلب", {"345"}),
        ("no number", set()),
    ],
)
def test_long_numbers(text: str, expected: set[str]) -> None:
    assert long_numbers(text) == expected


def test_digits_may_be_grouped_otherwise() -> None:
    for text in ("1.250 Hunde", "1 250 Hunde", "1250 Hunde", "im Jahr 1990 1.250 Hunde"):
        assert "1250" in readings(text), text
    assert "1250" not in readings("12 Hunde, 50 Katzen")


def test_text_is_split_at_them() -> None:
    assert split_at_long_numbers("From 2024-03-15, 4 dogs; 1,250.") == [
        "From ",
        "2024-03-15",
        ", 4 dogs; ",
        "1,250",
        ".",
    ]
    assert split_at_long_numbers("4 dogs") == ["4 dogs"]


class Forgetful:
    """Repeats a line with every number of four digits as 9999, but "3.75" as Germans write it."""

    max_source_tokens = 64
    languages = ("en", "de")

    def translate(
        self, lines: Sequence[str], options: DecodingOptions, cuts: Cuts | None = None
    ) -> list[list[Hypothesis]]:
        return [[Hypothesis(line.replace("1984", "9999").replace("3.75", "3,75"), [], -1.0)] for line in lines]


def test_what_a_model_changes_is_put_back() -> None:
    lines = ["In 1984 it cost 3.75 {unit}.", "It cost 3.75.", "1984"]
    out = list(translate_lines(Forgetful(), lines, DecodingOptions()))
    assert out == ["In 1984 it cost 3.75 {unit}.", "It cost 3,75.", "1984"]
