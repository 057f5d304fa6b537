"""Results as tables in the terminal: quality, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from polystill.evaluation.figures import TITLES, Row, figure, measured, search, sort_rows
from polystill.runs.rows import artefact_key, student_name

if TYPE_CHECKING:
    from rich.table import Table

_SCORES = ("bleu", "bleu_lc", "chrf", "comet")
_SPEED = ("words_per_second", "latency_p50_ms", "peak_memory_bytes")


def results_table(rows: Sequence[Row]) -> Table:
    """Quality: a line each student, test set, engine, precision and shortlist, columns for each beam size.

    Unmeasured cells are empty; p(mode) is that of the largest beam. The signature of each score stands below.
    """
    has_perplexity, has_p_mode = (any(name in row for row in rows) for name in ("perplexity", "p_mode"))
    beams = _beams(rows)
    columns = [(beam, name) for beam in beams for name in measured(_SCORES, rows)]
    columns += [(beams[-1], "p_mode")] * has_p_mode
    student = ["parameters", "size_bytes", *(["perplexity"] * has_perplexity)]
    return _table(rows, student, columns, "\n".join(_signatures(rows)))


def speed_table(rows: Sequence[Row]) -> Table:
    """Speed in batches, latency of single sentences and memory: lines as in `results_table`."""
    names = measured(_SPEED, rows)
    how = sorted({f"{row['engine']} {row['precision']}" for row in rows})
    where = sorted({f"threads: {row['threads']}, {row['hardware']}" for row in rows if "hardware" in row})
    notes = [", ".join(how), *where]
    return _table(rows, ["size_bytes"], [(beam, name) for beam in _beams(rows) for name in names], "\n".join(notes))


def _beams(rows: Sequence[Row]) -> list[int]:
    return sorted({row["beam"] for row in rows})


def _table(rows: Sequence[Row], student: Sequence[str], columns: Sequence[tuple[int, str]], below: str) -> Table:
    """`student`: figures that do not depend on the beam size; `columns`: those of one each."""
    from rich.table import Table

    groups = _groups(rows)
    engines, hows = {key[2] for key in groups}, {key[2:4] for key in groups}
    how = ["engine"] if len(engines) > 1 else ["precision"] if len(hows) > 1 else []
    table = Table(caption=below, caption_justify="left")
    for title in ("test set", "student", *how):
        table.add_column(title, no_wrap=title == "student")
    for name in student:
        table.add_column(_TITLES[name], justify="right")
    for beam, name in columns:
        table.add_column(f"{_TITLES[name]}\n{search(beam)}", justify="right")
    previous = None
    for (test_set, _, engine, precision, _), by_beam in groups.items():
        first = next(iter(by_beam.values()))
        cells = ["" if test_set == previous else test_set, student_name(first)]
        cells += [{"engine": f"{engine} {precision}", "precision": precision}[title] for title in how]
        cells += [_cell(name, first) for name in student]
        cells += [_cell(name, by_beam.get(beam, {})) for beam, name in columns]
        if previous is not None and test_set != previous:
            table.add_section()
        table.add_row(*cells)
        previous = test_set
    return table


def _groups(rows: Sequence[Row]) -> dict[tuple[Any, ...], dict[int, Row]]:
    """The rows of one line by their beam size."""
    groups: dict[tuple[Any, ...], dict[int, Row]] = {}
    for row in sort_rows(rows):
        key = (row["test_set"], row["model_id"], *artefact_key(row))
        groups.setdefault(key, {})[row["beam"]] = row
    return groups


def _signatures(rows: Sequence[Row]) -> list[str]:
    """Of each kind of score that the rows have: how it was computed."""
    lines = [
        f"{_TITLES[name]} {row[f'{name}_signature']}" for name in _SCORES for row in rows if f"{name}_signature" in row
    ]
    return list(dict.fromkeys(lines))


_TITLES = TITLES | {"latency_p50_ms": "latency ms\np50 | p95", "peak_memory_bytes": "memory"}


def _cell(name: str, row: Row) -> str:
    """A figure; of latency both that are measured, without their unit."""
    names = ("latency_p50_ms", "latency_p95_ms") if name == "latency_p50_ms" else (name,)
    return " | ".join(filter(None, (figure(one, row) for one in names))).replace(" ms", "")


def robustness_table(rows: Sequence[Row]) -> Table:
    """A line each student: failures of any kind of line, then what was copied, by kind."""
    from rich.table import Table

    kinds = [kind for kind, counts in rows[0]["kinds"].items() if counts["to_copy"]]
    how = f"{rows[0]['engine']}, {rows[0]['precision']}, {search(rows[0]['beam'])}"
    table = Table(title=how, title_justify="left", title_style="dim")
    table.add_column("student")
    failures = ("lines", "crashed", "empty", "invented", "loops", "cut")
    for title in (*failures, *(f"{kind}\ncopied" for kind in kinds)):
        table.add_column(title, justify="right")
    for row in rows:
        totals = [str(sum(counts[name] for counts in row["kinds"].values())) for name in failures]
        copied = [f"{row['kinds'][kind]['copied']} of {row['kinds'][kind]['to_copy']}" for kind in kinds]
        table.add_row(student_name(row), *totals, *copied)
    return table
