"""polystill report, robustness."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polystill.cli.common import EvaluationEngine, RunFolder, console, say, show_log, words
from polystill.environment.extras import need_packages


def register(app: typer.Typer) -> None:
    app.command()(report)
    app.command()(robustness)


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE.html", help="By default RUN/report.html of the first run."),
    ] = None,
    static: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also write each chart as PNG and SVG, into a new folder.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write words and tables, for a model card.")
    ] = None,
) -> None:
    """Show the results of runs on one page that works offline: quality, size, latency, training, cost, translations.

    The page shows what is stored in the folders of the runs. It names figures that are missing and the commands that
    measure them. Several runs share charts with one Pareto front; they need a test set in common. Differences that are
    noise (paired bootstrap) are marked. An earlier page of polystill is replaced; other files are not.

    **Examples**

        polystill report runs/quickstart

        polystill report runs/tiny runs/base --out families.html --static pictures --markdown families.md
    """
    need_packages("report")
    need_packages("report", ("jinja2", "vl_convert"), "report")
    from polystill.reporting.build import write_report

    for path in write_report(runs, out, static, markdown):
        say(f"wrote {path}")


def robustness(
    folder: RunFolder,
    student: Annotated[
        list[str] | None, typer.Option(metavar="NAME,…", help="Such as e4d2,e6d6. By default all.")
    ] = None,
    engine: EvaluationEngine = None,
    precision: Annotated[str | None, typer.Option(help="Such as float32 or int8.")] = None,
    shortlist: Annotated[bool, typer.Option("--shortlist", help="Run the students with their shortlists.")] = False,
    beam: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Beam size. By default the largest of the recipe.")
    ] = None,
) -> None:
    """Translate lines that are unlike the training data, and count failures. The engine runs the students as shipped.

    The lines are made from the first test set and from fixed text: capitals, single words, very long and unpunctuated
    lines, numbers, dates, URLs, emoji, empty and odd lines. Counts crashes, empty translations, repetition loops, and
    what was copied. Counts go to RUN/results.json and the next report, all translations to RUN/robustness.

    **Examples**

        polystill robustness runs/quickstart

        polystill robustness runs/quickstart --engine ctranslate2 --precision int8 --student e2d2 --shortlist
    """
    need_packages("robustness")
    show_log()
    from polystill.evaluation.figures import robustness_table
    from polystill.evaluation.robustness import probe_run

    names = words("--student", student)
    rows = probe_run(folder, students=names, engine=engine, precision=precision, shortlist=shortlist, beam=beam)
    console().print(robustness_table(rows))
