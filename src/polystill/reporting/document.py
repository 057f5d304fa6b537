"""What a report is made of, whatever it is written as: sections of paragraphs, charts, tables and samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Cell:
    """Text of a table. `mark` is "best" or "noise"; the table's note says what that means."""

    text: str
    mark: str = ""


@dataclass(frozen=True)
class Table:
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]
    words: int = 1
    """The first so many columns hold words; the others numbers, which stand to the right."""
    note: str = ""
    folded: bool = False
    """Shown only when asked for, where the page can do that."""


@dataclass(frozen=True)
class Chart:
    name: str
    """That of its files: letters, digits and dashes."""
    title: str
    summary: str
    """What it shows, in words: for those who do not see it."""
    spec: dict[str, Any]
    """Vega-Lite; its width, colours and fonts are the page's."""
    table: Table


@dataclass(frozen=True)
class Gap:
    """A figure that nobody has measured, and the command that would."""

    text: str
    command: str = ""


@dataclass(frozen=True)
class Version:
    """A translation that some students share, in stretches that make up its text: (text, whether it differs)."""

    students: Sequence[str]
    stretches: Sequence[tuple[str, bool]]

    @property
    def text(self) -> str:
        return "".join(text for text, _ in self.stretches)


@dataclass(frozen=True)
class Sample:
    source: str
    reference: str
    versions: Sequence[Version]


@dataclass(frozen=True)
class Samples:
    title: str
    samples: Sequence[Sample]


@dataclass(frozen=True)
class Verbatim:
    """A file's text, folded away."""

    title: str
    text: str


Part = str | Chart | Table | Gap | Samples | Verbatim


@dataclass(frozen=True)
class Section:
    name: str
    title: str
    parts: Sequence[Part] = field(default_factory=list)


@dataclass(frozen=True)
class Report:
    title: str
    subtitle: str
    sections: Sequence[Section]

    @property
    def charts(self) -> list[Chart]:
        return [part for section in self.sections for part in section.parts if isinstance(part, Chart)]
