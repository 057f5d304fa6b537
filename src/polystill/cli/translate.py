"""polystill translate."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from polystill.cli.common import show_log


def register(app: typer.Typer) -> None:
    app.command()(translate)


def translate(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="A run, a CTranslate2 folder, or a student's or Hugging Face Marian folder.",
            show_default=False,
        ),
    ],
    inputs: Annotated[
        list[Path] | None,
        typer.Option("--input", "-i", metavar="FILE", readable=False, help="Files to read; stdin by default."),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Stdout by default.")] = None,
    student: Annotated[
        str | None, typer.Option(help="Which member of the family, such as e4d2; the teacher by default.")
    ] = None,
    beam: Annotated[
        int | None,
        typer.Option(min=1, max=1000, help="1 is greedy search; by default what the package was made for, or 5."),
    ] = None,
    n_best: Annotated[int, typer.Option(min=1, help="Translations of each line, tab-separated.")] = 1,
    length_penalty: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="A score is log p / length ** this: by default what the run was evaluated with, or the package was "
            "made for; otherwise 1.",
            show_default=False,
        ),
    ] = None,
    engine: Annotated[
        Literal["ctranslate2", "torch"] | None,
        typer.Option(help="What runs the model: ctranslate2 by default, torch for an LSTM."),
    ] = None,
    precision: Annotated[
        str, typer.Option(help="CTranslate2's compute type, such as int8 or float32; the folder's own by default.")
    ] = "default",
    threads: Annotated[int, typer.Option(min=0, max=1024, help="CPU threads; 0 takes all cores.")] = 0,
) -> None:
    """Translate text, one line in, one line out, in order; empty lines stay empty.

    A CTranslate2 folder (`polystill export`) needs the core install only. Lines of a pipe are translated as they come.

    **Examples**

        echo "A dog runs." | polystill translate runs/quickstart --student e3d2

        polystill translate my-model --input news.en --output news.de --beam 1 --precision int8
    """
    show_log()
    from polystill.translation import open_translator, search_of, translate_files

    with open_translator(model, student, engine=engine, precision=precision, threads=threads) as translator:
        search = search_of(model)
        translate_files(
            translator,
            inputs or [],
            output,
            sys.stdin.buffer,
            beam_size=beam or search.beam_size,
            n_best=n_best,
            length_penalty=search.length_penalty if length_penalty is None else length_penalty,
        )
