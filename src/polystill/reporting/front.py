"""Quality against what it costs: the chart and the table of points and their Pareto front."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from polystill.evaluation.figures import TITLES, figure, measured
from polystill.reporting.document import Cell, Chart, Table
from polystill.reporting.noise import NOISE, Noise
from polystill.reporting.points import Labels, Point, pareto
from polystill.runs.rows import WITH_SHORTLIST, has_shortlist

PHONE = (240, 260)
"""Width and height in pixels from the first to the last point on a phone, where labels must not cover each other."""
CHARACTER = 7
"""Pixels, of a label."""
PADDING = 16
"""Pixels between points and the edge of a chart."""


def front_chart(points: Sequence[Point], cost: str, name: str, title: str, noise: Noise) -> Chart:
    """`cost` is "size_bytes" or "latency_p50_ms", and every point has it."""
    front, labels = pareto(points, cost), Labels(points)
    best = front[-1]
    smallest = front[0]
    summary = (
        f"BLEU against {_AXES[cost][0]} for {len(points)} models. The Pareto front has {len(front)} of them, from "
        f"{labels.full(smallest)} ({figure(cost, smallest.row)}, BLEU {smallest.bleu:.2f}) to "
        f"{labels.full(best)} ({figure(cost, best.row)}, BLEU {best.bleu:.2f})."
    )
    return Chart(name, title, summary, _spec(points, front, labels, cost), _table(points, front, labels, cost, noise))


_AXES = {"size_bytes": ("size on disk", "size on disk (MB)", 1e-6), "latency_p50_ms": ("latency", "p50 (ms)", 1.0)}


def _spec(points: Sequence[Point], front: Sequence[Point], labels: Labels, cost: str) -> dict[str, Any]:
    _, axis, unit = _AXES[cost]
    costs = [point.row[cost] for point in points]
    is_log = max(costs) > 12 * min(costs)
    named, left = _uncrowded(front, points, lambda point: math.log(point.row[cost]) if is_log else point.row[cost])
    values = [
        {
            "cost": point.row[cost] * unit,
            "bleu": point.bleu,
            "student": point.student,
            "series": labels.series(point),
            "what": figure(cost, point.row),
            "chrf": point.row.get("chrf"),
            "front": any(point is other for other in front),
            **{end: point.row[f"{cost}_{end}"] * unit for end in ("min", "max") if f"{cost}_{end}" in point.row},
            "label": point.student if any(point is other for other in named) else "",
        }
        for point in points
    ]
    x_scale = _left_of_all(min(costs) * unit, max(costs) * unit, left, is_log)
    not_below_zero = {"labelExpr": "datum.value < 0 ? '' : datum.label"}  # where room for names begins before it
    x = {"field": "cost", "type": "quantitative", "title": axis, "scale": x_scale, "axis": not_below_zero}
    y = {"field": "bleu", "type": "quantitative", "title": "BLEU", "scale": {"zero": False, "padding": PADDING}}
    names = {value["series"] for value in values}
    has_series = len(names) > 1
    columns = 2 if max(map(len, names)) < 16 else 1
    series = {"field": "series", "type": "nominal", "title": "run", "legend": {"orient": "top", "columns": columns}}
    tooltip = [
        {"field": "student"},
        *([{"field": "series", "title": "run"}] if has_series else []),
        {"field": "bleu", "title": "BLEU", "format": ".2f"},
        {"field": "chrf", "title": "chrF", "format": ".2f"},
        {"field": "what", "title": TITLES[cost]},
    ]
    on_front = "datum.front"
    return {
        "height": 340,
        "data": {"values": values},
        "encoding": {"x": x, "y": y},
        "layer": [
            {
                "transform": [{"filter": on_front}],
                "mark": {"type": "line", "interpolate": "step-after", "strokeDash": [5, 4], "style": "quiet"},
            },
            *([_SPREAD] if any("min" in value for value in values) else []),
            {
                "mark": {"type": "point", "size": 80, "strokeWidth": 2, "filled": True},
                "encoding": {
                    "opacity": {"condition": {"test": on_front, "value": 1}, "value": 0.4},
                    "size": {"condition": {"test": on_front, "value": 110}, "value": 60},
                    "tooltip": tooltip,
                    **({"color": series, "shape": series} if has_series else {}),
                },
            },
            {
                "transform": [{"filter": "datum.label"}],
                "mark": {"type": "text", "align": "right", "dx": -7, "dy": -8, "fontWeight": 600},
                "encoding": {"text": {"field": "label"}},
            },
        ],
    }


_SPREAD = {
    "transform": [{"filter": "isValid(datum.min)"}],
    "mark": {"type": "rule", "opacity": 0.25, "clip": True, "aria": False},
    "encoding": {"x": {"field": "min", "type": "quantitative"}, "x2": {"field": "max"}},
}
"""From the fastest to the slowest round of measuring."""


def _left_of_all(least: float, most: float, pixels: float, is_log: bool) -> dict[str, Any]:
    """A scale with so many pixels left of the first point, whatever the width of the chart."""
    share = f"{pixels} / (width - {pixels + 2 * PADDING})"
    if is_log:
        scale: dict[str, Any] = {"type": "log", "domainMin": {"expr": f"{least} / pow({most / least}, {share})"}}
    else:
        scale = {"zero": False, "domainMin": {"expr": f"{least} - {most - least or most} * {share}"}}
    return {**scale, "domainMax": most, "padding": PADDING, "nice": False}


def _uncrowded(
    front: Sequence[Point], points: Sequence[Point], place: Callable[[Point], float]
) -> tuple[list[Point], float]:
    """Points of the front whose labels, left of them, do not cover each other even on a phone; the ends have theirs
    first. And the pixels that the labels need left of all points."""
    places, heights = [place(point) for point in points], [point.bleu for point in points]
    across, along = (max(places) - min(places)) or 1.0, (max(heights) - min(heights)) or 1.0
    kept: list[tuple[Point, float, float]] = []
    for point in [front[-1], front[0], *reversed(front[1:-1])]:
        right, y = PHONE[0] * place(point) / across, PHONE[1] * point.bleu / along
        if all(
            right < other_right - _width(other) or other_right < right - _width(point) or abs(y - other_y) > 16
            for other, other_right, other_y in kept
        ):
            kept.append((point, right, y))
    first = PHONE[0] * min(places) / across
    return [point for point, _, _ in kept], max(_width(point) - (right - first) for point, right, _ in kept)


def _width(point: Point) -> int:
    return CHARACTER * (len(point.student) + 1)


# --- the table ----------------------------------------------------------------------------------------------------

_COLUMNS = ("chrf", "latency_p50_ms", "latency_p95_ms", "peak_memory_bytes", "words_per_second", "size_bytes")


def _table(points: Sequence[Point], front: Sequence[Point], labels: Labels, cost: str, noise: Noise) -> Table:
    has_series = any(labels.series(point) for point in points)
    first = [cost, "bleu"]
    rest = [name for name in measured(_COLUMNS, [point.row for point in points]) if name != cost]
    rows: list[list[Cell | str]] = []
    for point in sorted(points, key=lambda p: p.row[cost]):
        place = next((i for i, other in enumerate(front) if other is point), None)
        step = _step(front, place, noise) if place is not None else Cell("")
        rows.append(
            [
                Cell(point.student, "best" if place is not None else ""),
                *([labels.series(point)] if has_series else []),
                *(figure(name, point.row) for name in first),
                step,
                *(figure(name, point.row) for name in rest),
            ]
        )
    titles = [*(TITLES[name] for name in first), "step", *(TITLES[name] for name in rest)]
    columns = ["student", *(["run"] if has_series else []), *titles]
    note = f"Bold: on the Pareto front. Step: BLEU above the next cheaper point of the front; ≈ means {NOISE}."
    if any(f"{cost}_min" in point.row for point in points):
        note += " Lines through points: from the fastest to the slowest round of measuring."
    if any(has_shortlist(point.row) for point in points):
        note += f" {WITH_SHORTLIST}: exported with a shortlist of output pieces."
    return Table("Figures of the chart", columns, rows, words=1 + has_series, note=note, folded=len(rows) > 20)


def _step(front: Sequence[Point], place: int, noise: Noise) -> Cell:
    if place == 0:
        return Cell("first")
    point, before = front[place], front[place - 1]
    text = f"+{point.bleu - before.bleu:.2f}"
    return Cell(f"≈ {text}", "noise") if noise.is_noise(point, before) else Cell(text)
