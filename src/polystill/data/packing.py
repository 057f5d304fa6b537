"""Tokenised pairs on disk: memory-mapped Arrow files, so that a corpus of any size takes little memory.

Folder layout: `00000.arrow`, `00001.arrow`, … (Arrow streams of the `datasets` library) with the columns `source` and
`target`, lists of token ids with the end mark: uint16 where the vocabulary fits, int32 otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polystill.data.tokenizer import Tokenizer
from polystill.data.words import WordEncoder
from polystill.environment.threads import in_order
from polystill.errors import UserError, reason

if TYPE_CHECKING:
    import pyarrow as pa

    from polystill.data.training_text import Columns

BLOCK_PAIRS = 20_000
"""Pairs tokenised at a time, and rows of one Arrow record batch."""

SHARD_ROWS = 10_000_000


@dataclass
class Packed:
    """Counts of what `pack` wrote.

    `too_long` are the numbers (from 0) of the pairs with more than `max_tokens` on a side: dropped, or shortened on
    request.
    """

    rows: int = 0
    too_long: list[int] = field(default_factory=list)
    source_tokens: int = 0
    target_tokens: int = 0


def pack(
    pairs: Iterable[tuple[str, str]], tokenizer: Tokenizer, folder: Path, max_tokens: int, *, shorten: bool = False
) -> Packed:
    """Tokenise pairs, in order, into the folder; it is made here and must not hold packed files yet.

    A pair with more than `max_tokens` tokens on a side, end mark included, is dropped. With `shorten` the side is cut
    to `max_tokens` tokens instead, the last of them the end mark: row i stays pair i.
    """
    return pack_blocks(_blocks(pairs), tokenizer, folder, max_tokens, shorten=shorten)


def pack_blocks(
    blocks: Iterable[Callable[[], Columns]],
    tokenizer: Tokenizer,
    folder: Path,
    max_tokens: int,
    *,
    shorten: bool = False,
) -> Packed:
    """The same for pairs that are in columns already, BLOCK_PAIRS of them at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    packed = Packed()
    shards = _Shards(folder, tokenizer.vocabulary_size)
    first = 0
    for sides in in_order(_encoder(tokenizer, shards.ids), blocks):
        too_long = np.maximum(*map(_list_lengths, sides)) > max_tokens
        packed.too_long += (first + np.flatnonzero(too_long)).tolist()
        first += len(too_long)
        if too_long.any():
            sides = [_shortened(side, max_tokens) if shorten else side.filter(~too_long) for side in sides]
        sources, targets = sides
        packed.rows += len(sources)
        packed.source_tokens += len(sources.flatten())
        packed.target_tokens += len(targets.flatten())
        shards.write(sources, targets)
    shards.close()
    return packed


def _blocks(pairs: Iterable[tuple[str, str]]) -> Iterator[Callable[[], Columns]]:
    pairs = iter(pairs)
    while block := list(islice(pairs, BLOCK_PAIRS)):
        yield partial(_columns, block)


def _columns(pairs: list[tuple[str, str]]) -> Columns:
    import pyarrow as pa

    sources, targets = (pa.array(side, pa.string()) for side in zip(*pairs, strict=True))
    return sources, targets


def _encoder(tokenizer: Tokenizer, ids: type[np.integer[Any]]) -> Callable[[Callable[[], Columns]], list[Any]]:
    """A function that reads a block and returns the token ids of both sides, lists (N,)."""
    models = tokenizer.sentencepiece_models
    marks = tokenizer.unk_id, tokenizer.eos_id
    source = WordEncoder(tokenizer.encode_source, models[0], *marks, ids)
    target = source if models[0] == models[1] else WordEncoder(tokenizer.encode_target, models[1], *marks, ids)

    def encode(read: Callable[[], Columns]) -> list[pa.ListArray]:
        sources, targets = read()
        return [source(sources), target(targets)]

    return encode


def _shortened(rows: pa.ListArray, max_tokens: int) -> pa.ListArray:
    import pyarrow as pa

    cut = [row if len(row) <= max_tokens else row[: max_tokens - 1] + row[-1:] for row in rows.to_pylist()]
    return pa.array(cut, rows.type)


def _list_lengths(rows: pa.ListArray) -> np.ndarray:
    return np.diff(rows.offsets.to_numpy())


