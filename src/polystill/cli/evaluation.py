"""polystill evaluate, compare, comet, report, robustness."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polystill.cli.common import RunFolder, console, numbers, say, words
from polystill.decoding import EngineName
from polystill.environment.extras import need_packages
from polystill.errors import UserError
from polystill.progress import show_log

EvaluationEngine = Annotated[
    EngineName | None, typer.Option(help="Run the students in this engine. By default the recipe's.")
]
COMET_MODEL = "Unbabel/wmt22-comet-da"


def register(app: typer.Typer) -> None:
    app.command()(evaluate)
    app.command()(compare)
    app.command()(comet)
    app.command()(report)
    app.command()(robustness)


def evaluate(
    folder: RunFolder,
    student: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME,NAME,…", help="Measure these students, such as e4d2,e2d2. By default all."),
    ] = None,
    beam: Annotated[list[str] | None, typer.Option(metavar="N,N,…", help="Beam sizes; 1 is greedy search.")] = None,
    engine: EvaluationEngine = None,
    precision: Annotated[
        list[str] | None, typer.Option(metavar="NAME,NAME,…", help="Precisions, such as int8,float32.")
    ] = None,
    shortlist: Annotated[
        bool, typer.Option("--shortlist", help="Run the students with the shortlist of `polystill export --shortlist`.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Measure again what has been measured.")] = False,
) -> None:
    """Measure quality, speed, latency, memory and size of students on all test sets and the validation set.

    The figures are those of the folders that `polystill export --to ctranslate2` writes: BLEU and chrF, words per
    second in batches, latency of single sentences and peak memory in a fresh process, and bytes on disk. Defaults come
    from the recipe. What has been measured is not measured again. OMP_NUM_THREADS limits the threads. Figures are
    written to RUN/results.json, translations to RUN/hypotheses.

    **Examples**

        polystill evaluate runs/quickstart

        polystill evaluate runs/quickstart --engine ctranslate2 --precision int8,float32 --beam 1,5

        polystill evaluate runs/quickstart --precision int8 --student e3d2,teacher --beam 1

        polystill evaluate runs/quickstart --engine ctranslate2 --precision int8 --student e2d2 --shortlist
    """
    need_packages("evaluate")
    show_log()
    from polystill.evaluation.figures import results_table, speed_table
    from polystill.evaluation.quality import evaluate_run

    rows = evaluate_run(
        folder,
        students=words("--student", student),
        beams=None if beam is None else numbers("--beam", ",".join(beam)),
        engine=engine,
        precisions=words("--precision", precision),
        shortlist=shortlist,
        force=force,
    )
    out = console()
    out.print(results_table(rows))
    out.print(speed_table(rows))


def compare(
    folder: RunFolder,
    students: Annotated[
        list[str],
        typer.Argument(
            metavar="STUDENT...",
            help="Two or more students: STUDENT, OTHER_RUN/STUDENT of another run, STUDENT:int8 in another precision, "
            "or STUDENT+list with its shortlist.",
            show_default=False,
        ),
    ],
    test_set: Annotated[
        str | None, typer.Option(help="Compare on this test set. By default the recipe's first.")
    ] = None,
    beam: Annotated[
        int | None, typer.Option(min=1, help="Compare with this beam size. By default the recipe's largest.")
    ] = None,
) -> None:
    """Test whether the first student differs from each of the others by more than luck, in BLEU and chrF.

    The translations are those that `polystill run` or `evaluate` has stored. Each difference has its 95 % interval over
    test sentences (paired bootstrap, 10,000 resamples) and a p-value (approximate randomisation, 10,000 trials). The
    verdict is *better* or *worse* if the interval is on one side of 0, *as good* if the student is surely less than 0.3
    behind, and *not clear* if this test set cannot tell.

    **Examples**

        polystill compare runs/quickstart e3d3 e3d1 e1d1

        polystill compare runs/family e2d2 runs/e2d2-alone/e2d2

        polystill compare runs/family e2d2:float32 e2d2:int8 e2d2:int8+list
    """
    need_packages("compare")
    from polystill.evaluation.figures import comparison_table
    from polystill.evaluation.significance import compare_students, disagreements

    rows = compare_students(folder, students, test_set, beam)
    out = console()
    out.print(comparison_table(rows))
    for line in disagreements(rows):
        out.print(line)
    for signature in dict.fromkeys(row.signature for row in rows):
        out.print(f"  {signature}", style="dim")


def comet(
    folder: RunFolder,
    python: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Python of an environment that has unbabel-comet.", show_default=False),
    ] = None,
    model: Annotated[
        str, typer.Option(help="A COMET model on the Hugging Face Hub, or a checkpoint file.")
    ] = COMET_MODEL,
    force: Annotated[bool, typer.Option("--force", help="Score again what has a score.")] = False,
) -> None:
    """Score all stored translations with COMET, in another Python environment. Without --python, say how to make it.

    Each score is written to RUN/results.json as soon as it is computed. Rows that have a score of this model are
    skipped.

    **Examples**

        polystill comet runs/mine

        polystill comet runs/mine --python comet-env/bin/python
    """
    need_packages("comet")
    from polystill.evaluation.comet import how_to, score_run
    from polystill.evaluation.figures import results_table
    from polystill.runs import Run

    if python is None:
        Run.open(folder)
        raise UserError(how_to(folder, model))
    with Run.open(folder, lock=True) as run:
        scored = score_run(run, python, model, force=force, log=say)
    if scored:
        console().print(results_table(scored))
    else:
        say(f"all translations have a score of {model}; --force scores them again")


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE.html",
            help="Write the page to this file. By default RUN/report.html of the first run.",
        ),
    ] = None,
    static: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also write each chart as PNG and SVG, into a new folder.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write text and tables as Markdown, for a model card.")
    ] = None,
) -> None:
    """Show the results of runs on one page that works offline: quality, size, latency, training, cost, translations.

    The page shows what is stored in the folders of the runs. If figures are missing, it names the commands that measure
    them. Several runs share charts with one Pareto front. They must have a test set in common. Differences that may be
    noise (paired bootstrap) are marked. An earlier page of polystill is replaced, other files are not.

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
        list[str] | None, typer.Option(metavar="NAME,…", help="Test these students, such as e4d2,e6d6. By default all.")
    ] = None,
    engine: EvaluationEngine = None,
    precision: Annotated[str | None, typer.Option(help="Compute in this precision, such as float32 or int8.")] = None,
    shortlist: Annotated[bool, typer.Option("--shortlist", help="Run the students with their shortlists.")] = False,
    beam: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Beam size. By default the largest of the recipe.")
    ] = None,
) -> None:
    """Translate lines that are unlike the training data, and count failures.

    The lines are made from the first test set and from fixed text: capitals, single words, very long and unpunctuated
    lines, numbers, dates, URLs, emoji, empty and odd lines. The command counts crashes, empty translations, repetition
    loops, and what was copied. Counts are written to RUN/results.json, for the next report, and all translations to
    RUN/robustness.

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
