"""One line in, one line out, whatever the line holds."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polystill.decoding.keeping import placeholders
from polystill.decoding.stream import live, read_lines, translate_lines
from polystill.decoding.translator import EMPTY, Cuts, DecodingOptions, Hypothesis
from polystill.errors import UserError
from tests.best import best


class Shouter:
    """A translator into capitals, which leaves line breaks where they are."""

    max_source_tokens = 8
    languages = ("en", "de")

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
    out = best(translate_lines(Shouter(), lines, DecodingOptions(), block_lines=block_lines))
    assert len(out) == len(lines)
    for line, translation in zip(lines, out, strict=True):
        assert len(translation.splitlines()) <= 1
        assert translation == " ".join(line.splitlines()).upper() or not line.strip() or placeholders(line)


def test_translations_never_break_a_line() -> None:
    out = best(translate_lines(BreakingTranslator(), ["x", "", "y"], DecodingOptions()))
    assert out == ["a b c", "", "a b c"]


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
    assert [next(stream)[0].text for _ in range(5)] == [f"LINE {n}" for n in range(5)]
    assert translator.blocks == [4, 4]
    assert len(taken) == 8


def test_n_best_keeps_scores() -> None:
    (found,) = translate_lines(BreakingTranslator(), ["x"], DecodingOptions())
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


# --- pipes --------------------------------------------------------------------------------------------------------


def test_lines_of_a_pipe_are_translated_when_they_are_there() -> None:
    reader, writer = os.pipe()
    translator = Shouter()
    with os.fdopen(reader, "rb") as stream:
        source = live(stream)
        assert source is not None
        found = translate_lines(
            translator, read_lines(source, "x"), DecodingOptions(), block_lines=3, has_line=source.has_line
        )
        os.write(writer, b"one\ntwo\nthr")
        assert [next(found)[0].text for _ in range(2)] == ["ONE", "TWO"]
        os.write(writer, b"ee\nfour\nfive\nsix\nseven")
        os.close(writer)
        assert [n_best[0].text for n_best in found] == ["THREE", "FOUR", "FIVE", "SIX", "SEVEN"]
    assert translator.blocks == [2, 3, 2]


@pytest.mark.parametrize("size", [-1, 1, 3, 4, 100])
@pytest.mark.parametrize("content", [b"", b"\n", b"a\nbc\n\ndef", b"x" * 99 + b"\n" + b"y" * 100 + b"\n"])
def test_a_pipe_is_read_as_a_file_is(content: bytes, size: int) -> None:
    reader, writer = os.pipe()
    os.write(writer, content)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        source, expected = live(stream), io.BytesIO(content)
        assert source is not None
        while line := expected.readline(size):
            assert source.has_line()
            assert source.readline(size) == line
        assert (source.readline(size), source.has_line()) == (b"", True)


def test_a_file_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a\n")
    with (tmp_path / "file").open("rb") as file:
        assert live(file) is None
    assert live(io.BytesIO(b"a\n")) is None
