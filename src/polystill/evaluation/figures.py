"""The figures of results.json in words: titles, units, order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from polystill.runs.rows import row_key

Row = dict[str, Any]

TITLES = {
    "parameters": "parameters",
    "size_bytes": "size",
    "bleu": "BLEU",
    "bleu_lc": "BLEU -lc",
    "chrf": "chrF",
    "comet": "COMET",
    "perplexity": "PPL",
    "p_mode": "p(mode)",
    "words_per_second": "words/s",
    "latency_p50_ms": "latency p50",
    "latency_p95_ms": "latency p95",
    "peak_memory_bytes": "peak memory",
    "threads": "threads",
}


def figure(name: str, row: Row) -> str:
    """One figure of a row of results with its unit; "" where it was not measured."""
    if row.get(name) is None:
        return ""
    value = row[name]
    if name == "parameters":
        left = f"{row['nonzero_parameters'] / 1e6:.2f} of " if "nonzero_parameters" in row else ""
        return f"{left}{value / 1e6:.2f} M"
    if name in ("size_bytes", "peak_memory_bytes"):
        return megabytes(value)
    if name == "p_mode":
        return f"{100 * value:.2f} %" if value >= 1e-4 else "<0.01 %"
    if name in ("latency_p50_ms", "latency_p95_ms"):
        return milliseconds(value)
    if name == "comet":
        return f"{value:.4f}"
    return f"{value:,.0f}" if name in ("words_per_second", "threads") else f"{value:.2f}"


def measured(names: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """Those of the figures that any of the rows has."""
    return [name for name in names if any(row.get(name) is not None for row in rows)]


def megabytes(value: float) -> str:
    return f"{value / 1e6:.1f} MB" if value < 1e8 else f"{value / 1e6:,.0f} MB"


def milliseconds(value: float) -> str:
    return f"{value:.1f} ms"


def search(beam: int) -> str:
    """How translations of a beam size are named."""
    return "greedy" if beam == 1 else f"beam {beam}"


def sort_rows(rows: Iterable[Row]) -> list[Row]:
    """By test set, then from the largest student to the smallest, then by engine, precision, shortlist and beam."""

    def key(row: Row) -> tuple[Any, ...]:
        return (row["test_set"], -row.get("parameters", 0), *row_key(row))

    return sorted(rows, key=key)
