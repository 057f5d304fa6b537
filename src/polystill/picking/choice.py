"""The best student within a budget: highest BLEU, and of equals the smallest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from polystill.errors import UserError
from polystill.evaluation.figures import megabytes, milliseconds
from polystill.picking.candidates import Candidate
from polystill.picking.devices import EVALUATION, Device
from polystill.runs.rows import has_shortlist


@dataclass(frozen=True)
class Limit:
    """One of a device's limits, on the figure `key` of a row."""

    name: str
    key: str
    value: float
    show: Callable[[float], str]

    def miss(self, candidate: Candidate) -> float:
        """By what share of the limit the candidate misses it; 0 where it keeps it, or nobody knows."""
        found = candidate.get(self.key)
        if found is None:
            return 0.0
        over = self.value - found if self.name == "min_bleu" else found - self.value
        return max(0.0, over / self.value) if self.value else max(0.0, over)

    def __str__(self) -> str:
        return f"{self.name} {self.show(self.value)}"


_LIMITS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("max_size", "size_bytes", megabytes),
    ("max_latency", "latency_p95_ms", milliseconds),
    ("max_memory", "peak_memory_bytes", megabytes),
    ("min_bleu", "bleu", "{:.2f}".format),
)


def limits_of(device: Device) -> list[Limit]:
    given = [(name, key, getattr(device, name), show) for name, key, show in _LIMITS]
    return [Limit(name, key, value, show) for name, key, value, show in given if value is not None]


@dataclass(frozen=True)
class Choice:
    """What was chosen and why."""

    best: Candidate | None
    """Within all limits; None where nothing is."""
    nearest: Candidate | None
    """Where nothing fits: the one whose largest miss, as a share of the limit, is the least."""
    limits: list[Limit]
    binding: list[tuple[Limit, Candidate]]
    """Limits without which a better one would have been chosen, and that one."""
    together: Candidate | None
    """Where no limit binds alone: the best that is better and misses several."""
    fitting: list[Candidate]
    """All within the limits, the best first."""
    measured: int
    larger: Candidate | None
    """The smallest of those that are larger and better than the best, whether it fits or not."""
    smaller: Candidate | None
    """The best of those that fit and are smaller."""
    unmeasured: list[Candidate]
    """Left out, though they would be picked if they fit: a figure that a limit needs is not measured."""
    how_to_measure: str
    """The commands for that."""


def choose(candidates: Sequence[Candidate], device: Device, name: str | None = None) -> Choice:
    """Raises:
    UserError: some may fit, but lack a figure that the limits need, and none of the others fits; the message says what
        measures it.
    """
    limits = limits_of(device)
    measured = [c for c in candidates if all(c.get(limit.key) is not None for limit in limits)]
    unmeasured = _within([c for c in candidates if c not in measured], limits)
    fitting = _within(measured, limits)
    if unmeasured and not fitting:
        raise UserError(_what_is_missing(unmeasured, len(measured), limits, device, name))
    measured = measured or list(candidates)  # all of them miss a limit, whatever is not measured
    if not fitting:
        nearest = min(measured, key=lambda c: (max(limit.miss(c) for limit in limits), *_order(c)))
        return Choice(None, nearest, limits, [], None, [], len(measured), None, None, [], "")
    fitting.sort(key=_order)
    best = fitting[0]
    binding = []
    for limit in limits:
        other = min(_within(measured, [each for each in limits if each is not limit]), key=_order)
        if other.row["bleu"] > best.row["bleu"]:
            binding.append((limit, other))
    first = min(measured, key=_order)
    together = first if not binding and first.row["bleu"] > best.row["bleu"] else None
    size = best.row["size_bytes"]
    larger = [c for c in measured if c.row["size_bytes"] > size and c.row["bleu"] > best.row["bleu"]]
    smaller = [c for c in fitting if c.row["size_bytes"] < size]
    better = [c for c in unmeasured if c.row["bleu"] > best.row["bleu"]]
    return Choice(
        best,
        None,
        limits,
        binding,
        together,
        fitting,
        len(measured),
        min(larger, key=lambda c: (c.row["size_bytes"], *_order(c)), default=None),
        min(smaller, key=_order, default=None),
        better,
        how_to_measure(better, device, name) if better else "",
    )


def _within(candidates: Sequence[Candidate], limits: Sequence[Limit]) -> list[Candidate]:
    return [c for c in candidates if not any(limit.miss(c) for limit in limits)]


def _order(candidate: Candidate) -> tuple[float, ...]:
    """The best first; of equal BLEU the smallest, then the fastest as far as that is known."""
    row = candidate.row
    return (-row["bleu"], row["size_bytes"], row.get("latency_p95_ms", float("inf")), row["beam"])


def _what_is_missing(
    unmeasured: Sequence[Candidate], measured: int, limits: Sequence[Limit], device: Device, name: str | None
) -> str:
    missing = [str(limit) for limit in limits if all(c.get(limit.key) is None for c in unmeasured)]
    who = "" if name is None else f"device {name}: "
    what = " and ".join(missing) or "the limits together"
    how = how_to_measure(unmeasured, device, name)
    if not measured:
        return f"{who}{what}: nothing is measured that says who keeps it; {how}"
    best = min(unmeasured, key=_order)
    others = f" and {len(unmeasured) - 1} more" if len(unmeasured) > 1 else ""
    return f"{who}{what}: none of the {measured} that are measured fits, {best.name}{others} may; {how}"


def how_to_measure(candidates: Sequence[Candidate], device: Device, name: str | None) -> str:
    """The commands that measure what these lack."""
    where = device.measured_on or name
    if where in (None, EVALUATION):
        commands = []
        for run, shortlist in dict.fromkeys((c.run, has_shortlist(c.row)) for c in candidates):
            rows = [c.row for c in candidates if (c.run, has_shortlist(c.row)) == (run, shortlist)]
            precisions = ",".join(dict.fromkeys(row["precision"] for row in rows))
            beams = ",".join(map(str, sorted({row["beam"] for row in rows})))
            how = f"--precision {precisions} --beam {beams}{' --shortlist' * shortlist}"
            commands.append(f"polystill evaluate {run} --engine ctranslate2 {how}")
        return f"measure: {'; '.join(commands)}"
    beams = ",".join(map(str, sorted({c.row["beam"] for c in candidates})))
    return (
        f"measure exported students there, then merge: "
        f"polystill measure FOLDER... --beam {beams} --device {where} --out {where}.json; "
        f"polystill merge {candidates[0].run} {where}.json"
    )
