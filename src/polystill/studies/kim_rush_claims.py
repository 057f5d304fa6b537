"""The claims of Kim & Rush (2016) one by one, with the paper's figures, and what a study's figures say of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from polystill.studies.claims import NO_CLEAR_DIFFERENCE, NOT_MEASURED, NOT_TESTED, SIGNIFICANT, Claim, as_good
from polystill.studies.kim_rush import BASELINE, TEACHER, TUNED_TEACHER
from polystill.studies.kim_rush_found import Found
from polystill.studies.kim_rush_paper import PRUNED, PRUNED_TIMES, SPEED, TABLES, UNQUOTED
from polystill.studies.measured import Measured, Row
from polystill.studies.recipe import BEAM, BEAMS, GREEDY, row_id

NEAR = 0.3
"""BLEU by which greedy search may stay behind beam search and still count as good as it."""
BEST = "seq-kd+seq-inter"

Judged = tuple[bool | None, dict[str, Any]]


def claims_of(found: Found) -> list[Claim]:
    """All claims that the study's recipe is about, measured or not."""
    claims = []
    for seed in (found.study.seed, *found.study.more_seeds):
        claims += _student_claims(found, seed)
    return [*claims, *_speed_claims(found), *_pruning_claims(found), *_family_claims(found)]


def _student_claims(found: Found, seed: int) -> list[Claim]:
    """The paper's claims about what a student gains, for one seed."""

    def claim(text: str, paper: str, rows: Sequence[str], judge: Callable[..., Judged]) -> list[Claim]:
        models = [found.row(name, seed) for name in rows]
        missing = [row_id(found.study, name, seed) for name, model in zip(rows, models, strict=True) if model is None]
        suffix = "" if seed == found.study.seed else f" (seed {seed})"
        if missing and suffix:
            return []  # a further seed has the rows that were asked for
        if missing:
            return [Claim(text, paper, None, {}, missing)]
        holds, ours = judge(*models)
        return [Claim(text + suffix, paper, holds, ours, [], _undecided(ours))]

    def gain(beam: int) -> Callable[[Measured, Measured], Judged]:
        def judge(baseline: Measured, model: Measured) -> Judged:
            difference = model.bleu(beam) - baseline.bleu(beam)
            p_value = found.bootstrap.p_value(baseline, model, beam)
            ours = {"from": baseline.bleu(beam), "to": model.bleu(beam), "gain": difference}
            ours |= {} if p_value is None else {"p": p_value}
            sure = p_value is not None and p_value < SIGNIFICANT
            return (difference > 0 if sure else None), ours

        return judge

    paper = _Paper(TABLES[found.study.paper])
    tenfold = paper.change(BASELINE, "seq-kd", "p_mode", _as_percent)
    worse = paper.change(BASELINE, "seq-kd", "perplexity")
    tuned = paper.change(TEACHER, TUNED_TEACHER, "greedy")
    greedy, beam = (paper.gain("seq-kd", key) for key in ("greedy", "beam"))
    best_greedy, best_beam = (paper.gain(BEST, key) for key in ("greedy", "beam"))
    word, alike = paper.gain("word-kd", "greedy"), paper.figures("seq-kd", ("greedy", "beam"))
    larger = UNQUOTED if UNQUOTED in (greedy, beam) else f"{greedy} / {beam}"
    return [
        *claim("Seq-KD raises the student's greedy BLEU", greedy, (BASELINE, "seq-kd"), gain(GREEDY)),
        *claim("Seq-KD raises the student's BLEU with beam 5", beam, (BASELINE, "seq-kd"), gain(BEAM)),
        *claim("Seq-KD + Seq-Inter raises greedy BLEU", best_greedy, (BASELINE, BEST), gain(GREEDY)),
        *claim("Seq-KD + Seq-Inter raises BLEU with beam 5", best_beam, (BASELINE, BEST), gain(BEAM)),
        *claim("Word-KD raises greedy BLEU", word, (BASELINE, "word-kd"), gain(GREEDY)),
        *claim("The gain from Seq-KD is larger greedily", larger, (BASELINE, "seq-kd"), _larger_greedily),
        *claim(f"After Seq-KD greedy is within {NEAR} of beam 5", alike, ("seq-kd",), partial(_near_beam, found)),
        *claim("Seq-KD raises p(mode) at least tenfold", tenfold, (BASELINE, "seq-kd"), _tenfold),
        *claim("Perplexity is worse while BLEU is better", worse, (BASELINE, "seq-kd"), _worse_perplexity),
        *claim("Seq-Inter raises the teacher's own greedy BLEU", tuned, (TEACHER, TUNED_TEACHER), gain(GREEDY)),
    ]


class _Paper:
    """What one of the paper's tables says, as text."""

    def __init__(self, table: dict[str, Row]) -> None:
        self._table = table

    def gain(self, row: str, key: str) -> str:
        """Over the baseline."""
        before, after = (self._table.get(name, {}).get(key) for name in (BASELINE, row))
        return UNQUOTED if before is None or after is None else f"{after - before:+.1f}"

    def figures(self, row: str, keys: Sequence[str]) -> str:
        values = self._table.get(row, {})
        return " / ".join(str(values[key]) for key in keys) if values else UNQUOTED

    def change(self, first: str, second: str, key: str, written: Callable[[float], str] = str) -> str:
        before, after = (self._table.get(name, {}).get(key) for name in (first, second))
        return UNQUOTED if before is None or after is None else f"{written(before)} → {written(after)}"


