"""The command line: one file a group of commands; what they do lies in `polystill.pipeline` and below.

Each command imports what it needs when it runs, so that `polystill --help` answers at once and commands for devices
work without torch.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from polystill import __version__
from polystill.cli import evaluation, export, run, translate
from polystill.errors import UserError

app = typer.Typer(
    name="polystill",
    help="One training run distils one translation teacher into a whole family of students.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (run, translate, evaluation, export):
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


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit: 0 done, 2 a mistake in what was given (one line on stderr), 130 interrupted."""
    try:
        app(arguments, prog_name="polystill")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except SystemExit as error:
        if error.code == 130:
            print("interrupted", file=sys.stderr)
        raise
