"""The record of a stage: its position, its costs, and how its networks act on each other.

All counts are part of a checkpoint, so a stage that was stopped and continued has those of the whole.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from polystill.environment.child import process_peak
from polystill.objectives.base import FrozenTeacherObjective, Loss, Objective
from polystill.runs.results import Cost
from polystill.students import Student
from polystill.training.feed import MicroBatch, Position
from polystill.training.frozen import FrozenTeacher
from polystill.training.session import Session
from polystill.training.update import BatchLoss


@dataclass
class StageState:
    """The state that a stage continues from, beside weights and optimizer: counts after the last update."""

    update: int = 0
    position: Position = field(default_factory=Position)
    """Of the next batch."""
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
    bin_updates: int = 0
    """Updates in each bin of `students`: a tenth of those that the stage was begun with."""
    students: dict[str, list[list[float]]] = field(default_factory=dict)
    """For each drawn student and each bin so far: draws, detached draws, sum of the ratios of cross-entropies."""

    @classmethod
    def restore(cls, values: dict[str, Any]) -> StageState:
        return cls(**{"energy_kwh": None, **values, "position": Position(**values["position"])})


class Interaction:
    """Counts in a stage's state how often each student was drawn, and how often its teacher was detached from it.

    Every draw of every micro-batch counts in which the teacher learns as well: no student is compared with a frozen
    teacher. Ratios stay on their device until `flush`, so that a GPU is not waited for.
    """

    BINS = 10

    def __init__(self, state: StageState, updates: int, objective: Objective) -> None:
        self._state, self._threshold = state, objective.detaches_at
        self._frozen = isinstance(objective, FrozenTeacherObjective)
        self._pending: list[tuple[int, Sequence[Student], Tensor]] = []
        state.bin_updates = state.bin_updates or -(-updates // self.BINS)

    def compares(self, networks: Sequence[Student]) -> bool:
        """Whether the first of these networks is the teacher of the others: a further supernet has none."""
        return len(networks) > 1 and not self._frozen and not networks[0].supernet

    def add(self, networks: Sequence[Student], loss: Loss) -> None:
        """Count one micro-batch of the state's update."""
        if self.compares(networks):
            self._pending.append(((self._state.update - 1) // self._state.bin_updates, networks[1:], loss.ratios))

    def flush(self) -> None:
        """Bring the state up to date."""
        if not self._pending:
            return
        ratios = iter(torch.cat([ratios for _, _, ratios in self._pending]).tolist())
        for place, students, _ in self._pending:
            for student in students:
                bins = self._state.students.setdefault(student.name, [])
                bins += [[0, 0, 0.0] for _ in range(place + 1 - len(bins))]
                ratio = next(ratios)
                if not math.isfinite(ratio):
                    continue  # of an update that was left out
                bins[place][0] += 1
                bins[place][1] += self._threshold is not None and not ratio < self._threshold
                bins[place][2] += ratio
        self._pending.clear()

    def record(self) -> dict[str, Any]:
        """`interaction` of the stage's record, or nothing where no students were drawn.

        `until`: the last update of each bin. By student and bin `draws`, `detached` and `ce_ratio`, the mean ratio of
        its cross-entropy to the teacher's (None without draws); `threshold` is the ratio that detaches.
        """
        self.flush()
        state = self._state
        if not state.students:
            return {}
        until = [*range(state.bin_updates, state.update, state.bin_updates), state.update]
        names = sorted(state.students, key=Student.parse)
        padded = {
            name: state.students[name] + [[0, 0, 0.0]] * (len(until) - len(state.students[name])) for name in names
        }
        return {
            "interaction": {
                "threshold": self._threshold,
                "until": until,
                "draws": {name: [draws for draws, _, _ in bins] for name, bins in padded.items()},
                "detached": {name: [detached for _, detached, _ in bins] for name, bins in padded.items()},
                "ce_ratio": {
                    name: [round(total / draws, 5) if draws else None for draws, _, total in bins]
                    for name, bins in padded.items()
                },
            }
        }


class StageCost:
    """Adds up in a stage's state what it costs: time, energy, memory, FLOPs."""

    def __init__(
        self, session: Session, state: StageState, batch_loss: BatchLoss, teacher: FrozenTeacher | None
    ) -> None:
        self._session, self._state, self._batch_loss, self._teacher = session, state, batch_loss, teacher
        self._clock = Clock()
        self._energy = EnergyMeter(wanted=session.ranks == 1)
        self._device = session.accelerator.device
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)

    def count(self, batch: MicroBatch, networks: Sequence[Student], projections_again: int) -> None:
        """Add the FLOPs of one batch, those of the other ranks' like it."""
        sizes = (*batch.source.shape, batch.target.shape[1])
        model, plans = self._session.model, self._batch_loss.plans(networks)
        flops = model.update_flops(plans, *sizes)
        flops += projections_again * model.projection_flops(plans, batch.target.numel())
        flops += self._teacher.flops(*sizes) if self._teacher else 0
        self._state.flops += self._session.ranks * flops
        self._state.projections_again += projections_again

    def lap(self) -> None:
        """Add what this process has spent since the last lap."""
        state = self._state
        wall, cpu = self._clock.lap()
        state.seconds += wall
        state.cpu_seconds += cpu
        before, energy = state.energy_kwh, self._energy.lap()
        state.energy_kwh = None if before is None or energy is None else before + energy
        state.peak_rss_bytes = max(state.peak_rss_bytes, process_peak())
        if self._device.type == "cuda":
            state.peak_device_bytes = max(state.peak_device_bytes, torch.cuda.max_memory_allocated(self._device))

    def record(self) -> Cost:
        """The whole stage so far, all ranks together; updates that a kill undid are not in it."""
        self.lap()
        state, session = self._state, self._session
        of_rank = [state.cpu_seconds, state.peak_rss_bytes, state.peak_device_bytes]
        of_ranks = torch.tensor(of_rank, dtype=torch.float64, device=self._device)
        cpu_seconds, peak, device_peak = session.sum_over_ranks(of_ranks).tolist()
        return Cost(
            seconds=round(state.seconds, 3),
            cpu_seconds=round(cpu_seconds, 3),
            target_tokens=state.target_tokens,
            flops=state.flops,
            projections_again=state.projections_again,
            peak_rss_bytes=int(peak),
            peak_device_bytes=int(device_peak) if self._device.type == "cuda" else None,
            processes=session.ranks,
            threads=torch.get_num_threads(),
            device=self._device.type,
            precision=session.precision,
            energy_kwh=state.energy_kwh or None,
            energy_by=self._energy.how if state.energy_kwh else "",
        )

    def close(self) -> None:
        self._energy.close()


class Clock:
    """Wall and CPU seconds of this process between two laps."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.monotonic(), time.process_time()

    def lap(self) -> tuple[float, float]:
        """(wall, CPU) seconds since the last lap, or since the clock was made."""
        wall, cpu = time.monotonic(), time.process_time()
        lap = wall - self._wall, cpu - self._cpu
        self._wall, self._cpu = wall, cpu
        return lap


class EnergyMeter:
    """The energy of this process from when it is made until `close`, by codecarbon (the extra [energy]), offline.

    Where the processor's own counters can be read (RAPL), they are: they count all that runs on the processor.
    Elsewhere the processor's part is an estimate: its TDP (or 85 W, if codecarbon does not know it), times the share of
    its cores' time that this process took. Memory is an estimate by its size; NVIDIA's GPUs count for themselves.
    Without codecarbon, or unless `wanted`, it does nothing and knows nothing.
    """

    def __init__(self, *, wanted: bool = True) -> None:
        self._tracker: Any = None
        self._counted = 0.0
        if not wanted or find_spec("codecarbon") is None:
            return
        from codecarbon import OfflineEmissionsTracker

        logging.getLogger("codecarbon").setLevel(logging.CRITICAL)  # its own setting comes after its first words
        self._tracker = OfflineEmissionsTracker(
            tracking_mode="process",
            output_methods=[],
            log_level="critical",
            country_iso_code="USA",  # it asks for one; of no consequence, as the next line says what a kWh emits
            force_carbon_intensity_g_co2e_kwh=1000.0,  # so that what it calls kilograms are kWh
        )
        self._tracker.start()

    @property
    def how(self) -> str:
        """The source of the processor's part, if it is known."""
        from codecarbon.core.cpu import is_rapl_available

        if is_rapl_available():
            return "codecarbon: the processor's counters (RAPL)"
        return "codecarbon: estimated from the processor's TDP and this process's time on it"

    def lap(self) -> float | None:
        """kWh since the last lap, or since the start; None where that is not known."""
        total = self._tracker.flush() if self._tracker is not None else None
        if total is None:
            return None
        lap, self._counted = total - self._counted, total
        return float(lap)

    def close(self) -> None:
        if self._tracker is not None:
            self._tracker.stop()
            self._tracker = None
