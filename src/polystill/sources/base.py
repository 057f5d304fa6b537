"""The base of all sources of sentence pairs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path

from polystill.errors import UserError
from polystill.schema import Strict

SentencePair = tuple[str, str]
RawPair = tuple[str | None, str | None]
"""A pair as it is read: a side that is not UTF-8 is None."""


class PairSource(Strict):
    """A corpus that a recipe names: its keys, and how its pairs are read. A subclass is one `kind`.

    `folder` is where the recipe's relative paths start, `languages` are those of source and target.
    """

    @abstractmethod
    def describe(self, folder: Path) -> str:
        """The corpus' name in messages and reports."""

    @abstractmethod
    def stream(self, folder: Path, languages: tuple[str, str]) -> Iterator[RawPair]:
        """Stream all pairs in order. Nothing is judged here but what cannot be read.

        Raises:
            UserError: a file is missing, unreadable, binary or damaged, the sides are of unequal length, a column or
                language is missing, or a data set cannot be fetched.
        """

    def read_pairs(self, folder: Path, languages: tuple[str, str]) -> Iterator[RawPair]:
        """Stream all pairs in order; a corpus without any is an error.

        Raises:
            UserError: as for `stream`, or the corpus is empty.
        """
        empty = True
        for pair in self.stream(folder, languages):
            yield pair
            empty = False
        if empty:
            raise UserError(f"{self.describe(folder)}: empty corpus, not one sentence pair")
