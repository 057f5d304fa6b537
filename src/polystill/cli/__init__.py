"""The command line: one file a group of commands; what they do lies in `polystill.pipeline` and below.

Each command imports what it needs when it runs, so that `polystill --help` answers at once and commands for devices
work without torch.
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
    compression,
    devices,
    evaluation,
    export,
    reporting,
    run,
    serve,
    targets,
    translate,
)
from polystill.errors import UserError

UsageError: Any = typer.BadParameter.__base__
"""What typer raises for all wrong options and arguments; it has it under a private name, or click's."""

app = typer.Typer(
    name="polystill",
    help="One training run distils one translation teacher into a whole family of students.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (run, translate, evaluation, reporting, devices, export, serve, targets, compression, bench):
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
    """Run a command and exit: 0 done, 2 a mistake in what was given (one line on stderr), 130 or 143 stopped."""
    warnings.filterwarnings("ignore", message="Recommended: pip install sacremoses")  # which Marian does without
    try:
        with _terminated_in_order():
            status = command(arguments, prog_name=name, standalone_mode=False)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except UsageError as error:
        if message := error.format_message():  # none where a command alone has shown its help
            path = error.ctx.command_path if error.ctx else name
            print(f"error: {message.rstrip('.')} ({path} -h)", file=sys.stderr)
        sys.exit(2)
    if status == 130:
        print("interrupted", file=sys.stderr)
    sys.exit(status or 0)


@contextmanager
def _terminated_in_order() -> Iterator[None]:
    """Let SIGTERM end the process as an exception, so that temporaries are removed; it exits with status 143.

    Not where a launcher started several ranks: one that waits for the others could not end in time.
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
