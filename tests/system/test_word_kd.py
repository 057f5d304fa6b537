"""Word-KD as a user does it: from a finished run to one student, and what is refused before any work starts."""

from __future__ import annotations

import json
from pathlib import Path

from .conftest import Polystill

STUDENT = ["--set", "model={encoder_layers: 1, decoder_layers: 1, d_model: 24, ffn_dim: 32, heads: 2}"]
ONE_STAGE = ["--set", "stages=[{name: one, updates: 4}]", "--set", "data.max_tokens=48"]


def _word_kd(teacher: Path) -> list[str]:
    return [*STUDENT, *ONE_STAGE, "--set", f"objective={{kind: word_kd, teacher: {teacher}, alpha: 0.9}}"]


def test_a_student_of_another_width(polystill: Polystill, finished_run: Path, tiny_recipe: Path, tmp_path) -> None:
    run = tmp_path / "run"
    no_size = ["--set", "data.tokenizer={}"]
    polystill("run", tiny_recipe, "--out", run, *_word_kd(finished_run / "e2d1"), *no_size).ok()
    rows = json.loads((run / "results.json").read_text())["rows"]
    assert {(row["model"], row["method"], row["model_id"]) for row in rows} == {
        ("e1d1", "word_kd", "word_kd-gold-e1d1")
    }
    assert json.loads((run / "family/family.json").read_text())["method"] == "word_kd"
    pieces = [(folder / "tokenizer/vocab.json").read_text() for folder in (run / "data", finished_run / "data")]
    assert pieces[0] == pieces[1]
    polystill("run", tiny_recipe, "--out", run, *_word_kd(finished_run / "e2d2"), *no_size).refused("objective.teacher")


def test_refused_before_any_work(
    polystill: Polystill, finished_run: Path, counting_student: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"

    def refused(overrides: list[str], *words: str) -> None:
        polystill("run", tiny_recipe, "--out", run, *overrides).refused(*words)
        assert not (run / "data").exists()

    refused(["--set", "objective.kind=word_kd"], "objective.teacher: missing")
    refused(["--set", f"objective.teacher={finished_run}"], "objective.teacher: aio_kd has no such key; word_kd and")
    refused(_word_kd(tmp_path / "nothing"), "objective.teacher", "no such folder")
    refused(_word_kd(finished_run / "e5d5"), "objective.teacher", "e5d5", "e2d1")
    sizes = ["--set", "data.tokenizer.vocabulary_size=300"]
    refused([*_word_kd(finished_run), *sizes], "data.tokenizer.vocabulary_size 300", "400")
    long = ["--set", "data.max_tokens=100", "--set", "model.max_positions=128"]
    refused([*_word_kd(finished_run), *long], "data.max_tokens 100", "64")
    other = [*_word_kd(finished_run), "--set", f"model={{start: {counting_student}}}", "--set", "data.tokenizer={}"]
    refused(other, "objective.teacher", "the vocabulary of", "is not the student's")
