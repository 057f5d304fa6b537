"""The best student within a device's limits (highest BLEU, of equals the smallest), and the reasons in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from polystill.errors import UserError
from polystill.evaluation.figures import figure, megabytes, milliseconds
from polystill.picking.candidates import Candidate
from polystill.picking.devices import CTRANSLATE2, EVALUATION, Device


@dataclass(frozen=True)
class Limit:
    """A limit of a device on the figure `key` of a row."""

    name: str
    key: str
    value: float
    show: Callable[[float], str]

    def miss(self, candidate: Candidate) -> float:
        """The excess as a share of the limit. 0 if the candidate keeps the limit or its figure is not measured."""
        value = candidate.get(self.key)
        if value is None:
            return 0.0
        over = self.value - value if self.name == "min_bleu" else value - self.value
        return max(0.0, over / self.value) if self.value else max(0.0, over)

    def missed_by(self, candidate: Candidate) -> str:
        value = candidate.get(self.key)
        assert value is not None
        return f"{self} is missed by {self.show(abs(value - self.value))}"

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
    """The chosen student, and what the reasons are made of."""

    limits: list[Limit]
    measured: int
    """Number of candidates that have all figures that the limits need."""
    fitting: list[Candidate] = field(default_factory=list)
    """All candidates within the limits, the best first."""
    nearest: Candidate | None = None
    """If nothing fits: the candidate whose largest miss, as a share of the limit, is the smallest."""
    binding: list[tuple[Limit, Candidate]] = field(default_factory=list)
    """Limits without which a better candidate would have been chosen, and that candidate."""
    together: Candidate | None = None
    """If no limit binds alone: the best candidate that misses several."""
    larger: Candidate | None = None
    """The smallest candidate that is larger and better than the best, whether it fits or not."""
    smaller: Candidate | None = None
    """The best of the candidates that fit and are smaller."""
    unmeasured: list[Candidate] = field(default_factory=list)
    """Better candidates that are left out because a figure that a limit needs is not measured."""
    how_to_measure: str = ""
    """The commands that measure those."""

    @property
    def best(self) -> Candidate | None:
        return self.fitting[0] if self.fitting else None


def choose(candidates: Sequence[Candidate], device: Device, name: str = "") -> Choice:
    """Raises:
    UserError: a candidate may fit but lacks a figure that the limits need, and no other fits; the message says what
        measures it.
    """
    limits = limits_of(device)
    measured = [c for c in candidates if all(c.get(limit.key) is not None for limit in limits)]
    unmeasured = _within([c for c in candidates if c not in measured], limits)
    fitting = sorted(_within(measured, limits), key=_order)
    if unmeasured and not fitting:
        raise UserError(_what_is_missing(unmeasured, len(measured), limits, device, name))
    measured = measured or list(candidates)  # all of them miss a limit, whatever is not measured
    if not fitting:
        nearest = min(measured, key=lambda c: (max(limit.miss(c) for limit in limits), *_order(c)))
        return Choice(limits, len(measured), nearest=nearest)
    best, first = fitting[0], min(measured, key=_order)
    without = [(one, min(_within(measured, [x for x in limits if x is not one]), key=_order)) for one in limits]
    binding = [(limit, other) for limit, other in without if other.row.bleu > best.row.bleu]
    better = [c for c in unmeasured if c.row.bleu > best.row.bleu]
    larger = [c for c in measured if c.size > best.size and c.row.bleu > best.row.bleu]
    return Choice(
        limits,
        len(measured),
        fitting=fitting,
        binding=binding,
        together=first if not binding and first.row.bleu > best.row.bleu else None,
        larger=min(larger, key=lambda c: (c.size, *_order(c)), default=None),
        smaller=min((c for c in fitting if c.size < best.size), key=_order, default=None),
        unmeasured=better,
        how_to_measure=how_to_measure(better, device, name) if better else "",
    )


def _within(candidates: Sequence[Candidate], limits: Sequence[Limit]) -> list[Candidate]:
    return [c for c in candidates if not any(limit.miss(c) for limit in limits)]


def _order(candidate: Candidate) -> tuple[float, ...]:
    """The best first; of equal BLEU the smallest, then the fastest as far as latency is measured."""
    latency = candidate.get("latency_p95_ms")
    return (-candidate.row.bleu, candidate.size, float("inf") if latency is None else latency, candidate.row.beam)


def _what_is_missing(
    unmeasured: Sequence[Candidate], measured: int, limits: Sequence[Limit], device: Device, name: str
) -> str:
    missing = [str(limit) for limit in limits if all(c.get(limit.key) is None for c in unmeasured)]
    what = f"{f'device {name}: ' if name else ''}{' and '.join(missing) or 'the limits together'}"
    how = how_to_measure(unmeasured, device, name)
    if not measured:
        return f"{what}: nothing is measured that tells what keeps it; {how}"
    best = min(unmeasured, key=_order)
    others = f" and {len(unmeasured) - 1} more" if len(unmeasured) > 1 else ""
    return f"{what}: none of the {measured} that are measured fits, {best.name}{others} may; {how}"


def how_to_measure(candidates: Sequence[Candidate], device: Device, name: str = "") -> str:
    """The commands that measure the missing figures of these candidates."""
    where = device.measured_on or name
    if where not in ("", EVALUATION):
        beams = ",".join(map(str, sorted({c.row.beam for c in candidates})))
        return (
            f"measure exported students there, then merge: "
            f"polystill measure FOLDER... --beam {beams} --device {where} --out {where}.json; "
            f"polystill merge {candidates[0].run} {where}.json"
        )
    commands = []
    for run, shortlist in dict.fromkeys((c.run, c.row.shortlist) for c in candidates):
        rows = [c.row for c in candidates if (c.run, c.row.shortlist) == (run, shortlist)]
        precisions = ",".join(dict.fromkeys(row.precision for row in rows))
        beams = ",".join(map(str, sorted({row.beam for row in rows})))
        how = f"--precision {precisions} --beam {beams}{' --shortlist' * shortlist}"
        commands.append(f"polystill evaluate {run} --engine ctranslate2 {how}")
    return f"measure: {'; '.join(commands)}"


def explain(choice: Choice, test_set: str, name: str = "") -> Iterator[str]:
    """Lines for a terminal. The first line names the chosen student; `name` is the device's."""
    who = f"{name}: " if name else ""
    limits = ", ".join(map(str, choice.limits)) or "no limits"
    if choice.best is None:
        assert choice.nearest is not None
        yield f"{who}nothing fits ({limits}); the nearest of {choice.measured} is {choice.nearest.name}"
        yield f"  {figures(choice.nearest, test_set)}"
        yield from (f"  {limit.missed_by(choice.nearest)}" for limit in choice.limits if limit.miss(choice.nearest))
    else:
        yield f"{who}{choice.best.name}"
        yield f"  {figures(choice.best, test_set)}"
        yield f"  the best of {len(choice.fitting)} that fit, out of {choice.measured} ({limits})"
        yield from _why(choice, choice.best)
    if choice.unmeasured:
        better = sorted(choice.unmeasured, key=lambda c: -c.row.bleu)
        names = ", ".join(f"{candidate.name} (BLEU {candidate.row.bleu:.2f})" for candidate in better[:3])
        more = f" and {len(better) - 3} more" if len(better) > 3 else ""
        yield f"  left out, as their latency or memory is not measured: {names}{more}"
        yield f"    {choice.how_to_measure}"


