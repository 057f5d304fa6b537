"""polystill run, prepare, status."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from polystill.cli.common import Out, RunFolder, Settings, console, say, saying_how_to_continue
from polystill.environment.extras import need_packages
from polystill.errors import UserError
from polystill.progress import show_log

if TYPE_CHECKING:
    from polystill.runs import Run

RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe (YAML).", show_default=False)]


def register(app: typer.Typer) -> None:
    app.command()(run)
    app.command()(prepare)
    app.command()(status)


def run(
    recipe: RecipeFile,
    out: Out,
    settings: Settings = None,
    engine: Annotated[
        Literal["ray"] | None,
        typer.Option(
            help="Do all stages on a Ray cluster: the one that RAY_ADDRESS names, or else one on this machine alone. "
            "FOLDER must be on storage that all nodes share.",
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, max=1024, help="With *--engine ray*: train and evaluate in this many processes.")
    ] = 1,
) -> None:
    """Prepare the data, train and evaluate, as the recipe says. To continue after an interruption, run it again.

    Finished stages are skipped. To a run that has begun, you can add test sets, updates of the last stage, and
    evaluations. You can also change training.threads and how often checkpoints are written (docs/runs.md). Any other
    change of the recipe needs a new folder.

    **Examples**

        polystill run recipes/quickstart.yaml --out runs/quickstart

        polystill run recipes/multi30k.yaml --out runs/m30k --set data.folder=multi30k --set seed=2

        torchrun --nproc-per-node 4 -m polystill run recipe.yaml --out runs/big

        RAY_ADDRESS=head:6379 polystill run recipe.yaml --out /shared/runs/big --engine ray --workers 8
    """
    need_packages("run")
    show_log()
    from polystill.config import load_recipe

    if engine is None and workers > 1:
        raise UserError(
            f"--workers {workers}: needs --engine ray; to start several processes without Ray, use torchrun"
        )
    loaded = load_recipe(recipe, settings)
    with saying_how_to_continue():
        if engine == "ray":
            from polystill.cluster import run_on_cluster

            finished: Run | None = run_on_cluster(loaded, out, workers, say)
        else:
            from polystill.pipeline import run_recipe

            finished = run_recipe(loaded, out)
    if finished is not None:
        _print_summary(finished)


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
    from polystill.runs import Run

    _print_summary(Run.open(folder))


def _print_summary(run: Run) -> None:
    """Print what the run has so far: stages, results, sample translations, and the next commands."""
    from rich.text import Text

    from polystill.evaluation.figures import recipe_rows, results_table, sample_translations, stages_table

    out = console()
    out.print(stages_table(run))
    rows = recipe_rows(run)
    if rows:
        out.print()
        out.print(results_table(rows))
        out.print(", ".join(dict.fromkeys(f"{row.engine} {row.precision}" for row in rows)), style="dim")
    for sample in sample_translations(run, rows):
        out.print(Text(f"\n  {'source':<10} {sample.source}", style="bold"), soft_wrap=True)
        out.print(Text(f"  {'reference':<10} {sample.reference}", style="dim"), soft_wrap=True)
        for student, translation in sample.translations.items():
            out.print(Text(f"  {student:<10} {translation}"), soft_wrap=True)
    out.print()
    out.print(Text("\n".join(_next_steps(run, rows[-1].model if rows else "smallest"))), soft_wrap=True)


def _next_steps(run: Run, student: str) -> list[str]:
    from polystill.export import FORMATS

    folder, architecture = run.folder, run.recipe.model.architecture
    if not run.finished("family") or not run.finished("evaluation"):
        return [f"Continue with: polystill run {folder / 'recipe.yaml'} --out {folder}"]
    kind = ", an ordinary Hugging Face folder," if architecture in FORMATS["hf"].architectures else ""
    exports = architecture in FORMATS["ctranslate2"].architectures
    ship = "export {} {} --to ctranslate2 --quantization int8" if exports else "extract {} {}"
    return [
        f"All files are in {folder}: family/ (the teacher{kind} with its students in it),",
        "results.json (all figures), hypotheses/ (all translations), data/ (cleaning.json says what was dropped),",
        f"logs/ (tensorboard --logdir {folder / 'logs'}).",
        "Next:",
        f"  echo 'A dog runs.' | polystill translate {folder} --student {student}",
        f"  polystill {ship.format(folder, student)} --out my-model",
        f"  polystill status {folder}",
    ]
