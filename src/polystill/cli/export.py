"""polystill extract, export, prune."""

from __future__ import annotations

from inspect import getdoc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from polystill.cli.common import NewFolder, Out, StudentName, console, say
from polystill.environment.extras import need_packages
from polystill.export import FORMATS, FormatName

if TYPE_CHECKING:
    from polystill.export.prune import PrunedFolder

RunOrModel = Annotated[
    Path,
    typer.Argument(
        metavar="RUN", help="The run's folder, or a family's folder, such as a pruned one.", show_default=False
    ),
]


def register(app: typer.Typer) -> None:
    app.command()(extract)
    app.command(help=_with_formats(getdoc(export) or ""))(export)
    app.command()(prune)


def extract(folder: RunOrModel, student: StudentName, out: NewFolder = None) -> None:
    """Write one student as an ordinary Hugging Face folder with only its own layers. An LSTM's folder is polystill's.

    By default the folder is RUN/students/STUDENT.

    **Example**

        polystill extract runs/quickstart e3d2 --out my-student

    In Python: `AutoModelForSeq2SeqLM.from_pretrained("my-student")` and `AutoTokenizer.from_pretrained("my-student")`.
    """
    need_packages("extract")
    from polystill.export.students import extract_student

    say(f"wrote {extract_student(folder, student, out)}")


def _with_formats(text: str) -> str:
    """A help text with what the registry knows about the formats."""
    needs = {form.name: f"; needs {form.needs}" * bool(form.needs) for form in FORMATS.values()}
    formats = "\n".join(f"- *{name}*: for {form.purpose}{needs[name]}" for name, form in FORMATS.items())
    lstm = " and ".join(f"*{name}*" for name, form in FORMATS.items() if "lstm" in form.architectures)
    return text.replace("FORMATS", formats).replace("OF_LSTMS", lstm)


def _quantizations() -> str:
    """Help for --quantization: the precisions of the formats that have several."""
    return "Precision of the weights. " + " ".join(
        f"{form.name}: "
        + ", ".join(f"{name} (the default)" if name == form.default_precision else name for name in form.precisions)
        + "."
        for form in FORMATS.values()
        if len(form.precisions) > 1
    )


def export(
    folder: RunOrModel,
    student: StudentName,
    out: NewFolder = None,
    to: Annotated[FormatName, typer.Option(help="The format.")] = "ctranslate2",
    quantization: Annotated[str | None, typer.Option(help=_quantizations())] = None,
    shortlist: Annotated[
        bool,
        typer.Option(
            "--shortlist",
            help="Let the engine choose each output piece among likely translations of the sentence's pieces only, "
            f"which is faster. For {' and '.join(name for name, form in FORMATS.items() if form.shortlist)}.",
        ),
    ] = False,
) -> None:
    """Export one student for another program. By default the folder is written into RUN/exports.

    The folder has everything that the program needs, and a model card. Before it appears, the program has to translate
    a few sentences like the student, as far as the precision allows (docs/export.md).

    FORMATS

    LSTMs can be exported to OF_LSTMS only.

    **Examples**

        polystill export RUN e4d2 --to ctranslate2 --quantization int8 --out my-model

        polystill export RUN e2d2 --quantization int8 --shortlist --out my-fast-model

        polystill export RUN e2d2 --to bergamot --shortlist

        polystill export RUN teacher --to hf --out my-teacher

        polystill export RUN e2d2 --to sparse --quantization int8 --out my-pruned-model

        polystill export RUN smallest --to onnx

        polystill export my-pruned-family e2d2 --to sparse --quantization int8 --out my-small-model
    """
    need_packages("export")
    from polystill.export.driver import EXPORT_STEPS
    from polystill.export.students import export_student
    from polystill.progress import Progress

    progress = Progress(f"exporting to {to}", "step", EXPORT_STEPS)
    progress.add(0, "loading")
    written = export_student(folder, student, to, out, quantization, shortlist=shortlist, progress=progress)
    progress.close()
    hint = f"; try it: echo 'A dog runs.' | polystill translate {written}" if to == "ctranslate2" else ""
    say(f"wrote {written}{hint}")


def prune(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A run, a family's or a student's folder.", show_default=False)
    ],
    sparsity: Annotated[float, typer.Option(help="Remove this share of the weights: 0.8 is 80 %.", show_default=False)],
    out: Out,
    scope: Annotated[
        Literal["global", "layer", "matrix"],
        typer.Option(help="Rank all weights together, those of each layer, or those of each matrix."),
    ] = "global",
) -> None:
    """Remove a model's smallest weights, without retraining, and write the others to a smaller file.

    All matrices are pruned, also embeddings. Biases and normalisations are not. Pruning alone costs quality. To win it
    back, start a run from the new folder with `pruning: {schedule: hold}` in the stage. Or prune while you train, with
    `pruning: {sparsity: 0.8}` (docs/prune.md).

    **Examples**

        polystill prune runs/quickstart --sparsity 0.8 --out pruned-family

        polystill prune my-student --sparsity 0.5 --scope matrix --out my-pruned-student
    """
    need_packages("prune")
    from polystill.export.prune import prune_folder

    pruned = prune_folder(model, out, sparsity, scope)
    _print_matrices(pruned)
    say(f"wrote {out}")


def _print_matrices(pruned: PrunedFolder) -> None:
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
