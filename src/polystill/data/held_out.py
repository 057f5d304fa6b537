"""Validation and test text kept out of the training text, also where it comes again in other capitals and signs."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from polystill.data.cleaning import CleaningReport

if TYPE_CHECKING:
    from polystill.config import Recipe
    from polystill.sources.base import SentencePair

_SIGNS = re.compile(r"[\W_]+")


def likeness(text: str) -> str:
    """The text's letters and digits in lower case: equal for "_Open File…" and "Open file"."""
    return _SIGNS.sub("", unicodedata.normalize("NFKC", text).casefold()) or text.strip()


class HeldOutText:
    """Both sides of held-out pairs, to tell which training pairs hold one of them."""

    def __init__(self, pairs: Iterable[SentencePair] = ()) -> None:
        self._sources: set[str] = set()
        self._targets: set[str] = set()
        for pair in pairs:
            self.add(pair)

    @classmethod
    def of_recipe(cls, recipe: Recipe) -> HeldOutText:
        """The text of a recipe's validation and test sets. Raises UserError as their sources."""
        data, held_out = recipe.data, cls()
        for source in [data.validation, *data.test.values()]:
            for one, other in source.read_pairs(Path(data.folder), (data.source_language, data.target_language)):
                if isinstance(one, str) and isinstance(other, str):
                    held_out.add((one, other))
        return held_out

    def add(self, pair: SentencePair) -> None:
        self._sources.add(likeness(pair[0]))
        self._targets.add(likeness(pair[1]))

    def __contains__(self, pair: SentencePair) -> bool:
        """Whether either side of a pair is held out."""
        return likeness(pair[0]) in self._sources or likeness(pair[1]) in self._targets

    def without(
        self, kept: Iterable[tuple[int, SentencePair]], report: CleaningReport, corpus: str
    ) -> Iterator[tuple[int, SentencePair]]:
        """Stream the (line, pair) that are not held out; the report counts the others."""
        for line, pair in kept:
            if pair in self:
                report.drop("held_out", corpus, line, pair)
            else:
                yield line, pair
