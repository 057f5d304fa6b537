"""polystill evaluate, compare, comet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from polystill.cli.common import RunFolder, console, numbers, say, show_log, words
from polystill.environment.extras import need_packages
from polystill.errors import UserError

NOISE = 0.05
"""p-values from here on are called noise."""
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
    engine: Annotated[Literal["ctranslate2", "torch"] | None, typer.Option(help="What runs the models.")] = None,
    precision: Annotated[list[str] | None, typer.Option(metavar="NAME,NAME,…", help="Such as int8,float32.")] = None,
    shortlist: Annotated[
        bool, typer.Option("--shortlist", help="With their shortlists, as `polystill export --shortlist` ships them.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Measure again what is measured already.")] = False,
) -> None:
    """Measure students on every test set of the recipe: quality, speed, latency, memory and size of what would ship.

    What is not given comes from the recipe. Measured are the folders that `polystill export --to ctranslate2` writes:
    BLEU and chrF, words per second in batches, latency of single sentences and peak memory in a fresh process, bytes on
    disk. `polystill run` has measured quality already and is not repeated. OMP_NUM_THREADS bounds the threads. Figures
    go to RUN/results.json, the translations to RUN/hypotheses.

    **Examples**

        polystill evaluate runs/quickstart

        polystill evaluate runs/quickstart --engine ctranslate2 --precision int8,float32 --beam 1,5

        polystill evaluate runs/quickstart --precision int8 --student e3d2,teacher --beam 1

        polystill evaluate runs/quickstart --engine ctranslate2 --precision int8 --student e2d2 --shortlist
    """
    need_packages("evaluate")
    show_log()
    from polystill.evaluation.table import results_table, speed_table
    from polystill.evaluation.trained import evaluate_run

    _, rows = evaluate_run(
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
            help="Two or more; OTHER_RUN/STUDENT for another run's, STUDENT:int8 in another precision, STUDENT+list "
            "with its shortlist.",
            show_default=False,
        ),
    ],
    test_set: Annotated[str | None, typer.Option(help="The recipe's first by default.")] = None,
    beam: Annotated[int | None, typer.Option(min=1, help="The recipe's largest by default.")] = None,
) -> None:
    """Is a difference more than luck? Paired bootstrap of the first student against each other one.

    Uses the translations that `polystill run` or `evaluate` has stored. A difference whose p-value is 0.05 or more is
    called noise: as large a one comes about by the choice of the test sentences alone.

    **Examples**

        polystill compare runs/quickstart e3d3 e3d1 e1d1

        polystill compare runs/family e2d2 runs/e2d2-alone/e2d2

        polystill compare runs/family e2d2:float32 e2d2:int8 e2d2:int8+list
    """
    need_packages("compare")
    from rich.table import Table

    from polystill.evaluation.trained import compare_students

    rows = compare_students(folder, students, test_set, beam)
    table = Table("metric", "student", "score", "95 % interval", "difference", "p-value", "")
    first = rows[0]
    for row in rows:
        first = first if row["metric"] == first["metric"] else row
        cells = [row["metric"], row["system"], f"{row['score']:.2f}", f"{row['mean']:.2f} ± {row['ci']:.2f}"]
        if row is not first:
            verdict = "noise" if row["p_value"] >= NOISE else ""
            cells += [f"{row['score'] - first['score']:+.2f}", f"{row['p_value']:.4f}", verdict]
        table.add_row(*cells, *([] if row is not first else ["(compared with)"]))
    out = console()
    out.print(table)
    for signature in dict.fromkeys(row["signature"] for row in rows):
        out.print(f"  {signature}", style="dim")


def comet(
    folder: RunFolder,
    python: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="The Python of an environment that has unbabel-comet.", show_default=False),
    ] = None,
    model: Annotated[str, typer.Option(help="A COMET model of the hub, or a checkpoint file.")] = COMET_MODEL,
    force: Annotated[bool, typer.Option("--force", help="Score again what has a score.")] = False,
) -> None:
    """COMET of all stored translations, scored in an environment of its own; without --python: how to make one.

    The scores go to RUN/results.json as they are ready; rows that have one of the model are left alone.

    **Examples**

        polystill comet runs/mine

        polystill comet runs/mine --python comet-env/bin/python
    """
    need_packages("comet")
    from polystill.evaluation.comet import how_to, score_run
    from polystill.evaluation.table import results_table
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
