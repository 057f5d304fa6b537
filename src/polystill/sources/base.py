"""The base of all sources of sentence pairs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from polystill.errors import UserError
from polystill.schema import Strict

if TYPE_CHECKING:
    import numpy as np


class Unreadable(Enum):
    """Why a side of a pair cannot be read. The value is the reason that cleaning counts it under."""

    INVALID_UTF8 = "invalid_utf8"
    NUL_BYTE = "nul_byte"
    BROKEN_ROW = "broken_row"

    @property
    def meaning(self) -> str:
        """What is wrong with the side, such as "is not UTF-8"."""
        return _MEANINGS[self]


_MEANINGS = {
    Unreadable.INVALID_UTF8: "is not UTF-8",
    Unreadable.NUL_BYTE: "has a NUL byte",
    Unreadable.BROKEN_ROW: "is missing from its row, or the row is damaged",
}

SentencePair = tuple[str, str]
RawPair = tuple[str | Unreadable, str | Unreadable]
"""A pair as it is read."""


@dataclass(frozen=True)
class Lines:
    """Text of whole lines."""

    text: bytes
    ends: np.ndarray
    """(N,) the offset of each line's line feed."""

    def __len__(self) -> int:
        return len(self.ends)


class PairSource(Strict):
    """A corpus that a recipe names: its keys, and how its pairs are read. A subclass is one `kind`.

    `folder` is where the recipe's relative paths start, `languages` are those of source and target.
    """

    domain: Annotated[str, Field(pattern=r"^[a-z0-9_-]+$")] | None = None
    """What the text is about, by which a recipe's `domains` draws it. Several sources of `data.train` may share one."""

    @abstractmethod
    def describe(self, folder: Path) -> str:
        """The corpus' name in messages and reports."""

    @abstractmethod
    def stream(self, folder: Path, languages: tuple[str, str]) -> Iterator[RawPair]:
        """Stream all pairs in order. Nothing is judged here but what cannot be read.

        A damaged row is no error: its sides are `Unreadable`, so that its place counts and the others are read.

        Raises:
            UserError: a file is missing, unreadable, binary or damaged as a whole, the sides are of unequal length, a
                column or language is missing throughout, or a data set cannot be fetched.
        """

    def stream_lines(self, folder: Path, languages: tuple[str, str]) -> Iterator[tuple[Lines, Lines]] | None:
        """Stream the same pairs, many at a time: the lines of each side, as many of one as of the other.

        None where a pair is more than a line of two files.

        Raises:
            UserError: as for `stream`.
        """
        return None

    def read_pairs(self, folder: Path, languages: tuple[str, str]) -> Iterator[RawPair]:
        """Stream all pairs in order, with sides that hold a NUL byte as `Unreadable`.

        Raises:
            UserError: as for `stream`, or the corpus is empty.
        """
        empty = True
        for source, target in self.stream(folder, languages):
            yield without_nul(source), without_nul(target)
            empty = False
        if empty:
            raise self.is_empty(folder)

    def is_empty(self, folder: Path) -> UserError:
        return UserError(f"{self.describe(folder)}: empty corpus, not one sentence pair")


def without_nul(side: str | Unreadable) -> str | Unreadable:
    """The side, unless it holds a NUL byte."""
    return Unreadable.NUL_BYTE if isinstance(side, str) and "\0" in side else side
