"""The data stage: from the recipe's corpora to a folder that training and evaluation read.

The folder gets `tokenizer/`, `train/` and `validation/` (packed), `cleaning.json`, and the untouched text of validation
and test sets: `validation.source.txt`, `validation.target.txt`, `test/<name>.source.txt`, `test/<name>.target.txt`, one
sentence a line, UTF-8, LF. Text stays on disk throughout: memory holds one block of pairs and a few numbers a pair.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from polystill.config import Recipe, Source
from polystill.data.batching import BatchSchedule
from polystill.data.cleaning import EXAMPLES, Cleaner, CleaningReport, clean, mark_duplicates
from polystill.data.corpus import SentencePair, describe, read_pairs
from polystill.data.packing import PackedDataset, pack
from polystill.data.tokenizer import Tokenizer, train_tokenizer
from polystill.errors import UserError
from polystill.storage import storage_errors, write_atomic

_BLOCK_PAIRS = 20_000
_PROGRESS_PAIRS = 1_000_000
_OTHER_LINE_ENDS = re.compile("[\r\v\f\x1c\x1d\x1e\x85\u2028\u2029]")


def prepare_data(
    recipe: Recipe, folder: Path, *, tokenizer: Tokenizer | None = None, log: Callable[[str], None]
) -> dict[str, Any]:
    """Make the data folder and return its record: counts, what was dropped, padding, leakage, seconds.

    `folder` is empty or missing. With `tokenizer` (that of a pretrained start) none is trained. `log` gets lines of
    progress. `leakage` counts for each held-out set the sentences whose source, and whose pair, is in the training
    data after cleaning.

    Raises:
        UserError: whatever is wrong with a corpus; all pairs cleaned away; an empty side in validation or test; a
            vocabulary that does not fit the corpus; no space or permission for the folder.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix="text-") as scratch:
            return _prepare(recipe, folder, Path(scratch), tokenizer, log)


def prepare_test_sets(recipe: Recipe, folder: Path) -> None:
    """Write the recipe's test sets that a finished data folder lacks: those added since. Leakage is not counted.

    Raises:
        UserError: as `prepare_data`.
    """
    sets = {name: source for name, source in _held_out_sets(recipe).items() if name != "validation"}
    with storage_errors(folder):
        _write_held_out(recipe, folder, {n: s for n, s in sets.items() if not (folder / f"{n}.target.txt").is_file()})


def _prepare(
    recipe: Recipe, folder: Path, scratch: Path, tokenizer: Tokenizer | None, log: Callable[[str], None]
) -> dict[str, Any]:
    data, clock, report = recipe.data, _Clock(), CleaningReport()
    held_out = _write_held_out(recipe, folder, _held_out_sets(recipe))
    log(", ".join(f"{name}: {len(held.pairs):,} pairs" for name, held in held_out.items()))
    clock.lap("held_out")

    store = _TextStore(scratch / "kept.arrow")
    hashes = _clean_training(recipe, store, report, held_out, log)
    clock.lap("clean")
    if data.cleaning.enabled and data.cleaning.drop_duplicates:
        duplicate = mark_duplicates(hashes)
        _report_rows(report, "duplicate", np.flatnonzero(duplicate), store, recipe)
    else:
        duplicate = np.zeros(len(hashes), dtype=bool)
    del hashes
    clock.lap("deduplicate")
    log(f"cleaned: {report.kept:,} of {report.total:,} pairs kept; dropped: {report.summary()}")

    if tokenizer is None:
        log(f"training a vocabulary of {data.tokenizer.vocabulary_size:,}")
        lines = (line for pair in store.pairs(duplicate) for line in pair)
        tokenizer = train_tokenizer(lines, data.tokenizer, data.source_language, data.target_language, seed=recipe.seed)
    tokenizer.save(folder / "tokenizer")
    clock.lap("tokenizer")

    packed = pack(store.pairs(duplicate), tokenizer, folder / "train", data.max_tokens)
    kept_rows = np.flatnonzero(~duplicate)
    _report_rows(report, "too_many_tokens", kept_rows[packed.too_long], store, recipe)
    validation = pack(held_out["validation"].pairs, tokenizer, folder / "validation", data.max_tokens, shorten=True)
    clock.lap("pack")
    content = json.dumps(report.as_dict(), ensure_ascii=False, indent=1)
    (folder / "cleaning.json").write_text(content + "\n", encoding="utf-8")
    if not report.kept:
        raise _all_cleaned_away(report)

    batches = _measure_batches(recipe, folder)
    clock.lap("batch")
    log(
        f"packed: {packed.rows:,} pairs, {packed.target_tokens:,} target tokens, {batches['count']:,} batches, "
        f"padding {batches['padding']['target']:.1%} of target and {batches['padding']['source']:.1%} of source"
    )
    leakage = {name: held.leakage() for name, held in held_out.items()}
    for name, count in leakage.items():
        if count["sources"]:
            total = len(held_out[name].pairs)
            log(f"warning: {count['sources']:,} of {total:,} sources of {name} are in the training data")
    return {
        "pairs": {"read": report.total, "train": packed.rows}
        | {name: len(held.pairs) for name, held in held_out.items()},
        "dropped": report.dropped,
        "tokens": {"source": packed.source_tokens, "target": packed.target_tokens},
        "vocabulary_size": tokenizer.vocabulary_size,
        "validation_shortened": len(validation.too_long),
        "leakage": leakage,
        "batches": batches,
        "seconds": clock.laps,
    }


