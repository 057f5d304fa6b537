"""Quality in charts: against size and latency with the Pareto front, by depth, and with greedy and beam search."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from polystill.decoding import ENGINES
from polystill.evaluation.figures import TITLES, figure, search
from polystill.reporting.document import (
    NO_GRID,
    Cell,
    Chart,
    Gap,
    Part,
    Spec,
    Table,
    category,
    heat_map,
    layer,
    quantity,
    steps,
    tip,
)
from polystill.reporting.families import NOISE, Family, Labels, Noise, Point, figure_columns, pareto, title_end
from polystill.runs.results import WITH_SHORTLIST, QualityRow
from polystill.students import Student

_BLEU = tip("bleu", "BLEU", ".2f")

# --- against size and latency ---------------------------------------------------------------------------------------


def size_parts(points: Sequence[Point], noise: Noise) -> Iterator[Part]:
    """`points` were all measured with one beam size."""
    if points:
        title = f"BLEU ({search(points[0].row.beam)}) and size"
        yield front_chart(points, "size_bytes", "size", title, noise)


def latency_parts(families: Sequence[Family], noise: Noise) -> Iterator[Part]:
    points = [Point(f, row) for f in families for row in f.rows if row.latency_p50_ms is not None]
    if points:
        yield front_chart(points, "latency_p50_ms", "latency", "BLEU and latency, one sentence at a time", noise)
    for family in families:
        if any(point.family is family for point in points):
            continue
        no = f"{family.name}: no" if len(families) > 1 else "No"
        architecture, engine = family.run.recipe.model.architecture, ENGINES["ctranslate2"]
        if architecture not in engine.architectures:
            yield Gap(f"{no} latency: it is measured with {engine.title}, which has no {architecture.upper()}.")
        else:
            command = f"polystill evaluate {family.run.folder} --engine ctranslate2 --precision int8 --beam 1"
            yield Gap(f"{no} latency was measured.", command)


_AXES = {"size_bytes": ("size on disk", "size on disk (MB)", 1e-6), "latency_p50_ms": ("latency", "p50 (ms)", 1.0)}
_PHONE = (240, 260)
"""Width and height in pixels from the first to the last point on a phone, where labels must not cover each other."""
_CHARACTER, _PADDING = 7, 16
"""Pixels of a label's character, and between points and the edge of a chart."""


def front_chart(points: Sequence[Point], cost: str, name: str, title: str, noise: Noise) -> Chart:
    """BLEU against `cost`, "size_bytes" or "latency_p50_ms", which every point has."""
    front, labels = pareto(points, cost), Labels(points)
    ends = [f"{labels.full(p)} ({figure(cost, p.row)}, BLEU {p.bleu:.2f})" for p in (front[0], front[-1])]
    summary = (
        f"BLEU against {_AXES[cost][0]} for {len(points)} models. The Pareto front has {len(front)} of them, from "
        f"{ends[0]} to {ends[1]}."
    )
    spec = _front_spec(points, front, labels, cost)
    return Chart(name, title, summary, spec, _front_table(points, front, labels, cost, noise))


