"""What several commands share: argument types, messages on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="The run's folder.", show_default=False)]
StudentName = Annotated[
    str, typer.Argument(metavar="STUDENT", help="Such as e4d2; also *teacher* or *smallest*.", show_default=False)
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the recipe, such as *training.threads=2*."),
]
NewFolder = Annotated[
    Path | None, typer.Option("--out", "-o", metavar="FOLDER", help="The folder to write.", show_default=False)
]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="The folder to write.", show_default=False)]


def say(message: str) -> None:
    """A line for the person at the terminal; on stderr, so that stdout holds results only."""
    print(message, file=sys.stderr, flush=True)


def console() -> Console:
    """Where tables go: stdout, wide enough for a whole table where it is no terminal."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else 120)


@contextmanager
def saying_how_to_continue(where: str = "the last checkpoint") -> Iterator[None]:
    """Where work that goes on at the next start is stopped from outside, say so."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        say(f"stopped; the same command goes on from {where}")
        raise


def show_log() -> None:
    """Show polystill's own log messages (progress, warnings) on stderr."""
    import logging

    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("polystill")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
