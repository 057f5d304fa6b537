"""Validation and test text kept out of the training text, also where it comes again in other capitals and signs."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from polystill.data.cleaning import CleaningReport
from polystill.data.repair import repaired

if TYPE_CHECKING:
    from polystill.config import Recipe
    from polystill.sources.base import SentencePair

_VOWEL_SIGNS = "".join(
    character
    for character in map(chr, (*range(0x0900, 0x1D00), *range(0xA800, 0xAC00)))
    if unicodedata.category(character).startswith("M")
)
"""Marks of the scripts from Devanagari to Khmer and of their relatives, in which words differ: में is not मैं."""
_SIGNS = re.compile(rf"(?:[^\w{_VOWEL_SIGNS}]|_)+")


def likeness(text: str) -> str:
    """The text's letters and digits in lower case: equal for "_Open File…" and "Open file"."""
    return _SIGNS.sub("", unicodedata.normalize("NFKC", text).casefold()) or text.strip()


class HeldOutText:
    """Both sides of held-out pairs, to tell which cleaned training pairs hold one of them."""

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
        """Hold a pair out: as it is, and as cleaning would repair it, since training pairs are repaired."""
        for side, texts in zip(pair, (self._sources, self._targets), strict=True):
            texts |= {likeness(side), likeness(repaired(side))}

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
