"""Training curves: every candidate's validation, over all stages of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from polystill.reporting.document import Cell, Chart, Table
from polystill.reporting.families import Family
from polystill.students import Student


@dataclass(frozen=True)
class Curves:
    """Validations of the finished stages; updates are counted on from stage to stage."""

    updates: Sequence[int]
    nll: dict[str, Sequence[float]]
    """By student: nats a target token at each of the updates, label smoothing left out."""
    stages: Sequence[tuple[str, int]]
    """Names, and the updates they end at."""

    @property
    def largest(self) -> str:
        return max(self.nll, key=Student.parse)


def read_curves(family: Family) -> Curves | None:
    """From RUN/state.json; None where no stage is finished or none has kept its validations."""
    updates: list[int] = []
    nll: dict[str, list[float]] = {}
    stages: list[tuple[str, int]] = []
    end = 0
    for stage in family.run.recipe.stages:
        record = family.run.record(f"training.{stage.name}")
        if record is None or not record.get("history"):
            break
        for point in record["history"]:
            updates.append(end + point["update"])
            for student, value in point["nll"].items():
                nll.setdefault(student, []).append(value)
        end += record["updates"]
        stages.append((stage.name, end))
    return Curves(updates, dict(nll), stages) if updates else None


def curve_charts(curves: Curves, prefix: str, suffix: str) -> Iterator[Chart]:
    """The curves themselves and, of several students, how far each is from the largest one."""
    last = {student: values[-1] for student, values in curves.nll.items()}
    best = min(last, key=last.__getitem__)
    worst = max(last, key=last.__getitem__)
    span = f"over {curves.updates[-1]:,} updates ({', '.join(name for name, _ in curves.stages)})"
    summary = (
        f"Validation loss of {len(last)} students {span}. At the end it is lowest for {best} ({last[best]:.3f} nats a "
        f"token) and highest for {worst} ({last[worst]:.3f})."
    )
    title = f"Validation loss{suffix}"
    yield Chart(f"{prefix}-loss", title, summary, _spec(curves, "nll", "nats a token"), _table(curves))
    if len(last) > 1:
        gaps = {student: value - last[curves.largest] for student, value in last.items()}
        far = max(gaps, key=gaps.__getitem__)
        summary = (
            f"The same as a difference to the largest student, {curves.largest}; below zero is better than that. At "
            f"the end {far} is farthest behind, by {gaps[far]:.3f} nats a token."
        )
        title = f"Distance to {curves.largest}{suffix}"
        yield Chart(f"{prefix}-distance", title, summary, _spec(curves, "gap", "nats a token"), _distances(curves))


def _spec(curves: Curves, field: str, title: str) -> dict[str, Any]:
    reference = curves.nll[curves.largest]
    values: list[dict[str, Any]] = [
        {
            "update": update,
            "student": student,
            "decoder": Student.parse(student).decoder_layers,
            "nll": round(losses[i], 5),
            "gap": round(losses[i] - reference[i], 5),
        }
        for student, losses in sorted(curves.nll.items(), key=lambda item: Student.parse(item[0]))
        for i, update in enumerate(curves.updates)
    ]
    late = [value[field] for value in values if value["update"] >= curves.updates[len(curves.updates) // 5]]
    low, high = min(late), max(late)  # the first validations are far off and would flatten all that follows
    margin = 0.06 * ((high - low) or 1.0)
    y_scale = {"zero": False, "domain": [low - margin, high + margin], "nice": True}
    hover = {"name": "hover", "select": {"type": "point", "fields": ["student"], "on": "pointerover", "nearest": True}}
    return {
        "height": 300,
        "data": {"values": values},
        "encoding": {
            "x": {"field": "update", "type": "quantitative", "title": "updates", "axis": {"tickCount": 6}},
            "y": {"field": field, "type": "quantitative", "title": title, "scale": y_scale},
        },
        "layer": [
            {
                "data": {"values": [{"end": end, "stage": name} for name, end in curves.stages[:-1]]},
                "mark": {"type": "rule", "strokeDash": [4, 4], "style": "quiet"},
                "encoding": {
                    "x": {"field": "end", "type": "quantitative"},
                    "y": None,
                    "tooltip": [{"field": "stage", "title": "end of stage"}],
                },
            },
            {
                "mark": {"type": "line", "clip": True},
                "encoding": {
                    "color": {
                        "field": "decoder",
                        "type": "ordinal",
                        "title": "decoder layers",
                        "legend": {"orient": "top", "symbolType": "stroke", "symbolStrokeWidth": 4},
                    },
                    "detail": {"field": "student"},
                    "opacity": {"condition": {"param": "hover", "value": 1}, "value": 0.15},
                    "strokeWidth": {"condition": {"param": "hover", "empty": False, "value": 3}, "value": 1.5},
                },
            },
            {
                "params": [hover],
                "mark": {"type": "point", "size": 60, "clip": True, "opacity": 0},
                "encoding": {
                    "tooltip": [
                        {"field": "student"},
                        {"field": "update", "format": ","},
                        {"field": "nll", "title": "nats a token", "format": ".3f"},
                        {"field": "gap", "title": f"distance to {curves.largest}", "format": "+.3f"},
                    ],
                },
            },
        ],
    }


_TABLE_POINTS = 8


def _table(curves: Curves) -> Table:
    places = _spread(len(curves.updates))
    rows: list[list[Cell | str]] = []
    for student, losses in _ordered(curves):
        rows.append([student, *(f"{losses[i]:.3f}" for i in places), f"{min(losses):.3f}"])
    columns = ["student", *(f"{curves.updates[i]:,}" for i in places), "lowest"]
    return Table("Validation loss after so many updates (nats a token)", columns, rows, folded=True)


def _distances(curves: Curves) -> Table:
    places = _spread(len(curves.updates))
    reference = curves.nll[curves.largest]
    rows = [
        [student, *(f"{losses[i] - reference[i]:+.3f}" for i in places)]
        for student, losses in _ordered(curves)
        if student != curves.largest
    ]
    columns = ["student", *(f"{curves.updates[i]:,}" for i in places)]
    return Table(f"Distance to {curves.largest} after so many updates (nats a token)", columns, rows, folded=True)


def _ordered(curves: Curves) -> list[tuple[str, Sequence[float]]]:
    return sorted(curves.nll.items(), key=lambda item: Student.parse(item[0]))


def _spread(length: int) -> list[int]:
    """Places that are spread evenly and end with the last one."""
    count = min(_TABLE_POINTS, length)
    return sorted({length - 1 - (length - 1) * i // max(1, count - 1) for i in range(count)})
