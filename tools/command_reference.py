"""Write docs/commands.md: every command with its arguments, options and examples.

    python tools/command_reference.py

All of it is what `polystill COMMAND --help` shows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer import Context
from typer.main import get_command

from polystill.cli import app

PAGE = Path(__file__).parent.parent / "docs" / "commands.md"

ABOUT = """\
# Commands

This page has the help text of every command. `polystill COMMAND --help` shows the same.

`polystill --install-completion` lets your shell complete commands, options and values.

This page is generated: `python tools/command_reference.py`.
"""


def page() -> str:
    """The whole page."""
    commands = list(_commands(get_command(app), "polystill"))
    overview = [f"| [`{name}`](#{_anchor(name)}) | {_first_sentence(command.help)} |" for name, command in commands]
    parts = [ABOUT, "\n".join(["| command | what it does |", "|---|---|", *overview])]
    parts += [_section(name, command) for name, command in commands]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _commands(group: Any, name: str) -> Iterator[tuple[str, Any]]:
    """All commands of a group and of the groups in it, without the groups themselves."""
    for each in group.commands.values():
        if hasattr(each, "commands"):
            yield from _commands(each, f"{name} {each.name}")
        else:
            yield f"{name} {each.name}", each


def _section(name: str, command: Any) -> str:
    context = Context(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    records = filter(None, (parameter.get_help_record(context) for parameter in command.get_params(context)))
    rows = [f"| `{_cell(what)}` | {_cell(meaning)} |" for what, meaning in records if "--help" not in what]
    table = "\n".join(["| argument or option | meaning |", "|---|---|", *rows])
    help_text = re.sub(r"\n\n(?=    )", "\n", command.help)  # an example on each line, as one block
    help_text = re.sub(r"(?<!\n)\n(?=    )", "\n\n", help_text, count=1)
    help_text = re.sub(r"docs/(\w+\.md)", r"[docs/\1](\1)", help_text)
    return f"## {name}\n\n{help_text}\n\n```\n{usage}\n```\n\n{table}"


def _first_sentence(text: str) -> str:
    return " ".join(text.partition("\n\n")[0].split())


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _anchor(name: str) -> str:
    return name.replace(" ", "-")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
