"""Align the tokens of sentence pairs: IBM model 2 with the diagonal prior of fast_align, in both directions.

In each direction a token picks one token of the other side, or none with the probability NO_LINK. Token i of m picks
token j of n with a prior proportional to exp(-TENSION * |i/m - j/n|) (Dyer et al. 2013, eq. 2). Expectation
maximisation learns which tokens go together. Two tokens are linked where both directions agree: where the geometric
mean of their posteriors is at least AGREEMENT (Liang et al. 2006, section 4.2).

Shapes: P pairs of a block; S and T their source and target tokens, without end marks; L possible links of a block (each
source token with each target token of its pair); K pairs of pieces that occur together; V vocabulary size
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from polystill.data.packing import PackedDataset, evenly_spread

ITERATIONS = 5
NO_LINK = 0.08
TENSION = 4.0
AGREEMENT = 0.4
LEAST = 1e-9
"""The probability of pieces that never occurred together."""
MOST_LINKS = 100_000_000
"""Possible links to learn from, which bounds time and memory; a longer text is sampled evenly."""
BLOCK_LINKS = 500_000
"""Possible links of a block."""

Pairs = Sequence[tuple[np.ndarray, np.ndarray]]


class Aligner:
    """Both directions' models of one text."""

    def __init__(self, vocabulary_size: int, keys: np.ndarray) -> None:
        """keys (K,): source piece * V + target piece of those that occur together, ascending."""
        self._size, self._keys = vocabulary_size, keys
        given_source, given_target = np.divmod(keys, vocabulary_size)
        self._directions = [_Direction(given, vocabulary_size) for given in (given_source, given_target)]

    @classmethod
    def learn(cls, data: PackedDataset, vocabulary_size: int) -> Aligner:
        """Learn from packed pairs."""
        rows = _spread(data)
        keys = [_distinct(_Block.of(pairs).keys(vocabulary_size)) for pairs in blocks(data, rows)]
        aligner = cls(vocabulary_size, _distinct(np.concatenate(keys)))
        places = [aligner._places(_Block.of(pairs)) for pairs in blocks(data, rows)]
        for _ in range(ITERATIONS):
            for pairs, of_links in zip(blocks(data, rows), places, strict=True):
                block = _Block.of(pairs)
                for direction, side in zip(aligner._directions, block.sides, strict=True):
                    direction.count(of_links, block.distance, *side)
            for direction in aligner._directions:
                direction.maximise()
        return aligner

    def _places(self, block: _Block) -> np.ndarray:
        """(L,) where among the K the pieces of the block's links are."""
        return np.searchsorted(self._keys, block.keys(self._size)).astype(np.int32)

    def links(self, pairs: Pairs) -> list[np.ndarray]:
        """The links (n, 2) of each pair: positions of a source and a target token."""
        block = _Block.of(pairs)
        keys = block.keys(self._size)
        places = np.searchsorted(self._keys, keys)
        places[places == len(self._keys)] = 0
        is_known = self._keys[places] == keys
        agreement = np.ones(len(keys))
        for direction, side in zip(self._directions, block.sides, strict=True):
            probabilities = np.where(is_known, direction.probabilities[places], 0).clip(LEAST)
            agreement *= direction.posteriors(probabilities, block.distance, *side)[0]
        return block.positions(np.flatnonzero(agreement >= AGREEMENT**2))


