"""What one update draws, as functions of (seed, stage, update) alone: networks, loss settings, random numbers.

Every rank and every resumed run computes the same, so none of it is kept in a checkpoint.
"""

from __future__ import annotations

import numpy as np

from polystill.config import Objective
from polystill.objectives.vocab_loss import LossSettings
from polystill.objectives.word_kd import WordKdSettings
from polystill.students import Student, StudentSpace


def stage_seed(seed: int, stage: int) -> int:
    """The seed of a stage's batches and students."""
    return seed * 1000 + stage


def random_seed(*numbers: int) -> int:
    """A seed of 64 bits that differs for every (seed, stage, update, rank), for dropout."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def networks_of(objective: Objective, space: StudentSpace, seed: int, update: int) -> list[Student]:
    """The teacher and the students of an update (counted from 1), teacher first."""
    if objective.kind != "aio_kd":
        return [space.teacher]
    draw, sandwich = (update - 1) // objective.sample_every, objective.sampling == "sandwich"
    return [space.teacher, *space.sample(objective.students_per_step, seed=seed, draw=draw, sandwich=sandwich)]


def settings_of(objective: Objective, update: int) -> LossSettings | WordKdSettings:
    """The loss's numbers at an update: kd_weight grows over `kd_warmup` updates."""
    o = objective
    if o.kind == "word_kd":
        return WordKdSettings(alpha=o.alpha, temperature=o.temperature, label_smoothing=o.label_smoothing)
    share = min(1.0, update / o.kd_warmup) if o.kd_warmup else 1.0
    return LossSettings(
        label_smoothing=o.label_smoothing,
        ce_weight=o.ce_weight,
        kd_weight=o.kd_weight * share,
        mutual_weight=o.mutual_weight,
        mutual=o.mutual,
        detach_threshold=o.detach_threshold,
    )
