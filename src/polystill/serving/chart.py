"""Quality against size, as a small SVG whose colours come from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT = 420, 300
LEFT, RIGHT, TOP, BOTTOM = 46, 34, 28, 44
_LABEL_HEIGHT, _LABEL_WIDTH = 12, 32


class Point(NamedTuple):
    """One model: size in MB and BLEU."""

    name: str
    size: float
    bleu: float


def quality_chart(points: Sequence[Point], test_set: str) -> str:
    """The chart, or nothing where there are no points. The line joins the models that none smaller is as good as."""
    if not points:
        return ""
    points = sorted(points, key=lambda p: (p.size, -p.bleu))
    xs, ys = _ticks([p.size for p in points]), _ticks([p.bleu for p in points])

    def x(size: float) -> float:
        return round(LEFT + (size - xs[0]) / (xs[-1] - xs[0]) * (WIDTH - LEFT - RIGHT), 1)

    def y(bleu: float) -> float:
        return round(HEIGHT - BOTTOM - (bleu - ys[0]) / (ys[-1] - ys[0]) * (HEIGHT - TOP - BOTTOM), 1)

    front = [p for i, p in enumerate(points) if all(p.bleu > other.bleu for other in points[:i])]
    words = "; ".join(f"{p.name}: {p.size:.1f} MB, {p.bleu:.1f} BLEU" for p in points)
    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="chart-title chart-words">',
        f'<title id="chart-title">BLEU on {escape(test_set)} against size</title>',
        f'<desc id="chart-words">{escape(words)}</desc>',
        *(_line("grid", x(xs[0]), y(tick), x(xs[-1]), y(tick)) for tick in ys),
        *(_text("tick end", LEFT - 6, y(tick) + 4, f"{tick:g}") for tick in ys),
        *(_text("tick middle", x(tick), HEIGHT - BOTTOM + 17, f"{tick:g}") for tick in xs),
        _text("axis middle", (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, "size on disk, MB"),
        _text("axis", 4, 12, "BLEU"),
        f'<polyline class="front" points="{" ".join(f"{x(p.size)},{y(p.bleu)}" for p in front)}"/>',
        *(f'<circle data-model="{escape(p.name)}" cx="{x(p.size)}" cy="{y(p.bleu)}" r="5"/>' for p in points),
    ]
    taken: list[tuple[float, float]] = []
    for p in sorted(points, key=lambda p: p not in front):  # those on the line get their label first
        if place := _free_place(x(p.size), y(p.bleu), taken):
            taken.append(place)
            parts.append(_text("name", *place, p.name))
    return "\n".join([*parts, "</svg>"])


def _ticks(values: Sequence[float]) -> list[float]:
    """Four to seven round numbers around the values."""
    low, high = min(values), max(values)
    span = max(high - low, 0.1 * abs(high), 0.1)
    step = 10.0 ** math.floor(math.log10(span / 2))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= 5)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(i * step, 6) for i in range(first, max(last, first + 2) + 1)]


def _free_place(x: float, y: float, taken: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """Where a label beside the point hides no other one: above, below, right or left of it."""
    for place in ((x - 14, y - 9), (x - 14, y + 18), (x + 8, y + 4), (x - 38, y + 4)):
        is_free = all(abs(place[0] - a) >= _LABEL_WIDTH or abs(place[1] - b) >= _LABEL_HEIGHT for a, b in taken)
        if is_free and 0 <= place[0] <= WIDTH - _LABEL_WIDTH and place[1] > TOP:
            return place
    return None


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>'


def _text(kind: str, x: float, y: float, text: str) -> str:
    return f'<text class="{kind}" x="{round(x, 1)}" y="{round(y, 1)}">{escape(text)}</text>'
