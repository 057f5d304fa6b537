"""Batches of alike lengths within a budget of target tokens, drawn by seed.

Shapes: N rows in the corpus, B rows in a batch, S and T the longest source and target of the batch (end mark included).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

SOURCE_BUDGET = 2
"""Source tokens (padding included) may be this many times the budget of target tokens: it bounds a step's memory."""

SCORED_BATCH_TOKENS = 2048
"""Target tokens of a batch that is scored or translated without gradients, as in validation."""

_LENGTH_NOISE = 0.07  # Share of its length by which a row may stray among the buckets: mixes lengths, costs padding.


@dataclass(frozen=True)
class Batch:
    """source (B, S) and target (B, T) int64, padded on the right with pad_id; rows (B,) their numbers in the corpus."""

    source: np.ndarray
    target: np.ndarray
    rows: np.ndarray


def collate(
    sources: Sequence[np.ndarray], targets: Sequence[np.ndarray], pad_id: int, rows: np.ndarray | None = None
) -> Batch:
    """Pad the rows of one batch to the longest of each side. `rows` defaults to 0..B-1."""
    assert len(sources) == len(targets) > 0
    numbers = np.arange(len(sources)) if rows is None else np.asarray(rows)
    return Batch(_padded(sources, pad_id), _padded(targets, pad_id), numbers)


def _padded(rows: Sequence[np.ndarray], pad_id: int) -> np.ndarray:
    out = np.full((len(rows), max(len(row) for row in rows)), pad_id, dtype=np.int64)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return out


class Batches(Sequence[np.ndarray]):
    """The batches of one epoch: item i is the row numbers (B,) of batch i. Held as two arrays, whatever their count."""

    def __init__(self, order: np.ndarray, bounds: np.ndarray, places: np.ndarray):
        """Batch i is order[bounds[p]:bounds[p + 1]] with p = places[i]."""
        self._order, self._bounds, self._places = order, bounds, places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, i: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, i: slice) -> list[np.ndarray]: ...
    def __getitem__(self, i: int | slice) -> np.ndarray | list[np.ndarray]:
        if isinstance(i, slice):
            return [self[j] for j in range(*i.indices(len(self)))]
        place = self._places[i]
        return self._order[self._bounds[place] : self._bounds[place + 1]]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[i] for i in range(len(self)))

    def of(self, rows: np.ndarray) -> Batches:
        """The same batches where row i means rows[i]."""
        return Batches(rows[self._order], self._bounds, self._places)


class BatchSchedule:
    """How the rows of a corpus are batched in every epoch.

    A batch keeps B*T <= batch_tokens and B*S <= SOURCE_BUDGET*batch_tokens; a row that alone is longer is a batch of
    its own.
    """

    def __init__(self, source_lengths: np.ndarray, target_lengths: np.ndarray, batch_tokens: int, seed: int):
        """Take token counts (N,) with the end mark, all > 0."""
        assert len(source_lengths) == len(target_lengths) > 0 and batch_tokens > 0
        self.source_lengths = np.asarray(source_lengths, dtype=np.int32)
        self.target_lengths = np.asarray(target_lengths, dtype=np.int32)
        self.batch_tokens = batch_tokens
        self.seed = seed

    def epoch(self, number: int) -> Batches:
        """The batches of an epoch in training order, every row in exactly one; depends on (seed, number) alone."""
        generator = np.random.default_rng([self.seed, number])
        order = self._order(generator)
        bounds = self._cut(order)
        return Batches(order, bounds, generator.permutation(len(bounds) - 1))

    def padding(self, batches: Batches) -> dict[str, float]:
        """Share of padding among the tokens of each side, such as {"source": 0.06, "target": 0.02}."""
        shares = {}
        sizes = np.diff(batches._bounds)
        for side, lengths in (("source", self.source_lengths), ("target", self.target_lengths)):
            longest = np.maximum.reduceat(lengths[batches._order], batches._bounds[:-1])
            shares[side] = float(1 - lengths.sum(dtype=np.int64) / (sizes * longest.astype(np.int64)).sum())
        return shares

    def _order(self, generator: np.random.Generator) -> np.ndarray:
        """Rows sorted by noisy target length, then by source length, up and down in turn so that neighbours are alike.

        One 64-bit key a row: target bucket, source length, random bits (also the order of equals).
        """
        noise = generator.random(len(self.target_lengths), dtype=np.float32)
        noise -= 0.5
        noise *= np.maximum(_LENGTH_NOISE * self.target_lengths, 1.0, dtype=np.float32)
        noise += self.target_lengths
        bucket = np.rint(noise).astype(np.uint64)
        del noise
        source = self.source_lengths.astype(np.uint64)
        np.subtract(2**20 - 1, source, out=source, where=(bucket & 1).astype(bool))
        bucket <<= np.uint64(20)
        bucket |= source
        del source
        bucket <<= np.uint64(24)
        bucket |= generator.integers(2**24, size=len(bucket), dtype=np.uint32)
        return np.argsort(bucket, kind="stable").astype(np.int32)

    def _cut(self, order: np.ndarray) -> np.ndarray:
        """Where batches begin in `order`, its length last: each takes as many rows as the budgets allow."""
        source, target = self.source_lengths[order], self.target_lengths[order]
        bounds = [0]
        while bounds[-1] < len(order):
            start = bounds[-1]
            most = max(1, self.batch_tokens // int(target[start]))
            counts = np.arange(1, min(most, len(order) - start) + 1)
            fits = np.maximum.accumulate(target[start : start + most]) * counts <= self.batch_tokens
            fits &= np.maximum.accumulate(source[start : start + most]) * counts <= SOURCE_BUDGET * self.batch_tokens
            bounds.append(start + max(1, int(np.count_nonzero(fits))))  # `fits` is True up to some row, then False.
        return np.array(bounds, dtype=np.int64)