def _clean_training(
    recipe: Recipe,
    store: _TextStore,
    report: CleaningReport,
    held_out: dict[str, _HeldOut],
    log: Callable[[str], None],
) -> np.ndarray:
    """Stream all training corpora into the store; returns a 64-bit hash of each stored pair (N,)."""
    data = recipe.data
    languages = (data.source_language, data.target_language)
    cleaner = Cleaner(data.cleaning, languages)
    sources = {source for held in held_out.values() for source in held.found}
    hashes: list[np.ndarray] = []
    logged = 0
    for number, corpus in enumerate(data.train):
        name = describe(corpus, Path(data.folder))
        kept = clean(read_pairs(corpus, Path(data.folder), languages=languages), cleaner, report, name)
        for block in _blocks(kept):
            store.write(number, block)
            hashes.append(np.array([_hash(pair) for _, pair in block], dtype=np.uint64))
            for _, (source, target) in block:
                if source in sources:
                    for held in held_out.values():
                        held.look(source, target)
            if report.total - logged >= _PROGRESS_PAIRS:
                logged = report.total
                log(f"read {report.total:,} pairs, {report.kept:,} kept so far")
    store.finish()
    if not report.kept:
        raise _all_cleaned_away(report)
    return np.concatenate(hashes)


def _all_cleaned_away(report: CleaningReport) -> UserError:
    return UserError(f"data.train: all {report.total:,} pairs were cleaned away: {report.summary()}")


def _report_rows(report: CleaningReport, reason: str, rows: np.ndarray, store: _TextStore, recipe: Recipe) -> None:
    """Count stored rows that were dropped later."""
    for i, row in enumerate(rows[:EXAMPLES].tolist()):
        corpus, line, pair = store.row(row)
        name = describe(recipe.data.train[corpus], Path(recipe.data.folder))
        report.drop(reason, name, line, pair, count=1 if i else max(1, len(rows) - EXAMPLES + 1))


def _measure_batches(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """Batch the first epoch as training will: how many batches, and how much of them is padding."""
    packed = PackedDataset.open(folder / "train")
    schedule = BatchSchedule(packed.source_lengths, packed.target_lengths, recipe.training.batch_tokens, recipe.seed)
    epoch = schedule.epoch(0)
    return {"count": len(epoch), "padding": schedule.padding(epoch)}


def _hash(pair: SentencePair) -> int:
    digest = hashlib.blake2b("\n".join(pair).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _blocks(items: Iterator[Any]) -> Iterator[list[Any]]:
    block = []
    for item in items:
        block.append(item)
        if len(block) == _BLOCK_PAIRS:
            yield block
            block = []
    if block:
        yield block


# --- held-out sets ------------------------------------------------------------------------------------------------


@dataclass
class _HeldOut:
    """A validation or test set, and which of its sources and pairs were met in the training data."""

    pairs: list[SentencePair]
    found: dict[str, bool] = field(default_factory=dict)
    found_pairs: dict[SentencePair, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        stripped = [(source.strip(), target.strip()) for source, target in self.pairs]
        self.found = {source: False for source, _ in stripped}
        self.found_pairs = dict.fromkeys(stripped, False)

    def look(self, source: str, target: str) -> None:
        if source in self.found:
            self.found[source] = True
            if (source, target) in self.found_pairs:
                self.found_pairs[source, target] = True

    def leakage(self) -> dict[str, int]:
        sources = sum(self.found[source.strip()] for source, _ in self.pairs)
        pairs = sum(self.found_pairs[source.strip(), target.strip()] for source, target in self.pairs)
        return {"sources": sources, "pairs": pairs}


def _held_out_sets(recipe: Recipe) -> dict[str, Source]:
    """ "validation" and every "test/<name>"."""
    sets: dict[str, Source] = {"validation": recipe.data.validation}
    for name, source in recipe.data.test.items():
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
            raise UserError(f"data.test: {name!r} is no name for a test set; letters, digits and _ . - are")
        sets[f"test/{name}"] = source
    return sets


def _write_held_out(recipe: Recipe, folder: Path, sets: dict[str, Source]) -> dict[str, _HeldOut]:
    """Write the text of held-out sets, each target last; nothing is cleaned, and nothing may be missing."""
    data = recipe.data
    (folder / "test").mkdir(exist_ok=True)
    held_out = {}
    for name, source in sets.items():
        pairs = _read_held_out(source, data.folder, (data.source_language, data.target_language))
        for side, text in (("source", [s for s, _ in pairs]), ("target", [t for _, t in pairs])):
            write_atomic(folder / f"{name}.{side}.txt", "".join(f"{line}\n" for line in text))
        held_out[name] = _HeldOut(pairs)
    return held_out


def _read_held_out(source: Source, folder: str, languages: tuple[str, str]) -> list[SentencePair]:
    pairs = []
    origin = describe(source, Path(folder))
    for line, sides in enumerate(read_pairs(source, Path(folder), languages=languages), start=1):
        for side, text in zip(("source", "target"), sides, strict=True):
            if text is None or not text.strip():
                problem = "is not UTF-8" if text is None else "is empty"
                raise UserError(
                    f"{origin}: line {line}: the {side} side {problem}; validation and test sets are not cleaned"
                )
        # One sentence a line for every reader, those that end lines at U+2028 or a lone CR included.
        first, second = (_OTHER_LINE_ENDS.sub(" ", text or "") for text in sides)
        pairs.append((first, second))
    return pairs


# --- kept text ----------------------------------------------------------------------------------------------------


class _TextStore:
    """Cleaned pairs in one uncompressed Arrow file, written in blocks and read back through a memory map."""

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
        """All pairs in order but those marked in `leave_out` (N,)."""
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


# --- small things -------------------------------------------------------------------------------------------------


class _Clock:
    """Wall seconds of each part."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = round(now - self._last, 2)
        self._last = now