def _front_spec(points: Sequence[Point], front: Sequence[Point], labels: Labels, cost: str) -> Spec:
    _, axis, unit = _AXES[cost]
    costs = [point.cost(cost) for point in points]
    is_log = max(costs) > 12 * min(costs)
    labelled, left = _labelled(front, points, lambda p: math.log(p.cost(cost)) if is_log else p.cost(cost))
    values = [_front_value(point, front, labelled, labels, cost) for point in points]
    x_scale = _scale_with_room(min(costs) * unit, max(costs) * unit, left, is_log)
    not_below_zero = {"labelExpr": "datum.value < 0 ? '' : datum.label"}  # the room for labels may begin below zero
    names = {value["series"] for value in values}
    has_series = len(names) > 1
    legend = {"orient": "top", "columns": 2 if max(map(len, names)) < 16 else 1}
    series = category("series", title="run", legend=legend)
    look: Spec = {"color": series, "shape": series} if has_series else {}
    label = {"type": "text", "align": "right", "dx": -7, "dy": -8, "fontWeight": 600}
    tooltip = [
        *(tip("student"), *([tip("series", "run")] if has_series else [])),
        *(_BLEU, tip("chrf", "chrF", ".2f"), tip("what", TITLES[cost])),
    ]
    return {
        "height": 340,
        "data": {"values": values},
        "encoding": {
            "x": quantity("cost", title=axis, scale=x_scale, axis=not_below_zero),
            "y": quantity("bleu", title="BLEU", scale={"zero": False, "padding": _PADDING}),
        },
        "layer": [
            layer(
                {"type": "line", "interpolate": "step-after", "strokeDash": [5, 4], "style": "quiet"},
                where="datum.front",
            ),
            *([_SPREAD] if any("min" in value for value in values) else []),
            layer(
                {"type": "point", "size": 80, "strokeWidth": 2, "filled": True},
                opacity={"condition": {"test": "datum.front", "value": 1}, "value": 0.4},
                size={"condition": {"test": "datum.front", "value": 110}, "value": 60},
                tooltip=tooltip,
                **look,
            ),
            layer(label, where="datum.label", text={"field": "label"}),
        ],
    }


_RULE = {"type": "rule", "opacity": 0.25, "clip": True, "aria": False}
_SPREAD = layer(_RULE, where="isValid(datum.min)", x=quantity("min"), x2={"field": "max"})
"""A line through a point, from its fastest to its slowest round of measuring."""


def _front_value(point: Point, front: Sequence[Point], labelled: Sequence[Point], labels: Labels, cost: str) -> Spec:
    row, unit = point.row, _AXES[cost][2]
    spread = {end: getattr(row, f"{cost}_{end}", None) for end in ("min", "max")}
    return {
        "cost": point.cost(cost) * unit,
        "bleu": point.bleu,
        "student": row.label,
        "series": labels.series(point),
        "what": figure(cost, row),
        "chrf": row.chrf,
        "front": any(point is other for other in front),
        **{end: value * unit for end, value in spread.items() if value is not None},
        "label": row.label if any(point is other for other in labelled) else "",
    }


def _scale_with_room(least: float, most: float, pixels: float, is_log: bool) -> Spec:
    """A scale that leaves so many pixels left of the first point, whatever the width of the chart."""
    share = f"{pixels} / (width - {pixels + 2 * _PADDING})"
    if is_log:
        scale: Spec = {"type": "log", "domainMin": {"expr": f"{least} / pow({most / least}, {share})"}}
    else:
        scale = {"zero": False, "domainMin": {"expr": f"{least} - {most - least or most} * {share}"}}
    return {**scale, "domainMax": most, "padding": _PADDING, "nice": False}


def _labelled(
    front: Sequence[Point], points: Sequence[Point], position: Callable[[Point], float]
) -> tuple[list[Point], float]:
    """Choose points of the front whose labels, left of them, do not cover each other even on a phone; both ends first.

    Also returns the pixels that the labels need left of all points.
    """
    positions, heights = [position(point) for point in points], [point.bleu for point in points]
    across, along = (max(positions) - min(positions)) or 1.0, (max(heights) - min(heights)) or 1.0
    kept: list[tuple[Point, float, float, float]] = []
    for point in [front[-1], front[0], *reversed(front[1:-1])]:
        right, y = _PHONE[0] * position(point) / across, _PHONE[1] * point.bleu / along
        left = right - _CHARACTER * (len(point.row.label) + 1)
        if all(right < its_left or its_right < left or abs(y - its_y) > 16 for _, its_left, its_right, its_y in kept):
            kept.append((point, left, right, y))
    first = _PHONE[0] * min(positions) / across
    return [point for point, *_ in kept], max(first - left for _, left, _, _ in kept)


