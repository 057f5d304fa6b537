"""Lines over a training's updates, one a student: the part that several charts have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from polystill.reporting.document import Cell, Table
from polystill.students import Student

Spec = dict[str, Any]
_TABLE_POINTS = 8


def by_depth(students: Iterable[str]) -> list[str]:
    return sorted(students, key=Student.parse)


def student_lines(
    values: Sequence[dict[str, Any]],
    field: str,
    title: str,
    tooltip: Sequence[dict[str, str]],
    ends: Sequence[tuple[str, int]] = (),
    level: float | None = None,
) -> Spec:
    """A Vega-Lite chart of `values`, each with `student`, `update` and `field`.

    A line is coloured by its student's decoder layers. The first fifth of the updates may run off the chart: they are
    far off and would flatten all that follows. `ends` are stages and the updates they end at, `level` a value to show.
    """
    last = max(value["update"] for value in values)
    late = [value[field] for value in values if value["update"] >= last / 5] + ([] if level is None else [level])
    margin = 0.06 * ((max(late) - min(late)) or 1.0)
    y_scale = {"zero": False, "domain": [min(late) - margin, max(late) + margin], "nice": True}
    hover = {"name": "hover", "select": {"type": "point", "fields": ["student"], "on": "pointerover", "nearest": True}}
    return {
        "height": 300,
        "data": {"values": [{**v, "decoder": Student.parse(v["student"]).decoder_layers} for v in values]},
        "encoding": {
            "x": {"field": "update", "type": "quantitative", "title": "updates", "axis": {"tickCount": 6}},
            "y": {"field": field, "type": "quantitative", "title": title, "scale": y_scale},
        },
        "layer": [
            *([_level(level)] if level is not None else []),
            *([stage_ends(ends)] if ends else []),
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
                "encoding": {"tooltip": [{"field": "student"}, {"field": "update", "format": ","}, *tooltip]},
            },
        ],
    }


def stage_ends(ends: Sequence[tuple[str, int]]) -> Spec:
    """A layer of dashed lines, at the updates after which stages end."""
    return {
        "data": {"values": [{"end": end, "stage": name} for name, end in ends]},
        "mark": {"type": "rule", "strokeDash": [4, 4], "style": "quiet"},
        "encoding": {
            "x": {"field": "end", "type": "quantitative"},
            "y": None,
            "tooltip": [{"field": "stage", "title": "end of stage"}],
        },
    }


def _level(level: float) -> Spec:
    return {
        "data": {"values": [{"level": level}]},
        "mark": {"type": "rule", "strokeDash": [2, 3], "style": "quiet"},
        "encoding": {"x": None, "y": {"field": "level", "type": "quantitative"}},
    }


def line_table(
    caption: str, updates: Sequence[int], lines: Mapping[str, Sequence[float]], form: str, *, lowest: bool = False
) -> Table:
    """The lines at some updates, spread evenly and ending with the last one; `form` is that of a figure, like `.3f`."""
    count = min(_TABLE_POINTS, len(updates))
    places = sorted({len(updates) - 1 - (len(updates) - 1) * i // max(1, count - 1) for i in range(count)})
    rows: list[list[Cell | str]] = []
    for student in by_depth(lines):
        line = lines[student]
        rows.append([student, *(f"{line[i]:{form}}" for i in places), *([f"{min(line):{form}}"] if lowest else [])])
    columns = ["student", *(f"{updates[i]:,}" for i in places), *(["lowest"] if lowest else [])]
    return Table(caption, columns, rows, folded=True)
