"""What a stage costs: time, energy, memory, FLOPs, added up in its state, so that a continued stage has all of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch

from polystill.environment.child import process_peak
from polystill.students import Student
from polystill.training.energy import EnergyMeter
from polystill.training.feed import MicroBatch
from polystill.training.frozen import FrozenTeacher
from polystill.training.session import Session
from polystill.training.state import StageState
from polystill.training.step import TrainingStep


class StageCost:
    """Adds to `state`, from when it is made on; `step` and the frozen `teacher` are those of the stage."""

    def __init__(self, session: Session, state: StageState, step: TrainingStep, teacher: FrozenTeacher | None) -> None:
        self._session, self._state, self._step, self._teacher = session, state, step, teacher
        self._clock = Clock()
        self._energy = EnergyMeter(wanted=session.ranks == 1)
        self._device = session.accelerator.device
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)

    def count(self, batch: MicroBatch, networks: Sequence[Student], projections_again: int) -> None:
        """Add the FLOPs of one batch, those of the other ranks' like it."""
        sizes = (*batch.source.shape, batch.target.shape[1])
        model, plan = self._session.model, self._step.plan(networks)
        flops = model.update_flops(plan, *sizes)
        flops += projections_again * model.projection_flops(plan, batch.target.numel())
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

    def record(self) -> dict[str, Any]:
        """The whole stage so far, all ranks together; updates that a kill undid are not in it."""
        self.lap()
        state, t = self._state, self._session
        of_rank = [state.cpu_seconds, state.peak_rss_bytes, state.peak_device_bytes]
        of_ranks = torch.tensor(of_rank, dtype=torch.float64, device=self._device)
        cpu_seconds, peak, device_peak = t.sum_over_ranks(of_ranks).tolist()
        return {
            "seconds": round(state.seconds, 3),
            "cpu_seconds": round(cpu_seconds, 3),
            "target_tokens": state.target_tokens,
            "flops": state.flops,
            "projections_again": state.projections_again,
            "peak_rss_bytes": int(peak),
            **({"peak_device_bytes": int(device_peak)} if self._device.type == "cuda" else {}),
            "processes": t.ranks,
            "threads": torch.get_num_threads(),
            "device": self._device.type,
            "precision": t.precision,
            **({"energy_kwh": state.energy_kwh, "energy_by": self._energy.how} if state.energy_kwh else {}),
        }

    def close(self) -> None:
        self._energy.close()


class Clock:
    """Wall and CPU seconds of this process between two looks at it."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.monotonic(), time.process_time()

    def lap(self) -> tuple[float, float]:
        """(wall, CPU) seconds since the last lap, or since the clock was made."""
        wall, cpu = time.monotonic(), time.process_time()
        lap = wall - self._wall, cpu - self._cpu
        self._wall, self._cpu = wall, cpu
        return lap
