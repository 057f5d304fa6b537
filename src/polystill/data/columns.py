"""Clean many pairs at a time, in columns: the fast path of `cleaning.clean`, which stays the one place with the rules.

Most pairs are plain: of their languages' letters, without anything to repair, and within all limits. A few passes over
a column tell which pairs are surely plain. They are kept as they are, and the others go through `cleaning.clean_pair`
one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from polystill.data.cleaning import RATIO_FROM_WORDS, Cleaner, CleaningReport, clean_pair
from polystill.data.held_out import HeldOutText
from polystill.data.normalization import is_blank
from polystill.data.repair import ENTITY_LIKE, mojibake_patterns
from polystill.languages import scripts_of, simple_characters
from polystill.sources.base import SentencePair

if TYPE_CHECKING:
    import pyarrow as pa

    from polystill.config import Cleaning
    from polystill.sources.blocks import Block

_LONGEST_REPEAT = 1_000
"""RE2's limit."""


@dataclass(frozen=True)
class CleanedBlock:
    """The pairs of a block that are kept, their lines (N,) and 64-bit hashes (N,), and the report of all pairs."""

    lines: np.ndarray
    sources: pa.StringArray
    targets: pa.StringArray
    hashes: np.ndarray
    report: CleaningReport

    def __len__(self) -> int:
        return len(self.lines)


class NumberedBlock(NamedTuple):
    """A block that is not parsed yet, of which corpus it is, and how many of its lines come before."""

    parse: Callable[[], Block]
    corpus: str
    before: int


class BlockCleaner:
    """Cleans blocks of pairs, in any number of threads."""

    def __init__(self, settings: Cleaning, languages: tuple[str, str], held_out: HeldOutText | None = None) -> None:
        self._cleaner = Cleaner(settings, languages)
        self._settings = settings
        self._held_out = held_out
        self._unusual = tuple(_unusual(settings, language) for language in languages)

    def clean(self, numbered: NumberedBlock) -> CleanedBlock:
        import pyarrow as pa
        import pyarrow.compute as pc

        block, corpus, before = numbered.parse(), numbered.corpus, numbered.before
        columns = [pc.ascii_trim(side, characters=" ") for side in (block.sources, block.targets)]
        plain = self._are_plain(columns)
        plain[list(block.unreadable)] = False
        report = CleaningReport(total=int(plain.sum()))
        rows, others = np.flatnonzero(plain).tolist(), np.flatnonzero(~plain)
        places, changed = list(rows), list[SentencePair]()
        for row, pair in zip(others.tolist(), block.pairs(others), strict=True):
            if kept := clean_pair(pair, self._cleaner, report, corpus, before + row + 1):
                rows.append(row)
                places.append(len(plain) + len(changed))
                changed.append(kept)
        order = np.argsort(rows)
        for i, column in enumerate(columns):
            column = pa.concat_arrays([column, pa.array([pair[i] for pair in changed], pa.string())])
            columns[i] = column.take(np.array(places, dtype=np.int64)[order])
        lines = before + 1 + np.array(rows, dtype=np.int64)[order]
        return self._finished(lines, columns, report, corpus)

    def _finished(self, lines: np.ndarray, columns: list[Any], report: CleaningReport, corpus: str) -> CleanedBlock:
        if self._held_out is not None:
            pairs = zip(lines.tolist(), zip(*(column.to_pylist() for column in columns), strict=True), strict=True)
            kept = np.isin(lines, [line for line, _ in self._held_out.without(pairs, report, corpus)])
            lines, columns = lines[kept], [column.filter(kept) for column in columns]
        return CleanedBlock(lines, columns[0], columns[1], hashes(*columns), report)

    def _are_plain(self, columns: list[Any]) -> np.ndarray:
        """Which pairs are kept as they are, bool (N,). Both sides are without blanks around them."""
        import pyarrow.compute as pc

        source, target = columns
        plain = np.ones(len(source), dtype=bool)
        for side, unusual in zip(columns, self._unusual, strict=True):
            plain &= (_lengths(side) > 0) & ~_are_unusual(side, unusual, self._settings.enabled)
        settings = self._settings
        if settings.enabled:
            words = _count_words(source), _count_words(target)
            shorter, longer = np.minimum(*words), np.maximum(*words)
            plain &= (shorter >= settings.min_words) & (longer <= settings.max_words)
            plain &= (longer < RATIO_FROM_WORDS) | (longer <= settings.max_ratio * shorter)
            if settings.drop_identical:
                plain &= ~_bool(pc.equal(source, target))
            if settings.max_word_characters >= _LONGEST_REPEAT:
                most = np.maximum(_lengths(source), _lengths(target))
                plain &= most <= settings.max_word_characters
        return plain


