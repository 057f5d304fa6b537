"""Charts as PNG and SVG: rendered by vl-convert, which needs neither a browser nor a network."""

from __future__ import annotations

from pathlib import Path

from polystill.reporting.document import Chart, Report
from polystill.reporting.theme import VEGA_LITE, config
from polystill.storage import atomic_folder, need_new_folder

WIDTH = 720
"""Pixels of a chart's inside; a PNG has twice as many."""
FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
"""The first is part of vl-convert."""


def write_static(report: Report, folder: Path) -> list[Path]:
    """Write NAME.png and NAME.svg of every chart into a new folder.

    Raises:
        UserError: the folder holds something, or cannot be written.
    """
    need_new_folder(folder)
    names = []
    with atomic_folder(folder) as temporary:
        for chart in report.charts:
            svg, png = drawn(chart)
            (temporary / f"{chart.name}.svg").write_text(svg, encoding="utf-8")
            (temporary / f"{chart.name}.png").write_bytes(png)
            names += [f"{chart.name}.png", f"{chart.name}.svg"]
    return [folder / name for name in names]


def drawn(chart: Chart) -> tuple[str, bytes]:
    """A chart as SVG and as PNG."""
    import vl_convert

    spec = complete(chart)
    svg = vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE)
    return svg, vl_convert.vegalite_to_png(spec, vl_version=VEGA_LITE, scale=2)


def complete(chart: Chart) -> dict[str, object]:
    """A chart's specification with all that a picture needs: title, width, light colours."""
    own = chart.spec.get("config", {})
    theme = config(font=FONT)
    merged = {key: {**theme.get(key, {}), **own[key]} if key in own else theme[key] for key in theme}
    return {
        "title": {"text": chart.title, "anchor": "start", "fontSize": 15},
        "description": chart.summary,
        "width": WIDTH,
        **chart.spec,
        "config": {**merged, "background": "#ffffff"},
        "padding": 16,
    }
