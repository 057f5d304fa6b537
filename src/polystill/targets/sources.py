"""Open the text that a teacher translates: every distinct source once, in the order of first occurrence.

The text stays on disk; memory holds about 50 bytes a sentence.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from polystill.config import Cleaning, Recipe, load_recipe
from polystill.data.cleaning import CleaningReport
from polystill.data.normalization import is_blank
from polystill.data.training_text import TextStore, clean_training, lines_sha256
from polystill.errors import UserError
from polystill.runs import Run
from polystill.sources.base import Unreadable, without_nul
from polystill.sources.lines import decoded, read_lines
from polystill.storage import scratch_folder

_BLOCK_LINES = 20_000


@dataclass(frozen=True)
class Text:
    """The text to translate: the training text of a run or recipe, or a file without references."""

    run: Path | None = None
    source: Path | None = None
    languages: tuple[str | None, str | None] = (None, None)
    """As a multilingual teacher names them. By default the recipe's, or those of a teacher for one pair."""
    settings: Sequence[str] = ()
    """Changes to the recipe, as `load_recipe` takes them."""

    def read_recipe(self) -> Recipe | None:
        """Return the recipe whose training text is meant, or None for a file.

        Raises:
            UserError: there is no such run or recipe, it is damaged, or there are settings for what is not a recipe.
        """
        if self.run is not None and not self.run.is_dir():
            return load_recipe(self.run, list(self.settings))
        if self.settings:
            raise UserError(f"--set {self.settings[0]}: only a recipe can be changed; give one with --run")
        return Run.open(self.run).recipe if self.run is not None else None


@dataclass(frozen=True)
class Source:
    """A distinct source, the ids of the sentences that have it, and their references; a file has none."""

    ids: list[int]
    text: str
    references: list[str]


class Sources:
    """All sentences of a corpus or a text, grouped by their source."""

    def __init__(self, store: TextStore, rows: np.ndarray, ids: np.ndarray, about: dict[str, Any]) -> None:
        """Take the store, its rows to translate (N,), their ids (N,), and their part of the plan."""
        self._store, self._rows, self._ids = store, rows, ids
        self.about = about
        self._has_references = about["kind"] == "corpus"
        digests = (_digest(store.row(row)[2][0]) for row in map(int, rows))
        keys = np.fromiter(digests, dtype="S16", count=len(rows))
        _, first, group = np.unique(keys, return_index=True, return_inverse=True)
        rank = np.empty(len(first), dtype=np.int64)
        rank[np.argsort(first)] = np.arange(len(first))  # number groups in the order of their first sentence
        number = rank[group]
        self._members = np.argsort(number, kind="stable")
        self._starts = np.concatenate([[0], np.cumsum(np.bincount(number))])

    @property
    def sentences(self) -> int:
        return len(self._rows)

    def __len__(self) -> int:
        """The number of distinct sources."""
        return len(self._starts) - 1

    def block(self, start: int, stop: int) -> list[Source]:
        """Return the distinct sources with the numbers start to stop - 1."""
        return [self._source(number) for number in range(start, min(stop, len(self)))]

    def _source(self, number: int) -> Source:
        members = self._members[self._starts[number] : self._starts[number + 1]]
        pairs = [self._store.row(row)[2] for row in self._rows[members].tolist()]
        references = [reference for _, reference in pairs] if self._has_references else []
        return Source(self._ids[members].tolist(), pairs[0][0], references)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


@contextmanager
def open_sources(recipe: Recipe | None, text: Text, scratch: Path, log: Callable[[str], None]) -> Iterator[Sources]:
    """Open the sources of a text; `recipe` is what `text.read_recipe` returns.

    Raises:
        UserError: the text cannot be read, or a run's corpora have changed since its data stage.
    """
    if recipe is None:
        assert text.source is not None
        with text_sources(text.source, scratch, log) as sources:
            yield sources
        return
    with corpus_sources(recipe, scratch, log) as sources:
        if text.run is not None and text.run.is_dir():
            record = Run.open(text.run).record("data") or {}
            if record.get("source_sha256", sources.about["sha256"]) != sources.about["sha256"]:
                raise UserError(
                    f"{text.run}: its training corpora have changed since the run prepared its data; restore them"
                )
        yield sources


@contextmanager
def corpus_sources(recipe: Recipe, scratch: Path, log: Callable[[str], None]) -> Iterator[Sources]:
    """Open a recipe's cleaned training text with its references, as `clean_training`; ids are `TrainingText`'s."""
    with scratch_folder(scratch, ".text-") as folder:
        report = CleaningReport()
        text = clean_training(recipe, folder / "kept.arrow", report, log)
        about = {"kind": "corpus", "sha256": text.source_sha256(), "sentences": len(text)}
        yield Sources(text.store, text.rows, np.arange(len(text)), about)


@contextmanager
def text_sources(path: Path, scratch: Path, log: Callable[[str], None]) -> Iterator[Sources]:
    """Open a file of sentences without references (plain, .gz or .zst); ids are line numbers from 0.

    Blank lines are left out, and so are lines that cannot be read, with a warning.

    Raises:
        UserError: the file cannot be read, more of its lines than `data.cleaning.max_unreadable` is by default, or all
            lines are blank.
    """
    import pyarrow as pa

    report = CleaningReport()
    with scratch_folder(scratch, ".text-") as folder:
        store = TextStore(folder / "lines.arrow")
        lines = _texts(path, report)
        filled, count = array("q"), 0
        while block := list(islice(lines, _BLOCK_LINES)):
            numbers = np.arange(count + 1, count + len(block) + 1)
            store.write(0, numbers, pa.array(block, pa.string()), pa.array([""] * len(block)))
            filled.extend(count + i for i, line in enumerate(block) if line)
            count += len(block)
        store.finish()
        if warning := report.check_readable(str(path), count, Cleaning().max_unreadable):
            log(warning)
        if not filled:
            raise UserError(f"{path}: empty, not one line with text")
        rows = np.array(filled, dtype=np.int64)
        checksum = lines_sha256(line for line, _ in store.pairs(np.zeros(count, dtype=bool)))
        about = {"kind": "text", "sha256": checksum, "sentences": count, "left_out": count - len(rows)}
        yield Sources(store, rows, rows, about)


def _texts(path: Path, report: CleaningReport) -> Iterator[str]:
    """The text of each line; of one that cannot be read, "", and it is counted in the report."""
    for number, line in enumerate(read_lines(path), start=1):
        text = without_nul(decoded(line))
        if isinstance(text, Unreadable):
            report.drop(text.value, str(path), number, (text, ""))
            text = ""
        yield "" if is_blank(text) else text.strip()
