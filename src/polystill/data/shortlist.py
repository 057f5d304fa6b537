"""Lexical shortlists: which pieces a translation may need, so that a model need not look at its whole vocabulary.

They are the likely translations of every source piece, by IBM model 1 (Brown et al. 1993) on the training data, the
piece itself, and the pieces that are frequent anyway. An engine that is given them multiplies its last state only with
the rows of the vocabulary that a batch's source pieces ask for.

S source tokens, T target tokens, V the vocabulary
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from polystill.data.packing import BLOCK_PAIRS, PackedDataset

FREQUENT = 50
"""Target pieces that are on every list."""
LIKELY = 10
"""Translations of a source piece."""
LEAST_PROBABILITY = 1e-4
MOST_TOKENS = 60_000_000
"""Of both sides, to learn from, which bounds memory; of more text, sentences spread over all of it are taken."""
MOST_CANDIDATES = 1000
"""Translations of a source piece that are kept from one iteration to the next."""
LINKED_SENTENCES = 2_000
"""Sentences whose links are held at a time: few enough for a core's cache."""
ITERATIONS = 5


@dataclass(frozen=True)
class Shortlist:
    """Token ids: `frequent` for every sentence, and for each source token those that it may become.

    The likeliest come first, the token itself last where it is not among them.
    """

    frequent: list[int]
    likely: dict[int, list[int]]
    sentences: int
    """That it was learnt from."""

    def shortened(self, likely: int) -> Shortlist:
        """The one with at most so many translations of each token, as `learn_shortlist` would have made it."""
        cut = {
            token: [*ids[:likely], *([token] if token in ids[likely:] else [])] for token, ids in self.likely.items()
        }
        return Shortlist(self.frequent, cut, self.sentences)


def learn_shortlist(
    data: PackedDataset, vocabulary_size: int, *, frequent: int = FREQUENT, likely: int = LIKELY
) -> Shortlist:
    """A shortlist from packed pairs of one vocabulary. The source's end mark plays the part of the empty word.

    Every piece of the vocabulary may become itself, so that names, numbers and addresses can be copied: those that
    training has not seen as well, piece by piece.
    """
    rows = _spread(data)
    text = _read(data, rows, vocabulary_size)
    found: dict[int, list[int]] = {}
    for piece, (targets, probabilities) in enumerate(_translation_probabilities(text, vocabulary_size)):
        best = np.lexsort((targets, -probabilities))[:likely]
        own = targets[best[probabilities[best] >= LEAST_PROBABILITY]].tolist()
        found[piece] = own if piece in own else [*own, piece]
    counts = np.bincount(text.targets, minlength=vocabulary_size)
    most = np.lexsort((np.arange(vocabulary_size), -counts))[:frequent]
    return Shortlist([int(t) for t in most if counts[t]], found, len(rows))


