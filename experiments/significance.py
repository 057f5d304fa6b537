"""Claims of the papers, what decides them, and the bootstraps behind that."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.family_bootstrap import compare_families
from experiments.measured import Measured
from polystill.evaluation.significance import SIGNIFICANT, compare
from polystill.storage import write_atomic

Values = dict[str, Any]
NO_CLEAR_DIFFERENCE = "no clear difference"
Verdict = tuple[bool | None, Values]
"""Whether a claim holds, None where our figures do not decide it, and our figures."""


@dataclass(frozen=True)
class Claim:
    """A statement of a paper, and whether our figures agree."""

    text: str
    paper: str
    """The paper's figures, as text."""
    holds: bool | None
    ours: Values
    missing: Sequence[str] = ()
    """Rows without which nothing can be said."""
    undecided: str = ""
    """Why our figures do not decide it, where `ours` does not tell."""

    @property
    def verdict(self) -> str:
        if self.holds is not None:
            return "yes" if self.holds else "no"
        tested = bool({"p", "low"} & self.ours.keys())
        why = NO_CLEAR_DIFFERENCE if tested else "not tested yet" if self.ours else "not measured"
        return self.undecided or why

    def record(self) -> Values:
        """For JSON; what is not known is absent."""
        values: Values = {"claim": self.text, "paper": self.paper, "holds": self.holds, "verdict": self.verdict}
        values |= {"ours": self.ours, "missing": list(self.missing)}
        return {key: value for key, value in values.items() if value not in (None, {}, [])}


def better(difference: float, p_value: float | None) -> bool | None:
    """Whether a system is better than another one: no difference is one before a bootstrap has found it significant."""
    return difference > 0 if p_value is not None and p_value < SIGNIFICANT else None


def as_good(difference: float, p_value: float | None) -> bool | None:
    """Whether a system is as good as another one: yes where it is not behind, no where it is so significantly."""
    return True if difference >= 0 else better(difference, p_value)


def above(low: float, high: float, limit: float) -> bool | None:
    """Whether what lies between `low` and `high` is above the limit; None where that is not clear."""
    return True if low > limit else False if high < limit else None


class Bootstrap:
    """Paired bootstraps, computed once for the same translations and kept in STUDY/significance.json."""

    def __init__(self, folder: Path, compute: bool) -> None:
        """Without `compute`, those that are not known yet are left out."""
        self._path, self._compute = folder / "significance.json", compute
        self._known: dict[str, list[Values]] = {}
        with suppress(OSError, ValueError):  # a missing or damaged file is computed again
            known = json.loads(self._path.read_text(encoding="utf-8"))
            self._known = known if isinstance(known, dict) else {}

    def pair(self, first: Measured, other: Measured, beam: int) -> list[Values]:
        """The other model's row of `compare` in each metric, with what was compared; empty where not computed."""
        systems = {"first": first.translations(beam), "other": other.translations(beam)}
        references = first.references()

        def compute() -> list[Values]:
            others: list[Values] = [
                {key: value for key, value in row.items() if key != "system"}
                for row in compare(systems, references, target_language=first.language)
                if row["system"] == "other"
            ]
            # JSON does not take NumPy's numbers.
            return [{k: v if isinstance(v, str) else float(v) for k, v in row.items()} for row in others]

        about = {"first": first.row, "row": other.row, "model": other.model, "beam": beam}
        return [{**about, **row} for row in self._cached([*systems.values(), references], compute)]

    def p_value(self, first: Measured, other: Measured, beam: int) -> Values:
        """`p` of the difference in BLEU; empty where it was not computed."""
        rows = [row for row in self.pair(first, other, beam) if row["metric"] == "bleu"]
        return {"p": rows[0]["p_value"]} if rows else {}

    def families(self, like: Measured, first: dict[str, list[str]], other: dict[str, list[str]]) -> dict[str, Values]:
        """`compare_families`, on the test set and in the language of the model `like`; empty where not computed."""
        references = like.references()

        def compute() -> list[Values]:
            gains = compare_families(first, other, references, target_language=like.language)
            return [{"member": name, **row} for name, row in gains.items()]

        rows = self._cached(["families", first, other, references], compute)
        return {row["member"]: {key: row[key] for key in ("difference", "low", "high")} for row in rows}

    def _cached(self, texts: list[Any], compute: Callable[[], list[Values]]) -> list[Values]:
        """The bootstrap of these texts, computed where it is not; empty where it may not be computed."""
        key = hashlib.sha256(json.dumps(texts, sort_keys=True).encode()).hexdigest()
        if key not in self._known:
            if not self._compute:
                return []
            self._known[key] = compute()
            write_atomic(self._path, json.dumps(self._known, indent=1) + "\n")
        return self._known[key]
