"""Clean training pairs, count what is dropped and why, and detect translations that loop.

Checks are made in the order of REASONS; a pair counts under the first that it fails. Lengths are in words between
spaces; in a language without spaces two characters count as a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from polystill.data.languages import ScriptShare, is_unspaced

if TYPE_CHECKING:
    from polystill.config import Cleaning
    from polystill.sources.base import RawPair, SentencePair

REASONS = {
    "invalid_utf8": "a side is not UTF-8",
    "empty": "a side has no text",
    "too_short": "a side has fewer than min_words words",
    "too_long": "a side has more than max_words words",
    "ratio": "one side has more than max_ratio times the words of the other",
    "long_word": "a word has more than max_word_characters characters",
    "identical": "both sides are the same",
    "wrong_script": "too few of a side's letters are of its language's script",
    "duplicate": "the same pair came before",
    "too_many_tokens": "a side has more than data.max_tokens tokens",
}
"""Why a pair is dropped. The last two are known later than the others: from `mark_duplicates`, and from packing."""

RATIO_FROM_WORDS = 5
EXAMPLES = 3
_EXAMPLE_CHARACTERS = 100


@dataclass
class CleaningReport:
    """Counts over all training corpora, with the first few pairs that each reason dropped."""

    total: int = 0
    dropped: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    examples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    @property
    def kept(self) -> int:
        return self.total - sum(self.dropped.values())

    def drop(self, reason: str, corpus: str, line: int, pair: RawPair, count: int = 1) -> None:
        """Count a dropped pair, or several of which this is the first, and keep the first EXAMPLES of each reason.

        Lines count from 1.
        """
        self.dropped[reason] += count
        examples = self.examples.setdefault(reason, [])
        if len(examples) < EXAMPLES:
            source, target = (side if side is None else side[:_EXAMPLE_CHARACTERS] for side in pair)
            examples.append({"corpus": corpus, "line": line, "source": source, "target": target})

    def summary(self) -> str:
        """One line such as "empty 3, duplicate 12"."""
        return ", ".join(f"{reason} {count:,}" for reason, count in self.dropped.items() if count) or "nothing"

    def as_dict(self) -> dict[str, Any]:
        """The content of cleaning.json."""
        return {
            "total": self.total,
            "kept": self.kept,
            "dropped": self.dropped,
            "meaning": REASONS,
            "examples": self.examples,
        }


class Cleaner:
    """Decides about single pairs. With cleaning switched off, only empty and undecodable sides are dropped."""

    def __init__(self, settings: Cleaning, languages: tuple[str, str]):
        self.settings = settings
        self._unspaced = tuple(map(is_unspaced, languages))
        shares = [ScriptShare(language) for language in languages]
        self._shares = shares if settings.min_script_share > 0 and any(share.known for share in shares) else []

    def reason(self, source: str | None, target: str | None) -> str | None:
        """Why the pair is dropped (a key of REASONS); None if it is kept. Sides are stripped, undecodable ones None."""
        if source is None or target is None:
            return "invalid_utf8"
        if not source or not target:
            return "empty"
        settings = self.settings
        if not settings.enabled:
            return None
        source_words, target_words = source.split(), target.split()
        lengths = self._length(source_words, 0), self._length(target_words, 1)
        shorter, longer = min(lengths), max(lengths)
        if shorter < settings.min_words:
            return "too_short"
        if longer > settings.max_words:
            return "too_long"
        if longer >= RATIO_FROM_WORDS and longer > settings.max_ratio * shorter:
            return "ratio"
        most = settings.max_word_characters
        if (len(source) > most and not self._unspaced[0] and max(map(len, source_words)) > most) or (
            len(target) > most and not self._unspaced[1] and max(map(len, target_words)) > most
        ):
            return "long_word"
        if settings.drop_identical and source == target:
            return "identical"
        if self._shares and min(self._shares[0](source), self._shares[1](target)) < settings.min_script_share:
            return "wrong_script"
        return None

    def _length(self, words: list[str], side: int) -> int:
        return max(len(words), sum(map(len, words)) // 2) if self._unspaced[side] else len(words)


def clean(
    pairs: Iterable[RawPair], cleaner: Cleaner, report: CleaningReport, corpus: str
) -> Iterator[tuple[int, SentencePair]]:
    """Stream (line, pair) of the pairs that are kept, stripped of outer space; the report counts all. Lines from 1."""
    for line, (source, target) in enumerate(pairs, start=1):
        source = source if source is None else source.strip()
        target = target if target is None else target.strip()
        report.total += 1
        reason = cleaner.reason(source, target)
        if reason is None:
            assert source is not None and target is not None
            yield line, (source, target)
        else:
            report.drop(reason, corpus, line, (source, target))


def mark_duplicates(hashes: np.ndarray) -> np.ndarray:
    """Mark each of the 64-bit hashes (N,) that repeats an earlier one: bool (N,). Takes about 25 bytes a row."""
    order = np.argsort(hashes, kind="stable")
    in_order = hashes[order]
    repeated = np.empty(len(hashes), dtype=bool)
    repeated[:1] = False
    np.equal(in_order[1:], in_order[:-1], out=repeated[1:])
    del in_order
    duplicate = np.empty(len(hashes), dtype=bool)
    duplicate[order] = repeated
    return duplicate


# --- repetitions --------------------------------------------------------------------------------------------------

MOST_REPEATS = 3
_CHARACTERS_REPEATED = re.compile(r"(\S{1,6}?)\1{9,}")
"""A few characters ten times in a row within a word."""
LONGEST_PHRASE = 6


class Repetition:
    """Detects translations that repeat themselves, as a search does that loops."""

    def __init__(self, languages: tuple[str, str]) -> None:
        self._unspaced = tuple(map(is_unspaced, languages))

    def is_looping(self, source: str, hypothesis: str) -> bool:
        """Whether a phrase comes over MOST_REPEATS times in a row, or characters ten times, and not in the source."""
        if _CHARACTERS_REPEATED.search(hypothesis) and not _CHARACTERS_REPEATED.search(source):
            return True
        return self._repeats(hypothesis, 1) > max(MOST_REPEATS, self._repeats(source, 0))

    def _repeats(self, text: str, side: int) -> int:
        """In a language without spaces a phrase is at least two characters: single ones often double."""
        return most_repeats(text, 2) if self._unspaced[side] else most_repeats(text.split(), 1)


def most_repeats(words: Sequence[str], shortest: int = 1) -> int:
    """The longest row of one repeated phrase: 3 in "a b a b a b", 1 if nothing repeats."""
    most = min(1, len(words))
    for length in range(shortest, LONGEST_PHRASE + 1):
        run = 0
        for i in range(length, len(words)):
            run = run + 1 if words[i] == words[i - length] else 0
            most = max(most, run // length + 1)
    return most
