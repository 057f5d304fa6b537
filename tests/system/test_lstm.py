"""A family of LSTMs by the commands: trained, evaluated, extracted, translated, and refused where no engine has it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def test_results_name_the_architecture_and_the_engine(finished_lstm_run: Path) -> None:
    rows = json.loads((finished_lstm_run / "results.json").read_text())["rows"]
    assert {row["model"] for row in rows} == {"e1d1", "e2d1", "e2d2"}
    assert {(row["architecture"], row["engine"]) for row in rows} == {("lstm", "torch")}


def test_a_student_translates_alike_from_the_run_and_alone(
    polystill: Any, finished_lstm_run: Path, tmp_path: Path
) -> None:
    text = "A dog runs.\n\nThe small house is old.\n"
    polystill("extract", finished_lstm_run, "e2d1", "--out", tmp_path / "student").ok()
    alone = polystill("translate", tmp_path / "student", stdin=text).ok().stdout
    assert alone == polystill("translate", finished_lstm_run, "--student", "e2d1", stdin=text).ok().stdout
    assert alone == polystill("translate", finished_lstm_run / "e2d1", stdin=text).ok().stdout
    assert alone.count("\n") == 3
    assert not list((tmp_path / "student").glob("*.bin"))


def test_what_has_no_lstm_is_refused_with_the_reason(polystill: Any, finished_lstm_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    reason = "CTranslate2 has no LSTM"
    polystill("translate", finished_lstm_run, "--engine", "ctranslate2", stdin="A dog.\n").refused(reason)
    polystill("evaluate", finished_lstm_run, "--engine", "ctranslate2").refused(reason)
    polystill("export", finished_lstm_run, "e2d1", "--to", "ctranslate2", "--out", out).refused(reason)
    polystill("export", finished_lstm_run, "e2d1", "--to", "hf", "--out", out).refused("transformers has no LSTM")
    assert not out.exists()
    polystill("extract", finished_lstm_run, "e2d1", "--out", finished_lstm_run / "data").refused("exists already")


def test_an_onnx_export_is_verified_and_says_where_it_runs(
    polystill: Any, finished_lstm_run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert f"wrote {out}" in polystill("export", finished_lstm_run, "e1d1", "--to", "onnx", "--out", out).ok().stderr
    assert json.loads((out / "polystill.json").read_text())["verification"]["identical"] == 1
    polystill("translate", out, stdin="A dog.\n").refused("an ONNX model, for the programs that its README.md shows")
