"""Translate a stream of lines: one line in, one line out, in order.

A line ends at a line feed and nowhere else. Python's str.splitlines, and files opened as text, also break at other
characters (carriage return, U+2028, form feed, …). Corpora have lines with such characters, and one extra break would
shift every line after it.

Lines of a file are translated in blocks; of a pipe or a terminal, all lines that have arrived.
"""

from __future__ import annotations

import os
import stat
import sys
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import count
from select import select
from typing import BinaryIO, Protocol

from polystill.decoding.keeping import translate_block
from polystill.decoding.translator import (
    CHARACTERS_PER_TOKEN,
    DecodingOptions,
    Hypothesis,
    Translator,
    counted_cuts,
)
from polystill.errors import UserError

BLOCK_LINES = 2048
"""Lines read ahead: enough to sort into batches of similar length."""
_CHUNK = 2**16
"""Bytes that a pipe holds."""


class Readable(Protocol):
    def readline(self, size: int = -1, /) -> bytes: ...


class LiveStream:
    """A pipe or a terminal as a `Readable` that can tell whether its next line has arrived."""

    def __init__(self, stream: BinaryIO) -> None:
        """Take a stream from which nothing has been read: its own buffer must be empty."""
        self._descriptor = stream.fileno()
        self._held = bytearray()
        self._has_ended = False

    def readline(self, size: int = -1, /) -> bytes:
        most = sys.maxsize if size < 0 else size
        searched = 0
        while (end := self._held.find(b"\n", searched, most)) < 0 and len(self._held) < most:
            searched = len(self._held)
            if not self._read():
                break
        end = min(len(self._held), most) if end < 0 else end + 1
        line = bytes(self._held[:end])
        del self._held[:end]
        return line

    def has_line(self) -> bool:
        """Whether the next line or the end has arrived; the beginning of a long line counts."""
        while not self._has_ended and len(self._held) < _CHUNK and b"\n" not in self._held:
            if not select([self._descriptor], [], [], 0)[0]:
                return False
            self._read()
        return True

    def _read(self) -> bool:
        """Wait for more, unless the end was reached; a terminal would continue after it."""
        if not self._has_ended:
            chunk = os.read(self._descriptor, _CHUNK)
            self._held += chunk
            self._has_ended = not chunk
        return not self._has_ended


def live(stream: BinaryIO) -> LiveStream | None:
    """Wrap a pipe or a terminal, whose lines arrive over time. Returns None for a file."""
    try:
        mode = os.fstat(stream.fileno()).st_mode
    except OSError:  # the stream has no file descriptor
        return None
    return None if stat.S_ISREG(mode) or os.name != "posix" else LiveStream(stream)


def read_lines(stream: Readable, name: str, most_characters: int | None = None) -> Iterator[str]:
    """Yield the lines of a UTF-8 stream without their line feeds and the carriage return before one.

    With `most_characters`, only the beginning of a longer line is held in memory: at least one character more than
    that, which shows that the line is too long.

    Raises:
        UserError: a line is not UTF-8; the message names it by `name` and number.
    """
    most_bytes = -1 if most_characters is None else 4 * most_characters + 8  # a character has at most four
    for number in count(1):
        line = stream.readline(most_bytes)
        if not line:
            return
        is_whole = len(line) != most_bytes or line.endswith(b"\n")
        try:
            codec = "utf-8-sig" if number == 1 else "utf-8"
            # The part of a long line may end within a character.
            text = line.decode(codec) if is_whole else getincrementaldecoder(codec)().decode(line)
        except UnicodeDecodeError as error:
            raise UserError(f"{name}: line {number} is not UTF-8 (byte {error.start + 1}: {error.reason})") from None
        yield text.removesuffix("\n").removesuffix("\r")
        while not is_whole:
            rest = stream.readline(most_bytes)
            is_whole = len(rest) != most_bytes or rest.endswith(b"\n")


def longest_line(translator: Translator) -> int:
    """Return the number of a line's characters that the translator reads."""
    return translator.max_source_tokens * CHARACTERS_PER_TOKEN


def translate_lines(
    translator: Translator,
    lines: Iterable[str],
    options: DecodingOptions,
    *,
    block_lines: int = BLOCK_LINES,
    has_line: Callable[[], bool] = lambda: True,
) -> Iterator[list[Hypothesis]]:
    """Yield the hypotheses of each line, those of `translate_block`, holding at most a block of lines in memory.

    Lines come and go without line feeds. An empty line stays empty, and a line never becomes two. A line that is too
    long is cut; the number of such lines is logged at the end.

    When `has_line` returns False, the lines read so far are translated before waiting for the next one.
    """
    lines = iter(lines)
    with counted_cuts() as cuts:
        while block := _block(lines, block_lines, has_line):
            for hypotheses in translate_block(translator, block, options, cuts):
                yield [_on_one_line(hypothesis) for hypothesis in hypotheses]


def _block(lines: Iterator[str], most: int, has_line: Callable[[], bool]) -> list[str]:
    block = []
    for line in lines:
        block.append(_one_line(line))
        if len(block) == most or not has_line():
            break
    return block


def _on_one_line(h: Hypothesis) -> Hypothesis:
    return h if len(h.text.splitlines()) < 2 else replace(h, text=_one_line(h.text))


def _one_line(text: str) -> str:
    return " ".join(text.splitlines())
