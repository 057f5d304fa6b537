"""Batches of rows of similar length within a budget of target tokens, drawn by seed.

Shapes: N rows of a mixture's data set; B rows in a batch; S and T the longest source and target of a batch, end mark
included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from polystill.data.packing import PackedDataset

SOURCE_BUDGET = 2
"""A batch's source tokens, padding included, are at most this many times the budget of target tokens. The limit bounds
a step's memory."""

SCORED_BATCH_TOKENS = 2048
"""Target tokens of a batch that is scored or translated without gradients, as in validation."""

_LENGTH_NOISE = 0.07  # the share of its length by which a row may stray among the buckets: mixes lengths, costs padding


@dataclass(frozen=True)
class Batch:
    """source (B, S) and target (B, T) int64, padded on the right with pad_id; rows (B,) their numbers in the corpus."""

    source: np.ndarray
    target: np.ndarray
    rows: np.ndarray


def collate(
    sources: Sequence[np.ndarray],
    targets: Sequence[np.ndarray],
    pad_id: int,
    rows: np.ndarray | None = None,
    multiple: int = 1,
) -> Batch:
    """Pad the rows of one batch to the longest of each side. `rows` defaults to 0..B-1.

    multiple: rounds up B, S and T, so that batches have few shapes; further rows are all padding.
    """
    assert len(sources) == len(targets) > 0
    numbers = np.arange(len(sources)) if rows is None else np.asarray(rows)
    return Batch(padded(sources, pad_id, multiple), padded(targets, pad_id, multiple), numbers)


def padded(rows: Sequence[np.ndarray] | Sequence[Sequence[int]], pad_id: int, multiple: int = 1) -> np.ndarray:
    """Rows of token ids as one array (R, longest), int64, both sizes rounded up to a multiple."""
    shape = [-(-size // multiple) * multiple for size in (len(rows), max(len(row) for row in rows))]
    out = np.full(shape, pad_id, dtype=np.int64)
    for i, row in enumerate(rows):
        out[i, : len(row)] = np.asarray(row)
    return out


class Batches(Sequence[np.ndarray]):
    """The batches of one epoch: item i is the row numbers (B,) of batch i. All of them are held in three arrays."""

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

    def renumbered(self, rows: np.ndarray) -> Batches:
        """The same batches with rows[i] for row i."""
        return Batches(rows[self._order], self._bounds, self._places)


class BatchSchedule:
    """Batches the rows of a corpus anew in every epoch.

    A batch keeps B*T <= batch_tokens and B*S <= SOURCE_BUDGET*batch_tokens. A row that exceeds them alone is a batch of
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
        """Sort rows by noisy target length, then by source length, alternately up and down: neighbours are similar.

        The key is one 64-bit number a row: target bucket, source length, and random bits that order equal rows.
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
        """Positions in `order` where batches begin, and its length; a batch takes as many rows as the budgets allow."""
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


Group = tuple[np.ndarray | range, float]
"""Rows (n,) of a data set, n > 0, and their weight > 0."""


class Mixture:
    """The batches of every epoch over weighted groups of the rows of `dataset` (N rows).

    In an epoch each row of a group of weight w comes floor(w) times, and a share w - floor(w) of its rows, drawn anew
    in every epoch, once more. Rows in no group never come.
    """

    def __init__(self, dataset: PackedDataset, groups: Sequence[Group], batch_tokens: int, seed: int) -> None:
        """groups: no row is in two of them."""
        assert groups and all(len(rows) and weight > 0 for rows, weight in groups)
        self.dataset = dataset
        self._has_all = sum(len(rows) for rows, _ in groups) == len(dataset)
        plain = self._has_all and all(weight == 1 for _, weight in groups)
        self._groups = None if plain else [(_numbers(rows), weight) for rows, weight in groups]
        self._batch_tokens, self._seed = batch_tokens, seed
        self.lengths: Callable[[int], tuple[np.ndarray, np.ndarray]] = lambda epoch: (
            self.dataset.source_lengths,
            self.dataset.target_lengths,
        )
        """The tokens (N,) of source and target by which an epoch's batches are made; an augmenter has others."""

    @property
    def drawn(self) -> np.ndarray | None:
        """The rows that are in a group (n,); None where these are all."""
        return None if self._has_all or not self._groups else np.concatenate([rows for rows, _ in self._groups])

    def epoch(self, number: int) -> Batches:
        """The batches of an epoch in training order; depends on (seed, number) alone."""
        if self._groups is None:
            return self._schedule(slice(None), number).epoch(number)
        rows = self._rows(self._groups, number)
        return self._schedule(rows, number).epoch(number).renumbered(rows)

    def _rows(self, groups: Sequence[tuple[np.ndarray, float]], number: int) -> np.ndarray:
        """The rows of an epoch, each as often as it is drawn; at least one of every group."""
        generator = np.random.default_rng([self._seed, number, 1])
        drawn = []
        for rows, weight in groups:
            whole = int(weight)
            more = round((weight - whole) * len(rows))
            drawn += [rows] * whole
            drawn.append(generator.permutation(rows)[: more if whole else max(1, more)])
        return np.concatenate(drawn)

    def _schedule(self, rows: np.ndarray | slice, number: int) -> BatchSchedule:
        source_lengths, target_lengths = self.lengths(number)
        return BatchSchedule(source_lengths[rows], target_lengths[rows], self._batch_tokens, self._seed)


def _numbers(rows: np.ndarray | range) -> np.ndarray:
    return np.arange(rows.start, rows.stop) if isinstance(rows, range) else rows
