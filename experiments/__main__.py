"""python -m experiments kim-rush, aio-kd: whole tables of experiments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments import aio_kd, aio_kd_results, kim_rush, kim_rush_results
from experiments.make import run_rows
from experiments.significance import Claim
from experiments.study import Row, Study, chosen_rows, load_study, with_begun_seeds, with_seed
from polystill.cli import main
from polystill.cli.common import Out, Settings, console, say, saying_how_to_continue, show_log
from polystill.errors import UserError

app = typer.Typer(
    help="""Whole tables of experiments, resumable row by row; each row is an ordinary polystill command.

    **Examples**

        python -m experiments aio-kd --recipe recipes/studies/aio-kd.yaml --out aio-kd --set data.folder=multi30k

        python -m experiments kim-rush --recipe recipes/studies/kim-rush-lstm.yaml --out lstm --set data.folder=multi30k
    """,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
STUDIES: dict[str, type[Study]] = {"kim-rush": kim_rush.KimRush, "aio-kd": aio_kd.AioKd}

Recipe = Annotated[
    Path, typer.Option("--recipe", metavar="RECIPE", help="The recipe of the study (YAML).", show_default=False)
]
Rows = Annotated[
    str | None,
    typer.Option(metavar="ROW,ROW,…", help="Only these, and what they need. All of the recipe by default."),
]
Seed = Annotated[
    int | None,
    typer.Option(
        min=0, max=2**32 - 1, help="Train these rows (--rows) once more with another seed, as rows of their own."
    ),
]
Parallel = Annotated[
    int, typer.Option(min=1, max=64, help="Rows at a time, which share the cores. Timings run by themselves.")
]


@app.command("kim-rush")
def run_kim_rush(
    recipe: Recipe,
    out: Out,
    rows: Rows = None,
    seed: Seed = None,
    settings: Settings = None,
    parallel: Parallel = 1,
) -> None:
    """Every row of Kim & Rush (2016) on your data, beside the paper's figures, and its claims one by one.

    Trains a teacher, a student alone, and students by Word-KD, Seq-KD, Seq-Inter and their combinations, as LSTMs or
    Transformers; measures speed and prunes; trains families on the teacher's translations. Run it again to continue:
    finished rows are not done again. FOLDER/results.md and results.json hold the results so far.

    **Examples**

        python -m experiments kim-rush --recipe recipes/studies/kim-rush-lstm.yaml --out lstm --set data.folder=multi30k

        python -m experiments kim-rush --recipe R.yaml --out lstm --rows seq-kd,seq-kd+seq-inter --parallel 2

        python -m experiments kim-rush --recipe R.yaml --out lstm --rows baseline,seq-kd --seed 2

        python -m experiments kim-rush --recipe R.yaml --out few --set data.first_pairs=5000
    """
    study = load_study(kim_rush.KimRush, recipe, settings, STUDIES)
    _conduct(study, "kim-rush", kim_rush.rows_of, kim_rush.seedable, kim_rush_results.write, out, rows, seed, parallel)


@app.command("aio-kd")
def run_aio_kd(
    recipe: Recipe,
    out: Out,
    rows: Rows = None,
    seed: Seed = None,
    settings: Settings = None,
    parallel: Parallel = 1,
) -> None:
    """The claims of AIO-KD (Miao et al. 2023) on your data: the family as published, and without each of its parts.

    Trains it against students one by one, with other numbers of students a step, in wider spaces, and from a trained
    teacher. Run it again to continue: finished rows are not done again. FOLDER/results.md and results.json, which has
    the data of plots as well, hold the results so far; plots come at the end.

    **Examples**

        python -m experiments aio-kd --recipe recipes/studies/aio-kd.yaml --out aio-kd --set data.folder=multi30k

        python -m experiments aio-kd --recipe R.yaml --out aio-kd --rows family,no-detaching --parallel 2

        python -m experiments aio-kd --recipe R.yaml --out aio-kd --rows family --seed 2
    """
    study = load_study(aio_kd.AioKd, recipe, settings, STUDIES)
    _conduct(study, "aio-kd", aio_kd.rows_of, aio_kd.seedable, aio_kd_results.write, out, rows, seed, parallel)


def _conduct(
    study: Any,
    name: str,
    rows_of: Callable[[Any], list[Row]],
    seedable_of: Callable[[Any], list[str]],
    write_results: Callable[..., list[Claim]],
    out: Path,
    rows: str | None,
    seed: int | None,
    parallel: int,
) -> None:
    """Run the rows of a study and show its claims."""
    show_log()
    names, seedable = _names(rows), seedable_of(study)
    if seed is not None:
        study = with_seed(study, seed, names, seedable)
        names = [study.named(label, seed) for label in names or []]
    study = with_begun_seeds(study, out, seedable)
    all_rows = rows_of(study)
    claims: list[Claim] = []

    def write(final: bool) -> None:
        claims[:] = write_results(study, out, all_rows, final=final)

    with saying_how_to_continue("the rows that are not finished"):
        run_rows(chosen_rows(all_rows, names), all_rows, out, name, parallel=parallel, say=say, write=write)
    _print_claims(claims, out)


def _names(rows: str | None) -> list[str] | None:
    if rows is None:
        return None
    names = [name.strip() for name in rows.split(",") if name.strip()]
    if not names:
        raise UserError("--rows: names no row; leave it out for all of them")
    return names


def _print_claims(claims: Sequence[Claim], out: Path) -> None:
    from rich.table import Table

    table = Table("claim", "holds", box=None)
    for claim in claims:
        table.add_row(claim.text, claim.verdict)
    console().print(table)
    say(f"wrote {out / 'results.md'} and {out / 'results.json'}")


if __name__ == "__main__":
    main(command=app, name="python -m experiments")
