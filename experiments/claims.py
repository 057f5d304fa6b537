"""Claims of the papers, and what decides them: intervals in both metrics, never the sign of a difference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from polystill.evaluation.figures import TITLES
from polystill.evaluation.resampling import Difference

Values = dict[str, Any]
Verdict = tuple[bool | None, Values, str]
"""Whether a claim holds, None where our figures do not decide it; our figures; why it is not decided."""
NOT_CLEAR = "not clear"
ONE_SEED = f"{NOT_CLEAR}: one seed"
NOT_TESTED = "not tested yet"


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
    """Why our figures do not decide it."""
    rows: Sequence[str] = ()
    """The rows that it is about."""

    @property
    def verdict(self) -> str:
        if self.holds is not None:
            return "yes" if self.holds else "no"
        return self.undecided or ("not measured" if not self.ours else NOT_CLEAR)

    def record(self) -> Values:
        """For JSON; what is not known is absent."""
        values: Values = {"claim": self.text, "paper": self.paper, "holds": self.holds, "verdict": self.verdict}
        values |= {"ours": self.ours, "missing": list(self.missing), "rows": list(self.rows)}
        return {key: value for key, value in values.items() if value not in (None, {}, [])}


@dataclass(frozen=True)
class Compared:
    """Two recipes side by side: what was compared, and what came out."""

    first: str
    second: str
    search: str
    """Such as "beam 5"; "beam 5, greedy" where the two differ by that."""
    seeds: tuple[int, int]
    """Trainings of each."""
    trials: tuple[int, int]
    """Tuning trials of each."""
    seeds_tell: bool
    """Whether each side was trained with several seeds, or is the only teacher, which the comparison is about."""
    differences: dict[str, Difference]
    """By metric; empty until they are computed."""

    def decide(self, of: Callable[[Difference], bool | None]) -> tuple[bool | None, str]:
        """What both metrics say together, and why that is no verdict where it is none."""
        if why := self._why_undecided():
            return None, why
        said = {TITLES[name]: of(found) for name, found in self.differences.items()}
        if len(set(said.values())) == 1:
            holds = next(iter(said.values()))
            return holds, "" if holds is not None else NOT_CLEAR
        words = {True: "yes", False: "no", None: NOT_CLEAR}
        each = ", ".join(f"{title} {words[one]}" for title, one in said.items())
        return None, f"the metrics disagree: {each}" if None not in said.values() else each

    def _why_undecided(self) -> str:
        if self.trials[0] != self.trials[1]:
            return f"not comparable: {self.trials[0]} and {self.trials[1]} tuning trials"
        return NOT_TESTED if not self.differences else "" if self.seeds_tell else ONE_SEED

    @property
    def summary(self) -> str:
        """What the second is, in a table."""
        verdicts = {TITLES[name]: found.verdict for name, found in self.differences.items()}
        said = ", ".join(f"{title} {verdict}" for title, verdict in verdicts.items())
        return self._why_undecided() or (said if len(set(verdicts.values())) > 1 else next(iter(verdicts.values())))

    def judge(self, of: Callable[[Difference], bool | None], **more: Any) -> Verdict:
        """The verdict with its figures: both metrics, seeds, and `more`."""
        holds, why = self.decide(of)
        ours: Values = {TITLES[name]: figures(found) for name, found in self.differences.items()}
        ours |= {"seeds": list(self.seeds), **more}
        return holds, ours, why

    def record(self) -> Values:
        """For JSON."""
        return {
            **{"first": self.first, "second": self.second, "search": self.search},
            **{"seeds": list(self.seeds), "tuning_trials": list(self.trials), "seeds_tell": self.seeds_tell},
            **{name: figures(found) for name, found in self.differences.items()},
        }


def judged(compared: Compared | None, of: Callable[[Difference], bool | None], **more: Any) -> Verdict | None:
    """None where nothing could be compared."""
    return None if compared is None else compared.judge(of, **more)


def figures(found: Difference) -> Values:
    """A difference for JSON; p where it has one."""
    values = {"from": found.first, "to": found.second, "difference": found.value, "low": found.low, "high": found.high}
    return values | ({} if found.p is None else {"p": found.p})


def better(found: Difference) -> bool | None:
    """The second side is better than the first one."""
    return found.better


def as_good(found: Difference) -> bool | None:
    """The second side is as good as the first one."""
    return found.as_good


def all_seeds(holds: Sequence[bool]) -> tuple[bool | None, str]:
    """A figure without an interval decides where all seeds say the same, and are two at least."""
    if len(holds) < 2:
        return None, ONE_SEED
    return (holds[0], "") if len(set(holds)) == 1 else (None, NOT_CLEAR)
