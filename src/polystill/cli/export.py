"""polystill extract, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from polystill.cli.common import NewFolder, StudentName, say
from polystill.environment.extras import need_packages

RunOrModel = Annotated[
    Path,
    typer.Argument(
        metavar="RUN", help="The run's folder; or a family's own, such as a pruned one.", show_default=False
    ),
]


def register(app: typer.Typer) -> None:
    app.command()(extract)
    app.command()(export)


def extract(folder: RunOrModel, student: StudentName, out: NewFolder = None) -> None:
    """Write one student as a folder that holds only its own layers: an ordinary Hugging Face one, unless it is an LSTM.

    By default it is RUN/students/STUDENT.

    **Example**

        polystill extract runs/quickstart e3d2 --out my-student

    In Python: `AutoModelForSeq2SeqLM.from_pretrained("my-student")` and `AutoTokenizer.from_pretrained("my-student")`.
    """
    need_packages("extract")
    from polystill.export.extraction import extract_student

    say(f"wrote {extract_student(folder, student, out)}")


def export(
    folder: RunOrModel,
    student: StudentName,
    out: NewFolder = None,
    to: Annotated[
        Literal["hf", "ctranslate2", "argos", "onnx", "marian", "bergamot", "sparse"], typer.Option(help="The format.")
    ] = "ctranslate2",
    quantization: Annotated[
        str | None,
        typer.Option(
            help="Of ctranslate2: int8, int8_float32, int8_float16, int8_bfloat16, int16, float16, bfloat16, "
            "float32 (the default). Of sparse: float16, int8, float32 (the default)."
        ),
    ] = None,
    shortlist: Annotated[
        bool,
        typer.Option(
            "--shortlist",
            help="Of ctranslate2 and bergamot: choose each output piece among those that the sentence's pieces may "
            "become, by the training data, which is faster.",
        ),
    ] = False,
) -> None:
    """Write one student for the engine that ships it: to RUN/exports by default.

    The folder has all that the engine needs, and a model card. It appears only when the engine has run on a few
    sentences and agrees with the student as far as the precision allows (docs/export.md says how far).

    Formats: *hf* (Hugging Face), *ctranslate2*, *argos* (Argos Translate, LibreTranslate), *onnx* (onnxruntime,
    transformers.js), *marian* and *bergamot* (Firefox); the last two need `model.positions: marian` in the recipe and
    `pip install pymarian`. LSTMs go to *onnx* and *sparse*.

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
    from polystill.export.extraction import export_student

    written = export_student(folder, student, to, out, quantization, shortlist=shortlist)
    hint = f"; try it: echo 'A dog runs.' | polystill translate {written}" if to == "ctranslate2" else ""
    say(f"wrote {written}{hint}")
