"""Plots of an AIO-KD study, drawn as a report's charts are: STUDY/plots/NAME.svg and .png, shown in results.md.

They are made of what results.json says, so only what is measured is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from experiments.aio_kd import FAMILY, FROM_SCRATCH, PRETRAINED, STUDENTS
from experiments.significance import Values
from polystill.environment.extras import installing
from polystill.reporting.document import Chart, Table, category, layer, quantity, steps
from polystill.reporting.page import drawn
from polystill.reporting.training import Interaction, detached_chart, ratio_chart
from polystill.storage import write_atomic
from polystill.students import Student

PLOTS = "plots"
_BEAM = "beam 5"
_IN_RESULTS = Table("In results.json", [], [])
"""Instead of a chart's table; results.md has tables of its own."""


@dataclass(frozen=True)
class Plots:
    shown: Sequence[Chart]
    linked: Sequence[Chart]
    """More of the same, of further families."""


def plots_of(content: Values, interactions: Mapping[str, Mapping[str, Interaction]]) -> Plots:
    """All plots of the content of results.json, and by family and stage how its members acted on each other.

    Those of other families than the one as published are linked only.
    """
    shown: list[Chart] = []
    linked: list[Chart] = []
    for row, stages in interactions.items():
        charts = (
            detached_chart(stages, f"detached-{row}", f"Draws whose gradient was kept from the teacher: {row}"),
            ratio_chart(stages, f"ce-ratio-{row}", f"Cross-entropy over the teacher's: {row}"),
        )
        (shown if row == FAMILY else linked).extend(chart for chart in charts if chart is not None)
    shown += _likeness(content.get("likeness", {}))
    shown += _students_a_step(content["families"])
    shown += _learning(content["pretrained"])
    return Plots(shown, linked)


def plot(name: str, title: str, summary: str, spec: Values) -> Chart:
    return Chart(name, title, summary, spec, _IN_RESULTS)


# --- files ------------------------------------------------------------------------------------------------------------


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
    drawn_before = {path.stem for path in (folder / PLOTS).glob("*.svg")}
    shown, linked = ([c for c in charts if c.name in drawn_before] for charts in (plots.shown, plots.linked))
    parts = [f"![{chart.title}. {chart.summary}]({PLOTS}/{chart.name}.svg)" for chart in shown]
    links = ", ".join(f"[{chart.title}]({PLOTS}/{chart.name}.svg)" for chart in linked)
    parts += [f"Further: {links}."] if linked else []
    if not parts and plots.shown and not can_draw():
        return f"They need vl-convert: {installing('report')}, then the study's command once more."
    return "\n\n".join(parts)


def can_draw() -> bool:
    return find_spec("vl_convert") is not None


# --- families beside each other ---------------------------------------------------------------------------------------

_ON_TOP = {"legend": {"orient": "top"}}
_NOT_FROM_ZERO = {"scale": {"zero": False}}


def _likeness(likeness: dict[str, Values]) -> Iterator[Chart]:
    """Equal translations: of each student and the teacher, and over all pairs of members."""
    values = [
        {"family": row, "student": student, "share": share, "decoder": Student.parse(student).decoder_layers}
        for row, figures in likeness.items()
        for student, share in figures.get("same_as_teacher", {}).items()
    ]
    pairs = [{"family": row, "share": figures["same"]} for row, figures in likeness.items() if "same" in figures]
    if not values:
        return
    rows = list(dict.fromkeys(value["family"] for value in values))
    percent = {"format": ".0%", "tickCount": 8}
    dots = {"type": "point", "filled": True, "opacity": 0.9}
    strokes = {"type": "tick", "thickness": 2, "size": 22, "style": "quiet"}
    spec = {
        "height": 30 * max(2, len(rows)),
        "encoding": {
            "y": category("family", title=None, sort=rows, axis={"labelLimit": 220}),
            "x": quantity("share", title="translations that are equal", **_NOT_FROM_ZERO, axis=percent),
        },
        "layer": [
            layer(dots, values, color=steps("decoder", title="decoder layers", **_ON_TOP)),
            {"data": {"values": pairs}, "mark": strokes},
        ],
    }
    summary = "Share of the test set's translations (beam 5) that are the teacher's, of each student (dots), and equal "
    summary += "in a pair of members, on average over all pairs (strokes)."
    yield plot("likeness", "How alike the members' translations are", summary, spec)


