"""How the networks of a family act on each other while they are trained, from what its run has left.

- how often a student's gradient was kept from the teacher, and when, from the training curves (every tenth update);
- every candidate's cross-entropy over the teacher's, at every validation;
- how alike the members' translations are in the end.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from polystill.decoding.metrics import bleu_metric
from polystill.runs import Run

Values = dict[str, Any]
_TAG = "ce_ratio/"
BINS = 10
"""Stretches of the whole training in which draws are counted; more of them would have few draws each."""


def interaction(run: Run, teacher: str) -> Values:
    """Of each finished stage: `detached` (share of draws, by student), `draws`, `bins`, and `ce_ratio` over `updates`.

    `length` is the stage's number of updates; all others are counted from its beginning.
    `draws` counts those that the curves have. `bins` counts them in stretches as long in all stages: `until` (the last
    update of each) and, by student, `draws` and `detached`. `ce_ratio` is of label-smoothed cross-entropies of the
    validation set.
    """
    records = [(stage, run.record(f"training.{stage.name}")) for stage in run.recipe.stages]
    finished = [(stage, record) for stage, record in records if record is not None]
    stretch = max(1, -(-sum(record["updates"] for _, record in finished) // BINS))
    stages = {}
    for stage, record in finished:
        threshold = run.recipe.stage_objective(stage).detaches_at or 0.0
        curve = _validation_ratios(record["history"], teacher)
        detached = _detached(run.logs / stage.name, threshold, record["updates"], stretch)
        stages[stage.name] = {"threshold": threshold, "length": record["updates"], **detached, **curve}
    return stages


def _validation_ratios(history: Sequence[Values], teacher: str) -> Values:
    names = list(history[0]["cross_entropy"]) if history else []
    ratios = {
        name: [round(point["cross_entropy"][name] / point["cross_entropy"][teacher], 5) for point in history]
        for name in names
    }
    return {"updates": [point["update"] for point in history], "ce_ratio": ratios}


def _detached(logs: Path, threshold: float, updates: int, stretch: int) -> Values:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    if not logs.is_dir():
        return {}
    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it tells of every time that the run was continued
    curves = EventAccumulator(str(logs), size_guidance={"scalars": 0}).Reload()
    until = [*range(stretch, updates, stretch), updates]
    drawn: dict[str, list[int]] = {}
    detached: dict[str, list[int]] = {}
    for tag in sorted(curves.Tags()["scalars"]):
        if tag.startswith(_TAG):
            name = tag.removeprefix(_TAG)
            drawn[name], detached[name] = [0] * len(until), [0] * len(until)
            for event in curves.Scalars(tag):
                place = min((event.step - 1) // stretch, len(until) - 1)
                drawn[name][place] += 1
                detached[name][place] += event.value >= threshold
    draws = {name: sum(counts) for name, counts in drawn.items()}
    return {
        "detached": {name: round(sum(counts) / draws[name], 4) for name, counts in detached.items()},
        "draws": draws,
        "bins": {"until": until, "draws": drawn, "detached": detached},
    }


def likeness(said: Mapping[str, Sequence[str]], teacher: str, target_language: str) -> Values:
    """Of students' translations of one text, one a line of it.

    `same`: mean share of equal translations over all pairs; `same_as_teacher`; `bleu_to_teacher`: each against the
    teacher's as if they were references.
    """
    pairs = [share_equal(said[a], said[b]) for a, b in combinations(said, 2)]
    found: Values = {"same": round(sum(pairs) / len(pairs), 4)} if pairs else {}
    if teacher in said:
        others = {name: lines for name, lines in said.items() if name != teacher}
        found["same_as_teacher"] = {name: round(share_equal(lines, said[teacher]), 4) for name, lines in others.items()}
        bleu = bleu_metric(target_language, references=[said[teacher]])
        scores = {name: bleu.corpus_score(lines, None).score for name, lines in others.items()}
        found["bleu_to_teacher"] = {name: round(score, 2) for name, score in scores.items()}
    return found


def share_equal(one: Sequence[str], other: Sequence[str]) -> float:
    return sum(a == b for a, b in zip(one, other, strict=True)) / len(one)
