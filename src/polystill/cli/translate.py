"""polystill translate."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from polystill.cli.common import ModelEngine, Threads, say
from polystill.environment.extras import need_packages
from polystill.errors import UserError
from polystill.progress import show_log


def register(app: typer.Typer) -> None:
    app.command()(translate)


def translate(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="A run, one student of a run (RUN/STUDENT), a CTranslate2 folder, or a Marian folder.",
            show_default=False,
        ),
    ],
    inputs: Annotated[
        list[Path] | None,
        typer.Option("--input", "-i", metavar="FILE", readable=False, help="Read these files instead of stdin."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write this file instead of stdout.")
    ] = None,
    student: Annotated[
        str | None, typer.Option(help="Use this student of the run, such as e4d2. By default the teacher.")
    ] = None,
    beam: Annotated[
        int | None,
        typer.Option(
            min=1, max=1000, help="Beam size; 1 is greedy search. By default the one that an export states, or 5."
        ),
    ] = None,
    n_best: Annotated[
        int, typer.Option(min=1, help="Write this many translations of each line, separated by tabs.")
    ] = 1,
    length_penalty: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Rank translations by log p / length ** this. By default the penalty of the run's evaluation, the one "
            "that an export states, or 1.",
            show_default=False,
        ),
    ] = None,
    alignment: Annotated[
        bool,
        typer.Option(
            "--alignment",
            help="Write ` ||| ` and the word alignment after each translation, such as `0-0 1-2`: pairs of source and "
            "target words, counted from 0. The model has to be trained with alignments (`data.alignment`).",
        ),
    ] = False,
    engine: ModelEngine = None,
    precision: Annotated[
        str, typer.Option(help="Compute in this precision, such as int8 or float32. By default that of the folder.")
    ] = "default",
    threads: Threads = 0,
) -> None:
    """Translate text: one line in, one line out, in order.

    Lines of a pipe are translated as they arrive. Empty lines stay empty. To translate with a CTranslate2 folder
    (`polystill export`), the core install is enough.

    In a PO or XLIFF file (.po, .xlf, .xliff), the untranslated texts are filled in and marked for review: as fuzzy, or
    in the state *needs-review-translation*. Everything else in the file stays as it is.

    **Examples**

        echo "A dog runs." | polystill translate runs/quickstart --student e3d2

        polystill translate my-model --input news.en --output news.de --beam 1 --precision int8

        polystill translate my-model --input messages.po --output translated.po
    """
    show_log()
    from polystill.decoding.translator import DecodingOptions
    from polystill.translation import open_translator, search_of, translate_document, translate_files

    document = _document(inputs or [], n_best, alignment)
    stdin = sys.stdin.buffer if sys.stdin is not None else None
    if stdin is None and not inputs:
        raise UserError("stdin is closed; give a file with --input")
    search = search_of(model)
    options = DecodingOptions(
        beam_size=beam or search.beam_size,
        n_best=n_best,
        length_penalty=search.length_penalty if length_penalty is None else length_penalty,
        alignment=alignment,
    )
    with open_translator(model, student, engine=engine, precision=precision, threads=threads) as translator:
        if alignment and not translator.info.get("alignment"):
            say(f"warning: {model} was not trained with alignments, as far as it says, so they will often be wrong")
        if document is not None:
            translate_document(translator, document, output, stdin, options=options)
        else:
            translate_files(translator, inputs or [], output, stdin, options=options)


def _document(inputs: list[Path], n_best: int, alignment: bool) -> Path | None:
    """The PO or XLIFF file to fill in, if there is one among the inputs."""
    from polystill.documents import is_document

    documents = [path for path in inputs if is_document(path)]
    if not documents:
        return None
    if len(inputs) > 1:
        raise UserError(f"--input {documents[0]}: a PO or XLIFF file must be the only input; give it alone")
    if n_best > 1:
        raise UserError(f"--n-best {n_best}: a PO or XLIFF file has room for one translation of each text")
    if alignment:
        raise UserError("--alignment: a PO or XLIFF file has no place for alignments; leave it out")
    need_packages(f"translating {documents[0]}", ("lxml", "polib"), "documents")
    return documents[0]