def _spread(data: PackedDataset) -> np.ndarray:
    """Rows, evenly spread, with MOST_TOKENS tokens or hardly more."""
    tokens = int(data.source_lengths.sum(dtype=np.int64) + data.target_lengths.sum(dtype=np.int64))
    count = len(data) if tokens <= MOST_TOKENS else max(1, len(data) * MOST_TOKENS // tokens)
    return np.arange(count) * len(data) // max(1, count)


# --- the text ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Text:
    """Target tokens, and in which sentences each source piece occurs."""

    targets: np.ndarray
    """(T), sentence after sentence."""
    starts: np.ndarray
    """(sentences + 1): where each sentence's target tokens begin."""
    source_lengths: np.ndarray
    """(sentences)"""
    sentences: np.ndarray
    """(at most S): those of the first piece, then those of the next."""
    times: np.ndarray
    """As `sentences`: how often the piece occurs there."""
    places: np.ndarray
    """(V + 1): where each piece's sentences begin."""

    def links(self, piece: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The target tokens that stand in a sentence with the piece: their places, and how often it occurs there."""
        for first in range(self.places[piece], self.places[piece + 1], LINKED_SENTENCES):
            part = slice(first, min(first + LINKED_SENTENCES, self.places[piece + 1]))
            starts = self.starts[self.sentences[part]]
            lengths = self.starts[self.sentences[part] + 1] - starts
            ends = np.cumsum(lengths)
            shifts = np.repeat(starts - (ends - lengths), lengths)
            yield np.arange(len(shifts)) + shifts, np.repeat(self.times[part], lengths)


def _read(data: PackedDataset, rows: np.ndarray, vocabulary_size: int) -> _Text:
    kind = np.uint16 if vocabulary_size <= 2**16 else np.int32
    source_lengths, target_lengths = data.source_lengths[rows], data.target_lengths[rows]
    source_starts, starts = (np.concatenate([[0], np.cumsum(n)]) for n in (source_lengths, target_lengths))
    # A source token as piece * 2**32 + sentence: sorted, they are each piece's sentences in their order.
    occurrences, targets = np.empty(source_starts[-1], dtype=np.int64), np.empty(starts[-1], dtype=kind)
    for first in range(0, len(rows), BLOCK_PAIRS):
        last = min(first + BLOCK_PAIRS, len(rows))
        sources_of, targets_of = data.rows(rows[first:last])
        numbers = np.repeat(np.arange(first, last), source_lengths[first:last])
        part = slice(source_starts[first], source_starts[last])
        occurrences[part] = (np.concatenate(sources_of).astype(np.int64) << 32) + numbers
        targets[starts[first] : starts[last]] = np.concatenate(targets_of)
    occurrences.sort()
    distinct = np.flatnonzero(np.diff(occurrences, prepend=-1))
    times = np.diff(distinct, append=len(occurrences)).astype(np.float32)
    occurrences = occurrences[distinct]
    places = np.searchsorted(occurrences, np.arange(vocabulary_size + 1) << 32)
    sentences = (occurrences & (2**32 - 1)).astype(np.int32)
    return _Text(targets, starts, source_lengths, sentences, times, places)


# --- model 1 ----------------------------------------------------------------------------------------------------------


def _translation_probabilities(text: _Text, vocabulary_size: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """p(target piece | source piece) for each source piece: targets and their probabilities.

    By expectation and maximisation from equal ones, one source piece after another, so that never more links than
    those of LINKED_SENTENCES are held: memory is in proportion to S, T and V times MOST_CANDIDATES.
    """
    kind = text.targets.dtype
    every = np.arange(vocabulary_size, dtype=kind), np.ones(vocabulary_size, dtype=np.float32)
    none = every[0][:0], every[1][:0]
    occurring = np.diff(text.places) > 0
    table = [every if occurs else none for occurs in occurring]
    # What each target token's links come to in all: (T).
    total = np.repeat(text.source_lengths.astype(np.float32), np.diff(text.starts))
    row, counts = np.zeros(vocabulary_size, dtype=np.float32), np.zeros(vocabulary_size)
    for _ in range(ITERATIONS):
        following = np.zeros_like(total)
        for piece in np.flatnonzero(occurring).tolist():
            targets, probabilities = table[piece]
            row[targets] = probabilities
            counts[:] = 0
            for tokens, times in text.links(piece):
                linked = text.targets[tokens]
                counts += np.bincount(linked, times * row[linked] / total[tokens], minlength=vocabulary_size)
            row[targets] = 0
            targets, probabilities = table[piece] = _likeliest(counts, kind)
            row[targets] = probabilities
            for tokens, times in text.links(piece):
                following[tokens] += times * row[text.targets[tokens]]
            row[targets] = 0
        total = np.maximum(following, np.finfo(np.float32).tiny)  # where a token has lost all its links
    return table


def _likeliest(counts: np.ndarray, kind: np.dtype[Any]) -> tuple[np.ndarray, np.ndarray]:
    """The targets with the most of these expected counts, and their probabilities."""
    targets = np.flatnonzero(counts)
    if len(targets) > MOST_CANDIDATES:
        targets = targets[np.argpartition(-counts[targets], MOST_CANDIDATES)[:MOST_CANDIDATES]]
    return targets.astype(kind), (counts[targets] / counts.sum()).astype(np.float32)
