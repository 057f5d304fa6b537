"""Sentence pairs from two text files."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Literal

from polystill.errors import UserError
from polystill.sources.base import PairSource, RawPair
from polystill.sources.lines import decoded, read_lines


class TextSource(PairSource):
    """Two files with one sentence a line; plain, .gz or .zst."""

    kind: Literal["text"]
    source: str
    target: str

    def describe(self, folder: Path) -> str:
        return str(folder / self.source)

    def stream(self, folder: Path, languages: tuple[str, str]) -> Iterator[RawPair]:
        sources, targets = read_lines(folder / self.source), read_lines(folder / self.target)
        for count, (source, target) in enumerate(zip_longest(sources, targets)):
            if source is None or target is None:
                source_count = count + (source is not None) + sum(1 for _ in sources)
                target_count = count + (target is not None) + sum(1 for _ in targets)
                raise UserError(
                    f"{folder / self.source}: {source_count} lines, but {folder / self.target} has {target_count}; "
                    "line n of one must translate line n of the other"
                )
            yield decoded(source), decoded(target)
