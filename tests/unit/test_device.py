"""What a GPU would like of an update, on the device "meta": it has no numbers, so whoever reads one there fails."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from polystill.config import Training
from polystill.models.elastic import ElasticModel
from polystill.models.supernets import Supernets
from polystill.objectives import base
from polystill.objectives.aio_kd import AioKd
from polystill.objectives.base import Objective
from polystill.objectives.nll import Nll
from polystill.objectives.selective_kd import SelectiveKd
from polystill.students import Chosen, Student, StudentSpace
from polystill.training.feed import MicroBatch, Position, UpdateBatch
from polystill.training.frozen import FrozenTeacher
from polystill.training.loop import StageProgress, StageTraining, train_family
from polystill.training.update import Update, make_optimizer

META = torch.device("meta")


class OnMeta(Accelerator):  # type: ignore[misc]
    device = META


class NoWaiting(TorchDispatchMode):
    """Fails where a tensor is copied from or to the host in a way that a GPU would make it wait for."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        places = {x.device.type for x in tree_leaves((args, kwargs, out)) if isinstance(x, Tensor) and x.ndim}
        if len(places) > 1:
            assert (kwargs or {}).get("non_blocking"), f"{function} waits for a device"
        return out


@pytest.fixture
def run_update(make_model: Callable[..., ElasticModel], make_batch: Callable[..., MicroBatch], monkeypatch) -> Any:
    """Two updates of a family of two supernets on the device, with dropout, clipping and alignments."""
    optimizers, name = sys.modules["torch.optim.optimizer"], "_get_fused_kernels_supported_devices"
    has_fused = getattr(optimizers, name)()
    monkeypatch.setattr(optimizers, name, lambda: [*has_fused, "meta"])

    def run(objective: Objective, supernets: Chosen = "all") -> list[Any]:
        model = Supernets(make_model(layers=2, dropout=0.1), {"small": make_model(layers=1, d_model=8)}).to(META)
        teacher = FrozenTeacher(make_model(layers=1), make_model(layers=1).teacher).to(META)
        space = StudentSpace.from_list([Student(2, 2), Student(1, 1, "small")], [Student(1, 1)]).only("all", supernets)
        model.hold_all_but(space)
        plain = make_batch()
        links = [np.array([(0, 0), (1, 2)]) for _ in plain.source]
        batch = MicroBatch.of(plain.source, plain.target, 39, links)
        training = Training(clip_norm=1.0)
        update = Update(
            model,
            objective,
            space,
            training,
            OnMeta(cpu=True),
            optimizer=make_optimizer(model, training),
            learning_rate=lambda number: 1e-3,
            seed=1,
            teacher=teacher if isinstance(objective, SelectiveKd) else None,
        )
        whole = UpdateBatch([batch], 20, np.arange(5), Position(), Position())
        with NoWaiting():
            return [update(whole, number) for number in (1, 2)]

    return run


@pytest.mark.parametrize("architecture", ["transformer", "lstm"])
@pytest.mark.parametrize(
    "objective", [AioKd(mutual="no_weight"), SelectiveKd(teacher="x", temperature=2.0)], ids=lambda o: o.kind
)
def test_an_update_waits_for_no_device(run_update, objective: Objective) -> None:
    for updated in run_update(objective):
        assert updated.figures.device == META and updated.figures.shape == (3,)
        with pytest.raises(RuntimeError, match="meta"):
            updated.loss  # noqa: B018 - reading it is what waits


@pytest.mark.parametrize(("objective", "supernets"), [(AioKd(), "first"), (SelectiveKd(teacher="there"), "further")])
def test_an_update_of_some_supernets_waits_for_none_either(run_update, objective: Objective, supernets: Chosen) -> None:
    for updated in run_update(objective, supernets):
        assert updated.figures.device == META


def test_what_makes_a_device_wait_is_noticed() -> None:
    numbers = torch.ones(3)
    there = numbers.to(META)
    for wait in (lambda: there.sum().item(), lambda: bool(there[0] > 0), there.cpu, there.tolist, there.nonzero):
        with NoWaiting(), pytest.raises((RuntimeError, AssertionError, NotImplementedError)):
            wait()
    with NoWaiting(), pytest.raises(AssertionError, match="waits for a device"):
        numbers.to(META)
    with NoWaiting():
        assert numbers.to(META, non_blocking=True).device == META


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_an_update_that_is_not_finite_is_left_out_on_the_device(make_model, make_batch, poison: float) -> None:
    """Nothing moves, and Adam counts no step."""
    model, batch, training = Supernets(make_model(layers=1)), make_batch(), Training()
    optimizer = make_optimizer(model, training)
    space = StudentSpace.from_list([model.first.teacher], [])
    update = Update(
        model, Nll(), space, training, Accelerator(cpu=True), optimizer=optimizer, learning_rate=lambda n: 0.1, seed=1
    )
    whole = UpdateBatch([batch], 20, np.arange(5), Position(), Position())
    assert update(whole, 1).applied
    before = [parameter.clone() for parameter in model.parameters()]
    gradient = model.first.output_bias.register_hook(lambda gradient: gradient * poison)
    updated = update(whole, 2)
    assert not updated.applied and math.isfinite(updated.loss) and not math.isfinite(updated.norm)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert {float(state["step"]) for state in optimizer.state.values()} == {1.0}
    gradient.remove()
    assert update(whole, 3).applied
    assert {float(state["step"]) for state in optimizer.state.values()} == {2.0}


def test_the_loop_reads_a_device_rarely(counting_recipe, prepared_run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every tenth update, and before a validation (5) or a checkpoint (8); all updates are shown in the end."""
    training = {**counting_recipe["training"], "validate_every": 5, "checkpoint_every": 8}
    stages = [{"name": "distillation", "updates": 21, "objective": {"mutual": "no_weight"}}]
    run = prepared_run({**counting_recipe, "training": training, "stages": stages})
    read: list[int] = []
    shown: list[int] = []
    noted = StageTraining._read

    def note(self: StageTraining) -> None:
        if self._unread:
            read.append(self.state.update)
        noted(self)

    monkeypatch.setattr(base, "on_host", lambda x: False)
    monkeypatch.setattr(StageTraining, "_read", note)
    monkeypatch.setattr(StageProgress, "updated", lambda self, loss, tokens: shown.append(tokens))
    train_family(run)
    assert read == [5, 8, 10, 15, 16, 20, 21]
    assert len(shown) == 21
