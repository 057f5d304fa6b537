"""Sentence pairs from two text files."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Literal

from polystill.errors import UserError
from polystill.sources.base import Lines, PairSource, RawPair
from polystill.sources.lines import LineReader, decoded, read_lines

_BLOCK_LINES = 20_000
_BLOCK_BYTES = 4 << 20
"""Of the source side. Long lines make shorter blocks."""


class TextSource(PairSource):
    """Two files with one sentence a line; plain, .gz or .zst."""

    kind: Literal["text"]
    source: str
    """The file with the source sentences."""
    target: str
    """The file with their translations."""

    def describe(self, folder: Path) -> str:
        return str(folder / self.source)

    def stream(self, folder: Path, languages: tuple[str, str]) -> Iterator[RawPair]:
        sources, targets = read_lines(folder / self.source), read_lines(folder / self.target)
        for count, (source, target) in enumerate(zip_longest(sources, targets)):
            if source is None or target is None:
                source_count = count + (source is not None) + sum(1 for _ in sources)
                target_count = count + (target is not None) + sum(1 for _ in targets)
                raise self._unequal(folder, source_count, target_count)
            yield decoded(source), decoded(target)

    def stream_lines(self, folder: Path, languages: tuple[str, str]) -> Iterator[tuple[Lines, Lines]]:
        sources, targets = LineReader(folder / self.source), LineReader(folder / self.target)
        more = True
        while more:
            source = sources.take(_BLOCK_LINES, _BLOCK_BYTES)
            target = targets.take(len(source) or 1)
            if len(source) != len(target):
                raise self._unequal(folder, sources.count(), targets.count())
            if more := len(source) > 0:
                yield source, target

    def _unequal(self, folder: Path, source_count: int, target_count: int) -> UserError:
        return UserError(
            f"{folder / self.source}: {source_count} lines, but {folder / self.target} has {target_count}; "
            "line n of one must translate line n of the other"
        )
