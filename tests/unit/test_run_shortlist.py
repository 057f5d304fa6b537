"""A run's shortlist is learnt once, and again where its data are others or its file is damaged."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polystill.data import run_shortlist as shortlists
from polystill.data.packing import pack
from polystill.data.shortlist import Shortlist, learn_shortlist
from polystill.data.tokenizer import Tokenizer
from polystill.runs import Run


@pytest.fixture
def run(counting_recipe: dict[str, Any], prepared_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(shortlists, "_shortlist", shortlists._shortlist.__wrapped__)  # as in a process of its own
    return prepared_run(counting_recipe)


@pytest.fixture
def learning(monkeypatch: pytest.MonkeyPatch) -> list[Shortlist]:
    """What was learnt so far."""
    learnt: list[Shortlist] = []
    learn = learn_shortlist

    def note(*arguments: Any, **settings: Any) -> Shortlist:
        learnt.append(learn(*arguments, **settings))
        return learnt[-1]

    monkeypatch.setattr(shortlists, "learn_shortlist", note)
    return learnt


def test_it_is_learnt_once(run: Run, learning: list[Shortlist]) -> None:
    found = shortlists.shortlist_of(run)
    assert found == shortlists.shortlist_of(run) == learning[0].shortened(10)
    assert len(learning) == 1
    assert shortlists.shortlist_of(run, 50) == learning[0]
    assert found.sentences > 0 and len(found.likely) == Tokenizer.load(run.data / "tokenizer").vocabulary_size


def test_of_other_data_another_is_learnt(run: Run, learning: list[Shortlist]) -> None:
    shortlists.shortlist_of(run)
    for path in (run.data / "train").iterdir():
        path.unlink()
    pack([("one two", "eins zwei")] * 3, Tokenizer.load(run.data / "tokenizer"), run.data / "train", 50)
    assert shortlists.shortlist_of(run).sentences == 3
    assert len(learning) == 2


@pytest.mark.parametrize("damage", ["{", "[]", '{"format": 1}', "likely", "frequent", "sentences"])
def test_a_damaged_file_is_learnt_again(
    damage: str, run: Run, learning: list[Shortlist], caplog: pytest.LogCaptureFixture
) -> None:
    found = shortlists.shortlist_of(run)
    path: Path = run.folder / "shortlist.json"
    content = json.loads(path.read_text())
    wrong: dict[str, dict[str, Any]] = {
        "likely": {"likely": {**content["likely"], "1": [10**6]}},
        "frequent": {"frequent": ["x"]},
    }
    wrong["sentences"] = {"sentences": None}
    path.write_text(json.dumps({**content, **wrong[damage]}) if damage in wrong else damage)
    with caplog.at_level(logging.WARNING):
        assert shortlists.shortlist_of(run) == found
    assert f"{path}: damaged" in caplog.text
    assert len(learning) == 2 and json.loads(path.read_text()) == content


def test_a_run_that_may_not_be_written_has_one_as_well(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from polystill.errors import UserError

    def refuse(path: Path, _: str) -> None:
        raise UserError(f"{path}: no permission") from PermissionError(13, "Permission denied")

    monkeypatch.setattr(shortlists, "write_atomic", refuse)
    assert shortlists.shortlist_of(run).sentences > 0
    assert not (run.folder / "shortlist.json").exists()
