"""Argument types and messages on stderr that several commands share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polystill.decoding import EngineName
from polystill.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="The run's folder.", show_default=False)]
StudentName = Annotated[
    str,
    typer.Argument(
        metavar="STUDENT", help="A student of the family, such as e4d2, *teacher* or *smallest*.", show_default=False
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the recipe, such as *training.threads=2*."),
]
NewFolder = Annotated[
    Path | None, typer.Option("--out", "-o", metavar="FOLDER", help="The folder to write.", show_default=False)
]
ModelEngine = Annotated[
    EngineName | None,
    typer.Option(help="Run the model in this engine. By default ctranslate2, and torch for an LSTM."),
]
Threads = Annotated[int, typer.Option(min=0, max=1024, help="Use this many CPU threads; 0 is all cores.")]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="The folder to write.", show_default=False)]


@contextmanager
def user_errors() -> Iterator[None]:
    """End the process at a mistake, a full disk or a missing permission: one line on stderr, and exit status 2."""
    from polystill.storage import refusal

    try:
        yield
    except (UserError, OSError) as error:
        line = str(error) if isinstance(error, UserError) else refusal(error)
        if line is None:
            raise
        print(f"error: {line}", file=sys.stderr)
        sys.exit(2)


def words(option: str, values: list[str] | None) -> list[str] | None:
    """Split an option at its commas. It may also be repeated; None if it is not given."""
    if values is None:
        return None
    parts = [part.strip() for value in values for part in value.split(",")]
    if not all(parts):
        raise UserError(f"{option} {','.join(values)}: expected names with commas between them")
    return parts


def numbers(option: str, text: str) -> list[int]:
    """Split an option into positive numbers at its commas."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise UserError(f"{option} {text}: expected positive numbers with commas between them, such as 1,2,4")
    return [int(part) for part in parts]


def check_new_file(option: str, path: Path | None) -> None:
    """Check, before hours are spent, that a file can be written and overwrites nothing."""
    from polystill.storage import need_writable

    if path is None:
        return
    if path.exists():
        raise UserError(f"{option} {path}: exists already; give a new file")
    try:
        need_writable(path)
    except UserError as error:
        raise UserError(f"{option} {error}") from None


def write_json(path: Path, content: dict[str, Any]) -> None:
    from polystill.storage import json_text, write_atomic

    write_atomic(path, json_text(content))
    say(f"wrote {path}")


def say(message: str) -> None:
    """Print a line for the person at the terminal, on stderr: stdout is for results."""
    print(message, file=sys.stderr, flush=True)


def console() -> Console:
    """Return the console for tables: stdout, and wide enough for a whole table if it is no terminal."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else 120)


@contextmanager
def saying_how_to_continue(where: str = "the last checkpoint") -> Iterator[None]:
    """If the work in the block is stopped, tell the user where the next start continues."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        say(f"stopped; the same command goes on from {where}")
        raise
