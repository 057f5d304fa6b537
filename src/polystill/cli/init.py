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
        metavar="FILE[,FILE]",
        help="Use this set (one file, or two with a comma) instead of drawing one.",
        show_default=False,
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
        str | None,
        typer.Option("--from", metavar="CODE", help="Source language. By default the one that the files state."),
    ] = None,
    target_language: Annotated[
        str | None,
        typer.Option("--to", metavar="CODE", help="Target language. By default the one that the files state."),
    ] = None,
    validation: HeldOut = None,
    test: HeldOut = None,
    hours: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            help="Plan a training of at most so many hours. By default as long as the text needs.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write a recipe for your text: network and training that fit it, and sets for validation and test.

    `init` reads and cleans the text, and draws a validation and a test set that training does not see. It times some
    updates on this machine, and says how long the training will take. The new folder has recipe.yaml, with comments
    that explain each choice, and the sets that were drawn.

    **Examples**

        polystill init train.en.gz train.pt.gz --out mine

        polystill init memory.tmx --from en --to pt-BR --hours 8 --out mine

        polystill init po/pt_BR.po --from en --validation valid.en,valid.pt --out mine
    """
    need_packages("init")
    show_log()
    from polystill.drafting.draft import Request, draft_recipe

    sets = [
        [Path(name) for name in words(option, given) or []]
        for option, given in (("--validation", validation), ("--test", test))
    ]
    request = Request(files, source_language, target_language, sets[0], sets[1], hours)
    recipe = draft_recipe(request, out, say)
    say(f"wrote {recipe}\nnext: polystill run {recipe} --out runs/{out.name}")
