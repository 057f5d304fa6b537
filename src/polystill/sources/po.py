"""Sentence pairs from gettext's PO files."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from polystill.documents.base import Skipped, in_direction
from polystill.documents.po import language_of, read_po, translated_pairs
from polystill.sources.base import PairSource, RawPair

_log = logging.getLogger(__name__)


class PoSource(PairSource):
    """A PO file (.po). Untranslated, fuzzy and obsolete messages and those with plural forms are skipped and counted.

    The header's `Language` may be the recipe's target language, or its source language: then the pairs are turned
    round.
    """

    kind: Literal["po"]
    path: str
    """The file."""

    def describe(self, folder: Path) -> str:
        return str(folder / self.path)

    def stream(self, folder: Path, languages: tuple[str, str]) -> Iterator[RawPair]:
        name, skipped = self.describe(folder), Skipped()
        po = read_po(folder / self.path)
        language = language_of(po)
        yield from in_direction(translated_pairs(po, skipped), name, (None, language), languages)
        _log.info("%s: messages skipped: %s", name, skipped)
