"""The command line, with one file for each group of commands.

A command declares its arguments, calls one function of the layers below, and prints. It imports what it needs when it
runs: `polystill --help` answers at once, and commands for devices work without torch.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from polystill import __version__
from polystill.cli import (
    bench,
    devices,
    evaluation,
    export,
    init,
    run,
    serve,
    targets,
    translate,
)
from polystill.cli.common import user_errors

UsageError: Any = typer.BadParameter.__base__
"""The exception that typer raises for wrong options and arguments; it gives it no public name."""

app = typer.Typer(
    name="polystill",
    help="One training run distils one translation teacher into a whole family of students.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (init, run, translate, evaluation, devices, export, serve, targets, bench):
    module.register(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"polystill {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main(arguments: list[str] | None = None, command: typer.Typer = app, name: str = "polystill") -> None:
    """Run a command and exit: 0 done, 2 a user's mistake (one line on stderr), 130 or 143 stopped by a signal."""
    warnings.filterwarnings("ignore", message="Recommended: pip install sacremoses")  # Marian does not need it
    try:
        with user_errors(), _clean_up_on_sigterm():
            status = command(arguments, prog_name=name, standalone_mode=False)
    except UsageError as error:
        if message := error.format_message():  # empty if a command without arguments has shown its help
            path = error.ctx.command_path if error.ctx else name
            print(f"error: {message.rstrip('.')} ({path} -h)", file=sys.stderr)
        sys.exit(2)
    if status == 130:
        print("interrupted", file=sys.stderr)
    sys.exit(status or 0)


@contextmanager
def _clean_up_on_sigterm() -> Iterator[None]:
    """Let SIGTERM end the process by an exception, so temporary files are removed; the exit status is 143.

    Does nothing if a launcher started several ranks: a rank that waits for the others could not end in time.
    """
    if "RANK" in os.environ or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        print("terminated", file=sys.stderr)
        sys.exit(143)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
