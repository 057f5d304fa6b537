"""polystill prune."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from polystill.cli.common import Out, console, say
from polystill.environment.extras import need_packages

if TYPE_CHECKING:
    from polystill.export.prune import PrunedFolder


def register(app: typer.Typer) -> None:
    app.command()(prune)


def prune(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A run, a family's or a student's folder.", show_default=False)
    ],
    sparsity: Annotated[float, typer.Option(help="Share of the weights to remove: 0.8 is 80 %.", show_default=False)],
    out: Out,
    scope: Annotated[
        Literal["global", "layer", "matrix"], typer.Option(help="Whose weights are ranked together.")
    ] = "global",
) -> None:
    """Remove a model's smallest weights, without retraining, and write what is left in a file that is really smaller.

    All matrices take part, embeddings included; biases and normalisations stay. Pruning alone costs quality: to win it
    back, train on from FOLDER with `pruning: {schedule: hold}` in the stage, or prune in training with
    `pruning: {sparsity: 0.8}` in the first place (docs/prune.md).

    **Examples**

        polystill prune runs/quickstart --sparsity 0.8 --out pruned-family

        polystill prune my-student --sparsity 0.5 --scope matrix --out my-pruned-student
    """
    need_packages("prune")
    from polystill.export.prune import prune_folder

    pruned = prune_folder(model, out, sparsity, scope)
    _print_report(pruned)
    say(f"wrote {out}")


def _print_report(pruned: PrunedFolder) -> None:
    from rich.table import Table

    table = Table("matrix")
    for title in ("weights", "not zero", "sparsity"):
        table.add_column(title, justify="right")
    for row in pruned.matrices:
        table.add_row(row.name, f"{row.weights:,}", f"{row.nonzero:,}", f"{row.sparsity:.1%}")
    weights, nonzero = (sum(getattr(row, name) for row in pruned.matrices) for name in ("weights", "nonzero"))
    table.add_section()
    table.add_row("all matrices", f"{weights:,}", f"{nonzero:,}", f"{1 - nonzero / weights:.1%}")
    shown = console()
    shown.print(table)
    shown.print(f"parameters: {pruned.nonzero_parameters:,} of {pruned.parameters:,} are not zero")
    ratio = pruned.bytes_before / pruned.bytes_after
    shown.print(f"weights on disk: {pruned.bytes_before:,} bytes before, {pruned.bytes_after:,} after ({ratio:.1f}×)")
