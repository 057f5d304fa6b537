"""polystill extract, export."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from polystill.cli.common import NewFolder, RunFolder, StudentName, say
from polystill.extras import need_packages


def register(app: typer.Typer) -> None:
    app.command()(extract)
    app.command()(export)


def extract(folder: RunFolder, student: StudentName, out: NewFolder = None) -> None:
    """Write one student as an ordinary Hugging Face folder that holds only its own layers.

    By default it is RUN/students/STUDENT.

    **Example**

        polystill extract runs/quickstart e4d2 --out my-student

    In Python: `AutoModelForSeq2SeqLM.from_pretrained("my-student")` and `AutoTokenizer.from_pretrained("my-student")`.
    """
    need_packages("extract")
    from polystill.pipeline import extract_student

    say(f"wrote {extract_student(folder, student, out)}")


def export(
    folder: RunFolder,
    student: StudentName,
    out: NewFolder = None,
    to: Annotated[
        Literal["hf", "ctranslate2", "onnx", "marian", "bergamot"], typer.Option(help="The format.")
    ] = "ctranslate2",
    quantization: Annotated[
        str | None,
        typer.Option(help="CTranslate2 only: int8, int8_float32, int8_bfloat16, float16, …; float32 by default."),
    ] = None,
) -> None:
    """Write one student for the engine that ships it, tokenizer included: to RUN/exports by default.

    **Examples**

        polystill export RUN e4d2 --to ctranslate2 --quantization int8 --out my-model

        polystill export RUN teacher --to hf --out my-teacher
    """
    need_packages("export")
    from polystill.pipeline import export_student

    written = export_student(folder, student, to, out, quantization)
    hint = f"; try it: echo 'A dog runs.' | polystill translate {written}" if to == "ctranslate2" else ""
    say(f"wrote {written}{hint}")
