"""Batches for the training step, prepared one update ahead by a thread.

An update's batch (rows of the corpus) is cut into micro-batches and those into one part a rank; which row goes where
depends on the seed alone, so that any number of ranks sees the same batches.

Shapes: B sentences, S source positions, T target positions, L links of aligned tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from polystill.data.alignment import Alignments
from polystill.data.batching import Batches, collate
from polystill.data.modifiers import Augmenter
from polystill.data.packing import PackedDataset
from polystill.models.recurrence import Packing

GPU_MULTIPLE = 8
"""On a GPU sentences and positions of a batch are padded to multiples of this, which adds nothing to the loss: few
shapes of passes to compile and to keep memory for. A CPU would pay for the padding."""


@dataclass(frozen=True)
class MicroBatch:
    """source (B, S), target_in and target (B, T), padded; target_in starts with `<pad>`, target ends with `</s>`.

    real (N,): where in the flattened target the real tokens stand, found on the host: a GPU would make it wait.
    links (L,): where in a flattened (B, T, S) the tokens' alignments stand; none where there are no alignments.
    link_shares (L,): 1 / the number of links of the link's target token.
    packing: of the source, as LSTMs read it.
    """

    source: Tensor
    target_in: Tensor
    target: Tensor
    real: Tensor
    links: Tensor
    link_shares: Tensor
    packing: Packing

    @classmethod
    def of(cls, source: Tensor, target: Tensor, pad_id: int, links: Sequence[np.ndarray] = ()) -> MicroBatch:
        """links: (n, 2) of each sentence, positions in source and target; or none."""
        start = torch.full((len(target), 1), pad_id)
        real = (target.flatten() != pad_id).nonzero()[:, 0]
        counts = np.array([len(each) for each in links], dtype=np.int64)
        sentence = torch.from_numpy(np.repeat(np.arange(len(links)), counts))
        places = np.concatenate([np.empty((0, 2), dtype=np.int64), *links])
        source_at, target_at = torch.from_numpy(places).unbind(1)
        aligned = sentence * target.shape[1] + target_at
        shares = 1 / aligned.bincount(minlength=target.numel())[aligned]
        target_in = torch.cat([start, target[:, :-1]], 1)
        packing = Packing.of((source != pad_id).sum(1).clamp(min=1), source.shape[1])
        return cls(source, target_in, target, real, aligned * source.shape[1] + source_at, shares, packing)

    def to(self, device: torch.device) -> MicroBatch:
        return self._moved(lambda x: x.to(device, non_blocking=True))

    def pinned(self) -> MicroBatch:
        """The same in memory that a GPU reads by itself: `to` does not wait for it then."""
        return self._moved(Tensor.pin_memory)

    def _moved(self, move: Callable[[Tensor], Tensor]) -> MicroBatch:
        tensors = (self.source, self.target_in, self.target, self.real, self.links, self.link_shares)
        source, target_in, target, real, links, shares = map(move, tensors)
        return MicroBatch(source, target_in, target, real, links, shares, self.packing.on(move))

    def real_tokens(self, x: Tensor) -> Tensor:
        """(B, T, ...) -> (N, ...)."""
        return x.flatten(0, 1).index_select(0, self.real)


@dataclass(frozen=True)
class Position:
    """The next batch to train on."""

    epoch: int = 0
    batch: int = 0


@dataclass(frozen=True)
class UpdateBatch:
    """This rank's micro-batches of one update; `target_tokens` and `rows` are those of all ranks together."""

    micro_batches: list[MicroBatch]
    target_tokens: int
    rows: np.ndarray
    position: Position
    following: Position


def make_micro_batch(
    sources: Sequence[np.ndarray],
    targets: Sequence[np.ndarray],
    pad_id: int,
    links: Sequence[np.ndarray] = (),
    multiple: int = 1,
) -> MicroBatch:
    """Pad the rows as `collate` does; no rows make a batch of one sentence, whose target is all padding."""
    if not sources:
        return MicroBatch.of(torch.zeros(1, 1, dtype=torch.long), torch.full((1, 1), pad_id), pad_id)
    batch = collate(sources, targets, pad_id, multiple=multiple)
    return MicroBatch.of(torch.from_numpy(batch.source), torch.from_numpy(batch.target), pad_id, links)


class Schedule(Protocol):
    """The batches of an epoch, as rows of a data set: `BatchSchedule`, or a `Mixture`."""

    def epoch(self, number: int) -> Batches: ...


class BatchFeed:
    """Iterates over updates from a position on, without end."""

    def __init__(
        self,
        dataset: PackedDataset,
        schedule: Schedule,
        *,
        pad_id: int,
        accumulate: int = 1,
        rank: int = 0,
        ranks: int = 1,
        gpu: bool = False,
        augmenter: Augmenter | None = None,
        alignments: Alignments | None = None,
    ) -> None:
        """gpu: batches are pinned, and have few shapes. augmenter: modifies some rows. All are of the same data set."""
        self._dataset, self._schedule, self._augmenter, self._alignments = dataset, schedule, augmenter, alignments
        self._pad_id, self._accumulate, self._rank, self._ranks, self._gpu = pad_id, accumulate, rank, ranks, gpu

    def updates(self, position: Position) -> Iterator[UpdateBatch]:
        """Every update from `position` on; the next one is made while the current one is trained on."""
        with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
            planned = self._plan(position)  # in the thread too: a new epoch is sorted there
            ahead: Future[UpdateBatch] = pool.submit(self._make_next, planned)
            while True:
                ready = ahead.result()
                ahead = pool.submit(self._make_next, planned)
                yield ready

    def _plan(self, position: Position) -> Iterator[tuple[np.ndarray, Position, Position]]:
        while True:
            batches: Batches = self._schedule.epoch(position.epoch)
            for i in range(position.batch, len(batches)):
                last = i + 1 == len(batches)
                following = Position(position.epoch + 1, 0) if last else Position(position.epoch, i + 1)
                yield batches[i], Position(position.epoch, i), following
            position = Position(position.epoch + 1, 0)

    def _make_next(self, planned: Iterator[tuple[np.ndarray, Position, Position]]) -> UpdateBatch:
        rows, position, following = next(planned)
        # Every rank has all rows, as the loss is a mean over the target tokens of all.
        sources, targets = self._augmenter.rows(rows, position.epoch) if self._augmenter else self._dataset.rows(rows)
        links = self._links(rows, sources, targets)
        micro_batches, multiple = [], GPU_MULTIPLE if self._gpu else 1
        for i in range(min(self._accumulate, len(rows))):
            mine = slice(i + self._rank * self._accumulate, None, self._accumulate * self._ranks)
            micro_batches.append(make_micro_batch(sources[mine], targets[mine], self._pad_id, links[mine], multiple))
        if self._gpu:
            micro_batches = [batch.pinned() for batch in micro_batches]
        target_tokens = sum(map(len, targets))
        return UpdateBatch(micro_batches, target_tokens, rows, position, following)

    def _links(
        self, rows: np.ndarray, sources: Sequence[np.ndarray], targets: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """The links of each row, none of one that the augmenter has changed; empty without alignments."""
        if self._alignments is None:
            return []
        links = self._alignments.rows(rows)
        if self._augmenter is not None:
            originals = zip(*self._dataset.rows(rows), strict=True)
            for i, (source, target) in enumerate(originals):
                if not (np.array_equal(source, sources[i]) and np.array_equal(target, targets[i])):
                    links[i] = links[i][:0]
        return links
