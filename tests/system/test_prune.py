"""Pruning as a user does it: in training, and of a folder that is then retrained, translated with and exported."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any


def test_prune_retrain_and_ship(polystill: Any, finished_run: Path, tiny_recipe: Path, tmp_path: Path) -> None:
    pruned = tmp_path / "pruned"
    report = polystill("prune", finished_run, "--sparsity", "0.75", "--scope", "layer", "--out", pruned).ok().stdout
    assert "encoder.0.feed_forward.expand.weight" in report and "75.0%" in report
    assert "bytes before" in report and "are not zero" in report
    polystill("prune", finished_run, "--sparsity", "0.5", "--out", pruned).refused(pruned, "exists already")
    for engine in ("torch", "ctranslate2"):
        done = polystill("translate", pruned, "--student", "e1d1", "--engine", engine, stdin="A dog runs.\n").ok()
        assert done.stdout.count("\n") == 1

    run = tmp_path / "run"
    start = ["--set", f"model={{start: {pruned}}}", "--set", "stages.0.updates=2", "--set", "data.tokenizer={}"]
    hold = ["--set", "stages.0.pruning={schedule: hold}", "--set", "evaluation={beams: [1], students: [e2d1]}"]
    polystill("run", tiny_recipe, "--out", run, *start, *hold).ok()
    family = json.loads((run / "family" / "family.json").read_text())
    assert abs(family["sparsity"] - 0.75) < 0.01
    for row in json.loads((run / "results.json").read_text())["rows"]:
        assert row["nonzero_parameters"] < 0.5 * row["parameters"]

    shipped = tmp_path / "shipped"
    polystill("export", run, "e2d1", "--to", "sparse", "--quantization", "int8", "--out", shipped).ok()
    assert json.loads((shipped / "polystill.json").read_text())["nonzero_parameters"] <= row["nonzero_parameters"]
    polystill("translate", shipped, stdin="A dog runs.\n").ok()
    weights = shipped / "model.sparse.safetensors"
    assert weights.stat().st_size < (run / "students" / "e2d1" / "model.safetensors").stat().st_size / 2
    broken = Path(shutil.copytree(shipped, tmp_path / "broken"))
    (broken / weights.name).write_bytes(weights.read_bytes()[:-7])
    polystill("translate", broken, stdin="A dog runs.\n").refused(broken / weights.name, "not a readable")


def test_bad_input(polystill: Any, finished_run: Path, tiny_recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    polystill("prune", finished_run, "--sparsity", "1", "--out", out).refused("--sparsity 1", "less than 1")
    polystill("prune", finished_run, "--sparsity", "-0.1", "--out", out).refused("--sparsity -0.1", "at least 0")
    polystill("prune", tmp_path / "nowhere", "--sparsity", "0.5", "--out", out).refused("nowhere", "no such folder")
    wrong = ["--set", "stages.1.pruning={sparsity: 1.5}"]
    polystill("run", tiny_recipe, "--out", out, *wrong).refused("stages.1.pruning.sparsity", "less than 1")
    assert not out.exists()
