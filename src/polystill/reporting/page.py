"""A report as one HTML file that holds all it needs: styles, figures, and the library that draws its charts."""

from __future__ import annotations

import time
from functools import cache
from importlib.resources import files

from polystill import __version__
from polystill.reporting.document import Report
from polystill.reporting.theme import VEGA_LITE, config


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
        themes={"light": config(), "dark": config(dark=True)},
        style=Markup(_file("page.css")),
        script=Markup(_file("page.js")),
        library=Markup(_library()),
    )


@cache
def _library() -> str:
    """Vega, Vega-Lite and Vega-Embed in one script of 0.9 MB, out of vl-convert's own files."""
    import vl_convert

    script: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", VEGA_LITE)
    assert "</script" not in script.lower()
    return script


def _file(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
