"""What papers say, whether our figures say so too, and tables of it in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

NOT_MEASURED, NOT_TESTED, NO_CLEAR_DIFFERENCE = "not measured", "not tested yet", "no clear difference"
"""Why figures do not say: rows are missing, no bootstrap of them is there, or it leaves both open."""


@dataclass(frozen=True)
class Claim:
    """Something that a paper says, and whether our figures say so too."""

    text: str
    paper: str
    """Its figures, as text."""
    holds: bool | None
    """None where our figures do not say."""
    ours: dict[str, Any]
    missing: list[str]
    """Rows that would have to be there."""
    undecided: str = NOT_MEASURED
    """Why they do not say."""

    @property
    def verdict(self) -> str:
        return {True: "yes", False: "no", None: self.undecided}[self.holds]

    def record(self) -> dict[str, Any]:
        """For JSON; what is not known is absent."""
        values: dict[str, Any] = {"claim": self.text, "paper": self.paper, "holds": self.holds, "verdict": self.verdict}
        values |= {"ours": self.ours, "missing": self.missing}
        return {key: value for key, value in values.items() if value not in (None, {}, [])}


SIGNIFICANT = 0.05
"""The p value of a paired bootstrap under which a difference is more than luck."""


def as_good(text: str, paper: str, difference: float, p_value: float | None, ours: dict[str, Any]) -> Claim:
    """Whether one system is as good as another: it is where it is not behind, and is not where it surely is."""
    if difference >= 0:
        return Claim(text, paper, True, ours, [])
    if p_value is None:
        return Claim(text, paper, None, ours, [], NOT_TESTED)
    return Claim(text, paper, False if p_value < SIGNIFICANT else None, ours, [], NO_CLEAR_DIFFERENCE)


def surely_above(low: float, high: float, limit: float) -> bool | None:
    """Of something that lies between `low` and `high`: whether it is above the limit; None where that is not clear."""
    return True if low > limit else False if high < limit else None


def claims_table(claims: Sequence[Claim]) -> str:
    """Markdown, a line each."""
    lines = ["| claim | paper | holds here | ours |", "|---|---|---|---|"]
    for claim in claims:
        ours = "; ".join(f"{name} {shown(value)}" for name, value in claim.ours.items())
        if claim.missing:
            ours = f"rows missing: {', '.join(claim.missing)}"
        lines.append(f"| {claim.text} | {claim.paper} | {claim.verdict} | {ours} |")
    return "\n".join(lines)


def shown(value: Any, digits: int = 2) -> str:
    """A figure in a table; empty where there is none."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value + 0.0:.{digits}f}" if abs(value) >= 0.01 or value == 0 else f"{value:.2g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def signed(difference: float, digits: int = 2) -> str:
    """A difference in a table; one that is rounded to nothing has no minus."""
    return f"{round(difference, digits) + 0.0:+.{digits}f}"


def markdown(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are to the right."""
    lines = [f"| {' | '.join(titles)} |", "|---|" + "---:|" * (len(titles) - 1)]
    return "\n".join([*lines, *(f"| {' | '.join(cells)} |" for cells in rows)])
