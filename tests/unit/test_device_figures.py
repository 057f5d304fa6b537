"""Latency and memory of a run's students: measured in turn, added to what is there, and not again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from polystill.evaluation import device_figures, quality
from polystill.evaluation import speed_rounds as rounds
from polystill.evaluation.device_figures import add_device_figures, has_device_figures
from polystill.evaluation.quality import evaluate_students
from polystill.evaluation.speed import figures
from polystill.runs import Run


@pytest.fixture
def run(small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Evaluated, without latency."""
    monkeypatch.setattr(quality, "available_cores", lambda: 1)
    return Run.open(Path(shutil.copytree(small_run, tmp_path / "run")))


def test_latency_and_memory_are_added_to_what_is_measured(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before = evaluate_students(run, students=["e1d1", "e2d1"], beams=[1])
    other = evaluate_students(run, students=["e1d1"], beams=[1], engine="torch")
    assert not any(map(has_device_figures, before + other))
    measured: list[str] = []

    def noted(folder: Path, lines: list[str], **how: Any) -> dict[str, Any]:
        measured.append(folder.parent.name)
        return figures(folder, lines, **how)

    monkeypatch.setattr(rounds, "figures", noted)
    rows = add_device_figures(run, before + other)
    assert measured == ["e1d1", "e2d1"] * device_figures.ROUNDS
    assert rows[2] == other[0]
    for row, old in zip(rows, before, strict=False):
        assert {**row, **old} == row
        assert 0 < row["latency_p50_ms"] <= row["latency_p95_ms"]
        for name in ("latency_p50_ms", "latency_p95_ms"):
            assert row[f"{name}_min"] <= row[name] <= row[f"{name}_max"]
        assert row["latency_rounds"] == device_figures.ROUNDS
        assert row["latency_sentences"] > 1
        assert 10e6 < row["peak_memory_bytes"] < 200e6
        assert row in run.results()["rows"]
    monkeypatch.setattr(rounds, "figures", None)
    assert add_device_figures(run, rows) == rows