def _why(choice: Choice, best: Candidate) -> Iterator[str]:
    for limit, other in choice.binding:
        yield f"  {limit} binds: without it {other.name}, {_compared(other, best)}; {limit.missed_by(other)}"
    if choice.together is not None:
        yield f"  no limit alone binds, only several together: without them {_beyond(choice.together, choice, best)}"
    elif not choice.binding:
        yield "  no limit alone binds: nothing measured is better"
    if choice.larger is not None and any(choice.larger is c for c in (choice.together, *dict(choice.binding).values())):
        yield "  next larger: that one"
    elif choice.larger is not None:
        yield f"  next larger: {_beyond(choice.larger, choice, best)}"
    if choice.smaller is not None:
        yield f"  next smaller: {choice.smaller.name}, {_compared(choice.smaller, best)}"


def _beyond(candidate: Candidate, choice: Choice, best: Candidate) -> str:
    """A better candidate and the limits that it misses."""
    missed = "; ".join(limit.missed_by(candidate) for limit in choice.limits if limit.miss(candidate))
    return f"{candidate.name}, {_compared(candidate, best)}; {missed}"


def figures(candidate: Candidate, test_set: str) -> str:
    """Quality and cost, with the format and the machine that they belong to."""
    row = candidate.row
    parts = [f"BLEU {row.bleu:.2f} on {test_set}"]
    if (other := candidate.reported) is not None:
        chrf = "" if other.chrf is None else f", chrF {other.chrf:.2f}"
        parts[0] += f" (chosen on), BLEU {other.bleu:.2f}{chrf} on {other.test_set}"
    cost = [figure("size_bytes", row)]
    if candidate.weighed:
        parts.append(f"{cost.pop()} as {candidate.format}")
    if row.latency_p95_ms is not None:
        cost.append(f"p50 {figure('latency_p50_ms', row)}, p95 {figure('latency_p95_ms', row)}")
        cost.append(f"peak memory {figure('peak_memory_bytes', row)}")
    if row.words_per_second is not None:
        cost.append(f"{figure('words_per_second', row)} words/s")
    if cost and candidate.format != CTRANSLATE2:
        cost[-1] += " of its CTranslate2 folder"
    if row.hardware:
        cost.append(f"measured on {candidate.device or 'the machine of polystill evaluate'} ({row.hardware})")
    return ", ".join([*parts, *cost])


def _compared(candidate: Candidate, best: Candidate) -> str:
    parts = [f"BLEU {candidate.row.bleu:.2f} ({candidate.row.bleu - best.row.bleu:+.2f})"]
    parts.append(f"{megabytes(candidate.size)} ({(candidate.size - best.size) / 1e6:+.1f})")
    latency, reference = candidate.row.latency_p95_ms, best.row.latency_p95_ms
    if latency is not None and reference is not None:
        parts.append(f"p95 {milliseconds(latency)} ({latency - reference:+.1f})")
    return ", ".join(parts)
