"""Where a stage of training stands: what its continuation depends on, beside weights and optimizer."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from polystill.training.feed import Position


@dataclass
class StageState:
    """Counted so far; the last update that is done, and the batch that follows."""

    update: int = 0
    position: Position = field(default_factory=Position)
    best_score: float = math.inf
    best_update: int = 0
    validations_since_best: int = 0
    skipped: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    target_tokens: int = 0
    flops: int = 0
    projections_again: int = 0
    peak_rss_bytes: int = 0
    """At most, of the processes that worked on the stage."""
    peak_device_bytes: int = 0
    energy_kwh: float | None = 0.0
    """None where it is not known of all updates."""

    @classmethod
    def restore(cls, values: dict[str, Any]) -> StageState:
        return cls(**{"energy_kwh": None, **values, "position": Position(**values["position"])})
