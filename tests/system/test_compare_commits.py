"""tools/compare_commits.py: a folder against itself, and against one whose training differs."""

from __future__ import annotations

import importlib.util
import math
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "compare_commits.py"


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("compare_commits", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def _compare(first: Path, second: Path, recipe: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TOOL), str(first), str(second), str(recipe)]
    return subprocess.run([*command, "--updates", "3", *options], capture_output=True, text=True, timeout=300)


def _changed(tmp_path: Path, file: str, old: str, new: str) -> Path:
    folder = tmp_path / "other"
    shutil.copytree(ROOT / "src", folder / "src")
    path = folder / "src" / "polystill" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return folder


@pytest.mark.long
def test_a_tree_equals_itself_and_not_one_that_trains_otherwise(tiny_recipe: Path, tmp_path: Path) -> None:
    same = _compare(ROOT, ROOT, tiny_recipe)
    assert same.returncode == 0, same.stderr
    assert "identical: all 3 losses" in same.stdout
    other = _changed(tmp_path, "objectives/plain.py", "target, objective.label_smoothing", "target, 0.11")
    differs = _compare(ROOT, other, tiny_recipe)
    assert differs.returncode == 1, differs.stderr
    assert "identical ones were asked for" in differs.stdout


def test_verdict_on_losses(tool: ModuleType) -> None:
    side = {"data": "x", "losses": [2.0, 1.0], "validation": {"e1d1": 3.0}}
    same = tool.compare(side, side)
    assert same.holds(None) and same.holds(0.0)
    apart = tool.compare(side, {**side, "losses": [2.0, 1.01]})
    assert (apart.at, apart.largest) == (2, pytest.approx(0.01 / 1.01))
    assert not apart.holds(None) and not apart.holds(1e-3) and apart.holds(0.02)
    assert not tool.compare(side, {**side, "validation": {"e1d1": 3.1}}).holds(None)
    assert not tool.compare(side, {**side, "validation": {"e1d1": 3.1}}).holds(1e-3)
    assert tool.compare(side, {**side, "validation": {"e1d1": 3.1}}).holds(0.1)
    assert not tool.compare(side, {**side, "validation": {"e2d2": 3.0}}).holds(1.0)
    assert not tool.compare(side, {**side, "data": "y"}).holds(1.0)
    no_number = tool.compare(side, {**side, "losses": [2.0, math.nan]})
    assert (no_number.at, no_number.largest) == (2, math.inf)


def test_what_differs_is_said(tool: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    def reported(updates: int, **changes: object) -> str:
        sides = [side, {**side, **changes}]
        tool.report(["a", "b"], sides, tool.compare(*sides), updates, None)
        return capsys.readouterr().out

    side = {"data": "x", "losses": [2.0, 1.0], "validation": {"e1d1": 3.0}}
    only_validation = reported(2, validation={"e1d1": 3.1})
    assert "2 losses are identical, the validation at the end is not" in only_validation
    assert '  b: {"e1d1": 3.1}' in only_validation and "largest" not in only_validation
    assert "at update 2; identical ones" in reported(2, losses=[2.0, 1.5])
    assert "at micro-batch 2; identical ones" in reported(1, losses=[2.0, 1.5])  # training.accumulate


def test_a_commit_is_checked_out_for_as_long_as_it_is_needed(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "src" / "polystill" / "__init__.py"
    file.parent.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    tool.git("init", "--quiet")
    for text in ("first", "second"):
        file.write_text(text)
        tool.git("add", "--all")
        tool.git("-c", "user.name=x", "-c", "user.email=x@localhost", "commit", "--quiet", "-m", text)
    with tool.checked_out("HEAD~1") as folder:
        assert (folder / "src" / "polystill" / "__init__.py").read_text() == "first"
    assert not folder.exists() and file.read_text() == "second"
    with tool.checked_out(".") as folder:
        assert folder == tmp_path


def test_what_is_no_commit_is_said_in_one_line(tiny_recipe: Path) -> None:
    done = _compare(Path("no-such-commit"), ROOT, tiny_recipe)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "no-such-commit" in done.stderr
