"""Lexical shortlists: the pieces that a translation may need, so that a model skips the rest of its vocabulary.

A shortlist has the likely translations of each source piece, by IBM model 1 (Brown et al. 1993) on the training data;
the piece itself; and the pieces that are frequent anyway. An engine multiplies its last state with these rows of the
vocabulary only.

A run learns its shortlist once, for all students, and keeps it in RUN/shortlist.json.

Shapes: S source tokens, T target tokens, V vocabulary size
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from polystill.data.packing import BLOCK_PAIRS, PackedDataset, evenly_spread
from polystill.data.tokenizer import Tokenizer
from polystill.errors import UserError
from polystill.runs import Run
from polystill.storage import is_no_permission, sha256, write_atomic

_log = logging.getLogger(__name__)

FREQUENT = 50
"""Target pieces that are on every list."""
LIKELY = 10
"""Translations of a source piece."""
LEAST_PROBABILITY = 1e-4
MOST_TOKENS = 60_000_000
"""Tokens of both sides to learn from, which bounds memory; a longer text is sampled evenly."""
MOST_CANDIDATES = 1000
"""Translations of a source piece that are kept from one iteration to the next."""
LINKED_SENTENCES = 2_000
"""Sentences whose links are held at a time: few enough for a core's cache."""
ITERATIONS = 5
FILE = "shortlist.json"
FORMAT = 1
KEPT = 50
"""Translations of a source piece in the file: the most that an engine's lists have."""


@dataclass(frozen=True)
class Shortlist:
    """Token ids: `frequent` for every sentence, and `likely` translations of each source token.

    The likeliest comes first; the token itself comes last if it is not among them.
    """

    frequent: list[int]
    likely: dict[int, list[int]]
    sentences: int
    """The number that it was learnt from."""

    def shortened(self, likely: int) -> Shortlist:
        """The shortlist with at most `likely` translations of each token, as `learn_shortlist` would make it."""
        cut = {
            token: [*ids[:likely], *([token] if token in ids[likely:] else [])] for token, ids in self.likely.items()
        }
        return Shortlist(self.frequent, cut, self.sentences)


def learn_shortlist(
    data: PackedDataset, vocabulary_size: int, *, frequent: int = FREQUENT, likely: int = LIKELY
) -> Shortlist:
    """Learn a shortlist from packed pairs of one vocabulary. The source's end mark serves as the empty word.

    Every piece may become itself, so that names, numbers and addresses can be copied piece by piece, also those that
    the training data lack.
    """
    rows = _spread(data)
    text = _index(data, rows, vocabulary_size)
    translations: dict[int, list[int]] = {}
    for piece, (targets, probabilities) in enumerate(_translation_probabilities(text, vocabulary_size)):
        best = np.lexsort((targets, -probabilities))[:likely]
        pieces = targets[best[probabilities[best] >= LEAST_PROBABILITY]].tolist()
        translations[piece] = pieces if piece in pieces else [*pieces, piece]
    counts = np.bincount(text.targets, minlength=vocabulary_size)
    most = np.lexsort((np.arange(vocabulary_size), -counts))[:frequent]
    return Shortlist([int(t) for t in most if counts[t]], translations, len(rows))


def _spread(data: PackedDataset) -> np.ndarray:
    """Evenly spread rows with about MOST_TOKENS tokens at most."""
    tokens = int(data.source_lengths.sum(dtype=np.int64) + data.target_lengths.sum(dtype=np.int64))
    return evenly_spread(len(data), tokens, MOST_TOKENS)


