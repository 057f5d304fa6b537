"""python -m experiments kim-rush, aio-kd: whole tables of experiments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.table import Table

from experiments import aio_kd, aio_kd_results, kim_rush, kim_rush_results
from experiments.claims import Claim
from experiments.make import run_rows
from experiments.study import Study, chosen_rows, load_study, with_begun_seeds, with_seed
from polystill.cli import main
from polystill.cli.common import Out, Settings, console, say, saying_how_to_continue, words
from polystill.progress import show_log

STUDIES: dict[str, type[Study]] = {"kim-rush": kim_rush.KimRush, "aio-kd": aio_kd.AioKd}
MODULES: dict[str, tuple[Any, Any]] = {"kim-rush": (kim_rush, kim_rush_results), "aio-kd": (aio_kd, aio_kd_results)}
"""What lists the rows of a study, and what makes tables and claims of them."""

app = typer.Typer(
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command(no_args_is_help=True)
def experiments(
    study: Annotated[
        Literal["kim-rush", "aio-kd"],
        typer.Argument(metavar="STUDY", help="*kim-rush* or *aio-kd*.", show_default=False),
    ],
    recipe: Annotated[Path, typer.Option(metavar="RECIPE", help="The recipe of the study (YAML).", show_default=False)],
    out: Out,
    rows: Annotated[
        list[str] | None,
        typer.Option(metavar="ROW,ROW,…", help="Only these, and what they need. All of the recipe by default."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, max=2**32 - 1, help="Train the *--rows* once more with another seed.")
    ] = None,
    settings: Settings = None,
    parallel: Annotated[
        int, typer.Option(min=1, max=64, help="Rows at a time, which share the cores. Timings run by themselves.")
    ] = 1,
) -> None:
    """Run a whole table of experiments; each of its rows is an ordinary polystill command.

    *kim-rush*: every row of Kim & Rush (2016) on your data, beside the paper's figures. A student alone and by Word-KD,
    Seq-KD and Seq-Inter, speed, pruning, and families on the teacher's translations. *aio-kd*: the claims of AIO-KD
    (Miao et al. 2023). The family as published, without each of its parts, against students one by one, and from a
    trained teacher.

    Run it again to continue: finished rows are not done again. FOLDER/results.md and results.json hold the tables and
    claims so far.

    **Examples**

        python -m experiments aio-kd --recipe recipes/studies/aio-kd.yaml --out aio-kd --set data.folder=multi30k

        python -m experiments kim-rush --recipe recipes/studies/kim-rush-lstm.yaml --out lstm --set data.folder=multi30k

        python -m experiments kim-rush --recipe R.yaml --out lstm --rows seq-kd,seq-kd+seq-inter --parallel 2

        python -m experiments kim-rush --recipe R.yaml --out lstm --rows baseline,seq-kd --seed 2
    """
    show_log()
    listing, results = MODULES[study]
    loaded: Any = load_study(STUDIES[study], recipe, settings, STUDIES)
    names, seedable = words("--rows", rows), listing.seedable(loaded)
    if seed is not None:
        loaded = with_seed(loaded, seed, names, seedable)
        names = [loaded.named(label, seed) for label in names or []]
    loaded = with_begun_seeds(loaded, out, seedable)
    all_rows = listing.rows_of(loaded)
    claims: list[Claim] = []

    def write(final: bool) -> None:
        claims[:] = results.write(loaded, out, all_rows, final=final)

    with saying_how_to_continue("the rows that are not finished"):
        run_rows(chosen_rows(all_rows, names), all_rows, out, study, parallel=parallel, say=say, write=write)
    table = Table("claim", "holds", box=None)
    for claim in claims:
        table.add_row(claim.text, claim.verdict)
    console().print(table)
    say(f"wrote {out / 'results.md'} and {out / 'results.json'}")


if __name__ == "__main__":
    main(command=app, name="python -m experiments")
