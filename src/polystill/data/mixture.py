"""Epochs over several kinds of pairs, each drawn as often as its weight says.

Shapes: N rows of all parts together, in the order of the parts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polystill.data.batching import Batches, BatchSchedule
from polystill.data.packing import PackedDataset


class Mixture:
    """The batches of every epoch over weighted parts, and the data set (N rows) that their row numbers mean.

    In an epoch a part of weight w gives each of its rows floor(w) times, and a share w - floor(w) of them, drawn
    anew in every epoch, once more.
    """

    def __init__(self, parts: Sequence[tuple[PackedDataset, float]], batch_tokens: int, seed: int) -> None:
        assert parts and all(weight > 0 for _, weight in parts)
        self.dataset = PackedDataset.joined([part for part, _ in parts])
        self._sizes = [len(part) for part, _ in parts]
        self._weights = [weight for _, weight in parts]
        self._batch_tokens, self._seed = batch_tokens, seed

    def epoch(self, number: int) -> Batches:
        """The batches of an epoch in training order; depends on (seed, number) alone."""
        if all(weight == 1 for weight in self._weights):
            return self._schedule(slice(None)).epoch(number)
        rows = self.rows(number)
        return self._schedule(rows).epoch(number).of(rows)

    def rows(self, number: int) -> np.ndarray:
        """The rows that an epoch draws, repeated ones as often as they come. Of a small part at least one."""
        generator = np.random.default_rng([self._seed, number, 1])
        start, drawn = 0, []
        for size, weight in zip(self._sizes, self._weights, strict=True):
            part = np.arange(start, start + size, dtype=np.int64)
            whole = int(weight)
            more = round((weight - whole) * size)
            drawn += [part] * whole
            drawn.append(generator.permutation(part)[: more if whole else max(1, more)])
            start += size
        return np.concatenate(drawn)

    def _schedule(self, rows: np.ndarray | slice) -> BatchSchedule:
        data = self.dataset
        return BatchSchedule(data.source_lengths[rows], data.target_lengths[rows], self._batch_tokens, self._seed)