class _Direction:
    """The model of one direction: tokens of one side pick tokens of the other."""

    def __init__(self, given: np.ndarray, vocabulary_size: int) -> None:
        """given (K,): the piece that is picked."""
        self._given, self._size = given, vocabulary_size
        self.probabilities = np.full(len(given), 1 / vocabulary_size, dtype=np.float32)
        """(K,) of the piece that picks, given the piece that it picks."""
        self._of_none = np.full(vocabulary_size, 1 / vocabulary_size)
        self._clear()

    def _clear(self) -> None:
        self._counts, self._none_counts = np.zeros(len(self._given), dtype=np.float32), np.zeros(self._size)

    def posteriors(
        self, probabilities: np.ndarray, distance: np.ndarray, picking: np.ndarray, pieces: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The posterior of each possible link (L,), and that of no link for each token that picks.

        probabilities, distance (L,): of the links. picking (L,): the number of the token that picks, in `pieces`.
        """
        prior = np.exp(-TENSION * distance)
        prior /= np.bincount(picking, prior, len(pieces))[picking]
        joint = (1 - NO_LINK) * prior * probabilities
        none = NO_LINK * self._of_none[pieces]
        total = (np.bincount(picking, joint, len(pieces)) + none).clip(np.finfo(np.float32).tiny)
        return joint / total[picking], none / total

    def count(self, places: np.ndarray, distance: np.ndarray, picking: np.ndarray, pieces: np.ndarray) -> None:
        """Add a block's expected counts; places (L,) are those of the links' pieces among the K."""
        linked, none = self.posteriors(self.probabilities[places], distance, picking, pieces)
        np.add.at(self._counts, places, linked.astype(np.float32))
        np.add.at(self._none_counts, pieces, none)

    def maximise(self) -> None:
        """Make probabilities of the counts."""
        totals = np.bincount(self._given, self._counts, self._size).clip(np.finfo(np.float32).tiny)
        self.probabilities = (self._counts / totals[self._given]).astype(np.float32)
        self._of_none = self._none_counts / self._none_counts.sum().clip(np.finfo(np.float32).tiny)
        self._clear()


@dataclass(frozen=True)
class _Block:
    """All possible links of some pairs, ordered by pair, target token and source token."""

    source: np.ndarray
    """(L,) the number of the source token in the block."""
    target: np.ndarray
    """(L,)"""
    source_pieces: np.ndarray
    """(S,)"""
    target_pieces: np.ndarray
    """(T,)"""
    distance: np.ndarray
    """(L,) from the diagonal."""
    pair: np.ndarray
    """(L,) the number of the pair."""
    starts: tuple[np.ndarray, np.ndarray]
    """(P,) each: the numbers of the pairs' first source and first target tokens."""

    @classmethod
    def of(cls, pairs: Pairs) -> _Block:
        sides = list(zip(*pairs, strict=True))
        source_lengths, target_lengths = (np.array([len(row) for row in side]) for side in sides)
        counts = source_lengths * target_lengths
        pair = np.repeat(np.arange(len(pairs)), counts)
        within = np.arange(len(pair)) - np.repeat(np.cumsum(counts) - counts, counts)
        target, source = np.divmod(within, source_lengths[pair])
        distance = np.abs((source + 0.5) / source_lengths[pair] - (target + 0.5) / target_lengths[pair])
        starts = np.cumsum(source_lengths) - source_lengths, np.cumsum(target_lengths) - target_lengths
        source_pieces, target_pieces = (np.concatenate(side).astype(np.int64) for side in sides)
        source, target = source + starts[0][pair], target + starts[1][pair]
        return cls(source, target, source_pieces, target_pieces, distance, pair, starts)

    @property
    def sides(self) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """What picks in each direction: target tokens, then source tokens."""
        return (self.target, self.target_pieces), (self.source, self.source_pieces)

    def keys(self, vocabulary_size: int) -> np.ndarray:
        """(L,) source piece * V + target piece."""
        return self.source_pieces[self.source] * vocabulary_size + self.target_pieces[self.target]

    def positions(self, chosen: np.ndarray) -> list[np.ndarray]:
        """By pair the positions (n, 2) of the links with these numbers, which ascend."""
        pair = self.pair[chosen]
        columns = self.source[chosen] - self.starts[0][pair], self.target[chosen] - self.starts[1][pair]
        return np.split(np.stack(columns, 1), np.searchsorted(pair, np.arange(1, len(self.starts[0]))))


def _distinct(keys: np.ndarray) -> np.ndarray:
    """The different keys, ascending. Sorts its input; numpy's `unique` is several times slower here."""
    keys.sort()
    return keys[np.flatnonzero(np.diff(keys, prepend=-1))]


def _spread(data: PackedDataset) -> np.ndarray:
    """Evenly spread rows with about MOST_LINKS possible links at most."""
    links = int((data.source_lengths.astype(np.int64) * data.target_lengths).sum())
    return evenly_spread(len(data), links, MOST_LINKS)


def blocks(data: PackedDataset, rows: np.ndarray) -> Iterator[Pairs]:
    """The pairs of these rows, without end marks, in blocks of about BLOCK_LINKS possible links."""
    links = np.cumsum(data.source_lengths[rows].astype(np.int64) * data.target_lengths[rows])
    ends = np.flatnonzero(np.diff(links // BLOCK_LINKS, append=-1)) + 1
    for part in np.split(rows, ends[:-1]):
        sources, targets = data.rows(part)
        yield [(source[:-1], target[:-1]) for source, target in zip(sources, targets, strict=True)]