def _as_percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _larger_greedily(baseline: Measured, model: Measured) -> Judged:
    greedy, beam = (model.bleu(beam) - baseline.bleu(beam) for beam in BEAMS)
    return greedy > max(beam, 0), {"greedy": greedy, "beam 5": beam}


def _near_beam(found: Found, model: Measured) -> Judged:
    """Whether greedy search is as good as beam search: it is not where it surely stays behind by more than `NEAR`."""
    greedy, beam = (model.bleu(beam) for beam in BEAMS)
    ours = {"greedy": greedy, "beam 5": beam, "behind": beam - greedy}
    gap = found.bootstrap.of_searches(model, GREEDY, BEAM)
    ours |= {} if gap is None else {"low": gap["low"], "high": gap["high"]}
    if beam - greedy <= NEAR:
        return True, ours
    return (False if gap is not None and gap["low"] > NEAR else None), ours


def _undecided(ours: dict[str, Any]) -> str:
    """Why figures do not say whether a claim holds."""
    return NO_CLEAR_DIFFERENCE if {"p", "low"} & ours.keys() else NOT_TESTED if ours else NOT_MEASURED


def _tenfold(baseline: Measured, model: Measured) -> Judged:
    before, after = (each.get("p_mode", BEAM) for each in (baseline, model))
    if before is None or after is None:
        return None, {}
    ours = {"from": before, "to": after} | ({"times": after / before} if before > 0 else {})
    return after >= 10 * before and after > before, ours


def _worse_perplexity(baseline: Measured, model: Measured) -> Judged:
    before, after = baseline.of_model("perplexity"), model.of_model("perplexity")
    bleu = [each.bleu(BEAM) for each in (baseline, model)]
    return after > before and bleu[1] > bleu[0], {
        "PPL from": before,
        "to": after,
        "BLEU from": bleu[0],
        "to BLEU": bleu[1],
    }


def _speed_claims(found: Found) -> list[Claim]:
    if found.study.speed is None:
        return []
    text = "The greedy student is 10 times as fast as the teacher with beam 5"
    times = [SPEED["student"][device][0] / SPEED["teacher"][device][1] for device in ("gpu", "cpu")]
    paper = f"English→German: {times[0]:.1f} (GPU), {times[1]:.1f} (CPU)"
    rows = found.greedy_speeds()
    if not rows:
        return [Claim(text, paper, None, {}, ["speed"])]
    return [
        Claim(
            f"{text}: {row['row']}, {row['engine']} {row['precision']}, batch {row['batch_size']}",
            paper,
            row["times"]["median"] >= 10,
            {"times": row["times"]["median"], "from": row["times"]["min"], "to": row["times"]["max"]},
            [],
        )
        for row in rows
    ]


def _pruning_claims(found: Found) -> list[Claim]:
    if found.study.pruning is None:
        return []
    text = "80 % pruned: at most 0.4 BLEU below the teacher's beam 5, with 25 times fewer parameters"
    before = TABLES["english-german"][TEACHER]["beam"]
    paper = f"English→German: {before} → {PRUNED[0.8]}, {PRUNED_TIMES[0.8]} times fewer"
    teacher, pruned = (found.row(name, found.study.seed) for name in (TEACHER, "pruned-80"))
    whole = found.unpruned()
    if teacher is None or whole is None or pruned is None:
        models = {TEACHER: teacher, found.study.pruning.row: whole, "pruned-80": pruned}
        return [Claim(text, paper, None, {}, [name for name, model in models.items() if model is None])]
    loss, times = teacher.bleu(BEAM) - pruned.bleu(BEAM), teacher.weights / pruned.weights
    ours = {"teacher": teacher.bleu(BEAM), "unpruned": whole.bleu(BEAM), "pruned": pruned.bleu(BEAM)}
    ours |= {
        "below the teacher": loss,
        "below the unpruned": whole.bleu(BEAM) - pruned.bleu(BEAM),
        "times fewer": times,
    }
    return [Claim(text, paper, loss <= 0.4 and times >= 25, ours, [])]


def _family_claims(found: Found) -> list[Claim]:
    """What the two systems do together; no paper has figures of it."""
    claims = []
    for member in found.members:
        if "beam" not in str(member.of_model("targets")):
            continue
        holds, ours = _near_beam(found, member)
        name = f"{member.row} {member.model}"
        text = f"{name}: greedy is within {NEAR} of its own beam 5"
        claims.append(Claim(text, "–", holds, ours, [], _undecided(ours)))
        planned = found.planned_alone(member)
        if planned is not None:
            claims += _as_good_as_alone(found, member, f"{name}: greedy as good as the same student alone", planned)
    return claims


def _as_good_as_alone(found: Found, member: Measured, text: str, planned: str) -> list[Claim]:
    """Nothing where the row that is planned is another network after all, or of a further seed and missing."""
    alone = found.same_shape("seq-kd", member)
    if alone is None:
        left_out = planned in found.alone or member.seed != found.study.seed
        return [] if left_out else [Claim(text, "–", None, {}, [planned])]
    ours = {"member": member.bleu(GREEDY), f"{alone.row}": alone.bleu(GREEDY)}
    p_value = found.bootstrap.p_value(alone, member, GREEDY)
    ours |= {} if p_value is None else {"p": p_value}
    return [as_good(text, "–", member.bleu(GREEDY) - alone.bleu(GREEDY), p_value, ours)]
