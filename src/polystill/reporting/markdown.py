"""A report as Markdown, for a model card: its words and tables, without charts and samples."""

from __future__ import annotations

import re
from collections.abc import Iterator

from polystill.reporting.document import Cell, Chart, Gap, Part, Report, Table

LEFT_OUT = ("figures", "samples")
"""Sections that are too long for a card."""


def to_markdown(report: Report) -> str:
    parts = [f"## {_escaped(report.title)}: {_escaped(report.subtitle)}"]
    for section in report.sections:
        found = [text for part in section.parts for text in _part(part)] if section.name not in LEFT_OUT else []
        if found:
            parts += [f"### {section.title}", *found]
    return "\n\n".join(parts) + "\n"


def _part(part: Part) -> Iterator[str]:
    if isinstance(part, str):
        yield _escaped(part)
    elif isinstance(part, Gap):
        yield _escaped(part.text) + (f" Measure it with `{part.command}`." if part.command else "")
    elif isinstance(part, Chart):
        yield _escaped(part.summary)
        yield _table(part.table)
    elif isinstance(part, Table):
        yield f"{_escaped(part.caption)}:"
        yield _table(part)


def _table(table: Table) -> str:
    rule = ["---" if i < table.words else "---:" for i in range(len(table.columns))]
    lines = [[_escaped(title) for title in table.columns], rule, *([_cell(cell) for cell in row] for row in table.rows)]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{text}\n\n{_escaped(table.note)}" if table.note else text


def _cell(cell: Cell | str) -> str:
    text, mark = (cell.text, cell.mark) if isinstance(cell, Cell) else (cell, "")
    shown = " ".join(_escaped(text).split())
    return f"**{shown}**" if mark == "best" and shown else shown


_SPECIAL = re.compile(r"[\\`*_{}\[\]<>#|&]")


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is: nothing of it becomes a tag, a link or a new cell."""
    return _SPECIAL.sub(lambda found: f"&#{ord(found[0])};" if found[0] in "<>|&" else f"\\{found[0]}", text)
