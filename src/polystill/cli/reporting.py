"""polystill report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polystill.cli.common import say
from polystill.extras import need_packages


def register(app: typer.Typer) -> None:
    app.command()(report)


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Runs' folders.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE.html", help="RUN/report.html of the first run by default."),
    ] = None,
    static: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also write each chart as PNG and SVG, into a new folder.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write its words and tables, for a model card.")
    ] = None,
) -> None:
    """Show what runs came to on one page that works offline: quality, size, latency, training, cost, translations.

    The page shows what is stored in the runs' folders and says what is missing, and which command measures it. Several
    runs come into the same charts, with one Pareto front over all of them; they need a test set in common. Differences
    that are noise (paired bootstrap) are marked. A page of polystill's is replaced; other files are not.

    **Examples**

        polystill report runs/quickstart

        polystill report runs/tiny runs/base --out families.html --static pictures --markdown families.md
    """
    need_packages("report")
    need_packages("report", ("jinja2", "vl_convert"), "report")
    from polystill.reporting.write import write_report

    for path in write_report(runs, out, static, markdown):
        say(f"wrote {path}")
