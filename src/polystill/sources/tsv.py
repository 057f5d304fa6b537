"""Sentence pairs from two columns of a tab-separated file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from polystill.errors import UserError
from polystill.sources.base import PairSource, RawPair
from polystill.sources.lines import decoded, read_lines


class TsvSource(PairSource):
    """One tab-separated file; plain, .gz or .zst. Columns count from 0."""

    kind: Literal["tsv"]
    path: str
    source_column: int = Field(0, ge=0)
    target_column: int = Field(1, ge=0)

    def describe(self, folder: Path) -> str:
        return str(folder / self.path)

    def stream(self, folder: Path, languages: tuple[str, str]) -> Iterator[RawPair]:
        path = folder / self.path
        needed = max(self.source_column, self.target_column) + 1
        for number, line in enumerate(read_lines(path), start=1):
            columns = line.split(b"\t")
            if len(columns) < needed:
                problem = f"{len(columns)} tab-separated columns, expected at least {needed}"
                raise UserError(f"{path}: line {number}: {problem}")
            yield decoded(columns[self.source_column]), decoded(columns[self.target_column])
