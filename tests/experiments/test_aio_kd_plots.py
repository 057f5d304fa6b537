"""experiments.aio_kd_plots: only what is measured is drawn, and what was drawn is shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experiments import aio_kd_plots
from experiments.aio_kd_plots import Plots, plots_of, shown_plots, write_plots
from polystill.reporting.document import Chart
from polystill.reporting.training import Interaction

STAGE = Interaction(
    threshold=1.1,
    length=10,
    until=[5, 10],
    draws={"e1d1": [4, 2], "e2d1": [0, 5]},
    detached={"e1d1": [1, 2], "e2d1": [0, 0]},
    updates=[5, 10],
    ce_ratio={"e1d1": [1.3, 1.2], "e2d1": [1.2, 1.05], "e2d2": [1.0, 1.0]},
)
NEVER = replace(
    STAGE,
    **{"threshold": 1e9, "draws": {"e1d1": [4, 2]}, "detached": {"e1d1": [0, 0]}},
    **{"updates": [10], "ce_ratio": {"e1d1": [1.3], "e2d2": [1.0]}},
)
INTERACTIONS = {"family": {"distillation": STAGE, "mutual": STAGE}, "no-detaching": {"all": NEVER}}


def family(row: str, kind: str, count: int, mean: float) -> dict[str, Any]:
    scores = {"mean": mean, "worst": mean - 1, "teacher": mean + 1}
    return {
        **{"row": row, "kind": kind, "seed": 1, "students_per_step": count, "cost": {"flops": 10**12 * count}},
        "beam 5": scores,
    }


@pytest.fixture
def content() -> dict[str, Any]:
    """Of results.json."""
    curves = {
        "pretrained": {
            **{"usable_at": 18.0, "updates": [5, 10], "all_usable_after": 5},
            "bleu": {"e1d1": [18.0, 19.0], "e2d2": [20.0, 20.0]},
        },
        "from-scratch": {"usable_at": 18.0, "updates": [5], "bleu": {"e1d1": [1.0], "e2d2": [2.0]}},
    }
    return {
        "likeness": {"family": {"same": 0.5, "same_as_teacher": {"e1d1": 0.4, "e2d1": 0.6}}},
        "families": [
            family("family", "family", 2, 30.0),
            family("students-1", "students", 1, 29.0),
            family("space-any", "space", 2, 28.0),
        ],
        "pretrained": curves,
    }


def test_all_that_is_measured_is_drawn(content: dict[str, Any], tmp_path: Path) -> None:
    plots = plots_of(content, INTERACTIONS)
    charts = {chart.name: chart for chart in (*plots.shown, *plots.linked)}
    assert [chart.name for chart in plots.linked] == ["ce-ratio-no-detaching"]  # nothing to say of shares there
    assert "1 a step 1 TFLOP, mean 29.00" in charts["students-a-step"].summary
    assert charts["students-a-step"].summary.index("1 a step") < charts["students-a-step"].summary.index("2 a step")
    assert {value["count"] for value in charts["students-a-step"].spec["layer"][0]["data"]["values"]} == {1, 2}
    assert "pretrained: all students usable after 5 updates" in charts["pretrained"].summary
    assert "from-scratch: not all students usable within 5 updates" in charts["pretrained"].summary

    assert shown_plots(plots, tmp_path) == ""  # nothing is drawn yet
    write_plots(plots, tmp_path)
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {
        f"{name}.{kind}" for name in charts for kind in ("svg", "png")
    }
    assert "students a step" in (tmp_path / "plots" / "students-a-step.svg").read_text()
    text = shown_plots(plots, tmp_path)
    assert text.count("![") == 5
    assert "](plots/likeness.svg)" in text
    assert text.endswith("(plots/ce-ratio-no-detaching.svg).")


def test_what_is_not_measured_is_not_drawn(content: dict[str, Any], tmp_path: Path) -> None:
    nothing = plots_of({"families": [], "pretrained": {}}, {})
    assert nothing == Plots([], [])
    write_plots(nothing, tmp_path)
    assert not list(tmp_path.iterdir())
    family_only = {**content, "families": content["families"][:1], "likeness": {}, "pretrained": {}}
    only = plots_of(family_only, {"family": INTERACTIONS["family"]})
    assert [chart.name for chart in only.shown] == ["detached-family", "ce-ratio-family"]


def test_without_the_package_results_say_what_is_missing(
    content: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aio_kd_plots, "can_draw", lambda: False)
    plots = Plots([Chart("a", "A", "A chart.", {}, aio_kd_plots._IN_RESULTS)], [])
    write_plots(plots, tmp_path)
    assert "'.[report]' in polystill's checkout" in shown_plots(plots, tmp_path)
    assert shown_plots(Plots([], []), tmp_path) == ""
