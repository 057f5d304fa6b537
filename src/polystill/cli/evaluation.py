"""polystill evaluate, compare, comet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polystill.cli.common import EvaluationEngine, RunFolder, console, numbers, say, show_log, words
from polystill.environment.extras import need_packages
from polystill.errors import UserError

COMET_MODEL = "Unbabel/wmt22-comet-da"


def register(app: typer.Typer) -> None:
    app.command()(evaluate)
    app.command()(compare)
    app.command()(comet)


def evaluate(
    folder: RunFolder,
    student: Annotated[
        list[str] | None, typer.Option(metavar="NAME,NAME,…", help="Such as e4d2,e2d2. All by default.")
    ] = None,
    beam: Annotated[list[str] | None, typer.Option(metavar="N,N,…", help="Beam sizes; 1 is greedy search.")] = None,
    engine: EvaluationEngine = None,
    precision: Annotated[list[str] | None, typer.Option(metavar="NAME,NAME,…", help="Such as int8,float32.")] = None,
    shortlist: Annotated[
        bool, typer.Option("--shortlist", help="With the shortlist that `polystill export --shortlist` ships.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Also measure again what has been measured.")] = False,
) -> None:
    """Measure quality, speed, latency, memory and size of students on every test set of the recipe.

    Measures the folders that `polystill export --to ctranslate2` writes: BLEU and chrF, words per second in batches,
    latency of single sentences and peak memory in a fresh process, bytes on disk. Defaults come from the recipe. What
    `polystill run` has measured is not measured again. OMP_NUM_THREADS limits the threads. Figures go to
    RUN/results.json, translations to RUN/hypotheses.

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
            help="Two or more: STUDENT, OTHER_RUN/STUDENT, STUDENT:int8 in another precision, STUDENT+list with its "
            "shortlist.",
            show_default=False,
        ),
    ],
    test_set: Annotated[str | None, typer.Option(help="The recipe's first by default.")] = None,
    beam: Annotated[int | None, typer.Option(min=1, help="The recipe's largest by default.")] = None,
) -> None:
    """Test whether students differ by more than luck: paired bootstrap of the first one against each other one.

    Uses the translations that `polystill run` or `evaluate` has stored. A difference with a p-value of 0.05 or more is
    called noise: the choice of test sentences alone makes differences of that size.

    **Examples**

        polystill compare runs/quickstart e3d3 e3d1 e1d1

        polystill compare runs/family e2d2 runs/e2d2-alone/e2d2

        polystill compare runs/family e2d2:float32 e2d2:int8 e2d2:int8+list
    """
    need_packages("compare")
    from polystill.evaluation.figures import comparison_table
    from polystill.evaluation.significance import compare_students

    rows = compare_students(folder, students, test_set, beam)
    out = console()
    out.print(comparison_table(rows))
    for signature in dict.fromkeys(row["signature"] for row in rows):
        out.print(f"  {signature}", style="dim")


def comet(
    folder: RunFolder,
    python: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Python of an environment that has unbabel-comet.", show_default=False),
    ] = None,
    model: Annotated[str, typer.Option(help="A COMET model of the hub, or a checkpoint file.")] = COMET_MODEL,
    force: Annotated[bool, typer.Option("--force", help="Also score again what has a score.")] = False,
) -> None:
    """Score all stored translations with COMET, in an environment of its own. Without --python, show how to make one.

    Scores go to RUN/results.json one after the other. Rows that have a score of this model are left alone.

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
