"""polystill report, robustness."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from polystill.cli.common import RunFolder, console, say, show_log, words
from polystill.environment.extras import need_packages


def register(app: typer.Typer) -> None:
    app.command()(report)
    app.command()(robustness)


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


def robustness(
    folder: RunFolder,
    student: Annotated[
        list[str] | None, typer.Option(metavar="NAME,…", help="Such as e4d2,e6d6. All by default.")
    ] = None,
    engine: Annotated[Literal["ctranslate2", "torch"] | None, typer.Option(help="What runs the models.")] = None,
    precision: Annotated[str | None, typer.Option(help="Such as float32 or int8.")] = None,
    shortlist: Annotated[
        bool, typer.Option("--shortlist", help="With their shortlists, as `polystill export --shortlist` ships them.")
    ] = False,
    beam: Annotated[int | None, typer.Option(min=1, max=1000, help="The recipe's largest by default.")] = None,
) -> None:
    """Give students lines unlike their data, and count what comes of them: as shipped, by the engine itself.

    Capitals, single words, very long and unpunctuated lines, numbers, dates, URLs, emoji, empty and odd lines, made
    from the first test set and from fixed text. Counted are crashes, empty translations, repetition loops, and what was
    copied. Counts go to RUN/results.json and into the next report, all translations to RUN/robustness.

    **Examples**

        polystill robustness runs/quickstart

        polystill robustness runs/quickstart --engine ctranslate2 --precision int8 --student e2d2 --shortlist
    """
    need_packages("robustness")
    show_log()
    from polystill.evaluation.table import robustness_table
    from polystill.evaluation.trained import probe_run

    names = words("--student", student)
    rows = probe_run(folder, students=names, engine=engine, precision=precision, shortlist=shortlist, beam=beam)
    console().print(robustness_table(rows))
