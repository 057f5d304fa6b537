"""Colours and fonts of charts, for light and dark pages: Vega-Lite configurations."""

from __future__ import annotations

from typing import Any

VEGA_LITE = "6.4"
"""The version that draws charts, in the page and in pictures; vl-convert holds several."""
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', Arial, sans-serif"
# Colours that people with any kind of colour vision tell apart: Okabe and Ito (2008), lightened for the dark page.
_LIGHT = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9", "#7a4fbf", "#555555"]
_DARK = ["#56b4e9", "#ff9d4d", "#3fd0a4", "#f0a3cb", "#f0e442", "#9ecbff", "#b79cff", "#c0c0c0"]


def config(*, dark: bool = False, font: str = FONT) -> dict[str, Any]:
    """A chart's `config`; its background is the page's."""
    ink, quiet, grid, page = ("#e8e6e3", "#a8a8b0", "#33353d", "#17181c") if dark else _LIGHT_INKS
    text = {"labelColor": ink, "titleColor": ink, "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal"}
    first = (_DARK if dark else _LIGHT)[0]
    return {
        "background": None,
        "font": font,
        "view": {"stroke": None},
        "axis": {**text, "gridColor": grid, "domainColor": quiet, "tickColor": quiet, "labelOverlap": True},
        "axisX": {"labelBound": True},
        "legend": {**text, "symbolSize": 90, "labelLimit": 260},
        "mark": {"color": first},
        "point": {"color": first},
        "bar": {"color": first},
        "text": {"color": ink, "fontSize": 12},
        "style": {"quiet": {"color": quiet}, "segment": {"stroke": page, "strokeWidth": 1}},
        "range": {
            "category": _DARK if dark else _LIGHT,
            # The ends of viridis that would vanish in the page are left out.
            "ordinal": {"scheme": "viridis", "extent": [0.3, 1.0] if dark else [0.0, 0.85]},
        },
    }


_LIGHT_INKS = ("#1c1d21", "#6a6d76", "#e4e4e8", "#ffffff")