_COLUMNS = ("chrf", "latency_p50_ms", "latency_p95_ms", "peak_memory_bytes", "words_per_second", "size_bytes")


def _front_table(points: Sequence[Point], front: Sequence[Point], labels: Labels, cost: str, noise: Noise) -> Table:
    points = sorted(points, key=lambda p: p.cost(cost))
    rows, series = [point.row for point in points], [labels.series(point) for point in points]
    steps: dict[int, Cell] = {id(front[0]): Cell("first")}
    for before, point in pairwise(front):
        steps[id(point)] = _difference(f"+{point.bleu - before.bleu:.2f}", noise.is_noise(point, before))
    columns: dict[str, Sequence[Cell | str]] = {
        "student": [Cell(point.row.label, "best" if id(point) in steps else "") for point in points],
        **({"run": series} if any(series) else {}),
        **figure_columns([cost, "bleu"], rows),
        "step": [steps.get(id(point), "") for point in points],
        **figure_columns([name for name in _COLUMNS if name != cost], rows),
    }
    note = f"Bold: on the Pareto front. Step: BLEU above the next cheaper point of the front; ≈ means {NOISE}."
    if any(getattr(row, f"{cost}_min", None) is not None for row in rows):
        note += " Lines through points: from the fastest to the slowest round of measuring."
    if any(row.shortlist for row in rows):
        note += f" {WITH_SHORTLIST}: exported with a shortlist of output pieces."
    more: dict[str, Any] = {"words": 1 + any(series), "note": note, "folded": len(rows) > 20}
    return Table.of_columns("Figures of the chart", columns, **more)


def _difference(text: str, is_noise: bool) -> Cell:
    return Cell(f"≈ {text}", "noise") if is_noise else Cell(text)


# --- by depth -------------------------------------------------------------------------------------------------------


def depth_parts(families: Sequence[Family], beam: int | None, noise: Noise) -> Iterator[Part]:
    for number, family in enumerate(families, 1):
        points = [Point(family, row) for row in family.as_recipe(beam)] if beam else []
        if family.rows and not points:
            what = f"{family.name}: nothing is measured in the recipe's own engine, precision and length penalty."
            yield Gap(what, f"polystill evaluate {family.run.folder}")
        by_supernet: dict[str, list[Point]] = {}
        for point in points:
            by_supernet.setdefault(Student.parse(point.row.model).supernet, []).append(point)
        for supernet, members in by_supernet.items():
            if len(members) > 1:
                of = f" of {supernet}" * bool(supernet)
                title = f"BLEU by encoder and decoder layers{of}{title_end(family, families)}"
                yield _depth_chart(members, "-".join(filter(None, (f"depth-{number}", supernet))), title, noise)


def _depth_chart(points: Sequence[Point], name: str, title: str, noise: Noise) -> Chart:
    """A heat map of one supernet's students, all measured in one way."""
    best, worst = (choose(points, key=lambda point: point.bleu) for choose in (max, min))
    others = [point for point in points if point is not best]
    tested = noise.tested(best, others)
    equals = {others[i].row.model for i, is_noise in tested.items() if is_noise}
    summary = (
        f"BLEU of {len(points)} students by encoder and decoder layers, from {worst.bleu:.2f} ({worst.row.model}) "
        f"to {best.bleu:.2f} ({best.row.model})."
    )
    if tested:
        summary += f" From the best one, {len(equals)} of the {len(others)} others differ by noise only."
    rows = [point.row for point in points]
    return Chart(name, title, summary, _depth_spec(rows, equals), _depth_table(rows, best.row, equals, bool(tested)))