# --- the text ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Text:
    """Target tokens, and the sentences of each source piece."""

    targets: np.ndarray
    """(T,) sentence after sentence"""
    starts: np.ndarray
    """(sentences + 1,) where each sentence's target tokens begin"""
    source_lengths: np.ndarray
    """(sentences,)"""
    sentences: np.ndarray
    """(at most S,) those of the first piece, then those of the next"""
    times: np.ndarray
    """(as `sentences`) how often the piece occurs there"""
    places: np.ndarray
    """(V + 1,) where each piece's sentences begin"""

    def links(self, piece: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The places of target tokens in sentences with the piece, and how often it occurs in each one's sentence."""
        for first in range(self.places[piece], self.places[piece + 1], LINKED_SENTENCES):
            part = slice(first, min(first + LINKED_SENTENCES, self.places[piece + 1]))
            starts = self.starts[self.sentences[part]]
            lengths = self.starts[self.sentences[part] + 1] - starts
            ends = np.cumsum(lengths)
            shifts = np.repeat(starts - (ends - lengths), lengths)
            yield np.arange(len(shifts)) + shifts, np.repeat(self.times[part], lengths)


def _index(data: PackedDataset, rows: np.ndarray, vocabulary_size: int) -> _Text:
    kind = np.uint16 if vocabulary_size <= 2**16 else np.int32
    source_lengths, target_lengths = data.source_lengths[rows], data.target_lengths[rows]
    source_starts, starts = (np.concatenate([[0], np.cumsum(n)]) for n in (source_lengths, target_lengths))
    # A source token is piece * 2**32 + sentence: sorting gives each piece's sentences in order.
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
    """p(target piece | source piece): for each source piece its targets and their probabilities.

    Expectation maximisation from equal probabilities, one source piece after another, so that the links of only
    LINKED_SENTENCES are held at a time. Memory is proportional to S, T, and V times MOST_CANDIDATES.
    """
    kind = text.targets.dtype
    every = np.arange(vocabulary_size, dtype=kind), np.ones(vocabulary_size, dtype=np.float32)
    none = every[0][:0], every[1][:0]
    occurring = np.diff(text.places) > 0
    table = [every if occurs else none for occurs in occurring]
    # The sum of each target token's links (T,).
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
        total = np.maximum(following, np.finfo(np.float32).tiny)  # for a token that has lost all its links
    return table


def _likeliest(counts: np.ndarray, kind: np.dtype[Any]) -> tuple[np.ndarray, np.ndarray]:
    """The MOST_CANDIDATES targets with the highest expected counts (V,), and their probabilities."""
    targets = np.flatnonzero(counts)
    if len(targets) > MOST_CANDIDATES:
        targets = targets[np.argpartition(-counts[targets], MOST_CANDIDATES)[:MOST_CANDIDATES]]
    return targets.astype(kind), (counts[targets] / counts.sum()).astype(np.float32)


# --- a run's shortlist ------------------------------------------------------------------------------------------------


def shortlist_of(run: Run, likely: int = LIKELY) -> Shortlist:
    """The shortlist of the run's training data, with `likely` translations of each source piece (at most KEPT).

    It is read from the run, or learnt and stored if the file is missing, damaged, or of other data.

    Raises:
        UserError: the run has no packed training data, or no space for the file.
    """
    assert likely <= KEPT
    return _shortlist(run.folder / FILE, run.data).shortened(likely)


@cache
def _shortlist(path: Path, data: Path) -> Shortlist:
    vocabulary_size = Tokenizer.load(data / "tokenizer").vocabulary_size
    learnt_from = _learnt_from(data / "train", vocabulary_size)
    stored = _read(path, learnt_from)
    if stored is not None:
        return stored
    packed = PackedDataset.open(data / "train")
    _log.info("learning the shortlist from %s pairs", f"{len(packed):,}")
    start = time.perf_counter()
    learnt = learn_shortlist(packed, vocabulary_size, likely=KEPT)
    _log.info("learnt it in %.0f s", time.perf_counter() - start)
    _write(path, learnt, learnt_from)
    return learnt


def _learnt_from(train: Path, vocabulary_size: int) -> dict[str, Any]:
    """Everything that a shortlist depends on."""
    files = {path.name: sha256(path) for path in sorted(train.glob("[0-9]*.arrow"))}
    settings = {"frequent": FREQUENT, "likely": KEPT, "most_tokens": MOST_TOKENS}
    return {"train_sha256": files, "vocabulary_size": vocabulary_size, **settings}


def _read(path: Path, learnt_from: dict[str, Any]) -> Shortlist | None:
    """The stored shortlist; None if it has to be learnt."""
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if (content["format"], content["learnt_from"]) != (FORMAT, learnt_from):
            return None
        likely = {int(source): targets for source, targets in content["likely"].items()}
        shortlist = Shortlist(content["frequent"], likely, content["sentences"])
        _check(shortlist, learnt_from["vocabulary_size"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        _log.warning("%s: damaged (%s); learning the shortlist again", path, error)
        return None
    return shortlist


def _check(shortlist: Shortlist, vocabulary_size: int) -> None:
    """Raises ValueError if a piece has no list, or a list holds anything but ids of the vocabulary."""
    if not isinstance(shortlist.sentences, int) or set(shortlist.likely) != set(range(vocabulary_size)):
        raise ValueError("not a list for each piece of the vocabulary")
    for ids in (shortlist.frequent, *shortlist.likely.values()):
        if not isinstance(ids, list) or not all(type(i) is int and 0 <= i < vocabulary_size for i in ids):
            raise ValueError("a list with something else than pieces of the vocabulary")


def _write(path: Path, learnt: Shortlist, learnt_from: dict[str, Any]) -> None:
    content = {"format": FORMAT, "learnt_from": learnt_from, **vars(learnt)}
    try:
        write_atomic(path, json.dumps(content) + "\n")
    except UserError as error:
        if not is_no_permission(error.__cause__):
            raise
        _log.info("%s: no permission; the shortlist is not kept", path)
