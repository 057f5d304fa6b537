"""How a family's networks act on each other: what is read from a run, and its charts."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from polystill.reporting.build import build_report
from polystill.reporting.document import Chart, Part
from polystill.reporting.interaction import interaction, likeness
from polystill.reporting.interaction_charts import detached_chart, ratio_chart
from polystill.runs import Run

STAGE: dict[str, Any] = {
    "threshold": 1.1,
    "length": 10,
    "draws": {"e1d1": 6, "e2d1": 5},
    "detached": {"e1d1": 0.5, "e2d1": 0.0},
    "bins": {"until": [5, 10], "draws": {"e1d1": [4, 2], "e2d1": [0, 5]}, "detached": {"e1d1": [1, 2], "e2d1": [0, 0]}},
    "updates": [5, 10],
    "ce_ratio": {"e1d1": [1.3, 1.2], "e2d1": [1.2, 1.05], "e2d2": [1.0, 1.0]},
}


def together(report_of: Path) -> list[Part]:
    report = build_report([report_of])
    return next(list(section.parts) for section in report.sections if section.name == "together")


def test_of_a_run_every_drawn_student_is_counted(small_run: Path) -> None:
    stages = interaction(Run.open(small_run), "e2d2")
    assert list(stages) == ["distillation", "mutual"]
    assert sum(stages["distillation"]["draws"].values()) > 0  # the curves have every tenth update
    for stage in stages.values():
        assert stage["bins"]["until"][-1] == stage["length"]
        assert stage["draws"] == {name: sum(counts) for name, counts in stage["bins"]["draws"].items()}
        assert stage["ce_ratio"]["e2d2"] == [1.0] * len(stage["updates"])


def test_a_run_without_curves_has_no_shares(small_run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(small_run, tmp_path / "copy"))
    shutil.rmtree(copy / "logs")
    stages = interaction(Run.open(copy), "e2d2")
    assert set(stages["distillation"]) == {"threshold", "length", "updates", "ce_ratio"}
    assert [part.name for part in together(copy) if isinstance(part, Chart)] == ["ce-ratio-1", "alike-1"]
    assert not [part for part in together(copy) if isinstance(part, str)]  # nothing is known of it


def test_a_report_shows_the_family_together(small_run: Path) -> None:
    detached, *charts = together(small_run)
    drawn = sum(sum(stage["draws"].values()) for stage in interaction(Run.open(small_run), "e2d2").values())
    told = detached.summary if isinstance(detached, Chart) else str(detached)
    assert f"{drawn:,}" in told
    ratios, alike = [chart for chart in charts if isinstance(chart, Chart)]
    assert {value["student"] for value in ratios.spec["data"]["values"]} == {"e1d1", "e2d1", "e2d2"}
    assert len(alike.spec["data"]["values"]) == 6  # three students, every two of them, both ways
    assert [row[i] for i, row in enumerate(alike.table.rows, 1)] == [""] * 3


def test_what_learns_alone_has_nobody_to_act_on(small_run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(small_run, tmp_path / "copy"))
    recipe = yaml.safe_load((copy / "recipe.yaml").read_text())
    recipe["objective"] = {"kind": "nll"}
    for stage in recipe["stages"]:
        stage.pop("objective", None)
    (copy / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert "together" not in [section.name for section in build_report([copy]).sections]


def test_shares_follow_the_stages() -> None:
    chart = detached_chart({"distillation": STAGE, "mutual": STAGE}, "detached", "Detached")
    assert chart is not None
    assert [(v["student"], v["from"], v["until"], v["share"]) for v in chart.spec["data"]["values"]] == [
        *(("e1d1", 0, 5, 0.25), ("e1d1", 5, 10, 1.0), ("e2d1", 5, 10, 0.0)),
        *(("e1d1", 10, 15, 0.25), ("e1d1", 15, 20, 1.0), ("e2d1", 15, 20, 0.0)),
    ]
    assert "6 of 22 in all" in chart.summary
    assert chart.table.rows[0] == ["e1d1", "6", "50.0%", "6", "50.0%"]


@pytest.mark.parametrize(
    "stage",
    [{**STAGE, "threshold": 0.0}, {**STAGE, "bins": {**STAGE["bins"], "detached": {"e1d1": [0, 0], "e2d1": [0, 0]}}}],
)
def test_all_or_nothing_is_no_chart(stage: dict[str, Any]) -> None:
    assert detached_chart({"distillation": stage}, "detached", "Detached") is None


def test_ratios_go_through_the_stages_and_show_the_threshold() -> None:
    chart = ratio_chart({"distillation": STAGE, "mutual": STAGE}, "ratio", "Ratio")
    assert chart is not None
    ratios = [(v["update"], v["ratio"]) for v in chart.spec["data"]["values"] if v["student"] == "e2d1"]
    assert ratios == [(5, 1.2), (10, 1.05), (15, 1.2), (20, 1.05)]
    level, ends, *_ = chart.spec["layer"]
    assert level["data"]["values"] == [{"level": 1.1}] and ends["data"]["values"] == [
        {"end": 10, "stage": "distillation"}
    ]
    low, high = chart.spec["encoding"]["y"]["scale"]["domain"]
    assert low < 1.0 and high > 1.2
    assert "highest for e1d1 (1.200)" in chart.summary
    assert ratio_chart({"distillation": {**STAGE, "updates": [], "ce_ratio": {}}}, "ratio", "Ratio") is None


def test_likeness_counts_pairs() -> None:
    found = likeness({"e1d1": ["a", "b"], "e2d1": ["a", "c"], "e2d2": ["a", "b"]}, "e2d2", "de")
    assert found["same"] == pytest.approx(2 / 3, abs=1e-4)
    assert found["same_as_teacher"] == {"e1d1": 1.0, "e2d1": 0.5}
    assert likeness({}, "e2d2", "de") == {}
