"""COMET in an environment of its own: what goes there and what comes back. COMET itself is not here to be run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from polystill.errors import UserError
from polystill.evaluation.comet import how_to, score_run
from polystill.runs import Run
from polystill.runs.results import QualityRow

STAND_IN = '''
from types import SimpleNamespace

def download_model(name):
    if name != "some/model":
        raise KeyError(f"Model '{name}' not supported by COMET.")
    return "downloaded"

def load_from_checkpoint(path):
    print("a line of a library")
    assert path == "downloaded"
    return SimpleNamespace(predict=predict)

def predict(data, batch_size, gpus, progress_bar):
    """The share of translations that are the reference."""
    assert all(set(row) == {"src", "mt", "ref"} for row in data) and batch_size > 0
    return SimpleNamespace(system_score=sum(row["mt"] == row["ref"] for row in data) / len(data))
'''
ROW: dict[str, Any] = {
    "test_set": "counting",
    "model_id": "x-e1d1",
    "model": "e1d1",
    "engine": "torch",
    "precision": "float32",
}


@pytest.fixture
def evaluated(
    counting_recipe: dict[str, Any], prepared_run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """A run with two stored translations of its test set: all lines right, and none. Beside it the stand-in."""
    run = prepared_run(counting_recipe)
    references = (run.data / "test" / "counting.target.txt").read_text()
    rows = []
    for beam, text in ((1, references.replace("n", "m").replace("i", "m").replace("s", "m")), (5, references)):
        (run.folder / f"beam{beam}.txt").write_text(text)
        rows.append(QualityRow(**ROW, beam=beam, length_penalty=1.0, hypotheses=f"beam{beam}.txt", bleu=1.0))
    run.add(rows)
    (tmp_path / "comet.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return run


def score(run: Run, **options: Any) -> list[QualityRow]:
    given = {"python": Path(sys.executable), "model": "some/model", "log": lambda line: None, **options}
    return score_run(run, **given)


def test_scores_come_back_to_their_rows(evaluated: Run) -> None:
    before = evaluated.results().rows
    scored = score(evaluated)
    assert {row.beam: row.comet for row in scored} == {1: 0.0, 5: 1.0}
    assert evaluated.results().rows == scored
    assert [replace(row, comet=None, comet_signature="") for row in scored] == before
    assert scored[0].comet_signature == "some/model|unbabel-comet:unknown"
    assert score(evaluated) == []
    assert len(score(evaluated, force=True)) == 2


def test_mistakes_are_one_line(evaluated: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"scoring failed: KeyError: .*'other' not supported"):
        score(evaluated, model="other")
    with pytest.raises(UserError, match=r"--python .*nothing: cannot be run \(No such file"):
        score(evaluated, python=tmp_path / "nothing")
    (tmp_path / "comet.py").unlink()
    with pytest.raises(UserError, match="No module named 'comet'; install unbabel-comet there"):
        score(evaluated)
    (evaluated.folder / "beam5.txt").write_text("one line\n")
    with pytest.raises(UserError, match=r"beam5\.txt: 1 lines, but the test set has 60"):
        score(evaluated)


def test_it_says_how_to_make_the_environment() -> None:
    shown = how_to(Path("runs/mine"), "some/model")
    assert "pip install unbabel-comet" in shown
    assert "polystill comet runs/mine --python comet-env/bin/python" in shown
    assert len(shown.splitlines()) < 8 and max(map(len, shown.splitlines())) <= 120
