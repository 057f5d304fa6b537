"""tools/against_marian.py; with Marian itself where `pymarian` is on the PATH."""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from polystill.config import load_recipe
from polystill.data.packing import PackedDataset

TOOL = Path(__file__).parents[2] / "tools" / "against_marian.py"
LOG = """
[2026-01-01 00:00:00] Ep. 1 : Up. 1 : Sen. 62 : Cost 6.09725809 * 299 @ 299 after 299 : Time 2.06s : 145.24 words/s
[2026-01-01 00:00:01] Ep. 1 : Up. 2 : Sen. 1,087 : Cost 6.2 * 1,525 @ 525 after 1,824 : Time 0.70s : 745.06 words/s
[2026-01-01 00:00:01] Starting data epoch 2 in logical epoch 2
"""


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("against_marian", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def test_log_gives_tokens_and_seconds_of_each_update(tool: ModuleType) -> None:
    assert tool.read_log(LOG) == [tool.Update(299, 2.06), tool.Update(1525, 0.70)]


def test_pairs_are_written_without_end_marks_and_counted_with_them(tool: ModuleType, tmp_path: Path) -> None:
    side = (np.array([0, 3, 5]), np.array([7, 1, 0, 4, 0]))
    dataset = PackedDataset([side], [side])
    assert tool.write_pairs(tmp_path, "few", dataset, 300) == 5
    assert (tmp_path / "few.target").read_text() == "w7 <unk>\nw4\n"
    tool.write_vocabulary(tmp_path, 4)
    assert json.loads((tmp_path / "vocabulary.yml").read_text()) == {"</s>": 0, "<unk>": 1, "w2": 2, "w3": 3}


def test_missing_marian_is_said_with_how_to_install_it(
    tool: ModuleType, tiny_recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        tool.main([str(tiny_recipe), "--marian", "no-such-marian"])
    assert caught.value.code == 2
    assert "pip install pymarian" in capsys.readouterr().err


def test_both_have_as_many_threads_and_take_turns_to_begin(
    tool: ModuleType, finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Other(tool.Marian):  # type: ignore[name-defined, misc]
        """Trains nothing, and counts as Marian does."""

        def train(self, data: str, words: int, seed: int, *stop: str) -> list[Any]:
            threads.add(self.threads)
            order.append("marian")
            lines = (self.folder / f"{data}.target").read_text().splitlines()
            return [tool.Update(len(line.split()) + 1, 0.01) for line in lines]

    def run(trial: Any) -> None:
        order.append(trial.variant.name)

    order: list[str] = []
    threads: set[int] = set()
    monkeypatch.setattr(tool, "Marian", Other)
    monkeypatch.setattr(tool, "best_precision", lambda: "fp32")
    monkeypatch.setattr(tool.Trial, "run", run)
    recipe = load_recipe(finished_run / "recipe.yaml", ["training.threads=0"])
    given = argparse.Namespace(students=1, rounds=3, updates=1)
    result = tool.compare(recipe, finished_run / "data", given, sys.executable)
    assert threads == {torch.get_num_threads()} == {result["settings"]["threads"]}
    rounds = order[3:]  # the check of the count, and a warm-up each
    assert [rounds[i] for i in (0, 3, 6)] == ["marian", "family-exact", "family-shared"]
    assert all(sorted(rounds[i : i + 3]) == ["family-exact", "family-shared", "marian"] for i in (0, 3, 6))


@pytest.mark.skipif(shutil.which("pymarian") is None, reason="pymarian is not on the PATH")
def test_both_train(tool: ModuleType, finished_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "marian.json"
    tool.main([str(finished_run), "--rounds", "1", "--updates", "1", "--json", str(out)])
    result = json.loads(out.read_text())
    assert result["counting"]["marian_labels"] == result["counting"]["target_tokens"] > 0
    assert result["speed_to_marian"]["family-shared"]["median"] > 0
