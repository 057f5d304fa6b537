"""polystill init."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polystill.cli.common import Out, say, words
from polystill.environment.extras import need_packages
from polystill.progress import show_log

HeldOut = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILE[,FILE]", help="Use this set, one file or two, instead of drawing one.", show_default=False
    ),
]


def register(app: typer.Typer) -> None:
    app.command()(init)


def init(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="Two text files, or any number of .tsv, .tmx, .xliff and .po files.",
            show_default=False,
        ),
    ],
    out: Out,
    source_language: Annotated[
        str | None, typer.Option("--from", metavar="CODE", help="Source language. By default as the files state it.")
    ] = None,
    target_language: Annotated[
        str | None, typer.Option("--to", metavar="CODE", help="Target language. By default as the files state it.")
    ] = None,
    validation: HeldOut = None,
    test: HeldOut = None,
    hours: Annotated[
        float | None,
        typer.Option(
            min=0.01, help="Train no longer than this. By default as long as the text needs.", show_default=False
        ),
    ] = None,
) -> None:
    """Write a recipe for your text: sizes that fit it, held-out sets, and how long the training takes here.

    Reads and cleans the text, draws a validation and a test set that training does not see, and times updates on this
    machine. The new folder holds recipe.yaml, with comments that say why, and the sets that were drawn.

    **Examples**

        polystill init train.en.gz train.pt.gz --out mine

        polystill init memory.tmx --from en --to pt-BR --hours 8 --out mine

        polystill init po/pt_BR.po --from en --validation valid.en,valid.pt --out mine
    """
    need_packages("init")
    show_log()
    from polystill.drafting import Request, draft_recipe

    sets = [
        [Path(name) for name in words(option, given) or []]
        for option, given in (("--validation", validation), ("--test", test))
    ]
    request = Request(files, source_language, target_language, sets[0], sets[1], hours)
    recipe = draft_recipe(request, out, say)
    say(f"wrote {recipe}\nnext: polystill run {recipe} --out runs/{out.name}")
