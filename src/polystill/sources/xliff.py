"""Sentence pairs from XLIFF files, the exchange format of localisation."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from polystill.documents.base import Skipped, in_direction
from polystill.documents.xliff import read_units
from polystill.sources.base import PairSource, RawPair

_log = logging.getLogger(__name__)


class XliffSource(PairSource):
    """An XLIFF file (.xliff, .xlf), version 1.2 or 2; inline tags are removed.

    Units without a translation, to be reviewed, by a machine, or not to be translated are skipped and counted. A file
    of the other direction is turned round.
    """

    kind: Literal["xliff"]
    path: str
    """The file."""

    def describe(self, folder: Path) -> str:
        return str(folder / self.path)

    def stream(self, folder: Path, languages: tuple[str, str]) -> Iterator[RawPair]:
        name, skipped = self.describe(folder), Skipped()
        for unit in read_units(folder / self.path, skipped):
            yield from in_direction(iter([(unit.source, unit.target)]), name, unit.languages, languages)
        _log.info("%s: segments skipped: %s", name, skipped)
