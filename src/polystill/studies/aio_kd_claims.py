"""AIO-KD's claims one by one, and what a study's figures say of each."""

from __future__ import annotations

from collections.abc import Callable

from polystill.evaluation.figures import search
from polystill.studies.aio_kd import FAMILY, FROM_SCRATCH, PRETRAINED, STRATEGIES
from polystill.studies.aio_kd_found import WAYS, Found
from polystill.studies.claims import NO_CLEAR_DIFFERENCE, NOT_TESTED, Claim, as_good, surely_above
from polystill.studies.measured import Row
from polystill.studies.recipe import BEAMS, row_id

SUFFERS = 0.3
"""Mean BLEU that a family may lose to a wider space and still count as unharmed."""


def claims_of(found: Found) -> list[Claim]:
    """All claims that the study's recipe is about, measured or not."""
    families = [*_strategies(found), *_students_a_step(found), *_spaces(found), *_changes(found)]
    return [*_one_by_one(found), *families, *_pretrained(found)]


def _one_by_one(found: Found) -> list[Claim]:
    """Claims 1: members are as good as students distilled one by one, for less."""
    if found.study.alone is None:
        return []
    claims = []
    for seed in found.seeds():
        for student in found.study.alone.students:
            for way in ("alone", "word-kd"):
                claims += [claim for beam in BEAMS for claim in _against(found, student, way, seed, beam)]
    ways, count = found.cost_of_ways(), len(found.study.alone.students)
    text = f"One family of all students takes fewer FLOPs than {count} of them by Word-KD, the teacher among them"
    if missing := [way for way in WAYS if way not in ways]:
        return [*claims, Claim(text, "–", None, {}, missing)]
    ours = {f"FLOPs {way}": f"{ways[way]['flops']:.3g}" for way in ways}
    return [*claims, Claim(text, "–", ways["family"]["flops"] < ways["word-kd"]["flops"], ours, [])]


def _against(found: Found, student: str, way: str, seed: int, beam: int) -> list[Claim]:
    member, single = found.get(FAMILY, student, seed), found.get(f"{way}-{student}", student, seed)
    told = {"alone": "trained alone", "word-kd": "distilled alone"}[way]
    text = f"{student} of the family is as good as {student} {told} ({search(beam)})"
    if seed != found.study.seed:
        text += f" (seed {seed})"
    names = (FAMILY, f"{way}-{student}")
    missing = [row_id(found.study, name, seed) for name, m in zip(names, (member, single), strict=True) if m is None]
    if member is None or single is None:
        return [] if seed != found.study.seed else [Claim(text, "as good or better", None, {}, missing)]
    p_value = found.bootstrap.p_value(single, member, beam)
    ours = {told: single.bleu(beam), "member": member.bleu(beam)} | ({} if p_value is None else {"p": p_value})
    return [as_good(text, "as good or better", member.bleu(beam) - single.bleu(beam), p_value, ours)]


# --- one family against another, by the mean of their members ---------------------------------------------------------


def _strategies(found: Found) -> list[Claim]:
    """Claims 2: the family as published has a higher mean BLEU than without each strategy."""
    wanted = list(STRATEGIES) if found.study.strategies is None else found.study.strategies
    texts = {name: f"As published is better than {name}: {STRATEGIES[name]}" for name in wanted}
    return [claim for name, text in texts.items() for claim in _mean_claims(found, text, name, _is_better)]


def _students_a_step(found: Found) -> list[Claim]:
    """Point 3: other numbers of students a step."""
    texts = {
        f"students-{count}": f"As published is better than {count} student{'s' * (count > 1)} a step"
        for count in found.study.students_per_step
    }
    return [claim for name, text in texts.items() for claim in _mean_claims(found, text, name, _is_better)]


def _spaces(found: Found) -> list[Claim]:
    """Point 4: a wider space does not harm the members that both have."""
    texts = {
        f"space-{name}": f"The space {name} harms the others by less than {SUFFERS} BLEU" for name in found.study.spaces
    }
    return [claim for name, text in texts.items() for claim in _mean_claims(found, text, name, _is_unharmed)]


def _changes(found: Found) -> list[Claim]:
    """The recipe's own questions: is the family as published better than with another setting?"""
    texts = {name: f"As published is better than {name}" for name in found.study.changes}
    return [claim for name, text in texts.items() for claim in _mean_claims(found, text, name, _is_better)]


Judge = Callable[[float, float], bool | None]
"""By the limits between which lies what the family as published has over another one; None where they do not tell."""


def _is_better(low: float, high: float) -> bool | None:
    return surely_above(low, high, 0)


def _is_unharmed(low: float, high: float) -> bool | None:
    harmed = surely_above(low, high, SUFFERS)
    return None if harmed is None else not harmed


def _mean_claims(found: Found, text: str, row: str, judge: Judge) -> list[Claim]:
    """For every seed and search, about mean BLEU over the members that the two families have in common."""
    claims = []
    for seed in found.seeds():
        published, other = (row_id(found.study, name, seed) for name in (FAMILY, row))
        missing = [name for name in (published, other) if not found.members(name)]
        suffix = "" if seed == found.study.seed else f" (seed {seed})"
        for beam in BEAMS:
            whole = f"{text} ({search(beam)}){suffix}"
            if not missing:
                claims.append(_mean_claim(found, whole, published, other, beam, judge))
            elif not suffix or other not in missing:
                claims.append(Claim(whole, "–", None, {}, missing))
    return claims


def _mean_claim(found: Found, text: str, published: str, other: str, beam: int, judge: Judge) -> Claim:
    """It is decided only where the difference is more than what a bootstrap of the sentences leaves open."""
    shared = found.shared(other)
    means = {name: found.mean(name, beam, shared) for name in (published, other)}
    before, after = means.values()
    if before is None or after is None:
        return Claim(text, "–", None, {}, [], "no member in common")
    ours: Row = {"members": len(shared), **means, "difference": before - after}
    against = found.against_published(other, beam)
    if against is None:
        return Claim(text, "–", None, ours, [], NOT_TESTED)
    low, high = (0.0 - against["mean"][limit] for limit in ("high", "low"))
    return Claim(text, "–", judge(low, high), {**ours, "low": low, "high": high}, [], NO_CLEAR_DIFFERENCE)


# --- from a trained teacher -------------------------------------------------------------------------------------------


def _pretrained(found: Found) -> list[Claim]:
    """Point 6: a family from a trained teacher needs few updates."""
    if found.study.pretrained is None:
        return []
    curves = found.learning_curves()
    text = "All students of a trained teacher are usable after fewer updates than from nothing"
    missing = [name for name in (PRETRAINED, FROM_SCRATCH) if name not in curves]
    if missing:
        return [Claim(text, "–", None, {}, missing)]
    ours = {f"updates {name}": curves[name].get("all_usable_after", "not within it") for name in curves}
    first, second = (curves[name].get("all_usable_after") for name in (PRETRAINED, FROM_SCRATCH))
    holds: bool | None = None
    if first is not None:
        holds = None if first == second else second is None or first < second
    elif second is not None and second < curves[PRETRAINED]["updates"][-1]:
        holds = False
    return [Claim(text, "–", holds, ours, [], NO_CLEAR_DIFFERENCE)]
