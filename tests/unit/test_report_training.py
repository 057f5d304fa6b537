"""How a family's networks act on each other: what a stage's record says, and its charts."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from polystill.reporting.build import build_report
from polystill.reporting.document import Chart, Part
from polystill.reporting.training import Interaction, detached_chart, interaction, ratio_chart
from polystill.runs import Run
from polystill.storage import checked_json, read_checked_json

STAGE = Interaction(
    threshold=1.1,
    length=10,
    until=[5, 10],
    draws={"e1d1": [4, 2], "e2d1": [0, 5]},
    detached={"e1d1": [1, 2], "e2d1": [0, 0]},
    updates=[5, 10],
    ce_ratio={"e1d1": [1.3, 1.2], "e2d1": [1.2, 1.05], "e2d2": [1.0, 1.0]},
)
RECORDS: dict[str, Any] = {
    "distillation": {
        "threshold": 1.1,
        "until": [6, 12],
        "draws": {"e1d1": [5, 1], "e2d1": [1, 5]},
        "detached": {"e1d1": [2, 0], "e2d1": [0, 0]},
        "ce_ratio": {"e1d1": [1.2, 1.0], "e2d1": [1.05, 1.0]},
    },
    "mutual": {
        "threshold": 1.1,
        "until": [1, 6],
        "draws": {"e1d1": [0, 3], "e2d2": [1, 2]},
        "detached": {"e1d1": [0, 0], "e2d2": [0, 0]},
        "ce_ratio": {"e1d1": [None, 1.0], "e2d2": [1.0, 1.0]},
    },
}


def recorded(run: Path, records: dict[str, Any]) -> Path:
    """Replace what the stages have on record of their draws."""
    path = run / "state.json"
    state = read_checked_json(path)
    for name in ("distillation", "mutual"):
        stage = state["stages"][f"training.{name}"]
        stage.pop("interaction", None)
        stage |= {"interaction": records[name]} if name in records else {}
    path.write_text(checked_json(state))
    return run


@pytest.fixture
def copied(small_run: Path, tmp_path: Path) -> Callable[..., Path]:
    def copy(records: dict[str, Any]) -> Path:
        return recorded(Path(shutil.copytree(small_run, tmp_path / "copy")), records)

    return copy


def together(report_of: Path) -> list[Part]:
    report = build_report([report_of])
    return next(list(section.parts) for section in report.sections if section.name == "together")


def test_every_draw_on_record_is_read(copied: Callable[..., Path]) -> None:
    stages = interaction(Run.open(copied(RECORDS)))
    assert list(stages) == ["distillation", "mutual"]
    for name, stage in stages.items():
        for key in ("threshold", "until", "draws", "detached"):
            assert getattr(stage, key) == RECORDS[name][key]
        assert stage.until[-1] == stage.length
        assert stage.ce_ratio["e2d2"] == [1.0] * len(stage.updates)
        assert set(stage.ce_ratio) == {"e1d1", "e2d1", "e2d2"}


def test_a_run_without_draws_on_record_has_no_shares(copied: Callable[..., Path]) -> None:
    copy = copied({})
    stage = interaction(Run.open(copy))["distillation"]
    assert (stage.threshold, stage.draws, stage.detached) == (None, {}, {})
    assert len(stage.ce_ratio["e1d1"]) == len(stage.updates) > 0
    assert [part.name for part in together(copy) if isinstance(part, Chart)] == ["ce-ratio-1", "alike-1"]
    assert not [part for part in together(copy) if isinstance(part, str)]  # nothing is known of it


def test_a_report_shows_the_family_together(copied: Callable[..., Path]) -> None:
    detached, ratios, alike = [part for part in together(copied(RECORDS)) if isinstance(part, Chart)]
    assert detached.summary.startswith("Share of each student's draws") and "2 of 18 in all" in detached.summary
    assert {value["student"] for value in ratios.spec["data"]["values"]} == {"e1d1", "e2d1", "e2d2"}
    assert len(alike.spec["data"]["values"]) == 6  # three students, every two of them, both ways
    assert [row[i] for i, row in enumerate(alike.table.rows, 1)] == [""] * 3


def test_a_stage_that_trains_the_smallest_network_has_its_line_only(copied: Callable[..., Path]) -> None:
    copy = copied({})
    state = read_checked_json(copy / "state.json")
    history = state["stages"]["training.distillation"]["history"]
    for point in history:
        for key in ("nll", "cross_entropy"):
            point[key] = {"e1d1": point[key]["e1d1"]}
    (copy / "state.json").write_text(checked_json(state))
    assert interaction(Run.open(copy))["distillation"].ce_ratio == {}  # there is no teacher to be compared with
    charts = [part for section in build_report([copy]).sections for part in section.parts if isinstance(part, Chart)]
    loss, distance, ratio = (
        next(chart for chart in charts if chart.name.startswith(name))
        for name in ("training-1-loss", "training-1-distance", "ce-ratio")
    )
    later = state["stages"]["training.mutual"]["history"]
    points = {(value["student"], value["update"]) for value in loss.spec["data"]["values"]}
    start = state["stages"]["training.distillation"]["updates"]
    assert points == {
        *(("e1d1", point["update"]) for point in history),
        *((student, start + point["update"]) for student in ("e1d1", "e2d1", "e2d2") for point in later),
    }
    for chart in (distance, ratio):
        assert min(value["update"] for value in chart.spec["data"]["values"]) > start
    assert loss.table.rows[-1][0] == "e2d2" and loss.table.rows[-1][1] == ""


def test_networks_that_learn_from_a_held_teacher_are_measured_by_its_last_value(copied: Callable[..., Path]) -> None:
    copy = copied({})
    state = read_checked_json(copy / "state.json")
    for point in state["stages"]["training.mutual"]["history"]:
        for key in ("nll", "cross_entropy"):
            point[key] = {"small-e1d1": point[key]["e1d1"] + 9}
    (copy / "state.json").write_text(checked_json(state))
    assert interaction(Run.open(copy))["mutual"].ce_ratio == {}
    charts = [part for section in build_report([copy]).sections for part in section.parts if isinstance(part, Chart)]
    loss, distance = (
        next(chart for chart in charts if chart.name.startswith(name))
        for name in ("training-1-loss", "training-1-distance")
    )
    assert "highest for small-e1d1" in loss.summary
    teacher = state["stages"]["training.distillation"]["history"][-1]["nll"]["e2d2"]
    small = state["stages"]["training.mutual"]["history"][-1]["nll"]["small-e1d1"]
    gap = [value["gap"] for value in distance.spec["data"]["values"] if value["student"] == "small-e1d1"][-1]
    assert gap == pytest.approx(small - teacher, abs=1e-4)
    assert f"small-e1d1 is farthest behind, by {small - teacher:.3f}" in distance.summary


def test_a_family_whose_gradients_all_reach_the_teacher_says_so(copied: Callable[..., Path]) -> None:
    none = {name: {**record, "detached": {s: [0, 0] for s in record["draws"]}} for name, record in RECORDS.items()}
    text, *charts = together(copied(none))
    assert text == (
        "No student was detached: in none of the 18 draws did its cross-entropy reach the threshold (1.1 times the "
        "teacher's)."
    )
    assert len(charts) == 2


def test_the_teacher_of_a_started_run_is_its_familys(copied: Callable[..., Path]) -> None:
    """With `model.start` the depths are the folder's; the recipe's own say nothing about them."""
    copy = copied(RECORDS)
    recipe = yaml.safe_load((copy / "recipe.yaml").read_text())
    recipe["model"] = {"start": str(copy / "family")}
    (copy / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert str(Run.open(copy).recipe.model.teacher) != "e2d2"
    stages = interaction(Run.open(copy))
    assert stages["distillation"].ce_ratio["e2d2"] == [1.0] * len(stages["distillation"].updates)
    assert len(together(copy)) == 3


def test_what_learns_alone_has_nobody_to_act_on(copied: Callable[..., Path]) -> None:
    copy = copied({})
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
    "stage", [replace(STAGE, threshold=0.0), replace(STAGE, detached={"e1d1": [0, 0], "e2d1": [0, 0]})]
)
def test_all_or_nothing_is_no_chart(stage: Interaction) -> None:
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
    assert ratio_chart({"distillation": replace(STAGE, updates=[], ce_ratio={})}, "ratio", "Ratio") is None


def test_lines_of_students_of_other_depths_look_different() -> None:
    def look(*students: str) -> dict[str, str]:
        ratios = {student: [1.2, 1.1] for student in students}
        chart = ratio_chart({"only": replace(STAGE, ce_ratio=ratios)}, "ratio", "title")
        assert chart is not None
        (line,) = [
            one for one in chart.spec["layer"] if isinstance(one["mark"], dict) and one["mark"]["type"] == "line"
        ]
        names = {name: line["encoding"][name]["field"] for name in ("color", "strokeDash") if name in line["encoding"]}
        values = {tuple(value[field] for field in names.values()) for value in chart.spec["data"]["values"]}
        assert len(values) == len(students)
        return names

    assert look("e1d2", "e2d2", "e6d2") == {"color": "encoder"}
    assert look("e2d1", "e2d2") == {"color": "decoder"}
    assert look("e1d1", "e2d1", "e2d2") == {"color": "decoder", "strokeDash": "encoder"}
    assert look("e2d2") == {"color": "decoder"}
    assert look("e2d2", "tiny-e2d2", "e2d1") == {"color": "decoder"}
    assert look("e2d2", "e1d2", "tiny-e2d2", "tiny-e1d2") == {"color": "decoder", "strokeDash": "encoder"}
