"""python -m experiments kim-rush, aio-kd: whole tables of experiments; keep: their finished rows as one file."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from experiments import aio_kd, aio_kd_results, kim_rush, kim_rush_results
from experiments.claims import Claim
from experiments.kept import keep, take, unpacked
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


def _command(study: str) -> Callable[..., None]:
    """The command that runs a study."""
    listing, results = MODULES[study]

    def command(
        recipe: Annotated[
            Path, typer.Option(metavar="RECIPE", help="The recipe of the study (YAML).", show_default=False)
        ],
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
        rows_from: Annotated[
            list[Path] | None,
            typer.Option(metavar="ARCHIVE", help="Finished rows that *keep* wrote, perhaps on another machine."),
        ] = None,
    ) -> None:
        show_log()
        loaded: Any = load_study(STUDIES[study], recipe, settings, STUDIES)
        names, seedable = words("--rows", rows), listing.seedable(loaded)
        if seed is not None:
            loaded = with_seed(loaded, seed, names, seedable)
            names = [loaded.named(label, seed) for label in names or []]
        claims: list[Claim] = []

        def write(final: bool) -> None:
            claims[:] = results.write(loaded, out, all_rows, final=final)

        with ExitStack() as stack:
            archives = {path: stack.enter_context(unpacked(path, study)) for path in rows_from or []}
            for folder in (out, *archives.values()):
                loaded = with_begun_seeds(loaded, folder, seedable)
            all_rows = listing.rows_of(loaded)
            chosen = chosen_rows(all_rows, names)
            for path, folder in archives.items():
                take(all_rows, folder, out, study, path, say)
        with saying_how_to_continue("the rows that are not finished"):
            run_rows(chosen, all_rows, out, study, parallel=parallel, say=say, write=write)
        table = Table("claim", "holds", box=None)
        for claim in claims:
            table.add_row(claim.text, claim.verdict)
        console().print(table)
        say(f"wrote {out / 'results.md'} and {out / 'results.json'}")

    return command


_KIM_RUSH = """Run every row of Kim & Rush (2016) on your data, beside the paper's figures.

A student alone and by Word-KD, Seq-KD and Seq-Inter, speed, pruning, and families on the teacher's translations. Each
row is an ordinary polystill command.
"""
_AIO_KD = """Test the claims of AIO-KD (Miao et al. 2023) on your data.

A family of students as the recipe has it, without each of its parts, against students one by one, and from a trained
teacher. Each row is an ordinary polystill command.
"""
_EXAMPLES = """
Run it again to continue: finished rows are not done again. FOLDER/results.md and results.json hold the tables and
claims so far.

**Examples**

    python -m experiments {study} --recipe {recipe} --out study --set data.folder=multi30k --parallel 2

    python -m experiments {study} --recipe {recipe} --out study --rows {rows} --seed 2
"""
app.command(
    "kim-rush",
    no_args_is_help=True,
    help=_KIM_RUSH
    + _EXAMPLES.format(study="kim-rush", recipe="recipes/studies/kim-rush-lstm.yaml", rows="baseline,seq-kd"),
)(_command("kim-rush"))
app.command(
    "aio-kd",
    no_args_is_help=True,
    help=_AIO_KD + _EXAMPLES.format(study="aio-kd", recipe="recipes/studies/aio-kd.yaml", rows="family,no-detaching"),
)(_command("aio-kd"))


@app.command("keep", no_args_is_help=True)
def keep_rows(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder of a study.", show_default=False)],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="ARCHIVE", help="The .tar.xz file to write.", show_default=False)
    ],
) -> None:
    """Write the finished rows of a study to one file, without their weights.

    Give it as *--rows-from* to the study's command, on this machine or another: those rows count as finished there.

        python -m experiments keep study --out rows.tar.xz
    """
    keep(folder, out, say)


if __name__ == "__main__":
    main(command=app, name="python -m experiments")