def _students_a_step(families: Sequence[Values]) -> Iterator[Chart]:
    """Quality by the number of students that are drawn in a step, with what the training cost."""
    chosen = [family for family in families if family["kind"] in (FAMILY, STUDENTS) and _BEAM in family]
    chosen.sort(key=lambda family: (family["students_per_step"], family["seed"]))
    if len({family["students_per_step"] for family in chosen}) < 2:
        return
    values = [
        {"count": family["students_per_step"], "seed": family["seed"], "of": of, "bleu": family[_BEAM][of]}
        for family in chosen
        for of in ("mean", "worst", "teacher")
        if of in family[_BEAM]
    ]
    costs = [
        {
            **{"count": family["students_per_step"], "bleu": family[_BEAM]["mean"]},
            "text": f"{family['cost']['flops'] / 1e12:,.0f} TFLOP",
        }
        for family in chosen
    ]
    lines = {"type": "line", "point": {"size": 50}}
    color = category("of", title=None, **_ON_TOP)
    spec = {
        "height": 280,
        "encoding": {
            "x": steps("count", title="students a step", axis={"labelAngle": 0}),
            "y": quantity("bleu", title="BLEU (beam 5)", **_NOT_FROM_ZERO),
        },
        "layer": [
            layer(lines, values, color=color, detail={"field": "seed"}),
            layer({"type": "text", "dy": -12}, costs, text={"field": "text"}),
        ],
    }
    summary = "BLEU (beam 5) of a family's mean, worst and largest member by the number of students drawn in a step; "
    summary += "beside it what the training took, in 10¹² operations: " + "; ".join(
        f"{value['count']} a step {value['text']}, mean {value['bleu']:.2f}" for value in costs
    )
    yield plot("students-a-step", "Students a step: quality and cost", f"{summary}.", spec)


def _learning(curves: dict[str, Values]) -> Iterator[Chart]:
    """Greedy validation BLEU of every student, from a trained teacher and from nothing."""
    values = [
        {"run": run, "student": student, "update": update, "bleu": bleu}
        for run, curve in curves.items()
        for student, scores in curve["bleu"].items()
        for update, bleu in zip(curve["updates"], scores, strict=True)
    ]
    if not values:
        return
    lines = {"type": "line", "opacity": 0.7, "strokeWidth": 1.5, "point": {"size": 12}}
    dashes = {"type": "rule", "strokeDash": [4, 4], "style": "quiet"}
    usable = [{"bleu": next(iter(curves.values()))["usable_at"]}]
    encoding: Values = {
        "x": quantity("update", title="updates", axis={"tickCount": 6}),
        "y": quantity("bleu", title="greedy validation BLEU"),
        "color": category("run", title=None, **_ON_TOP, sort=[PRETRAINED, FROM_SCRATCH]),
        "detail": {"field": "student"},
    }
    limit = layer(dashes, usable, y=quantity("bleu"))
    spec = {"height": 300, "layer": [layer(lines, values, **encoding), limit]}
    ends = [
        f"{run}: all students usable after {curve['all_usable_after']:,} updates"
        if "all_usable_after" in curve
        else f"{run}: not all students usable within {curve['updates'][-1]:,} updates"
        for run, curve in curves.items()
    ]
    summary = f"Greedy validation BLEU of every student over updates. {'; '.join(ends)} (dashed line)."
    yield plot("pretrained", "From a trained teacher, and from nothing", summary, spec)
