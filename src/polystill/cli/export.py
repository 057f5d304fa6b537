"""polystill extract, export."""

from __future__ import annotations

from inspect import getdoc
from pathlib import Path
from typing import Annotated

import typer

from polystill.cli.common import NewFolder, StudentName, say
from polystill.environment.extras import need_packages
from polystill.export import FORMATS, FormatName

RunOrModel = Annotated[
    Path,
    typer.Argument(
        metavar="RUN", help="The run's folder; or a family's own, such as a pruned one.", show_default=False
    ),
]


def register(app: typer.Typer) -> None:
    app.command()(extract)
    app.command(help=_with_formats(getdoc(export) or ""))(export)


def extract(folder: RunOrModel, student: StudentName, out: NewFolder = None) -> None:
    """Write one student as a folder that holds only its own layers: an ordinary Hugging Face one, unless it is an LSTM.

    By default it is RUN/students/STUDENT.

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
    return " ".join(
        f"Of {form.name}: "
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
            help=f"Of {' and '.join(name for name, form in FORMATS.items() if form.shortlist)}: choose each output "
            "piece among those that the sentence's pieces may become, by the training data, which is faster.",
        ),
    ] = False,
) -> None:
    """Write one student for the engine that ships it: to RUN/exports by default.

    The folder has all that the engine needs, and a model card. It appears only when the engine has run on a few
    sentences and agrees with the student as far as the precision allows (docs/export.md says how far).

    FORMATS

    LSTMs go to OF_LSTMS only.

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
    from polystill.export.students import export_student

    written = export_student(folder, student, to, out, quantization, shortlist=shortlist)
    hint = f"; try it: echo 'A dog runs.' | polystill translate {written}" if to == "ctranslate2" else ""
    say(f"wrote {written}{hint}")
