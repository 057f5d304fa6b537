"""Lines of text files: plain, gzip or zstd, told apart by their content.

A line ends at LF or CRLF and nowhere else. Every error names the file, and the line where there is one.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from polystill.errors import UserError
from polystill.sources.base import Lines, Unreadable

_BLOCK = 1 << 20
_LONGEST_LINE = 16 << 20
_MANY_LINES = 100_000
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"
_ZSTD = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")
"""A frame of text, or one to be skipped: `pzstd` begins a file with such."""
_CONTROL = bytes({*range(1, 32), 127} - set(b"\t\n\v\f\r\x1b"))
"""Bytes beside NUL that text does not have."""


def read_lines(path: Path) -> Iterator[bytes]:
    """Stream the lines of a file without their ends; a byte order mark at its start is dropped.

    Raises:
        UserError: the file is missing, unreadable, binary, damaged or cut short, or a line is longer than 16 MiB.
    """
    for text in _whole_lines(path):
        yield from text.split(b"\n")[:-1]


class LineReader:
    """Reads the lines of a file many at a time. Raises UserError as `read_lines`."""

    def __init__(self, path: Path) -> None:
        import numpy as np

        self._blocks = _whole_lines(path)
        self._text = b""
        self._ends = np.zeros(0, dtype=np.int64)
        self.taken = 0
        """The number of lines that were taken."""

    def take(self, most: int, most_bytes: int | None = None) -> Lines:
        """The next `most` lines; fewer at the file's end or over `most_bytes`."""
        import numpy as np

        while len(self._ends) < most and (most_bytes is None or len(self._text) < most_bytes) and self._read():
            pass
        count = min(most, len(self._ends))
        if most_bytes is not None:
            count = min(count, max(1, int(np.searchsorted(self._ends, most_bytes))))
        end = int(self._ends[count - 1]) + 1 if count else 0
        lines = Lines(self._text[:end], self._ends[:count])
        self._text, self._ends = self._text[end:], self._ends[count:] - end
        self.taken += count
        return lines

    def count(self) -> int:
        """The number of all lines, of which the rest is read."""
        while len(self.take(_MANY_LINES)):
            pass
        return self.taken

    def _read(self) -> bool:
        import numpy as np

        block = next(self._blocks, b"")
        ends = np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == ord("\n"))
        self._ends = np.concatenate([self._ends, ends + len(self._text)])
        self._text += block
        return bool(block)


def _whole_lines(path: Path) -> Iterator[bytes]:
    """Stream the file's text in blocks of whole lines, which all end at LF."""
    rest, number, first = b"", 0, True
    for block in read_blocks(path):
        if first:
            _refuse_binary(path, block)
            block, first = block.removeprefix(_BYTE_ORDER_MARK), False
        text, feed, new = (rest + block).rpartition(b"\n")
        number += text.count(b"\n") + len(feed)
        if len(new) > _LONGEST_LINE:
            raise UserError(f"{path}: line {number + 1} is longer than {_LONGEST_LINE >> 20} MiB; expected sentences")
        rest = new
        if feed:
            text += feed
            yield text.replace(b"\r\n", b"\n") if b"\r" in text else text
    if rest:
        yield rest.removesuffix(b"\r") + b"\n"


def decoded(line: bytes) -> str | Unreadable:
    """The line's text, if it is UTF-8."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return Unreadable.INVALID_UTF8


def _refuse_binary(path: Path, block: bytes) -> None:
    """Refuse what is no text at all. Text with a stray NUL byte passes: it has few of them and no other such bytes."""
    nul = block.count(0)
    others = len(block) - len(block.translate(None, _CONTROL))
    if not nul or (20 * (nul + others) < len(block) if others else 5 * nul < len(block)):
        return
    if block.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UserError(f"{path}: UTF-16 text; expected UTF-8 (`iconv -f utf-16 -t utf-8` converts it)")
    raise UserError(f"{path}: a binary file; expected UTF-8 text, plain, gzip or zstd")


def read_blocks(path: Path) -> Iterator[bytes]:
    """Stream the file's bytes, decompressed.

    Raises:
        UserError: the file is missing, unreadable, damaged or cut short.
    """
    try:
        with path.open("rb") as file:
            head = file.peek(4)[:4]  # a pipe cannot be read twice
            if head.startswith(_GZIP):
                yield from _decompressed(path, file, "gzip", lambda: zlib.decompressobj(wbits=31), zlib.error)
            elif _ZSTD.fullmatch(head):
                import zstandard

                decompressor = zstandard.ZstdDecompressor()
                yield from _decompressed(path, file, "zstd", decompressor.decompressobj, zstandard.ZstdError)
            else:
                while block := file.read(_BLOCK):
                    yield block
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise UserError(f"{path}: a folder; expected a text file") from None
    except PermissionError:
        raise UserError(f"{path}: no permission to read it") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None


def _decompressed(
    path: Path, file: IO[bytes], kind: str, new: Callable[[], Any], damage: type[Exception]
) -> Iterator[bytes]:
    """Decompress a file with as many decompressors as it has gzip members or zstd frames."""
    state, started = new(), False
    try:
        while data := file.read(_BLOCK >> 4):
            while data := data if started else data.lstrip(b"\0"):  # gzip allows zero padding behind a member
                if block := state.decompress(data):
                    yield block
                started, data = True, b""
                if state.eof:
                    data, state, started = state.unused_data, new(), False
    except damage:
        raise UserError(f"{path}: damaged {kind} file") from None
    if started:
        raise UserError(f"{path}: {kind} file cut short; it ends in the middle of its data")
