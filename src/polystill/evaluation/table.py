"""Results as a table in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from polystill.evaluation.quality import Row, sort_rows

if TYPE_CHECKING:
    from rich.table import Table


def results_table(rows: Sequence[Row]) -> Table:
    """A line each student, test set, engine and precision, columns for each beam size; unmeasured cells are empty.

    p(mode) is that of the largest beam. The signature of each score stands below.
    """
    from rich.table import Table

    beams = sorted({row["beam"] for row in rows})
    columns = [name for name in ("bleu", "bleu_lc", "chrf", "words_per_second") if any(name in row for row in rows)]
    groups: dict[tuple[Any, ...], dict[int, Row]] = {}
    for row in sort_rows(rows):
        key = (row["test_set"], row["model_id"], row["engine"], row["precision"])
        groups.setdefault(key, {})[row["beam"]] = row
    table = Table(caption="\n".join(_signatures(rows)), caption_justify="left")
    table.add_column("test set")
    table.add_column("student")
    if len({key[2:] for key in groups}) > 1:
        table.add_column("engine")
    for title in ("parameters", "size"):
        table.add_column(title, justify="right")
    has_perplexity, has_p_mode = (any(name in row for row in rows) for name in ("perplexity", "p_mode"))
    if has_perplexity:
        table.add_column("PPL", justify="right")
    for beam in beams:
        for name in columns:
            table.add_column(f"{_TITLES[name]}\n{_search(beam)}", justify="right")
    if has_p_mode:
        table.add_column(f"p(mode)\n{_search(beams[-1])}", justify="right")
    previous = None
    for key, by_beam in groups.items():
        first = next(iter(by_beam.values()))
        cells = ["" if key[0] == previous else key[0], first["model"]]
        if len({key[2:] for key in groups}) > 1:
            cells.append(f"{key[2]} {key[3]}")
        cells += [_shown("parameters", first), _shown("size_bytes", first)]
        cells += [_shown("perplexity", first)] * has_perplexity
        cells += [_shown(name, by_beam.get(beam, {})) for beam in beams for name in columns]
        cells += [_shown("p_mode", by_beam.get(beams[-1], {}))] * has_p_mode
        if previous is not None and key[0] != previous:
            table.add_section()
        table.add_row(*cells)
        previous = key[0]
    return table


def _search(beam: int) -> str:
    return "greedy" if beam == 1 else f"beam {beam}"


def _signatures(rows: Sequence[Row]) -> list[str]:
    """Of each kind of score that the rows have: how sacreBLEU computed it."""
    lines = [
        f"{_TITLES[name]} {row[f'{name}_signature']}"
        for name in ("bleu", "bleu_lc", "chrf")
        for row in rows
        if f"{name}_signature" in row
    ]
    return list(dict.fromkeys(lines))


_TITLES = {"bleu": "BLEU", "bleu_lc": "BLEU -lc", "chrf": "chrF", "words_per_second": "words/s"}


def _shown(name: str, row: Row) -> str:
    if name not in row:
        return ""
    value = row[name]
    if name == "parameters":
        left = f"{row['nonzero_parameters'] / 1e6:.2f} of " if "nonzero_parameters" in row else ""
        return f"{left}{value / 1e6:.2f} M"
    if name == "size_bytes":
        return f"{value / 1e6:.1f} MB"
    if name == "p_mode":
        return f"{100 * value:.2f} %" if value >= 1e-4 else "<0.01 %"
    return f"{value:,.0f}" if name == "words_per_second" else f"{value:.2f}"


def robustness_table(rows: Sequence[Row]) -> Table:
    """A line each student: failures of any kind of line, then what was copied, by kind."""
    from rich.table import Table

    kinds = [kind for kind, counts in rows[0]["kinds"].items() if counts["to_copy"]]
    how = f"{rows[0]['engine']}, {rows[0]['precision']}, {_search(rows[0]['beam'])}"
    table = Table(title=how, title_justify="left", title_style="dim")
    table.add_column("student")
    failures = ("lines", "crashed", "empty", "invented", "loops", "cut")
    for title in (*failures, *(f"{kind}\ncopied" for kind in kinds)):
        table.add_column(title, justify="right")
    for row in rows:
        totals = [str(sum(counts[name] for counts in row["kinds"].values())) for name in failures]
        copied = [f"{row['kinds'][kind]['copied']} of {row['kinds'][kind]['to_copy']}" for kind in kinds]
        table.add_row(row["model"], *totals, *copied)
    return table
