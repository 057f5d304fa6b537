"""What a stage counts of its networks' interaction: every draw, in tenths of the stage, and through a resume."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest
import torch

from polystill.objectives.aio_kd import AioKd
from polystill.objectives.base import Loss
from polystill.objectives.nll import Nll
from polystill.objectives.word_kd import WordKd
from polystill.runs import Run
from polystill.students import Student
from polystill.training.loop import train_family
from polystill.training.record import Interaction, StageState
from polystill.training.update import stage_seed

TEACHER, SMALL, MIDDLE = Student(3, 3), Student(1, 1), Student(2, 1)


def _loss(*ratios: float) -> Loss:
    ce = 2 * torch.tensor([1.0, *ratios], dtype=torch.float64)
    return Loss(ce.sum(), ce.sum(), ce.sum(), ce.sum(), ce, ce)


def test_draws_are_counted_in_tenths_of_the_stage() -> None:
    state = StageState()
    interaction = Interaction(state, 40, AioKd(detach_threshold=1.1))
    for update in range(1, 41):
        state.update = update
        interaction.add([TEACHER, SMALL], _loss(1.5 if update <= 6 else 1.0))
        if update > 38:
            interaction.add([TEACHER, MIDDLE, MIDDLE], _loss(1.1, 1.05))
    record = interaction.record()["interaction"]
    assert record["threshold"] == 1.1 and record["until"] == [4, 8, 12, 16, 20, 24, 28, 32, 36, 40]
    assert record["draws"] == {"e1d1": [4] * 10, "e2d1": [0] * 9 + [4]}
    assert record["detached"] == {"e1d1": [4, 2] + [0] * 8, "e2d1": [0] * 9 + [2]}
    assert record["ce_ratio"] == {"e1d1": [1.5, 1.25] + [1.0] * 8, "e2d1": [None] * 9 + [1.075]}


def test_an_update_that_was_left_out_is_no_draw() -> None:
    state = StageState(update=1)
    interaction = Interaction(state, 10, AioKd())
    interaction.add([TEACHER, SMALL, MIDDLE], _loss(math.nan, math.nan))
    interaction.add([TEACHER, SMALL], _loss(1.25))
    record = interaction.record()["interaction"]
    assert record["draws"] == {"e1d1": [1], "e2d1": [0]} and record["detached"] == {"e1d1": [1], "e2d1": [0]}
    assert record["ce_ratio"] == {"e1d1": [1.25], "e2d1": [None]}


def test_a_stage_that_stops_early_or_is_made_longer_keeps_its_bins() -> None:
    state = StageState(update=3)
    Interaction(state, 20, AioKd()).add([TEACHER, SMALL], _loss(1.0))
    restored = StageState.restore(asdict(state))
    longer = Interaction(restored, 60, AioKd())
    restored.update = 24
    longer.add([TEACHER, SMALL], _loss(1.0))
    assert longer.record()["interaction"]["until"] == [*range(2, 23, 2), 24]


def test_one_network_alone_has_no_record() -> None:
    state = StageState(update=1)
    interaction = Interaction(state, 10, Nll())
    interaction.add([TEACHER], _loss())
    assert interaction.record() == {}


def test_students_of_a_frozen_teacher_are_compared_with_no_other() -> None:
    interaction = Interaction(StageState(update=1), 10, WordKd(teacher="somewhere"))
    interaction.add([MIDDLE, SMALL], _loss(1.25))
    assert interaction.record() == {}


def test_students_of_a_further_supernet_by_itself_are_compared_with_no_other() -> None:
    interaction = Interaction(StageState(update=1), 10, Nll())
    interaction.add([Student(2, 2, "small"), Student(1, 1, "small")], _loss(1.25))
    assert interaction.record() == {}


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_run_counts_every_draw_of_every_micro_batch(
    accumulate: int, counting_recipe: dict[str, Any], prepared_run: Callable[..., Run]
) -> None:
    counting_recipe["training"]["accumulate"] = accumulate
    run = prepared_run(counting_recipe)
    train_family(run)
    for index, stage in enumerate(run.recipe.stages):
        drawn: dict[str, int] = {}
        space = run.recipe.student_space(run.recipe.model.teacher)
        for update in range(1, stage.updates + 1):
            objective = run.recipe.stage_objective(stage)
            for student in objective.networks(space, stage_seed(run.recipe.seed, index), update)[1:]:
                drawn[student.name] = drawn.get(student.name, 0) + accumulate
        record = run.record(f"training.{stage.name}")
        assert record is not None
        counted = record["interaction"]
        assert {name: sum(draws) for name, draws in counted["draws"].items()} == drawn
        assert counted["until"][-1] == stage.updates
        ratios = [r for bins in counted["ce_ratio"].values() for r in bins if r is not None]
        assert all(0.5 < ratio < 2 for ratio in ratios)


def test_a_stopped_stage_goes_on_counting(counting_recipe: dict[str, Any], prepared_run: Callable[..., Run]) -> None:
    counting_recipe["stages"] = counting_recipe["stages"][:1]
    whole = prepared_run(counting_recipe, "whole")
    train_family(whole)
    shorter = copy.deepcopy(counting_recipe)
    shorter["stages"][0]["updates"] = 11
    run = prepared_run(shorter, "stopped")
    train_family(run)
    run.close()
    run = prepared_run(counting_recipe, "stopped")
    train_family(run)
    records = [r.record("training.distillation") for r in (whole, run)]
    assert records[0] is not None and records[1] is not None
    assert records[0]["interaction"] == records[1]["interaction"]
