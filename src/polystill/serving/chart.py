"""Quality against size, as a small SVG whose colours come from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT = 420, 300
LEFT, RIGHT, TOP, BOTTOM = 46, 34, 28, 44
_LABEL_HEIGHT, _LABEL_WIDTH = 11, 30


class Point(NamedTuple):
    """One model: size in MB and BLEU."""

    name: str
    size: float
    bleu: float


class Box(NamedTuple):
    """What is drawn somewhere."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box) -> bool:
        beside = self.right <= other.left or other.right <= self.left
        return not (beside or self.bottom <= other.top or other.bottom <= self.top)


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
        *(_circle(p.name, x(p.size), y(p.bleu)) for p in points),
    ]
    taken = [Box(x(p.size) - 6, y(p.bleu) - 6, x(p.size) + 6, y(p.bleu) + 6) for p in points]
    for p in sorted(points, key=lambda p: p not in front):  # those on the line get their label first
        if place := _free_place(x(p.size), y(p.bleu), taken):
            taken.append(place)
            parts.append(_text("name", place.left, place.bottom - 2, p.name))
    return "\n".join([*parts, "</svg>"])


def _ticks(values: Sequence[float]) -> list[float]:
    """Four to seven round numbers around the values."""
    low, high = min(values), max(values)
    span = max(high - low, 0.1 * abs(high), 0.1)
    step = 10.0 ** math.floor(math.log10(span / 2))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= 5)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(i * step, 6) for i in range(first, max(last, first + 2) + 1)]


def _free_place(x: float, y: float, taken: Sequence[Box]) -> Box | None:
    """Where a label beside the point hides nothing: above, below, right or left of it, or nowhere."""
    for left, bottom in ((x - 14, y - 7), (x - 14, y + 20), (x + 8, y + 6), (x - 38, y + 6)):
        place = Box(left, bottom - _LABEL_HEIGHT, left + _LABEL_WIDTH, bottom)
        if not any(place.overlaps(other) for other in taken) and left >= 0 and place.right <= WIDTH and place.top > 0:
            return place
    return None


def _circle(name: str, x: float, y: float) -> str:
    name = escape(name)
    return f'<circle data-model="{name}" cx="{x}" cy="{y}" r="5"><title>{name}</title></circle>'


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>'


def _text(kind: str, x: float, y: float, text: str) -> str:
    return f'<text class="{kind}" x="{round(x, 1)}" y="{round(y, 1)}">{escape(text)}</text>'
