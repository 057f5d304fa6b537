"""The cleaned training text of a recipe, which the data stage tokenises and a teacher translates.

The text stays on disk: memory holds one block of pairs, and a few numbers a pair.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from polystill.config import Recipe
from polystill.data.cleaning import EXAMPLES, Cleaner, CleaningReport, clean, mark_duplicates
from polystill.data.held_out import HeldOutText
from polystill.errors import UserError
from polystill.sources.base import SentencePair

_BLOCK_PAIRS = 20_000
_PROGRESS_PAIRS = 1_000_000


class TrainingText:
    """Cleaned pairs without duplicates, numbered from 0 in order; a sentence's id is its number."""

    def __init__(self, store: TextStore, duplicate: np.ndarray) -> None:
        self.store = store
        self._duplicate = duplicate
        self.rows = np.flatnonzero(~duplicate)
        """Each sentence's row in the store (N,)."""

    def __len__(self) -> int:
        return len(self.rows)

    def pairs(self) -> Iterator[SentencePair]:
        """All pairs in order."""
        return self.store.pairs(self._duplicate)

    def source_sha256(self) -> str:
        """The checksum of all sources in order."""
        return lines_sha256(source for source, _ in self.pairs())


def clean_training(
    recipe: Recipe,
    path: Path,
    report: CleaningReport,
    log: Callable[[str], None],
    on_kept: Callable[[str, str], None] = lambda source, target: None,
) -> TrainingText:
    """Read and clean all training corpora of a recipe into the file `path`, and call `on_kept` with every pair kept.

    Raises:
        UserError: whatever is wrong with a corpus; all pairs cleaned away.
    """
    store = TextStore(path)
    hashes = _clean_corpora(recipe, store, report, log, on_kept)
    cleaning = recipe.data.cleaning
    if cleaning.enabled and cleaning.drop_duplicates:
        duplicate = mark_duplicates(hashes)
        report_rows(report, "duplicate", np.flatnonzero(duplicate), store, recipe)
    else:
        duplicate = np.zeros(len(hashes), dtype=bool)
    return TrainingText(store, duplicate)


def _clean_corpora(
    recipe: Recipe,
    store: TextStore,
    report: CleaningReport,
    log: Callable[[str], None],
    on_kept: Callable[[str, str], None],
) -> np.ndarray:
    """Stream all training corpora into the store; returns a 64-bit hash of each stored pair (N,)."""
    data = recipe.data
    languages = (data.source_language, data.target_language)
    cleaner = Cleaner(data.cleaning, languages)
    drops_held_out = data.cleaning.enabled and data.cleaning.drop_held_out
    held_out = HeldOutText.of_recipe(recipe) if drops_held_out else None
    hashes: list[np.ndarray] = []
    logged = 0
    for number, corpus in enumerate(data.train):
        name = corpus.describe(Path(data.folder))
        before = report.total
        left = None if data.first_pairs is None else data.first_pairs - before
        pairs = islice(corpus.read_pairs(Path(data.folder), languages), left)
        kept = clean(pairs, cleaner, report, name)
        if held_out is not None:
            kept = held_out.without(kept, report, name)
        for block in _blocks(kept):
            store.write(number, block)
            hashes.append(np.array([_hash(pair) for _, pair in block], dtype=np.uint64))
            for _, (source, target) in block:
                on_kept(source, target)
            if report.total - logged >= _PROGRESS_PAIRS:
                logged = report.total
                log(f"read {report.total:,} pairs, {report.kept:,} kept so far")
        most, key = data.cleaning.max_unreadable, "data.cleaning.max_unreadable"
        if warning := report.check_readable(name, report.total - before, most, key):
            log(warning)
    store.finish()
    if not report.kept:
        raise all_cleaned_away(report)
    return np.concatenate(hashes)


def all_cleaned_away(report: CleaningReport) -> UserError:
    return UserError(f"data.train: all {report.total:,} pairs were cleaned away: {report.summary()}")


def report_rows(report: CleaningReport, reason: str, rows: np.ndarray, store: TextStore, recipe: Recipe) -> None:
    """Count stored rows (N,) that are dropped after cleaning."""
    for i, row in enumerate(rows[:EXAMPLES].tolist()):
        corpus, line, pair = store.row(row)
        name = recipe.data.train[corpus].describe(Path(recipe.data.folder))
        report.drop(reason, name, line, pair, count=1 if i else max(1, len(rows) - EXAMPLES + 1))


def lines_sha256(lines: Iterable[str]) -> str:
    """The checksum of lines as UTF-8, each with a line feed."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()


def _hash(pair: SentencePair) -> int:
    digest = hashlib.blake2b("\n".join(pair).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _blocks(items: Iterable[Any]) -> Iterator[list[Any]]:
    items = iter(items)
    while block := list(islice(items, _BLOCK_PAIRS)):
        yield block


# --- text on disk -------------------------------------------------------------------------------------------------


class TextStore:
    """Pairs in one uncompressed Arrow file, written in blocks and read back through a memory map."""

    def __init__(self, path: Path):
        import pyarrow as pa

        self._path = path
        self._schema = pa.schema(
            [("corpus", pa.int32()), ("line", pa.int64()), ("source", pa.string()), ("target", pa.string())]
        )
        self._writer = pa.ipc.new_file(str(path), self._schema)
        self._starts = [0]
        self._reader: Any = None

    def write(self, corpus: int, block: list[tuple[int, SentencePair]]) -> None:
        import pyarrow as pa

        columns = [
            pa.array(np.full(len(block), corpus, dtype=np.int32)),
            pa.array([line for line, _ in block], pa.int64()),
            pa.array([source for _, (source, _) in block], pa.string()),
            pa.array([target for _, (_, target) in block], pa.string()),
        ]
        self._writer.write_batch(pa.record_batch(columns, schema=self._schema))
        self._starts.append(self._starts[-1] + len(block))

    def finish(self) -> None:
        import pyarrow as pa

        self._writer.close()
        self._reader = pa.ipc.open_file(pa.memory_map(str(self._path)))

    def pairs(self, leave_out: np.ndarray) -> Iterator[SentencePair]:
        """All pairs in order, except those marked in `leave_out` (N,)."""
        for i in range(self._reader.num_record_batches):
            batch = self._reader.get_batch(i)
            skipped = leave_out[self._starts[i] : self._starts[i + 1]].tolist()
            sources, targets = batch.column("source").to_pylist(), batch.column("target").to_pylist()
            for skip, source, target in zip(skipped, sources, targets, strict=True):
                if not skip:
                    yield source, target

    def row(self, number: int) -> tuple[int, int, SentencePair]:
        """Corpus number, line and text of one row."""
        i = int(np.searchsorted(self._starts, number, side="right")) - 1
        row = self._reader.get_batch(i).slice(number - self._starts[i], 1).to_pylist()[0]
        return row["corpus"], row["line"], (row["source"], row["target"])
