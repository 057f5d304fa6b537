"""polystill evaluate, compare."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from polystill.cli.common import RunFolder, console, show_log
from polystill.extras import need_packages


def register(app: typer.Typer) -> None:
    app.command()(evaluate)
    app.command()(compare)


def evaluate(
    folder: RunFolder,
    student: Annotated[list[str] | None, typer.Option(help="Such as e4d2; repeat for more. All by default.")] = None,
    beam: Annotated[list[int] | None, typer.Option(min=1, max=1000, help="Beam size; repeat for more.")] = None,
    engine: Annotated[Literal["ctranslate2", "torch"] | None, typer.Option(help="What runs the models.")] = None,
    precision: Annotated[str | None, typer.Option(help="Such as float32 or int8.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Measure again what is measured already.")] = False,
) -> None:
    """Measure students on every test set of the recipe: BLEU and chrF, greedy and with beam search.

    What is not given comes from the recipe, and `polystill run` has measured that already; here more can be asked for.
    Figures go to RUN/results.json, each with sacreBLEU's signature, the translations to RUN/hypotheses.

    **Examples**

        polystill evaluate runs/quickstart

        polystill evaluate runs/quickstart --precision int8 --student e4d2 --student teacher --beam 1
    """
    need_packages("evaluate")
    show_log()
    from polystill.evaluation.table import results_table
    from polystill.pipeline import evaluate_run

    _, rows = evaluate_run(folder, students=student, beams=beam, engine=engine, precision=precision, force=force)
    console().print(results_table(rows))


def compare(
    folder: RunFolder,
    students: Annotated[
        list[str],
        typer.Argument(
            metavar="STUDENT...", help="Two or more; OTHER_RUN/STUDENT for another run's.", show_default=False
        ),
    ],
    test_set: Annotated[str | None, typer.Option(help="The recipe's first by default.")] = None,
    beam: Annotated[int | None, typer.Option(min=1, help="The recipe's largest by default.")] = None,
) -> None:
    """Is a difference more than luck? Paired bootstrap of the first student against each other one.

    Uses the translations that `polystill run` or `evaluate` has stored.

    **Examples**

        polystill compare runs/quickstart e3d3 e3d1 e1d1

        polystill compare runs/family e2d2 runs/e2d2-alone/e2d2
    """
    need_packages("compare")
    from rich.table import Table

    from polystill.pipeline import compare_students

    rows = compare_students(folder, students, test_set, beam)
    table = Table("metric", "student", "score", "95 % interval", "p-value")
    for row in rows:
        p_value = f"{row['p_value']:.4f}" if "p_value" in row else "(compared with)"
        table.add_row(
            row["metric"], row["system"], f"{row['score']:.2f}", f"{row['mean']:.2f} ± {row['ci']:.2f}", p_value
        )
    out = console()
    out.print(table)
    for signature in dict.fromkeys(row["signature"] for row in rows):
        out.print(f"  {signature}", style="dim")
