"""The energy of training stages: nothing without codecarbon, its figure where it is installed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from polystill.runs import Run
from polystill.training.loop import train_family
from polystill.training.record import EnergyMeter, StageState

needs_codecarbon = pytest.mark.skipif(find_spec("codecarbon") is None, reason="the extra [energy] is not installed")


def test_without_codecarbon_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polystill.training.record.find_spec", lambda name: None)
    meter = EnergyMeter()
    assert meter.lap() is None
    meter.close()


def test_a_stage_that_was_begun_without_is_never_counted_in_part() -> None:
    values = asdict(StageState())
    assert StageState.restore(values).energy_kwh == 0.0
    del values["energy_kwh"]
    assert StageState.restore(values).energy_kwh is None


@pytest.mark.parametrize(("laps", "total"), [([0.25, 0.5], 0.75), ([0.25, None], None), ([0.0], None)])
def test_a_stages_cost_has_the_sum_of_its_laps(
    laps: list[float | None],
    total: float | None,
    counting_recipe: dict[str, Any],
    prepared_run: Callable[..., Run],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Laps end with a checkpoint and with the stage; a figure of a part of it is none."""
    left = iter([*laps, *[laps[-1] if laps[-1] is None else 0.0] * 100])
    monkeypatch.setattr(EnergyMeter, "lap", lambda self: next(left))
    monkeypatch.setattr(EnergyMeter, "how", "by a test")
    counting_recipe["stages"] = [{"name": "one", "updates": 2}]
    counting_recipe["training"]["checkpoint_every"] = 1
    run = prepared_run(counting_recipe)
    train_family(run)
    cost = run.results().to_json()["cost"]["training.one"]
    assert (cost.get("energy_kwh"), cost.get("energy_by")) == (total, None if total is None else "by a test")


@needs_codecarbon
def test_codecarbon_counts_this_process_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    meter = EnergyMeter()
    found = []
    for _ in range(2):
        end = time.process_time() + 1.0
        while time.process_time() < end:
            pass
        found.append(meter.lap())
    how = meter.how
    meter.close()
    for kwh in found:
        assert kwh is not None and 0 < kwh < 1e-3  # a second of at most 3,600 W
    assert how.startswith("codecarbon: ")
    assert not list(tmp_path.iterdir())
