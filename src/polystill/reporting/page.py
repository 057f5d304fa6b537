"""Three ways to write a report: one HTML page that needs nothing beside it, pictures of its charts, and Markdown."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from importlib.resources import files
from pathlib import Path

from polystill import __version__
from polystill.progress import Progress
from polystill.reporting.document import Cell, Chart, Gap, Part, Report, Spec, Table
from polystill.storage import atomic_folder, need_new_folder

VEGA_LITE = "6.4"
"""The version that draws charts, in the page and in pictures; vl-convert holds several."""

# --- HTML -----------------------------------------------------------------------------------------------------------


def to_html(report: Report) -> str:
    """The page. All text of users (names, translations, recipes) is escaped."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(autoescape=True, undefined=StrictUndefined)
    template = environment.from_string(_file("page.html.jinja"))
    return template.render(
        report=report,
        version=__version__,
        date=time.strftime("%Y-%m-%d"),
        charts=[{"name": c.name, "description": c.summary, "spec": c.spec} for c in report.charts],
        themes={"light": _theme(), "dark": _theme(dark=True)},
        style=Markup(_file("page.css")),
        script=Markup(_file("page.js")),
        library=Markup(_library()),
    )


@cache
def _library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script of 0.9 MB, which vl-convert contains."""
    import vl_convert

    script: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", VEGA_LITE)
    assert "</script" not in script.lower()
    return script


def _file(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


# --- colours and fonts ----------------------------------------------------------------------------------------------

_PAGE_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', Arial, sans-serif"
_PICTURE_FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
"""vl-convert contains the first one."""
# Colours that people with any kind of colour vision tell apart: Okabe and Ito (2008), lightened for the dark page.
_LIGHT = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9", "#7a4fbf", "#555555"]
_DARK = ["#56b4e9", "#ff9d4d", "#3fd0a4", "#f0a3cb", "#f0e442", "#9ecbff", "#b79cff", "#c0c0c0"]
_LIGHT_INKS = ("#1c1d21", "#6a6d76", "#e4e4e8", "#ffffff")
_DARK_INKS = ("#e8e6e3", "#a8a8b0", "#33353d", "#17181c")


def _theme(*, dark: bool = False, font: str = _PAGE_FONT) -> Spec:
    """The `config` of every chart. The background stays transparent."""
    ink, quiet, grid, page = _DARK_INKS if dark else _LIGHT_INKS
    colours = _DARK if dark else _LIGHT
    text = {"labelColor": ink, "titleColor": ink, "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal"}
    return {
        "background": None,
        "font": font,
        "view": {"stroke": None},
        "axis": {**text, "gridColor": grid, "domainColor": quiet, "tickColor": quiet, "labelOverlap": True},
        "axisX": {"labelBound": True},
        "legend": {**text, "symbolSize": 90, "labelLimit": 260},
        **{mark: {"color": colours[0]} for mark in ("mark", "point", "bar")},
        "text": {"color": ink, "fontSize": 12},
        "style": {"quiet": {"color": quiet}, "segment": {"stroke": page, "strokeWidth": 1}},
        "range": {
            "category": colours,
            # Without the end of viridis that is hard to see on the page.
            "ordinal": {"scheme": "viridis", "extent": [0.3, 1.0] if dark else [0.0, 0.85]},
        },
    }


# --- pictures -------------------------------------------------------------------------------------------------------

_WIDTH = 720
"""Pixels of a chart without its axes. A PNG has twice as many."""


def write_static(report: Report, folder: Path) -> None:
    """Write NAME.png and NAME.svg of every chart into a new folder.

    Raises:
        UserError: the folder is not empty, or cannot be written.
    """
    need_new_folder(folder)
    progress = Progress("drawing", "picture", len(report.charts))
    with closing(progress), atomic_folder(folder) as temporary:
        for chart in report.charts:
            progress.add(0, chart.name)
            svg, png = drawn(chart)
            (temporary / f"{chart.name}.svg").write_text(svg, encoding="utf-8")
            (temporary / f"{chart.name}.png").write_bytes(png)
            progress.add()


def drawn(chart: Chart) -> tuple[str, bytes]:
    """Draw a chart as SVG and as PNG. vl-convert needs neither a browser nor a network for it."""
    import vl_convert

    theme, changes = _theme(font=_PICTURE_FONT), chart.spec.get("config", {})
    spec = {
        "title": {"text": chart.title, "anchor": "start", "fontSize": 15},
        "description": chart.summary,
        "width": _WIDTH,
        **chart.spec,
        "config": {**theme, **{k: {**theme.get(k, {}), **v} for k, v in changes.items()}, "background": "#ffffff"},
        "padding": 16,
    }
    svg = vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE)
    return svg, vl_convert.vegalite_to_png(spec, vl_version=VEGA_LITE, scale=2)


# --- Markdown -------------------------------------------------------------------------------------------------------

_LEFT_OUT = ("figures", "samples")
"""Sections that are too long for a model card."""


def to_markdown(report: Report) -> str:
    """Words and tables for a model card, without charts and samples. All text of users is escaped."""
    lines = [f"## {_escaped(report.title)}: {_escaped(report.subtitle)}"]
    for section in report.sections:
        texts = [text for part in section.parts for text in _in_markdown(part)]
        if texts and section.name not in _LEFT_OUT:
            lines += [f"### {section.title}", *texts]
    return "\n\n".join(lines) + "\n"


def _in_markdown(part: Part) -> Iterator[str]:
    if isinstance(part, str):
        yield _escaped(part)
    elif isinstance(part, Gap):
        yield _escaped(part.text) + (f" Measure it with `{part.command}`." if part.command else "")
    elif isinstance(part, Chart):
        yield _escaped(part.summary)
        yield _table(part.table)
    elif isinstance(part, Table):
        yield f"{_escaped(part.caption)}:"
        yield _table(part)


def _table(table: Table) -> str:
    rule = ["---" if i < table.words else "---:" for i in range(len(table.columns))]
    lines = [[_escaped(title) for title in table.columns], rule, *([_cell(cell) for cell in row] for row in table.rows)]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{text}\n\n{_escaped(table.note)}" if table.note else text


def _cell(cell: Cell | str) -> str:
    text, mark = (cell.text, cell.mark) if isinstance(cell, Cell) else (cell, "")
    escaped = " ".join(_escaped(text).split())
    return f"**{escaped}**" if mark == "best" and escaped else escaped


_SPECIAL = re.compile(r"[\\`*_{}\[\]<>#|&]")


def _escaped(text: str) -> str:
    """Escape all that Markdown would turn into a tag, a link or a new cell."""
    return _SPECIAL.sub(lambda match: f"&#{ord(match[0])};" if match[0] in "<>|&" else f"\\{match[0]}", text)
