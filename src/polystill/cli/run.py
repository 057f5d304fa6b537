"""polystill run, prepare, status."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polystill.cli.common import Out, RunFolder, Settings, console, saying_how_to_continue, show_log
from polystill.environment.extras import need_packages

RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe (YAML).", show_default=False)]


def register(app: typer.Typer) -> None:
    app.command()(run)
    app.command()(prepare)
    app.command()(status)


def run(recipe: RecipeFile, out: Out, settings: Settings = None) -> None:
    """Prepare the data, train and evaluate, as the recipe says. Run again to continue after an interruption.

    Finished stages are skipped. In a run that has begun, you can add test sets, updates of the last stage and what is
    evaluated. Any other change of the recipe needs a new folder.

    **Examples**

        polystill run recipes/quickstart.yaml --out runs/quickstart

        polystill run recipes/multi30k.yaml --out runs/m30k --set data.folder=multi30k --set seed=2

        torchrun --nproc-per-node 4 -m polystill run recipe.yaml --out runs/big
    """
    need_packages("run")
    show_log()
    from polystill.cli.summary import print_summary
    from polystill.config import load_recipe
    from polystill.pipeline import run_recipe

    loaded = load_recipe(recipe, settings)
    with saying_how_to_continue():
        finished = run_recipe(loaded, out)
    if finished is not None:
        print_summary(finished, console())


def prepare(recipe: RecipeFile, out: Out, settings: Settings = None) -> None:
    """Prepare the data only: read, clean, train the tokenizer, pack. `polystill run` continues in the same folder.

    **Example**

        polystill prepare recipe.yaml --out runs/mine
    """
    need_packages("prepare")
    show_log()
    from polystill.config import load_recipe
    from polystill.pipeline import prepare_data

    prepare_data(load_recipe(recipe, settings), out)


def status(folder: RunFolder) -> None:
    """Show a run's finished stages, what they cost, and the results so far.

    **Example**

        polystill status runs/quickstart
    """
    need_packages("status", ("pydantic",))
    from polystill.cli.summary import print_summary
    from polystill.runs import Run

    print_summary(Run.open(folder), console())