class _Shards:
    """Writes blocks of rows to numbered Arrow files."""

    def __init__(self, folder: Path, vocabulary_size: int):
        from datasets import Features, List, Value

        self.folder = folder
        self.ids: type[np.integer[Any]] = np.uint16 if vocabulary_size <= 2**16 else np.int32
        column = List(Value(np.dtype(self.ids).name))
        self.features = Features({"source": column, "target": column})
        self.count = 0
        self.rows = 0
        self.writer: Any = None
        self._next()

    def write(self, sources: pa.ListArray, targets: pa.ListArray) -> None:
        import pyarrow as pa

        if self.rows >= SHARD_ROWS:
            self._next()
        if len(sources):
            self.writer.write_table(pa.table({"source": sources, "target": targets}))
            self.rows += len(sources)

    def close(self) -> None:
        self.writer.finalize()

    def _next(self) -> None:
        from datasets.arrow_writer import ArrowWriter

        if self.writer is not None:
            self.writer.finalize()
        path = self.folder / f"{self.count:05d}.arrow"
        assert not path.exists(), path
        self.writer = ArrowWriter(features=self.features, path=str(path))
        self.count += 1
        self.rows = 0


def evenly_spread(rows: int, size: int, most: int) -> np.ndarray:
    """Evenly spread numbers of so many rows, whose sizes add up to about `most` at most; `size` is that of all."""
    count = rows if size <= most else max(1, rows * most // size)
    return np.arange(count) * rows // max(1, count)


class PackedDataset:
    """Rows of token ids in memory-mapped files. Only the lengths are held in memory; they count the end mark."""

    def __init__(self, sources: list[tuple[np.ndarray, np.ndarray]], targets: list[tuple[np.ndarray, np.ndarray]]):
        """Take (offsets (rows+1,), values) of each chunk of rows, on both sides."""
        self._sources, self._targets = sources, targets
        counts = [len(offsets) - 1 for offsets, _ in sources]
        self._starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)
        self.source_lengths: np.ndarray = _lengths(sources)
        self.target_lengths: np.ndarray = _lengths(targets)

    @classmethod
    def open(cls, folder: Path) -> PackedDataset:
        """Map the files of a folder that `pack` wrote.

        Raises:
            UserError: there are none, or one is damaged.
        """
        from datasets import Dataset

        folder = Path(folder)
        paths = sorted(folder.glob("[0-9]*.arrow"))
        if not paths:
            raise UserError(f"{folder}: no packed data (*.arrow) here")
        sides: tuple[list[tuple[np.ndarray, np.ndarray]], ...] = ([], [])
        for path in paths:
            _check_end(path)
            try:
                table = Dataset.from_file(str(path)).data.table
            except (OSError, ValueError) as error:  # pyarrow's ArrowInvalid is a ValueError.
                raise _damaged(path, reason(error)) from None
            for column, views in zip(("source", "target"), sides, strict=True):
                views += [_views(chunk) for chunk in table.column(column).chunks]
        return cls(sides[0], sides[1])

    @classmethod
    def joined(cls, parts: Sequence[PackedDataset]) -> PackedDataset:
        """All rows of the parts, one part after another; only the lengths are copied."""
        if len(parts) == 1:
            return parts[0]
        return cls([c for part in parts for c in part._sources], [c for part in parts for c in part._targets])

    def __len__(self) -> int:
        return len(self.source_lengths)

    def rows(self, indices: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Source and target ids of the given rows, in that order: read-only views of uint16 or int32, no copies."""
        indices = np.asarray(indices, dtype=np.int64)
        chunks = np.searchsorted(self._starts, indices, side="right") - 1
        places = list(zip(chunks.tolist(), (indices - self._starts[chunks]).tolist(), strict=True))
        return [_row(self._sources[c], i) for c, i in places], [_row(self._targets[c], i) for c, i in places]

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for sources, targets in zip(self._sources, self._targets, strict=True):
            for i in range(len(sources[0]) - 1):
                yield _row(sources, i), _row(targets, i)


def _check_end(path: Path) -> None:
    """Check the mark at a stream's end: Arrow reads one that is cut between two blocks as a shorter one."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 8))
        if file.read() != b"\xff\xff\xff\xff\0\0\0\0":
            raise _damaged(path, "the file is cut short")


def _damaged(path: Path, how: str) -> UserError:
    return UserError(
        f"{path}: damaged packed data ({how}); restore it from a copy, or remove the run's data folder, and polystill "
        "run prepares the data again"
    )


def _row(chunk: tuple[np.ndarray, np.ndarray], i: int) -> np.ndarray:
    offsets, values = chunk
    return values[offsets[i] : offsets[i + 1]]


def _views(chunk: pa.ListArray) -> tuple[np.ndarray, np.ndarray]:
    return chunk.offsets.to_numpy(), chunk.values.to_numpy()  # Views of the mapped file: both are zero-copy.


def _lengths(chunks: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    parts = [np.diff(offsets) for offsets, _ in chunks]
    return np.concatenate(parts).astype(np.int32, copy=False) if parts else np.zeros(0, dtype=np.int32)
