"""Claims of the papers, what decides them, and the bootstraps behind that."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.family_bootstrap import compare_families
from polystill.evaluation.significance import SIGNIFICANT, Comparison, compare
from polystill.storage import write_atomic

if TYPE_CHECKING:
    from experiments.measured import Measured

Values = dict[str, Any]
NOT_MEASURED, NOT_TESTED, NO_CLEAR_DIFFERENCE = "not measured", "not tested yet", "no clear difference"
"""Why figures do not decide a claim: rows are missing, no bootstrap of them is there, or it leaves both open."""


@dataclass(frozen=True)
class Claim:
    """A statement of a paper, and whether our figures agree."""

    text: str
    paper: str
    """Its figures, as text."""
    holds: bool | None
    """None where our figures do not decide it."""
    ours: Values
    missing: Sequence[str] = ()
    """Rows that would have to be there."""
    undecided: str = NOT_MEASURED
    """Why our figures do not decide it."""

    @property
    def verdict(self) -> str:
        return {True: "yes", False: "no", None: self.undecided}[self.holds]

    def record(self) -> Values:
        """For JSON; what is not known is absent."""
        values: Values = {"claim": self.text, "paper": self.paper, "holds": self.holds, "verdict": self.verdict}
        values |= {"ours": self.ours, "missing": list(self.missing)}
        return {key: value for key, value in values.items() if value not in (None, {}, [])}


def better(difference: float, p_value: float | None) -> bool | None:
    """Whether a system is better than another one: no difference is one before a bootstrap has found it significant."""
    return difference > 0 if p_value is not None and p_value < SIGNIFICANT else None


def as_good(text: str, paper: str, difference: float, p_value: float | None, ours: Values) -> Claim:
    """Whether a system is as good as another one: yes where it is not behind, no where it is so significantly."""
    if difference >= 0:
        return Claim(text, paper, True, ours)
    if p_value is None:
        return Claim(text, paper, None, ours, undecided=NOT_TESTED)
    return Claim(text, paper, False if p_value < SIGNIFICANT else None, ours, undecided=NO_CLEAR_DIFFERENCE)


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

    def against(self, first: Measured, others: Iterable[Measured], beams: Iterable[int]) -> list[Values]:
        """Rows of `compare` of the first model and each other one, with what was compared."""
        pairs = [(other, beam) for other in others for beam in beams]
        pairs = [(other, beam) for other, beam in pairs if beam in first.by_beam and beam in other.by_beam]
        return [row for other, beam in pairs for row in self._pair(first, other, beam)]

    def p_value(self, first: Measured, other: Measured, beam: int) -> float | None:
        """Of the difference in BLEU; None where it was not computed."""
        return next((row["p_value"] for row in self._pair(first, other, beam) if row["metric"] == "bleu"), None)

    def of_families(self, first: Sequence[Measured], other: Sequence[Measured], beam: int) -> dict[str, Values] | None:
        """`compare_families` of the members that both have; None where it was not computed."""
        both = ({model.model for model in models if beam in model.by_beam} for models in (first, other))
        names = set.intersection(*both)
        if not names:
            return None
        a = {model.model: model.translations(beam) for model in first if model.model in names}
        b = {model.model: model.translations(beam) for model in other if model.model in names}
        return self._gains(a, b, first[0]) or None

    def of_searches(self, model: Measured, first: int, other: int) -> Values | None:
        """The same of one model and two beam sizes: what the other has over the first."""
        a, b = ({model.model: model.translations(beam)} for beam in (first, other))
        return self._gains(a, b, model).get(model.model)

    def _gains(self, a: dict[str, list[str]], b: dict[str, list[str]], model: Measured) -> dict[str, Values]:
        """By member; on the test set and in the language of this model. Empty where it was not computed."""
        references = model.references()

        def compute() -> list[Values]:
            gains = compare_families(a, b, references, target_language=model.language)
            return [{"member": name, **row} for name, row in gains.items()]

        rows = self._cached(["families", a, b, references], compute)
        return {row["member"]: {key: row[key] for key in ("difference", "low", "high")} for row in rows}

    def _pair(self, first: Measured, other: Measured, beam: int) -> list[Values]:
        systems = {"first": first.translations(beam), "other": other.translations(beam)}
        references = first.references()

        def compute() -> list[Values]:
            compared = compare(systems, references, target_language=first.language)
            return [_plain(row) for row in compared if row["system"] == "other"]

        about = {"first": first.row, "row": other.row, "model": other.model, "beam": beam}
        return [{**about, **row} for row in self._cached([*systems.values(), references], compute)]

    def _cached(self, texts: list[Any], compute: Callable[[], list[Values]]) -> list[Values]:
        """What is known of these texts, computed where it is not; empty where it may not be computed."""
        key = hashlib.sha256(json.dumps(texts, sort_keys=True).encode()).hexdigest()
        if key not in self._known:
            if not self._compute:
                return []
            self._known[key] = compute()
            write_atomic(self._path, json.dumps(self._known, indent=1) + "\n")
        return self._known[key]


def _plain(row: Comparison) -> Values:
    """Without NumPy's numbers, which JSON does not take."""
    values: Values = {key: value for key, value in row.items() if key != "system"}
    return {key: value if isinstance(value, str) else float(value) for key, value in values.items()}
