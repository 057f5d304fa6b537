"""polystill export as a user gives it: formats, cards with the run's figures, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize("to", ["hf", "ctranslate2", "argos", "onnx"])
def test_each_format_has_a_card_with_the_runs_figures(
    to: str, polystill: Any, finished_run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert f"wrote {out}" in polystill("export", finished_run, "e2d1", "--to", to, "--out", out).ok().stderr
    card = (out / "README.md").read_text(encoding="utf-8")
    for part in (
        "# e2d1: en → de",
        "| unseen | ctranslate2 | float32 |",
        "BLEU: `nrefs:1",
        "kind synthetic, pairs 400",
    ):
        assert part in card, part


def test_a_shortlist_is_learnt_from_the_runs_data(polystill: Any, finished_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    polystill("export", finished_run, "e1d1", "--quantization", "int8", "--shortlist", "--out", out).ok()
    info = json.loads((out / "polystill.json").read_text())
    assert info["shortlist"]["sentences"] > 300
    rules = dict(line.split("\t") for line in (out / "vmap.txt").read_text().splitlines())
    assert len(rules[""].split()) == info["shortlist"]["frequent"] == 50
    assert len(rules) > 40
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "with the shortlist" in card and ", use_vmap=True)\n" in card
    done = polystill("translate", out, stdin=b"A dog runs.\n").ok()
    assert done.stdout.count("\n") == 1
    said = polystill("export", finished_run, "e1d1", "--to", "onnx", "--shortlist", "--out", tmp_path / "other")
    said.refused("--shortlist", "onnx", "ctranslate2")
    assert not (tmp_path / "other").exists()


def test_what_is_there_is_not_replaced(polystill: Any, finished_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    polystill("export", finished_run, "e1d1", "--out", out).ok()
    (out / "README.md").write_text("my own words")
    polystill("export", finished_run, "e1d1", "--out", out).refused(out, "exists already", "--out")
    assert (out / "README.md").read_text() == "my own words"


def test_a_run_with_hugging_faces_positions_is_not_for_marian(
    polystill: Any, finished_run: Path, tmp_path: Path
) -> None:
    for to in ("marian", "bergamot"):
        said = polystill("export", finished_run, "e1d1", "--to", to, "--out", tmp_path / "out")
        said.refused("other sinusoidal positions", "model.positions: marian")
    assert not (tmp_path / "out").exists()


def test_a_format_that_is_none_is_refused(polystill: Any, finished_run: Path) -> None:
    done = polystill("export", finished_run, "e1d1", "--to", "onxx")
    assert done.status == 2
    assert "onnx" in done.stderr
