"""The cleaned training text of a recipe, which the data stage tokenises and a teacher translates.

The text stays on disk: memory holds one block of pairs, and a few numbers a pair.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polystill.config import Recipe
from polystill.data.cleaning import EXAMPLES, CleaningReport, mark_duplicates
from polystill.data.columns import BlockCleaner, CleanedBlock, NumberedBlock
from polystill.data.held_out import HeldOutText
from polystill.environment.threads import in_order
from polystill.errors import UserError
from polystill.sources.base import PairSource, SentencePair
from polystill.sources.blocks import BLOCK_PAIRS, read_blocks

if TYPE_CHECKING:
    import pyarrow as pa

    Columns = tuple[pa.StringArray, pa.StringArray]
    """Sources and targets (N,)."""

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

    def blocks(self, size: int) -> Iterator[Callable[[], Columns]]:
        """All pairs in order, so many at a time, each block read when it is asked for."""
        for start in range(0, len(self), size):
            yield partial(self.store.take, self.rows[start : start + size])

    def origins(self) -> Iterator[tuple[int, int]]:
        """For each pair the number of its corpus, from 0, and its line there, from 1."""
        return self.store.origins(self._duplicate)

    def corpora(self) -> np.ndarray:
        """The number of each pair's corpus (N,), from 0."""
        return self.store.corpora()[self.rows]

    def source_sha256(self) -> str:
        """The checksum of all sources in order."""
        import pyarrow as pa
        import pyarrow.compute as pc

        digest = hashlib.sha256()
        for read in self.blocks(BLOCK_PAIRS):
            sources, _ = read()
            lines = pc.binary_join(pa.ListArray.from_arrays([0, len(sources)], sources), "\n")[0]
            digest.update(lines.as_buffer())
            digest.update(b"\n")
        return digest.hexdigest()


def clean_training(
    recipe: Recipe,
    path: Path,
    report: CleaningReport,
    log: Callable[[str], None],
    on_kept: Callable[[CleanedBlock], None] = lambda block: None,
) -> TrainingText:
    """Read and clean all training corpora of a recipe into the file `path`, and call `on_kept` with all that is kept.

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
    on_kept: Callable[[CleanedBlock], None],
) -> np.ndarray:
    """Stream all training corpora into the store; returns a 64-bit hash of each stored pair (N,)."""
    data = recipe.data
    cleaner = BlockCleaner(data.cleaning, (data.source_language, data.target_language), _held_out_text(recipe))
    hashes: list[np.ndarray] = []
    logged = 0
    for number, corpus in enumerate(data.train):
        name = corpus.describe(Path(data.folder))
        before = report.total
        left = None if data.first_pairs is None else data.first_pairs - before
        for block in in_order(cleaner.clean, _numbered_blocks(recipe, corpus, left)):
            report.add(block.report)
            if len(block):
                store.write(number, block.lines, block.sources, block.targets)
                hashes.append(block.hashes)
                on_kept(block)
            if report.total - logged >= _PROGRESS_PAIRS:
                logged = report.total
                log(f"read {report.total:,} pairs, {report.kept:,} kept so far")
        store.read.append(report.total - before)
        most, key = data.cleaning.max_unreadable, "data.cleaning.max_unreadable"
        if warning := report.check_readable(name, report.total - before, most, key):
            log(warning)
    store.finish()
    if not report.kept:
        raise all_cleaned_away(report)
    return np.concatenate(hashes)


def _held_out_text(recipe: Recipe) -> HeldOutText | None:
    cleaning = recipe.data.cleaning
    return HeldOutText.of_recipe(recipe) if cleaning.enabled and cleaning.drop_held_out else None


def _numbered_blocks(recipe: Recipe, corpus: PairSource, most: int | None) -> Iterator[NumberedBlock]:
    """The blocks of a corpus, or of its first `most` pairs."""
    data, before = recipe.data, 0
    folder, languages = Path(data.folder), (data.source_language, data.target_language)
    for rows, parse in read_blocks(corpus, folder, languages, most):
        yield NumberedBlock(parse, corpus.describe(folder), before)
        before += rows


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
        self.read: list[int] = []
        """The number of pairs that were read of each corpus, of which some are not stored."""
        self._starts = [0]
        self._batches: list[Any] = []

    def write(self, corpus: int, lines: np.ndarray, sources: pa.StringArray, targets: pa.StringArray) -> None:
        """Add pairs (N,) of a corpus, with their lines (N,)."""
        import pyarrow as pa

        columns = [np.full(len(lines), corpus, dtype=np.int32), lines]
        batch = pa.record_batch([*map(pa.array, columns), sources, targets], schema=self._schema)
        self._writer.write_batch(batch)
        self._starts.append(self._starts[-1] + len(lines))

    def finish(self) -> None:
        import pyarrow as pa

        self._writer.close()
        reader = pa.ipc.open_file(pa.memory_map(str(self._path)))
        self._batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]

    def pairs(self, leave_out: np.ndarray) -> Iterator[SentencePair]:
        """All pairs in order, except those marked in `leave_out` (N,)."""
        for i, batch in enumerate(self._batches):
            skipped = leave_out[self._starts[i] : self._starts[i + 1]].tolist()
            sources, targets = batch.column("source").to_pylist(), batch.column("target").to_pylist()
            for skip, source, target in zip(skipped, sources, targets, strict=True):
                if not skip:
                    yield source, target

    def take(self, rows: np.ndarray) -> Columns:
        """The pairs of rows (N,), which ascend."""
        import pyarrow as pa

        bounds = np.searchsorted(rows, self._starts)
        parts = [
            (self._batches[i], rows[bounds[i] : bounds[i + 1]] - self._starts[i])
            for i in np.flatnonzero(np.diff(bounds)).tolist()
        ]
        sources, targets = (
            pa.concat_arrays([batch.column(side).take(places) for batch, places in parts])
            for side in ("source", "target")
        )
        return sources, targets

    def origins(self, leave_out: np.ndarray) -> Iterator[tuple[int, int]]:
        """Corpus number and line of all pairs in order, except those marked in `leave_out` (N,)."""
        for i, batch in enumerate(self._batches):
            kept = ~leave_out[self._starts[i] : self._starts[i + 1]]
            columns = (batch.column(name).to_numpy()[kept].tolist() for name in ("corpus", "line"))
            yield from zip(*columns, strict=True)

    def corpora(self) -> np.ndarray:
        """The corpus number of all rows (N,)."""
        return np.concatenate([batch.column("corpus").to_numpy() for batch in self._batches])

    def row(self, number: int) -> tuple[int, int, SentencePair]:
        """Corpus number, line and text of one row."""
        i = bisect_right(self._starts, number) - 1
        row = self._batches[i].slice(number - self._starts[i], 1).to_pylist()[0]
        return row["corpus"], row["line"], (row["source"], row["target"])
