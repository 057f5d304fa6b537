"""Many pairs of a corpus at a time, in columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from polystill.sources.base import Lines, PairSource, RawPair, without_nul
from polystill.sources.lines import decoded

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK_PAIRS = 20_000


@dataclass(frozen=True)
class Block:
    """Rows of a corpus as strings (N,). A pair with a side that cannot be read is in `unreadable`, by its row."""

    sources: pa.StringArray
    targets: pa.StringArray
    unreadable: dict[int, RawPair]

    def pairs(self, rows: np.ndarray) -> Iterator[RawPair]:
        """The pairs of some rows (M,)."""
        columns = (side.take(rows).to_pylist() for side in (self.sources, self.targets))
        for row, source, target in zip(rows.tolist(), *columns, strict=True):
            yield self.unreadable.get(row) or (source, target)


class Unparsed(NamedTuple):
    """A block that is read; any thread can parse it."""

    rows: int
    parse: Callable[[], Block]


def read_blocks(
    corpus: PairSource, folder: Path, languages: tuple[str, str], most: int | None = None
) -> Iterator[Unparsed]:
    """Stream all pairs of a corpus in order, or the first `most`.

    Raises:
        UserError: as `PairSource.read_pairs`.
    """
    lines = corpus.stream_lines(folder, languages) if most is None else None
    if lines is None:
        yield from _blocks(islice(corpus.read_pairs(folder, languages), most))
        return
    empty = True
    for source, target in lines:
        yield Unparsed(len(source), partial(_of_lines, source, target))
        empty = False
    if empty:
        raise corpus.is_empty(folder)


def _blocks(pairs: Iterable[RawPair]) -> Iterator[Unparsed]:
    pairs = iter(pairs)
    while rows := list(islice(pairs, BLOCK_PAIRS)):
        yield Unparsed(len(rows), partial(_of_pairs, rows))


def _of_pairs(pairs: list[RawPair]) -> Block:
    import pyarrow as pa

    unreadable = {row: pair for row, pair in enumerate(pairs) if not all(isinstance(side, str) for side in pair)}
    readable = [("", "") if row in unreadable else pair for row, pair in enumerate(pairs)] if unreadable else pairs
    sources, targets = zip(*readable, strict=True)
    return Block(pa.array(sources, pa.string()), pa.array(targets, pa.string()), unreadable)


# --- lines --------------------------------------------------------------------------------------------------------

_READABLE = (
    r"\A(?:[\x01-\x7f]|[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}"
    r"|\xed[\x80-\x9f][\x80-\xbf]|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2})*\z"
)
"""Matches bytes that are UTF-8 (the Unicode Standard, table 3-7) without NUL."""


def _of_lines(source: Lines, target: Lines) -> Block:
    """The block of two texts with equally many lines."""
    import pyarrow as pa
    import pyarrow.compute as pc

    binary = [_binary(lines) for lines in (source, target)]
    try:
        if b"\0" not in source.text and b"\0" not in target.text:
            return Block(binary[0].cast(pa.string()), binary[1].cast(pa.string()), {})
    except pa.ArrowInvalid:  # Some are not UTF-8.
        pass
    readable = np.logical_and(*(np.array(pc.match_substring_regex(side, _READABLE)) for side in binary))
    unreadable: dict[int, RawPair] = {}
    for row in np.flatnonzero(~readable).tolist():
        one, other = (without_nul(decoded(side[row].as_py())) for side in binary)
        unreadable[row] = one, other
    sources, targets = (pc.if_else(readable, side, b"").cast(pa.string()) for side in binary)
    return Block(sources, targets, unreadable)


def _binary(lines: Lines) -> Any:
    """The lines as a binary array (N,), without their line feeds."""
    import pyarrow as pa

    offsets = np.zeros(len(lines) + 1, dtype=np.int32)
    offsets[1:] = lines.ends - np.arange(len(lines))
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(lines.text.replace(b"\n", b""))]
    return pa.Array.from_buffers(pa.binary(), len(lines), buffers)
