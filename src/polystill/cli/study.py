"""polystill study kim-rush, aio-kd."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polystill.cli.common import Out, Settings, console, say, saying_how_to_continue, show_log
from polystill.environment.extras import need_packages
from polystill.errors import UserError

if TYPE_CHECKING:
    from polystill.studies.claims import Claim

study = typer.Typer(
    name="study",
    help="""Whole tables of experiments, resumable row by row; each row is an ordinary run.

    **Examples**

        polystill study aio-kd --recipe recipes/studies/aio-kd.yaml --out aio-kd --set data.folder=multi30k

        polystill study kim-rush --recipe recipes/studies/kim-rush-lstm.yaml --out lstm --set data.folder=multi30k
    """,
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

StudyRecipe = Annotated[
    Path, typer.Option("--recipe", metavar="RECIPE", help="A study's recipe (YAML).", show_default=False)
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
Parallel = Annotated[int, typer.Option(min=1, max=64, help="Rows at a time; the cores are shared. Timings run alone.")]


def register(app: typer.Typer) -> None:
    study.command("kim-rush")(kim_rush)
    study.command("aio-kd")(aio_kd)
    app.add_typer(study)


def kim_rush(
    recipe: StudyRecipe,
    out: Out,
    rows: Rows = None,
    seed: Seed = None,
    settings: Settings = None,
    parallel: Parallel = 1,
) -> None:
    """Every row of Kim & Rush (2016) on your data, beside the paper's figures, and its claims one by one.

    Teacher, student alone, Word-KD, Seq-KD, Seq-Inter and their combinations, speed, pruning; an LSTM or a Transformer,
    and families on the teacher's translations. Run again to continue: a finished row is not done again. Results so far
    are in FOLDER/results.md and results.json.

    **Examples**

        polystill study kim-rush --recipe recipes/studies/kim-rush-lstm.yaml --out lstm --set data.folder=multi30k

        polystill study kim-rush --recipe R.yaml --out lstm --rows seq-kd,seq-kd+seq-inter --parallel 2

        polystill study kim-rush --recipe R.yaml --out lstm --rows baseline,seq-kd --seed 2

        polystill study kim-rush --recipe R.yaml --out few --set data.first_pairs=5000
    """
    need_packages("study kim-rush")
    from polystill.studies import kim_rush as study
    from polystill.studies import kim_rush_results as results
    from polystill.studies.recipe import KimRush

    _conduct(KimRush, study, results, recipe, out, rows, seed, settings, parallel)


def aio_kd(
    recipe: StudyRecipe,
    out: Out,
    rows: Rows = None,
    seed: Seed = None,
    settings: Settings = None,
    parallel: Parallel = 1,
) -> None:
    """The claims of AIO-KD (Miao et al. 2023) on your data: the family as published, and without each of its parts.

    Also against students one by one, other numbers of students a step, wider spaces, and a family from a trained
    teacher. Run again to continue: a finished row is not done again. Results so far are in FOLDER/results.md and
    results.json, which holds the data of plots as well; plots come at the end.

    **Examples**

        polystill study aio-kd --recipe recipes/studies/aio-kd.yaml --out aio-kd --set data.folder=multi30k --parallel 2

        polystill study aio-kd --recipe R.yaml --out aio-kd --rows family,no-detaching

        polystill study aio-kd --recipe R.yaml --out aio-kd --rows family --seed 2
    """
    need_packages("study aio-kd")
    from polystill.studies import aio_kd as study
    from polystill.studies import aio_kd_results as results
    from polystill.studies.recipe import AioKd

    _conduct(AioKd, study, results, recipe, out, rows, seed, settings, parallel)


def _conduct(
    kind: type[Any],
    rows_of: Any,
    results: Any,
    recipe: Path,
    out: Path,
    rows: str | None,
    seed: int | None,
    settings: list[str] | None,
    parallel: int,
) -> None:
    """Do the rows of a study and show its claims; `rows_of` and `results` are the study's modules."""
    show_log()
    from polystill.studies.recipe import load_study, row_id, with_begun_seeds, with_seed
    from polystill.studies.steps import chosen_steps
    from polystill.studies.work import carry_out

    study = load_study(kind, recipe, settings)
    names, seedable = _names(rows), rows_of.seedable(study)
    if seed is not None:
        study = with_seed(study, seed, names, seedable)
        names = [row_id(study, name, seed) for name in names or []]
    study = with_begun_seeds(study, out, seedable)
    steps = rows_of.steps_of(study)
    chosen = chosen_steps(steps, names)
    claims: list[Claim] = []

    def write(final: bool) -> None:
        claims[:] = results.write(study, out, steps, final=final)

    with saying_how_to_continue("the rows that are not finished"):
        carry_out(chosen, steps, out, study.kind, parallel=parallel, say=say, write=write)
    _print_claims(claims, out)


def _names(rows: str | None) -> list[str] | None:
    if rows is None:
        return None
    names = [name.strip() for name in rows.split(",") if name.strip()]
    if not names:
        raise UserError("--rows: names no row; leave it out for all of them")
    return names


def _print_claims(claims: list[Claim], out: Path) -> None:
    from rich.table import Table

    table = Table("claim", "holds", box=None)
    for claim in claims:
        table.add_row(claim.text, claim.verdict)
    console().print(table)
    say(f"wrote {out / 'results.md'} and {out / 'results.json'}")