def hashes(sources: pa.StringArray, targets: pa.StringArray) -> np.ndarray:
    """A 64-bit hash (XXH3) of each pair, uint64 (N,): that of its target, seeded with that of its source."""
    from xxhash import xxh3_64_intdigest as digest

    source, target = (memoryview(side.buffers()[2] or b"") for side in (sources, targets))
    starts, other_starts = (_offsets(side).tolist() for side in (sources, targets))
    places = zip(starts, starts[1:], other_starts, other_starts[1:], strict=False)
    return np.array([digest(target[c:d], digest(source[a:b])) for a, b, c, d in places], dtype=np.uint64)


# --- plain text ---------------------------------------------------------------------------------------------------


def _unusual(settings: Cleaning, language: str) -> str:
    """Matches every text that may be repaired, blank, or dropped for its words or script; mojibake apart."""
    scripts = scripts_of(language) if settings.enabled and settings.min_script_share > 0 else []
    patterns = [f"[^ {_simple_characters(tuple(scripts))}]"]
    if settings.enabled:
        patterns.append(ENTITY_LIKE)
        if settings.max_word_characters < _LONGEST_REPEAT:
            patterns.append(f"[^ ]{{{settings.max_word_characters + 1}}}")
    return "|".join(patterns)


@cache
def _simple_characters(scripts: tuple[str, ...]) -> str:
    """For use in a regular expression's brackets; all of them show something."""
    shown = (character for character in simple_characters(scripts) if character.isalnum() or not is_blank(character))
    codes = list(map(ord, shown))
    firsts = [code for code, before in zip(codes, [0, *codes], strict=False) if code != before + 1]
    lasts = [code for code, after in zip(codes, [*codes[1:], 0], strict=True) if code != after - 1]
    return "".join(f"\\x{{{first:x}}}-\\x{{{last:x}}}" for first, last in zip(firsts, lasts, strict=True))


def _are_unusual(column: pa.StringArray, unusual: str, repairs: bool) -> np.ndarray:
    """Which texts match the pattern, or may be mojibake if it is to be repaired: bool (N,)."""
    if not repairs:
        return _matches(column, unusual)
    suspect, bad = mojibake_patterns()
    found = _matches(column, f"{unusual}|{suspect}")
    some = column.filter(found)
    found[found] = _matches(some, f"{unusual}|{bad}")
    return found


def _matches(column: pa.StringArray, pattern: str) -> np.ndarray:
    import pyarrow.compute as pc

    return _bool(pc.match_substring_regex(column, pattern))


def _bool(column: pa.BooleanArray) -> np.ndarray:
    return np.array(column.to_numpy(zero_copy_only=False), dtype=bool)


def _offsets(column: pa.StringArray) -> np.ndarray:
    return np.frombuffer(column.buffers()[1], dtype=np.int32)[column.offset : column.offset + len(column) + 1]


def _lengths(column: pa.StringArray) -> np.ndarray:
    """In bytes (N,)."""
    return np.diff(_offsets(column))


def _count_words(column: pa.StringArray) -> np.ndarray:
    """The stretches of bytes between spaces (N,), in texts without spaces around them."""
    offsets = _offsets(column)
    is_space = np.frombuffer(column.buffers()[2] or b"", dtype=np.uint8)[: offsets[-1]] == ord(" ")
    firsts = np.flatnonzero(is_space[1:] & ~is_space[:-1]) + 1
    return np.diff(np.searchsorted(firsts, offsets)) + 1
