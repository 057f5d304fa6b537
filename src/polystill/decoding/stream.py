"""Streams of lines through a translator: one line in, one line out, in order.

A line ends at a line feed and nowhere else. Python's str.splitlines, and files opened as text, also break at other
characters (carriage return, U+2028, form feed, …); lines of corpora hold them, and one of them would shift every line
after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import BinaryIO

from polystill.decoding.contract import DecodingOptions, Hypothesis, Translator
from polystill.errors import UserError

BLOCK_LINES = 2048
"""Lines read ahead: enough to sort into batches of like length."""


def read_lines(stream: BinaryIO, name: str) -> Iterator[str]:
    """Lines of a UTF-8 stream without their line feeds (and without the carriage return before one).

    Raises:
        UserError: a line is not UTF-8; the message names it by `name` and number.
    """
    for number, line in enumerate(stream, start=1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise UserError(f"{name}: line {number} is not UTF-8 (byte {error.start + 1}: {error.reason})") from None
        yield text.removesuffix("\n").removesuffix("\r")


def translate_lines(
    translator: Translator, lines: Iterable[str], options: DecodingOptions, *, block_lines: int = BLOCK_LINES
) -> Iterator[str]:
    """The best translation of each line; never holds more than a block of them.

    Lines are given, and come back, without line feeds. An empty line stays empty; an over-long one is cut (the
    translator logs it); a line never becomes two.
    """
    for hypotheses in translate_n_best(translator, lines, options, block_lines=block_lines):
        yield hypotheses[0].text if hypotheses else ""


def translate_n_best(
    translator: Translator, lines: Iterable[str], options: DecodingOptions, *, block_lines: int = BLOCK_LINES
) -> Iterator[list[Hypothesis]]:
    """As `translate_lines`, with all hypotheses of each line, their texts free of line breaks."""
    lines = iter(lines)
    while block := [_one_line(line) for line in islice(lines, block_lines)]:
        for hypotheses in translator.translate(block, options):
            yield [
                h if len(h.text.splitlines()) < 2 else Hypothesis(_one_line(h.text), h.tokens, h.score, h.token_scores)
                for h in hypotheses
            ]


def _one_line(text: str) -> str:
    return " ".join(text.splitlines())