def _depth_spec(rows: Sequence[QualityRow], equals: set[str]) -> Spec:
    values: list[Spec] = []
    for row in rows:
        student, text = Student.parse(row.model), f"{'≈ ' if row.model in equals else ''}{row.bleu:.1f}"
        depths = {"encoder": student.encoder_layers, "decoder": student.decoder_layers}
        values.append({**depths, "bleu": row.bleu, "text": text, "student": row.model})
    scores = [row.bleu for row in rows]
    middle = min(scores) + 0.6 * (max(scores) - min(scores))
    return {
        "height": 46 * max(2, len({value["encoder"] for value in values})),
        "data": {"values": values},
        "encoding": {
            "x": steps("decoder", title="decoder layers", axis={"labelAngle": 0}),
            "y": steps("encoder", title="encoder layers", sort="descending"),
        },
        "layer": heat_map("bleu", {"field": "text"}, middle, [tip("student"), _BLEU], {"fontWeight": 600}),
        "config": NO_GRID,
    }


def _depth_table(rows: Sequence[QualityRow], best: QualityRow, equals: set[str], tested: bool) -> Table:
    cells = {Student.parse(row.model): _difference(f"{row.bleu:.2f}", row.model in equals) for row in rows}
    cells[Student.parse(best.model)] = Cell(f"{best.bleu:.2f}", "best")
    encoders = sorted({student.encoder_layers for student in cells}, reverse=True)
    columns: dict[str, Sequence[Cell | str]] = {"": [f"{encoder} enc." for encoder in encoders]}
    for decoder in sorted({student.decoder_layers for student in cells}):
        supernet = Student.parse(best.model).supernet
        columns[f"{decoder} dec."] = [cells.get(Student(encoder, decoder, supernet), "") for encoder in encoders]
    note = f"Bold: the best. ≈: its difference from the best is {NOISE}." if tested else "Bold: the best."
    return Table.of_columns("BLEU by depth", columns, note=note)


# --- greedy and beam search -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Pair:
    """One student with both searches."""

    family: Family
    greedy: QualityRow
    beam: QualityRow

    @property
    def gain(self) -> float:
        return self.beam.bleu - self.greedy.bleu


def search_parts(families: Sequence[Family], noise: Noise) -> Iterator[Part]:
    every: list[_Pair] = []
    for number, family in enumerate(families, 1):
        pairs = _pairs(family)
        every += pairs
        if pairs:
            title = f"What a beam adds to each student{title_end(family, families)}"
            yield _gain_chart(pairs, f"search-{number}", title, noise)
        elif family.rows:
            command = f"polystill evaluate {family.run.folder} --beam 1 --beam 5"
            yield Gap(f"{family.name}: greedy and beam search were not both measured.", command)
    with_mode = [pair for pair in every if pair.beam.p_mode is not None]
    if len(with_mode) > 1:
        yield _mode_chart(with_mode)
    for family in families:
        if family.rows and all(row.p_mode is None for row in family.rows):
            yield Gap(f"{family.name}: p(mode) was not measured.", f"polystill evaluate {family.run.folder} --force")


def _pairs(family: Family) -> list[_Pair]:
    """Each student of a run in the recipe's own engine, greedy and with the largest beam. Empty without both."""
    if len(family.beams) < 2 or family.beams[0] != 1:
        return []
    with_beam = {row.model: row for row in family.as_recipe(family.beams[-1])}
    return [_Pair(family, row, with_beam[row.model]) for row in family.as_recipe(1) if row.model in with_beam]


def _gain_chart(pairs: Sequence[_Pair], name: str, title: str, noise: Noise) -> Chart:
    """BLEU of both searches, a line for each student of one family."""
    beam = search(pairs[0].beam.beam)
    gains = [pair.gain for pair in pairs]
    summary = (
        f"BLEU by greedy search and with {beam} for {len(pairs)} students. The beam adds from {min(gains):+.2f} to "
        f"{max(gains):+.2f} BLEU, {sum(gains) / len(gains):+.2f} on average."
    )
    return Chart(name, title, summary, _gain_spec(pairs, beam), _gain_table(pairs, beam, noise))


