"""Numbers and lists in words."""

from __future__ import annotations

from collections.abc import Sequence


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
