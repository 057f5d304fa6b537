"""What a teacher is to translate: every distinct source once, in the order in which it first comes.

Text lies on disk; memory holds about 50 bytes a sentence.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from polystill.config import Recipe
from polystill.data.cleaning import CleaningReport
from polystill.data.training_text import TextStore, clean_training, lines_sha256
from polystill.errors import UserError
from polystill.sources.lines import read_lines

_BLOCK_LINES = 20_000


@dataclass(frozen=True)
class Source:
    """A distinct source, the ids of the sentences that have it, and their references (none for text without)."""

    ids: list[int]
    text: str
    references: list[str]


class Sources:
    """All sentences of a corpus or a text, grouped by their source."""

    def __init__(self, store: TextStore, rows: np.ndarray, ids: np.ndarray, about: dict[str, Any]) -> None:
        """Take the store, its rows (N,) that are to be translated, their ids (N,), and what the plan says of them."""
        self._store, self._rows, self._ids = store, rows, ids
        self.about = about
        self._has_references = about["kind"] == "corpus"
        keys = np.array([_digest(store.row(row)[2][0]) for row in rows.tolist()], dtype="S16")
        _, first, group = np.unique(keys, return_index=True, return_inverse=True)
        rank = np.empty(len(first), dtype=np.int64)
        rank[np.argsort(first)] = np.arange(len(first))  # groups counted in the order of their first sentence
        number = rank[group]
        self._members = np.argsort(number, kind="stable")
        self._starts = np.concatenate([[0], np.cumsum(np.bincount(number))])

    @property
    def sentences(self) -> int:
        return len(self._rows)

    def __len__(self) -> int:
        """How many of them are distinct."""
        return len(self._starts) - 1

    def block(self, start: int, stop: int) -> list[Source]:
        """The distinct sources with the numbers start to stop - 1."""
        return [self._source(number) for number in range(start, min(stop, len(self)))]

    def _source(self, number: int) -> Source:
        members = self._members[self._starts[number] : self._starts[number + 1]]
        pairs = [self._store.row(row)[2] for row in self._rows[members].tolist()]
        references = [reference for _, reference in pairs] if self._has_references else []
        return Source(self._ids[members].tolist(), pairs[0][0], references)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


@contextmanager
def corpus_sources(recipe: Recipe, scratch: Path, log: Callable[[str], None]) -> Iterator[Sources]:
    """The cleaned training text of a recipe, with its references; the ids are those of `TrainingText`.

    Raises:
        UserError: as `clean_training`.
    """
    with tempfile.TemporaryDirectory(dir=scratch, prefix=".text-") as folder:
        report = CleaningReport()
        text = clean_training(recipe, Path(folder) / "kept.arrow", report, log)
        about = {"kind": "corpus", "sha256": text.source_sha256(), "sentences": len(text)}
        yield Sources(text.store, text.rows, np.arange(len(text)), about)


@contextmanager
def text_sources(path: Path, scratch: Path) -> Iterator[Sources]:
    """The lines of a text without references (plain, .gz or .zst), but for blank ones; ids are line numbers from 0.

    Raises:
        UserError: the file cannot be read, a line is not UTF-8, or there is not one line with text.
    """
    with tempfile.TemporaryDirectory(dir=scratch, prefix=".text-") as folder:
        store = TextStore(Path(folder) / "lines.arrow")
        lines = _texts(path)
        filled, count = [], 0
        while block := list(islice(lines, _BLOCK_LINES)):
            store.write(0, [(count + i + 1, (line, "")) for i, line in enumerate(block)])
            filled += [count + i for i, line in enumerate(block) if line]
            count += len(block)
        store.finish()
        if not filled:
            raise UserError(f"{path}: empty, not one line with text")
        rows = np.array(filled, dtype=np.int64)
        checksum = lines_sha256(line for line, _ in store.pairs(np.zeros(count, dtype=bool)))
        about = {"kind": "text", "sha256": checksum, "sentences": count, "blank": count - len(rows)}
        yield Sources(store, rows, rows, about)


def _texts(path: Path) -> Iterator[str]:
    for number, line in enumerate(read_lines(path), start=1):
        try:
            yield line.decode("utf-8").strip()
        except UnicodeDecodeError as error:
            raise UserError(f"{path}: line {number} is not UTF-8 (byte {error.start + 1}: {error.reason})") from None
