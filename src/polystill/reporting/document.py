"""A report as data: sections of paragraphs, charts, tables and samples. `page` writes it as HTML, Markdown, pictures.

A chart is one Vega-Lite specification. The functions at the end make the parts that several of them have in common.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Spec = dict[str, Any]
"""A Vega-Lite specification, or a part of one."""


@dataclass(frozen=True)
class Cell:
    """A table's text. `mark` is "best" or "noise"; the table's note explains the mark."""

    text: str
    mark: str = ""


Line = list[Cell | str]


@dataclass(frozen=True)
class Table:
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]
    words: int = 1
    """Number of leading columns that hold words. The other columns hold numbers and are aligned to the right."""
    note: str = ""
    folded: bool = False
    """Whether the page shows the table only after a click."""

    @classmethod
    def of_columns(cls, caption: str, columns: Mapping[str, Iterable[Cell | str]], **options: Any) -> Table:
        """A table from the cells of each column, by its title."""
        return cls(caption, list(columns), [list(row) for row in zip(*columns.values(), strict=True)], **options)


@dataclass(frozen=True)
class Chart:
    name: str
    """The name of the chart's files: letters, digits and dashes."""
    title: str
    summary: str
    """The chart in words, for readers who cannot see it."""
    spec: Spec
    """Vega-Lite without width, colours and fonts, which the page adds."""
    table: Table


@dataclass(frozen=True)
class Gap:
    """A figure that is not measured, and the command that measures it."""

    text: str
    command: str = ""


@dataclass(frozen=True)
class Version:
    """A translation that some students share. `stretches` are (text, differs) and make up the translation together."""

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
    """The text of a file. The page shows it after a click."""

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


# --- parts of Vega-Lite specifications ------------------------------------------------------------------------------

NO_GRID = {"axis": {"grid": False, "domain": False, "ticks": False}}
"""The `config` of charts that are made of cells."""


def quantity(field: str, **options: Any) -> Spec:
    """An encoding of numbers."""
    return {"field": field, "type": "quantitative", **options}


def category(field: str, **options: Any) -> Spec:
    """An encoding of names."""
    return {"field": field, "type": "nominal", **options}


def steps(field: str, **options: Any) -> Spec:
    """An encoding of values that have an order, such as depths."""
    return {"field": field, "type": "ordinal", **options}


def tip(field: str, title: str = "", form: str = "") -> Spec:
    """One line of a tooltip."""
    return {"field": field, **({"title": title} if title else {}), **({"format": form} if form else {})}


def layer(mark: Spec, values: Sequence[Spec] | None = None, where: str = "", **encoding: Any) -> Spec:
    """Marks of one kind for `values`, or for those values of the chart that satisfy the expression `where`."""
    data = {} if values is None else {"data": {"values": list(values)}}
    condition = {"transform": [{"filter": where}]} if where else {}
    return {**data, **condition, "mark": mark, "encoding": encoding}


def heat_map(field: str, text: Spec, middle: float, tooltip: Sequence[Spec], font: Spec) -> list[Spec]:
    """Two layers: a coloured cell for each value of `field`, and a text on it, white if the value is below `middle`."""
    color = quantity(field, scale={"scheme": "viridis", "zero": False}, legend=None)
    ink = {"condition": {"test": f"datum['{field}'] < {middle}", "value": "#ffffff"}, "value": "#111111"}
    return [
        layer({"type": "rect", "cornerRadius": 3}, color=color, tooltip=list(tooltip)),
        layer({"type": "text", **font}, text=text, color=ink),
    ]
