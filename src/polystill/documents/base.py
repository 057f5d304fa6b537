"""What all formats of documents share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from polystill.errors import UserError
from polystill.languages import base_of
from polystill.placement import Translation

MARK = "machine translation by polystill"
"""What a filled-in translation is called where the format has a place for words."""


@dataclass
class Skipped:
    """Counts the units of a document that are not used, by the reason."""

    counts: Counter[str] = field(default_factory=Counter)

    def add(self, reason: str, count: int = 1) -> None:
        self.counts[reason] += count

    def __str__(self) -> str:
        """Such as "3 fuzzy, 12 untranslated"; "none" if there are none."""
        return ", ".join(f"{count:,} {reason}" for reason, count in sorted(self.counts.items()) if count) or "none"


class Document(Protocol):
    """A document to be filled in."""

    languages: tuple[str | None, str | None]
    """Of source and target, as the file states them."""
    texts: list[str]
    """The texts that have no translation yet, in order. A text may have several lines."""
    has_codes: bool
    """Whether codes (tags) stand within the texts, which alignments help to place."""
    left: Skipped
    """The units that stay as they are."""

    def can_write(self, text: str) -> bool:
        """Whether the file's encoding has all characters of a translation."""
        ...

    def filled(self, translations: Sequence[Translation | None], target_language: str | None = None) -> bytes:
        """The file with the translation of each text; one that is None stays untranslated.

        `target_language` is stated in the file where the format wants it and the file does not state it. Everything
        else of the file stays byte for byte.
        """
        ...


def same_language(one: str | None, other: str | None) -> bool:
    """Whether two codes ("pt", "pt-BR", "por") may be of one language; a missing one may be any."""
    return one is None or other is None or base_of(one) == base_of(other)


def check_languages(name: str, stated: tuple[str | None, str | None], wanted: tuple[str | None, str | None]) -> None:
    """Check that a document is of these languages.

    Raises:
        UserError: it states others.
    """
    if not all(map(same_language, stated, wanted)):
        raise UserError(f"{name}: is {_shown(stated)}, but what is wanted is {_shown(wanted)}")


def in_direction(
    pairs: Iterator[tuple[str, str]],
    name: str,
    stated: tuple[str | None, str | None],
    wanted: tuple[str, str],
) -> Iterator[tuple[str, str]]:
    """A document's pairs in the direction that is wanted; those of a document of the other direction are turned round.

    Raises:
        UserError: the document is of other languages.
    """
    if all(map(same_language, stated, wanted)):
        return pairs
    if all(map(same_language, reversed(stated), wanted)):
        return ((target, source) for source, target in pairs)
    raise UserError(f"{name}: is {_shown(stated)}, the recipe wants {_shown(wanted)}")


def _shown(languages: tuple[str | None, str | None]) -> str:
    return " to ".join(language or "(no language stated)" for language in languages)
