"""Translations that someone already has: a TSV file (plain, .gz or .zst).

Each line is a source and its translations, best first, separated by tabs, in the order of the sentences that are to be
translated. Lines between them, of sources that cleaning dropped or that came before, are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from polystill.errors import UserError
from polystill.sources.lines import read_lines
from polystill.targets.store import Candidate, shortened


class TranslationsFile:
    """Reads the file once, forwards."""

    def __init__(self, path: Path, n_best: int) -> None:
        self._path, self._n_best = path, n_best
        self._lines = self._read()
        self._number = 0

    def translate(self, sources: Sequence[str]) -> list[list[Candidate]]:
        """The candidates of the next sources, the first `n_best` of each.

        Raises:
            UserError: the file cannot be read, a source is not in it, or has no translation.
        """
        return [self._find(source) for source in sources]

    def _find(self, source: str) -> list[Candidate]:
        first = self._number + 1
        for found, translations in self._lines:
            if found == source:
                candidates = [Candidate(text) for text in translations if text]
                if not candidates:
                    raise UserError(f"{self._path}: line {self._number}: no translation of {shortened(source)}")
                return candidates[: self._n_best]
        raise UserError(
            f"{self._path}: no translation of {shortened(source)} from line {first} on; expected a line for every "
            "sentence, in their order: source, tab, translation"
        )

    def _read(self) -> Iterator[tuple[str, list[str]]]:
        for line in read_lines(self._path):
            self._number += 1
            try:
                columns = [column.strip() for column in line.decode("utf-8").split("\t")]
            except UnicodeDecodeError as error:
                raise UserError(f"{self._path}: line {self._number} is not UTF-8 ({error.reason})") from None
            yield columns[0], columns[1:]
