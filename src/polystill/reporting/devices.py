"""What was measured of the students on devices (`polystill measure`, `merge`), beside their BLEU."""

from __future__ import annotations

from polystill.evaluation.figures import TITLES, figure, measured, search
from polystill.reporting.document import Cell, Part, Table
from polystill.reporting.families import Family, Row, by_size
from polystill.runs.rows import student_name, system_key

_FIGURES = ("latency_p50_ms", "latency_p95_ms", "peak_memory_bytes", "words_per_second", "threads")


def device_parts(family: Family) -> list[Part]:
    """A table for each device; nothing where no figures were merged."""
    rows = family.results.get("devices", [])
    return [_table(family, name, rows) for name in dict.fromkeys(row["device"] for row in rows)]


def _table(family: Family, device: str, rows: list[Row]) -> Table:
    own = by_size(_with_quality(family, row) for row in rows if row["device"] == device)
    names = measured(("size_bytes", "bleu", *_FIGURES), own)
    lines: list[list[Cell | str]] = [
        [student_name(row), row["precision"], search(row["beam"]), *(figure(name, row) for name in names)]
        for row in own
    ]
    hardware = " or ".join(dict.fromkeys(row["hardware"] for row in own))
    note = f"Measured on {device}: {hardware}." + (" BLEU as evaluated." if "bleu" in names else "")
    columns = ["student", "precision", "search", *(TITLES[name] for name in names)]
    return Table(f"{family.name} on {device}", columns, lines, words=3, note=note)


def _with_quality(family: Family, row: Row) -> Row:
    """BLEU is the model's, wherever it runs, so it comes from the run's own row of the same search."""
    for evaluated in family.rows:
        if system_key(evaluated) == system_key(row):
            return {**row, "bleu": evaluated["bleu"], "parameters": evaluated.get("parameters", 0)}
    return row