def _gain_spec(pairs: Sequence[_Pair], beam: str) -> Spec:
    values = [
        {"student": pair.greedy.model, "low": pair.greedy.bleu, "high": pair.beam.bleu, "gain": pair.gain}
        for pair in pairs
    ]
    ends = [
        {"student": row.model, "bleu": row.bleu, "search": name}
        for pair in pairs
        for row, name in ((pair.greedy, "greedy"), (pair.beam, beam))
    ]
    series = category("search", scale={"domain": ["greedy", beam]}, legend={"orient": "top"})
    y = category("student", sort=[value["student"] for value in reversed(values)], title=None)
    low, bleu = quantity("low"), quantity("bleu", title="BLEU", scale={"zero": False})
    point = {"type": "point", "filled": True, "size": 90, "opacity": 1}
    return {
        "height": 22 * len(values),
        "layer": [
            layer({"type": "rule", "strokeWidth": 2, "style": "quiet"}, values, y=y, x=low, x2={"field": "high"}),
            layer(point, ends, y=y, x=bleu, color=series, shape=series, tooltip=[tip("student"), tip("search"), _BLEU]),
        ],
    }


def _gain_table(pairs: Sequence[_Pair], beam: str, noise: Noise) -> Table:
    is_noise = [noise.is_noise(Point(pair.family, pair.greedy), Point(pair.family, pair.beam)) for pair in pairs]
    searches = {"greedy": [pair.greedy for pair in pairs], beam: [pair.beam for pair in pairs]}
    columns: dict[str, Sequence[Cell | str]] = {"student": [pair.greedy.model for pair in pairs]}
    columns |= {name: [figure("bleu", row) for row in rows] for name, rows in searches.items()}
    columns["gain"] = [_difference(f"{pair.gain:+.2f}", luck) for pair, luck in zip(pairs, is_noise, strict=True)]
    if any(pair.greedy.p_mode is not None for pair in pairs):
        columns |= {f"p(mode) {name}": [figure("p_mode", row) for row in rows] for name, rows in searches.items()}
    return Table.of_columns("BLEU by search", columns, note=f"≈: the gain is {NOISE}.", folded=len(pairs) > 20)


def _mode_chart(pairs: Sequence[_Pair]) -> Chart:
    """The gain by beam search against p(mode), all families in one chart."""
    highest = max(pairs, key=lambda pair: pair.beam.p_mode or 0)
    summary = (
        f"What beam search adds in BLEU against p(mode) for {len(pairs)} students. p(mode) is highest for "
        f"{highest.beam.model} ({figure('p_mode', highest.beam)}), where the beam adds {highest.gain:+.2f}."
    )
    values: list[Spec] = [
        {"p": 100 * (pair.beam.p_mode or 0), "gain": pair.gain, "student": pair.beam.model, "run": pair.family.name}
        for pair in pairs
    ]
    scale = {"zero": False, "padding": 14}
    color = category("run", legend={"orient": "top", "title": None, "columns": 2})
    spec = {
        "height": 280,
        "data": {"values": values},
        "mark": {"type": "point", "filled": True, "size": 90, "opacity": 0.9},
        "encoding": {
            "x": quantity("p", title="p(mode) (%)", scale=scale),
            "y": quantity("gain", title="BLEU that the beam adds", scale=scale),
            "tooltip": [tip("student"), tip("run"), tip("p", "p(mode) %", ".2f"), tip("gain", "BLEU gained", "+.2f")],
            **({"color": color} if len({pair.family.name for pair in pairs}) > 1 else {}),
        },
    }
    lines = [[pair.beam.model, pair.family.name, figure("p_mode", pair.beam), f"{pair.gain:+.2f}"] for pair in pairs]
    table = Table("Gain and p(mode)", ["student", "run", "p(mode)", "gain in BLEU"], lines, words=2, folded=True)
    return Chart("p-mode", "What a beam adds, against p(mode)", summary, spec, table)
