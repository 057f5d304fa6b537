"""Which hypotheses are no use as targets, and a report of what went and why.

Length ratio, copies, wrong script and the like are judged as in the cleaning of gold pairs (`data.cleaning`); here come
repetitions, which a search that loops leaves behind, and candidates of one text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from polystill.config import Cleaning
from polystill.data.cleaning import EXAMPLES, MOST_REPEATS, Cleaner, Repetition
from polystill.data.cleaning import REASONS as PAIR_REASONS
from polystill.targets.store import Candidate

_JUDGED = ("empty", "too_short", "too_long", "ratio", "long_word", "identical", "wrong_script")
REASONS = {
    "cut": "the source is longer than the teacher takes, or it had not ended when it was as long as it may be",
    **{reason: PAIR_REASONS[reason] for reason in _JUDGED},
    "repetition": f"a phrase more than {MOST_REPEATS} times in a row, or characters ten times; and not in the source",
    "same": "the same text as a better candidate of this source",
}
"""Why a hypothesis goes; it is counted under the first that applies."""
_EXAMPLE_CHARACTERS = 100


@dataclass
class FilterReport:
    """Counts over hypotheses, each distinct source's once; reports of shards add up."""

    hypotheses: int = 0
    dropped: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    sources_without: int = 0
    """Sources of which no hypothesis is left."""
    examples: dict[str, list[list[str]]] = field(default_factory=dict)

    @property
    def kept(self) -> int:
        return self.hypotheses - sum(self.dropped.values())

    def drop(self, reason: str, source: str, hypothesis: str) -> None:
        self.dropped[reason] += 1
        examples = self.examples.setdefault(reason, [])
        if len(examples) < EXAMPLES:
            examples.append([source[:_EXAMPLE_CHARACTERS], hypothesis[:_EXAMPLE_CHARACTERS]])

    def add(self, other: dict[str, Any]) -> None:
        """Add a shard's report (its `as_dict`)."""
        self.hypotheses += other["hypotheses"]
        self.sources_without += other["sources_without"]
        for reason, count in other["dropped"].items():
            self.dropped[reason] += count
        for reason, examples in other["examples"].items():
            known = self.examples.setdefault(reason, [])
            known += examples[: EXAMPLES - len(known)]

    def as_dict(self) -> dict[str, Any]:
        return {
            "hypotheses": self.hypotheses,
            "kept": self.kept,
            "dropped": self.dropped,
            "sources_without": self.sources_without,
            "examples": self.examples,
        }


def left_out(dropped: dict[str, int]) -> str:
    """One line such as "identical 3, repetition 12"."""
    return ", ".join(f"{reason} {count:,}" for reason, count in dropped.items() if count) or "nothing"


class HypothesisFilter:
    """Judges translations by the recipe's `data.cleaning`; switched off there, only empty ones and doubles go."""

    def __init__(self, settings: Cleaning, languages: tuple[str, str]) -> None:
        self._enabled = settings.enabled
        self._cleaner = Cleaner(settings, languages)
        self._repetition = Repetition(languages)

    def keep(self, source: str, candidates: Sequence[Candidate], report: FilterReport) -> list[Candidate]:
        """The candidates worth training on, in their order; the others are counted in the report."""
        kept: dict[str, Candidate] = {}
        for candidate in candidates:
            report.hypotheses += 1
            reason = "same" if candidate.text in kept else self.reason(source, candidate)
            if reason is None:
                kept[candidate.text] = candidate
            else:
                report.drop(reason, source, candidate.text)
        report.sources_without += not kept
        return list(kept.values())

    def reason(self, source: str, candidate: Candidate) -> str | None:
        """Why a hypothesis goes (a key of REASONS), or None if it stays."""
        if self._enabled and candidate.cut:
            return "cut"
        reason = self._cleaner.reason(source.strip(), candidate.text.strip())
        if reason is None and self._enabled and self._repetition.is_looping(source, candidate.text):
            return "repetition"
        return reason
