"""Clean training pairs, count what is repaired, dropped and why, and detect translations that loop.

Checks are made in the order of REASONS; a pair counts under the first that it fails. Lengths are in words as
`languages.count_words` counts them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from polystill.data.normalization import is_blank
from polystill.data.repair import REPAIRS
from polystill.errors import UserError
from polystill.languages import ScriptShare, count_words, has_longer_word, is_unspaced
from polystill.sources.base import RawPair, SentencePair, Unreadable

if TYPE_CHECKING:
    from polystill.config import Cleaning

REASONS = {
    **{unreadable.value: f"a side {unreadable.meaning}" for unreadable in Unreadable},
    "empty": "a side has no text",
    "too_short": "a side has fewer than min_words words",
    "too_long": "a side has more than max_words words",
    "ratio": "one side has more than max_ratio times the words of the other",
    "long_word": "a word has more than max_word_characters characters",
    "identical": "both sides are the same",
    "wrong_script": "too few of a side's words are of its language's script",
    "held_out": "a side is in a validation or test set, whatever its capitals and signs",
    "duplicate": "the same pair came before",
    "too_many_tokens": "a side has more than data.max_tokens tokens",
}
"""Why a pair is dropped. The last two are known later than the others: from `mark_duplicates`, and from packing."""

RATIO_FROM_WORDS = 8
"""No pair is judged by its ratio where the longer side has fewer words: a word often takes five in another language."""
EXAMPLES = 3
_EXAMPLE_CHARACTERS = 100


@dataclass
class _Lines:
    """A number of lines, and the first of them."""

    count: int = 0
    first: list[int] = field(default_factory=list)

    def add(self, line: int) -> None:
        self.count += 1
        if len(self.first) < EXAMPLES:
            self.first.append(line)

    def extend(self, later: _Lines) -> None:
        self.count += later.count
        self.first = (self.first + later.first)[:EXAMPLES]

    def __str__(self) -> str:
        """Such as "1 (line 7)" or "5 (lines 2, 3, 9, …)"."""
        first = ", ".join(f"{line:,}" for line in self.first) + ", …" * (self.count > EXAMPLES)
        return f"{self.count:,} (line{'s' * (self.count > 1)} {first})"


@dataclass
class CleaningReport:
    """Counts over all training corpora, with the first few pairs that each reason dropped and each repair changed."""

    total: int = 0
    dropped: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    repaired: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REPAIRS, 0))
    examples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    unreadable: dict[str, _Lines] = field(default_factory=dict)
    """The lines of the corpus that is being read that cannot be read, by their reason."""

    @property
    def kept(self) -> int:
        return self.total - sum(self.dropped.values())

    def drop(self, reason: str, corpus: str, line: int, pair: RawPair, count: int = 1) -> None:
        """Count a dropped pair, or several of which this is the first, and keep the first EXAMPLES of each reason.

        Lines count from 1.
        """
        self.dropped[reason] += count
        if any(isinstance(side, Unreadable) for side in pair):
            self.unreadable.setdefault(reason, _Lines()).add(line)
        self._show(reason, corpus, line, pair)

    def repair(self, name: str, corpus: str, line: int, pair: RawPair) -> None:
        """Count a pair that a repair has changed to this."""
        self.repaired[name] += 1
        self._show(name, corpus, line, pair)

    def _show(self, name: str, corpus: str, line: int, pair: RawPair) -> None:
        examples = self.examples.setdefault(name, [])
        if len(examples) < EXAMPLES:
            source, target = (None if isinstance(side, Unreadable) else side[:_EXAMPLE_CHARACTERS] for side in pair)
            examples.append({"corpus": corpus, "line": line, "source": source, "target": target})

    def add(self, later: CleaningReport) -> None:
        """Take in the report of the pairs that come after those of this one."""
        self.total += later.total
        for counts, more in ((self.dropped, later.dropped), (self.repaired, later.repaired)):
            for name, count in more.items():
                counts[name] += count
        for name, examples in later.examples.items():
            self.examples[name] = (self.examples.get(name, []) + examples)[:EXAMPLES]
        for reason, lines in later.unreadable.items():
            self.unreadable.setdefault(reason, _Lines()).extend(lines)

    def check_readable(self, corpus: str, lines: int, most: float, key: str | None = None) -> str | None:
        """A warning that names the first unreadable lines of the corpus that was just read, which has so many in all.

        Raises:
            UserError: they are more than the share `most` of all, rounded up; `key` is the recipe's for that share.
        """
        unreadable, self.unreadable = self.unreadable, {}
        if not unreadable:
            return None
        count = sum(each.count for each in unreadable.values())
        reasons = ", ".join(f"{reason} {each}" for reason, each in unreadable.items())
        what = f"{corpus}: {count:,} of {lines:,} lines cannot be read: {reasons}"
        if count > ceil(most * lines):
            raise UserError(f"{what}; mend the file" + (f", or raise {key} ({most:g})" if key else ""))
        return f"warning: {what}"

    def summary(self) -> str:
        """One line such as "empty 3, duplicate 12"."""
        return _counted(self.dropped)

    def repairs(self) -> str:
        """One line such as "html_entities 3"."""
        return _counted(self.repaired)

    def as_dict(self) -> dict[str, Any]:
        """The content of cleaning.json."""
        return {
            "total": self.total,
            "kept": self.kept,
            "dropped": self.dropped,
            "repaired": self.repaired,
            "meaning": REASONS | {name: meaning for name, (meaning, _) in REPAIRS.items()},
            "examples": self.examples,
        }


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items() if count) or "nothing"


class Cleaner:
    """Decides about single pairs. With cleaning switched off, only empty and unreadable sides are dropped."""

    def __init__(self, settings: Cleaning, languages: tuple[str, str]):
        self.settings = settings
        shares = [ScriptShare(language) for language in languages]
        self._shares = shares if settings.min_script_share > 0 and any(share.known for share in shares) else []

    def reason(self, source: str | Unreadable, target: str | Unreadable) -> str | None:
        """Why the pair is dropped (a key of REASONS); None if it is kept. Sides are stripped."""
        for side in (source, target):
            if isinstance(side, Unreadable):
                return str(side.value)
        assert isinstance(source, str) and isinstance(target, str)
        if is_blank(source) or is_blank(target):
            return "empty"
        settings = self.settings
        if not settings.enabled:
            return None
        lengths = count_words(source), count_words(target)
        shorter, longer = min(lengths), max(lengths)
        if shorter < settings.min_words:
            return "too_short"
        if longer > settings.max_words:
            return "too_long"
        if longer >= RATIO_FROM_WORDS and longer > settings.max_ratio * shorter:
            return "ratio"
        most = settings.max_word_characters
        if has_longer_word(source, most) or has_longer_word(target, most):
            return "long_word"
        if settings.drop_identical and source == target:
            return "identical"
        if self._shares:
            shares = self._shares[0](source, target), self._shares[1](target, source)
            if min(shares) < settings.min_script_share:
                return "wrong_script"
        return None


def clean(
    pairs: Iterable[RawPair], cleaner: Cleaner, report: CleaningReport, corpus: str
) -> Iterator[tuple[int, SentencePair]]:
    """Stream (line, pair) of the pairs that are kept, repaired and stripped of outer space; the report counts all.

    Lines count from 1. With cleaning switched off nothing is repaired.
    """
    for line, pair in enumerate(pairs, start=1):
        if kept := clean_pair(pair, cleaner, report, corpus, line):
            yield line, kept


def clean_pair(pair: RawPair, cleaner: Cleaner, report: CleaningReport, corpus: str, line: int) -> SentencePair | None:
    """One pair as `clean` yields it; None if it is dropped."""
    source, target = pair
    report.total += 1
    if isinstance(source, str) and isinstance(target, str):
        if cleaner.settings.enabled:
            source, target = _repair(source, target, report, corpus, line)
        source, target = source.strip(), target.strip()
    reason = cleaner.reason(source, target)
    if reason is None:
        assert isinstance(source, str) and isinstance(target, str)
        return source, target
    report.drop(reason, corpus, line, (source, target))
    return None


def _repair(source: str, target: str, report: CleaningReport, corpus: str, line: int) -> SentencePair:
    for name, (_, repair) in REPAIRS.items():
        pair = repair(source), repair(target)
        if pair != (source, target):
            report.repair(name, corpus, line, pair)
            source, target = pair
    return source, target


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
