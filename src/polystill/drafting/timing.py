"""How long a recipe's updates and validations take on this machine."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import NamedTuple

import torch

from polystill.bench.rounds import interleaved, synchronize
from polystill.bench.train import Trial, Variant, load_workload
from polystill.config import Recipe
from polystill.data.packing import PackedDataset
from polystill.objectives.aio_kd import AioKd
from polystill.training.session import best_precision
from polystill.training.validation import validate

_BATCHES, _ROUNDS = 8, 3


class Times(NamedTuple):
    """In seconds, and the threads that they were measured with."""

    update: float
    validation: float
    threads: int

    def training(self, updates: int, validations: int) -> float:
        return updates * self.update + validations * self.validation

    def updates_in(self, seconds: float, validations: int) -> float:
        return (seconds - validations * self.validation) / self.update


def measure_times(recipe: Recipe, data: Path) -> Times:
    """Time updates of a family on the first batches of its packed data, and one validation of all its members."""
    objective = recipe.objective
    assert isinstance(objective, AioKd)
    workload = load_workload(recipe, data, objective.students_per_step, _BATCHES)
    trial = Trial(Variant("family", recipe.training.mode, best_precision()), workload)
    seconds = interleaved({"update": trial.run}, _ROUNDS, lambda: synchronize(workload.device))["update"]
    start = time.perf_counter()
    validation_set = PackedDataset.open(data / "validation")
    validate(trial.model, validation_set, recipe.student_space(trial.model.teacher), objective.label_smoothing)
    took = time.perf_counter() - start
    return Times(statistics.median(seconds) / _BATCHES, took, torch.get_num_threads())
