"""Sentence pairs from two columns of a tab-separated file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from polystill.sources.base import PairSource, RawPair, Unreadable
from polystill.sources.lines import decoded, read_lines


class TsvSource(PairSource):
    """One tab-separated file; plain, .gz or .zst. Columns count from 0."""

    kind: Literal["tsv"]
    path: str
    """The file."""
    source_column: int = Field(0, ge=0)
    """Counted from 0."""
    target_column: int = Field(1, ge=0)
    """Counted from 0."""

    def describe(self, folder: Path) -> str:
        return str(folder / self.path)

    def stream(self, folder: Path, languages: tuple[str, str]) -> Iterator[RawPair]:
        for line in read_lines(folder / self.path):
            columns = line.split(b"\t")
            yield _column(columns, self.source_column), _column(columns, self.target_column)


def _column(columns: list[bytes], number: int) -> str | Unreadable:
    """A column's text; a blank line is empty in all of them."""
    if number < len(columns):
        return decoded(columns[number])
    return "" if columns == [b""] else Unreadable.BROKEN_ROW
