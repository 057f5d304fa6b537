"""A study's plots: STUDY/plots/NAME.svg and .png, drawn as a report's charts are, and shown in results.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from polystill.environment.extras import installing
from polystill.reporting.document import Chart, Table
from polystill.reporting.static import drawn
from polystill.storage import write_atomic

PLOTS = "plots"
_FIGURES = Table("In results.json", [], [])
"""Instead of a chart's table; results.md has tables of its own."""


@dataclass(frozen=True)
class Plots:
    shown: Sequence[Chart]
    linked: Sequence[Chart]
    """More of the same, of further families."""


def plot(name: str, title: str, summary: str, spec: dict[str, Any]) -> Chart:
    return Chart(name, title, summary, spec, _FIGURES)


def write_plots(plots: Plots, folder: Path) -> None:
    """Draw all of them, if vl-convert is installed."""
    charts = [*plots.shown, *plots.linked]
    if charts and can_draw():
        (folder / PLOTS).mkdir(exist_ok=True)
        for chart in charts:
            svg, png = drawn(chart)
            write_atomic(folder / PLOTS / f"{chart.name}.svg", svg)
            write_atomic(folder / PLOTS / f"{chart.name}.png", png)


def shown_plots(plots: Plots, folder: Path) -> str:
    """Markdown that shows those that are drawn; empty where there are none."""
    there = {path.stem for path in (folder / PLOTS).glob("*.svg")}
    parts = [
        f"![{chart.title}. {chart.summary}]({PLOTS}/{chart.name}.svg)" for chart in plots.shown if chart.name in there
    ]
    linked = [f"[{chart.title}]({PLOTS}/{chart.name}.svg)" for chart in plots.linked if chart.name in there]
    parts += [f"Further: {', '.join(linked)}."] if linked else []
    if not parts and plots.shown and not can_draw():
        return f"They need vl-convert: {installing('report')}, then the study's command once more."
    return "\n\n".join(parts)


def can_draw() -> bool:
    return find_spec("vl_convert") is not None
