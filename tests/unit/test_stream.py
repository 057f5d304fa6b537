"""One line in, one line out, whatever the line holds."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polystill.decoding.contract import EMPTY, Cuts, DecodingOptions, Hypothesis
from polystill.decoding.stream import read_lines, translate_lines, translate_n_best
from polystill.errors import UserError


class Shouter:
    """A translator into capitals, which leaves line breaks where they are."""

    max_source_tokens = 8

    def __init__(self) -> None:
        self.blocks: list[int] = []

    def translate(
        self, lines: Sequence[str], options: DecodingOptions, cuts: Cuts | None = None
    ) -> list[list[Hypothesis]]:
        self.blocks.append(len(lines))
        return [[Hypothesis(line.upper(), line.split(), 0.0)] if line.strip() else [EMPTY] for line in lines]


class BreakingTranslator(Shouter):
    """Its translations have line breaks of their own, or are not there at all."""

    def translate(
        self, lines: Sequence[str], options: DecodingOptions, cuts: Cuts | None = None
    ) -> list[list[Hypothesis]]:
        return [[Hypothesis("a\nb\u2028c\r", [], -1.0)] if line else [] for line in lines]


@given(st.lists(st.text(alphabet=st.characters(exclude_characters="\n", exclude_categories=["Cs"]))), st.integers(1, 5))
def test_every_line_gives_one_line_in_order(lines: list[str], block_lines: int) -> None:
    out = list(translate_lines(Shouter(), lines, DecodingOptions(), block_lines=block_lines))
    assert len(out) == len(lines)
    for line, translation in zip(lines, out, strict=True):
        assert len(translation.splitlines()) <= 1
        assert translation == " ".join(line.splitlines()).upper() or not line.strip()


def test_translations_never_break_a_line() -> None:
    assert list(translate_lines(BreakingTranslator(), ["x", "", "y"], DecodingOptions())) == ["a b c", "", "a b c"]


def test_lines_are_read_as_they_are_needed() -> None:
    taken = []

    def endless() -> Iterator[str]:
        number = 0
        while True:
            taken.append(number)
            yield f"line {number}"
            number += 1

    translator = Shouter()
    stream = translate_lines(translator, endless(), DecodingOptions(), block_lines=4)
    assert [next(stream) for _ in range(5)] == [f"LINE {n}" for n in range(5)]
    assert translator.blocks == [4, 4]
    assert len(taken) == 8


def test_n_best_keeps_scores() -> None:
    (found,) = translate_n_best(BreakingTranslator(), ["x"], DecodingOptions())
    assert found == [Hypothesis("a b c", [], -1.0)]


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"a\nb", ["a", "b"]),
        (b"a\r\n\r\nb\r\n", ["a", "", "b"]),
        ("a\u2028b\x0cc\rd\x85e\n".encode(), ["a\u2028b\x0cc\rd\x85e"]),
        (b"\xef\xbb\xbffirst\n\xef\xbb\xbfsecond\n", ["first", "\ufeffsecond"]),
    ],
)
def test_only_a_line_feed_ends_a_line(content: bytes, lines: list[str]) -> None:
    assert list(read_lines(io.BytesIO(content), "x")) == lines


@pytest.mark.parametrize("ends", [b"", b"\n"])
@pytest.mark.parametrize("length", [*range(9, 13), 40])
def test_of_a_longer_line_the_beginning_is_read(length: int, ends: bytes) -> None:
    """Whatever the bytes at which reading stops, also within a character."""
    content = ("ab" + "☃" * (length - 2)).encode() + b"\nshort\n" + "☃".encode() * 40 + ends
    first, short, last = read_lines(io.BytesIO(content), "x", 4)
    assert short == "short"
    assert ("ab" + "☃" * (length - 2)).startswith(first) and 4 < len(first) <= 24
    assert set(last) == {"☃"} and 4 < len(last) <= 24


def test_what_is_not_utf8_is_named_by_line() -> None:
    with pytest.raises(UserError, match=r"news\.en: line 2 is not UTF-8 \(byte 2"):
        list(read_lines(io.BytesIO(b"fine\nb\xffd\n"), "news.en"))
