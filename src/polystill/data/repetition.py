"""Repetitions, which a search that loops leaves behind."""

from __future__ import annotations

import re
from collections.abc import Sequence

from polystill.data.scripts import is_unspaced

MOST_REPEATS = 3
_CHARACTERS_REPEATED = re.compile(r"(\S{1,6}?)\1{9,}")
"""A few characters ten times in a row within a word."""
LONGEST_PHRASE = 6


class Repetition:
    """Judges translations from one language into another."""

    def __init__(self, languages: tuple[str, str]) -> None:
        self._unspaced = tuple(map(is_unspaced, languages))

    def is_looping(self, source: str, hypothesis: str) -> bool:
        """Whether a phrase stands more than MOST_REPEATS times in a row, or characters ten times; not so the source."""
        if _CHARACTERS_REPEATED.search(hypothesis) and not _CHARACTERS_REPEATED.search(source):
            return True
        return self._repeats(hypothesis, 1) > max(MOST_REPEATS, self._repeats(source, 0))

    def _repeats(self, text: str, side: int) -> int:
        """Without spaces a phrase is at least two characters, for single ones double often."""
        return most_repeats(text, 2) if self._unspaced[side] else most_repeats(text.split(), 1)


def most_repeats(words: Sequence[str], shortest: int = 1) -> int:
    """How often the phrase that is repeated most stands in a row: 3 in "a b a b a b", 1 where none is repeated."""
    most = min(1, len(words))
    for length in range(shortest, LONGEST_PHRASE + 1):
        run = 0
        for i in range(length, len(words)):
            run = run + 1 if words[i] == words[i - length] else 0
            most = max(most, run // length + 1)
    return most
