"""A choice in words."""

from __future__ import annotations

from collections.abc import Iterator

from polystill.evaluation.figures import megabytes, milliseconds
from polystill.picking.candidates import Candidate
from polystill.picking.choice import Choice, Limit
from polystill.picking.devices import CTRANSLATE2


def explain(choice: Choice, test_set: str, name: str | None = None) -> Iterator[str]:
    """Lines for a terminal; the first one says what was chosen."""
    of = "" if name is None else f"{name}: "
    limits = ", ".join(map(str, choice.limits)) or "no limits"
    if choice.best is None:
        assert choice.nearest is not None
        yield f"{of}nothing fits ({limits}); the nearest of {choice.measured} is {choice.nearest.name}"
        yield f"  {figures(choice.nearest, test_set)}"
        for limit in choice.limits:
            if limit.miss(choice.nearest):
                yield f"  {_missed(limit, choice.nearest)}"
    else:
        yield f"{of}{choice.best.name}"
        yield f"  {figures(choice.best, test_set)}"
        yield f"  the best of {len(choice.fitting)} that fit, out of {choice.measured} ({limits})"
        yield from _why(choice, choice.best)
    yield from _left_out(choice)


def _why(choice: Choice, best: Candidate) -> Iterator[str]:
    others = [other for _, other in choice.binding]
    for limit, other in choice.binding:
        yield f"  {limit} binds: without it {other.name}, {_compared(other, best)}; {_missed(limit, other)}"
    if choice.together is not None:
        yield f"  no limit alone binds, only several together: without them {_beyond(choice.together, choice, best)}"
    elif not choice.binding:
        yield "  no limit alone binds: nothing measured is better"
    if choice.larger is not None and any(choice.larger is shown for shown in (choice.together, *others)):
        yield "  next larger: that one"
    elif choice.larger is not None:
        yield f"  next larger: {_beyond(choice.larger, choice, best)}"
    if choice.smaller is not None:
        yield f"  next smaller: {choice.smaller.name}, {_compared(choice.smaller, best)}"


def _beyond(candidate: Candidate, choice: Choice, best: Candidate) -> str:
    """A better one, and the limits that it misses."""
    missed = "; ".join(_missed(limit, candidate) for limit in choice.limits if limit.miss(candidate))
    return f"{candidate.name}, {_compared(candidate, best)}; {missed}"


def _left_out(choice: Choice) -> Iterator[str]:
    """What could change the choice, the best first."""
    if choice.unmeasured:
        found = sorted(choice.unmeasured, key=lambda c: -c.row["bleu"])
        names = ", ".join(f"{candidate.name} (BLEU {candidate.row['bleu']:.2f})" for candidate in found[:3])
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        yield f"  left out, as their latency or memory is not measured: {names}{more}"
        yield f"    {choice.how_to_measure}"


def figures(candidate: Candidate, test_set: str) -> str:
    """Quality and cost, of what it was measured, and where."""
    row, size = candidate.row, megabytes(candidate.row["size_bytes"])
    parts = [f"BLEU {row['bleu']:.2f} on {test_set}"]
    parts += [f"{size} as {candidate.format}"] if candidate.weighed else []
    cost = [] if candidate.weighed else [size]
    if "latency_p95_ms" in row:
        cost.append(f"p50 {milliseconds(row['latency_p50_ms'])}, p95 {milliseconds(row['latency_p95_ms'])}")
        cost.append(f"peak memory {megabytes(row['peak_memory_bytes'])}")
    if "words_per_second" in row:
        cost.append(f"{row['words_per_second']:,.0f} words/s")
    if cost and candidate.format != CTRANSLATE2:
        cost[-1] += " of its CTranslate2 folder"
    parts += cost
    if "hardware" in row:
        parts.append(f"measured on {row.get('device', 'the machine of polystill evaluate')} ({row['hardware']})")
    return ", ".join(parts)


def _compared(candidate: Candidate, best: Candidate) -> str:
    row, own = candidate.row, best.row
    parts = [f"BLEU {row['bleu']:.2f} ({row['bleu'] - own['bleu']:+.2f})"]
    parts.append(f"{megabytes(row['size_bytes'])} ({(row['size_bytes'] - own['size_bytes']) / 1e6:+.1f})")
    if "latency_p95_ms" in row and "latency_p95_ms" in own:
        change = row["latency_p95_ms"] - own["latency_p95_ms"]
        parts.append(f"p95 {milliseconds(row['latency_p95_ms'])} ({change:+.1f})")
    return ", ".join(parts)


def _missed(limit: Limit, candidate: Candidate) -> str:
    found = candidate.get(limit.key)
    assert found is not None
    return f"{limit} is missed by {limit.show(abs(found - limit.value))}"
