"""How long a recipe's updates and validations take on this machine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import torch

from polystill.bench.rounds import synchronize
from polystill.bench.train import Trial, Variant, load_workload
from polystill.config import Recipe
from polystill.data.packing import PackedDataset
from polystill.objectives.aio_kd import AioKd
from polystill.training.session import best_precision
from polystill.training.validation import validate

_WARM_UP, _FEWEST, _MOST = 2, 4, 32
"""Updates before the clock runs, and timed ones; batches differ in length, so that several are needed."""
_ENOUGH_SECONDS = 10.0
_SHARE_OF_VALIDATION = 8
"""An eighth of the validation set is timed."""


class Times(NamedTuple):
    """In seconds, and the threads that they were measured with."""

    update: float
    validation: float
    threads: int


def measure_times(recipe: Recipe, data: Path) -> Times:
    """Time some updates of a family on its packed data, and a part of a validation of all its members."""
    objective = recipe.objective
    assert isinstance(objective, AioKd)
    workload = load_workload(recipe, data, objective.students_per_step, _WARM_UP + _MOST)
    trial = Trial(Variant("family", recipe.training.mode, best_precision()), workload)
    update = _seconds_of_updates(trial, workload.device)
    start = time.perf_counter()
    validation_set, space = PackedDataset.open(data / "validation"), recipe.student_space(workload.sizes.teacher)
    validate(trial.model, validation_set, space, objective.label_smoothing, ranks=_SHARE_OF_VALIDATION)
    validation = (time.perf_counter() - start) * _SHARE_OF_VALIDATION
    return Times(update, validation, torch.get_num_threads())


def _seconds_of_updates(trial: Trial, device: torch.device) -> float:
    """Seconds of an update, on average."""
    for number in range(_WARM_UP):
        trial.update(number)
    synchronize(device)
    start, done, taken = time.perf_counter(), 0, 0.0
    while done < _FEWEST or (done < _MOST and taken < _ENOUGH_SECONDS):
        trial.update(_WARM_UP + done)
        synchronize(device)
        done, taken = done + 1, time.perf_counter() - start
    return taken / done
