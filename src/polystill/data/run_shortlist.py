"""A run's shortlist: learnt from its training data once, for all its students, and kept in RUN/shortlist.json."""

from __future__ import annotations

import json
import logging
import time
from functools import cache
from pathlib import Path
from typing import Any

from polystill.data.shortlist import FREQUENT, LIKELY, MOST_TOKENS, Shortlist, learn_shortlist
from polystill.errors import UserError
from polystill.runs import Run
from polystill.storage import is_no_permission, sha256, write_atomic

_log = logging.getLogger(__name__)

FILE = "shortlist.json"
FORMAT = 1
KEPT = 50
"""Translations of a source piece in the file: the most that an engine's lists have."""


def shortlist_of(run: Run, likely: int = LIKELY) -> Shortlist:
    """The shortlist of the run's training data: as stored, or learnt and stored where it is of other data or damaged.

    With `likely` translations of each source piece, KEPT at most.

    Raises:
        UserError: the run has no packed training data, or no space for the file.
    """
    assert likely <= KEPT
    return _shortlist(run.folder / FILE, run.data).shortened(likely)


@cache
def _shortlist(path: Path, data: Path) -> Shortlist:
    from polystill.data.packing import PackedDataset
    from polystill.data.tokenizer import Tokenizer

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
    """What a shortlist depends on."""
    files = {path.name: sha256(path) for path in sorted(train.glob("[0-9]*.arrow"))}
    settings = {"frequent": FREQUENT, "likely": KEPT, "most_tokens": MOST_TOKENS}
    return {"train_sha256": files, "vocabulary_size": vocabulary_size, **settings}


def _read(path: Path, learnt_from: dict[str, Any]) -> Shortlist | None:
    """None where it has to be learnt."""
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if (content["format"], content["learnt_from"]) != (FORMAT, learnt_from):
            return None
        likely = {int(source): targets for source, targets in content["likely"].items()}
        found = Shortlist(content["frequent"], likely, content["sentences"])
        _check(found, learnt_from["vocabulary_size"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        _log.warning("%s: damaged (%s); learning the shortlist again", path, error)
        return None
    return found


def _check(found: Shortlist, vocabulary_size: int) -> None:
    """Raises ValueError where one of the ids is none of the vocabulary."""
    if not isinstance(found.sentences, int) or set(found.likely) != set(range(vocabulary_size)):
        raise ValueError("not a list for each piece of the vocabulary")
    for ids in (found.frequent, *found.likely.values()):
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
