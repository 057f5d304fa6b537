"""Figures in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]

TITLES = {
    "parameters": "parameters",
    "size_bytes": "size",
    "bleu": "BLEU",
    "bleu_lc": "BLEU -lc",
    "chrf": "chrF",
    "comet": "COMET",
    "perplexity": "perplexity",
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
        return f"{value:.1f} ms"
    if name == "comet":
        return f"{value:.4f}"
    return f"{value:,.0f}" if name in ("words_per_second", "threads") else f"{value:.2f}"


def measured(names: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """Those of the figures that any of the rows has."""
    return [name for name in names if any(row.get(name) is not None for row in rows)]


def megabytes(value: float) -> str:
    return f"{value / 1e6:.1f} MB"


def duration(seconds: float) -> str:
    """Such as "3:07 min" or "3:14 h"."""
    if seconds < 3570:
        minutes, seconds = divmod(round(seconds), 60)
        return f"{minutes}:{seconds:02} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours}:{minutes:02} h"


def count(value: float) -> str:
    """Such as "14.6 million" or "4.24 × 10¹⁴"."""
    if value < 1e5:
        return f"{value:,.0f}"
    if value < 1e10:
        return f"{value / 1e6:,.1f} million"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa} × {power_of_ten(int(exponent))}"


def power_of_ten(exponent: int) -> str:
    return f"10{str(exponent).translate(_RAISED)}"


_RAISED = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def listed(words: Sequence[str]) -> str:
    """Such as "a, b and c"."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1]))) if words else ""
