"""Lexical shortlists: which pieces a translation may need, so that a model need not look at its whole vocabulary.

They are the likely translations of every source piece, by IBM model 1 (Brown et al. 1993) on the training data, and the
pieces that are frequent anyway. An engine that is given them multiplies its last state only with the rows of the
vocabulary that a batch's source pieces ask for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polystill.data.packing import PackedDataset

FREQUENT = 50
"""Target pieces that are on every list."""
LIKELY = 10
"""Translations of a source piece."""
LEAST_PROBABILITY = 1e-4
MOST_LINKS = 20_000_000
"""Pairs of pieces to learn from (1.4 GB of memory); of more text, sentences spread over all of it are taken."""
ITERATIONS = 5


@dataclass(frozen=True)
class Shortlist:
    """Token ids: `frequent` for every sentence, and for each source token those that it may become, likeliest first."""

    frequent: list[int]
    likely: dict[int, list[int]]
    sentences: int
    """That it was learnt from."""


def learn_shortlist(data: PackedDataset, *, frequent: int = FREQUENT, likely: int = LIKELY) -> Shortlist:
    """A shortlist from packed pairs. The source's end mark plays the part of the empty word."""
    sources, targets = data.rows(_spread(data))
    if not sources:
        return Shortlist([], {}, 0)
    counts = np.bincount(np.concatenate(targets))
    size = len(counts)
    links, target_tokens = _links(sources, targets, size)
    links, which = np.unique(links, return_inverse=True)
    source, target = links // size, links % size
    probability = _translation_probabilities(source, which, target_tokens)
    order = np.lexsort((target, -probability, source))
    order = order[probability[order] >= LEAST_PROBABILITY]
    found: dict[int, list[int]] = {}
    for s, t in zip(source[order].tolist(), target[order].tolist(), strict=True):
        own = found.setdefault(s, [])
        if len(own) < likely:
            own.append(t)
    most = np.lexsort((np.arange(size), -counts))[:frequent]
    return Shortlist([int(t) for t in most if counts[t]], found, len(sources))


def _spread(data: PackedDataset) -> np.ndarray:
    """Rows, evenly spread, with MOST_LINKS links or hardly more."""
    links = int(np.dot(data.source_lengths.astype(np.int64), data.target_lengths.astype(np.int64)))
    count = len(data) if links <= MOST_LINKS else max(1, len(data) * MOST_LINKS // links)
    return np.arange(count) * len(data) // max(1, count)


def _links(sources: list[np.ndarray], targets: list[np.ndarray], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Every token of a source with every one of its target, as source * size + target; and that token's number."""
    pairs = [
        (s.astype(np.int64) * size + t.astype(np.int64)[:, None]).ravel() for s, t in zip(sources, targets, strict=True)
    ]
    lengths = np.repeat([len(s) for s in sources], [len(t) for t in targets])
    return np.concatenate(pairs), np.repeat(np.arange(len(lengths)), lengths)


def _translation_probabilities(source: np.ndarray, which: np.ndarray, target_tokens: np.ndarray) -> np.ndarray:
    """p(target piece | source piece) of every distinct link, by expectation and maximisation from equal ones."""
    probability: np.ndarray = np.ones(len(source))
    for _ in range(ITERATIONS):
        weights = probability[which]
        weights /= np.bincount(target_tokens, weights)[target_tokens]
        counts = np.bincount(which, weights, minlength=len(source))
        probability = counts / np.bincount(source, counts)[source]
    return probability
