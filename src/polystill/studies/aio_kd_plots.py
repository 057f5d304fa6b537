"""The plots of an AIO-KD study, from the content of its results.json: only what is measured."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from polystill.reporting.document import Chart
from polystill.reporting.interaction_charts import detached_chart, ratio_chart
from polystill.students import Student
from polystill.studies.aio_kd import FAMILY, FROM_SCRATCH, PRETRAINED
from polystill.studies.measured import Row
from polystill.studies.plots import Plots, plot

Values = list[dict[str, Any]]
_BEAM = "beam 5"


def plots_of(content: dict[str, Any]) -> Plots:
    """What results.json says, drawn; of all families but the first one as links."""
    shown: list[Chart] = []
    linked: list[Chart] = []
    for row, stages in content["interaction"].items():
        charts = (
            detached_chart(stages, f"detached-{row}", f"Draws whose gradient was kept from the teacher: {row}"),
            ratio_chart(stages, f"ce-ratio-{row}", f"Cross-entropy over the teacher's: {row}"),
        )
        (shown if row == FAMILY else linked).extend(chart for chart in charts if chart is not None)
    shown += [
        *_likeness(content.get("likeness", {})),
        *_students_a_step(content["families"]),
        *_learning(content["pretrained"]),
    ]
    return Plots(shown, linked)


# --- families beside each other ---------------------------------------------------------------------------------------


def _likeness(likeness: dict[str, Row]) -> Iterator[Chart]:
    """Equal translations: of each student and the teacher, and over all pairs of members."""
    values = [
        {"family": row, "student": student, "share": share, "decoder": Student.parse(student).decoder_layers}
        for row, found in likeness.items()
        for student, share in found.get("same_as_teacher", {}).items()
    ]
    pairs = [{"family": row, "share": found["same"]} for row, found in likeness.items() if "same" in found]
    if not values:
        return
    rows = list(dict.fromkeys(value["family"] for value in values))
    y = {"field": "family", "type": "nominal", "title": None, "sort": rows, "axis": {"labelLimit": 220}}
    x = {
        "field": "share",
        "type": "quantitative",
        "title": "translations that are equal",
        "scale": {"zero": False},
        "axis": {"format": ".0%", "tickCount": 8},
    }
    spec = {
        "height": 30 * max(2, len(rows)),
        "encoding": {"y": y, "x": x},
        "layer": [
            {
                "data": {"values": values},
                "mark": {"type": "point", "filled": True, "opacity": 0.9},
                "encoding": {
                    "color": {
                        "field": "decoder",
                        "type": "ordinal",
                        "title": "decoder layers",
                        "legend": {"orient": "top"},
                    }
                },
            },
            {"data": {"values": pairs}, "mark": {"type": "tick", "thickness": 2, "size": 22, "style": "quiet"}},
        ],
    }
    summary = "Share of the test set's translations (beam 5) that are the teacher's, of each student (dots), and equal "
    summary += "in a pair of members, on average over all pairs (strokes)."
    yield plot("likeness", "How alike the members' translations are", summary, spec)


def _students_a_step(families: Sequence[Row]) -> Iterator[Chart]:
    """Quality by the number of students that are drawn in a step, with what the training cost."""
    asked = re.compile(rf"({FAMILY}|students-\d+)(-seed\d+)?")
    chosen = [family for family in families if asked.fullmatch(family["row"]) and _BEAM in family]
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
            "count": family["students_per_step"],
            "bleu": family[_BEAM]["mean"],
            "text": f"{family['cost']['flops'] / 1e12:,.0f} TFLOP",
        }
        for family in chosen
    ]
    spec = {
        "height": 280,
        "encoding": {
            "x": {"field": "count", "type": "ordinal", "title": "students a step", "axis": {"labelAngle": 0}},
            "y": {"field": "bleu", "type": "quantitative", "title": "BLEU (beam 5)", "scale": {"zero": False}},
        },
        "layer": [
            {
                "data": {"values": values},
                "mark": {"type": "line", "point": {"size": 50}},
                "encoding": {
                    "color": {"field": "of", "type": "nominal", "title": None, "legend": {"orient": "top"}},
                    "detail": {"field": "seed"},
                },
            },
            {
                "data": {"values": costs},
                "mark": {"type": "text", "dy": -12},
                "encoding": {"text": {"field": "text"}},
            },
        ],
    }
    summary = "BLEU (beam 5) of a family's mean, worst and largest member by the number of students drawn in a step; "
    summary += "beside it what the training took, in 10¹² operations: " + "; ".join(
        f"{value['count']} a step {value['text']}, mean {value['bleu']:.2f}" for value in costs
    )
    yield plot("students-a-step", "Students a step: quality and cost", f"{summary}.", spec)


def _learning(curves: dict[str, Row]) -> Iterator[Chart]:
    """Greedy validation BLEU of every student, from a trained teacher and from nothing."""
    values = [
        {"run": run, "student": student, "update": update, "bleu": bleu}
        for run, curve in curves.items()
        for student, scores in curve["bleu"].items()
        for update, bleu in zip(curve["updates"], scores, strict=True)
    ]
    if not values:
        return
    x = {"field": "update", "type": "quantitative", "title": "updates", "axis": {"tickCount": 6}}
    y = {"field": "bleu", "type": "quantitative", "title": "greedy validation BLEU"}
    color = {"field": "run", "type": "nominal", "title": None, "legend": {"orient": "top"}}
    usable = [{"bleu": next(iter(curves.values()))["usable_at"]}]
    spec = {
        "height": 300,
        "layer": [
            {
                "data": {"values": values},
                "mark": {"type": "line", "opacity": 0.7, "strokeWidth": 1.5, "point": {"size": 12}},
                "encoding": {
                    "x": x,
                    "y": y,
                    "color": {**color, "sort": [PRETRAINED, FROM_SCRATCH]},
                    "detail": {"field": "student"},
                },
            },
            {
                "data": {"values": usable},
                "mark": {"type": "rule", "strokeDash": [4, 4], "style": "quiet"},
                "encoding": {"y": {"field": "bleu", "type": "quantitative"}},
            },
        ],
    }
    ends = [
        f"{run}: all students usable after {curve['all_usable_after']:,} updates"
        if "all_usable_after" in curve
        else f"{run}: not all students usable within {curve['updates'][-1]:,} updates"
        for run, curve in curves.items()
    ]
    summary = f"Greedy validation BLEU of every student over updates. {'; '.join(ends)} (dashed line)."
    yield plot("pretrained", "From a trained teacher, and from nothing", summary, spec)
