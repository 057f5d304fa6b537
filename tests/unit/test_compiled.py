"""`torch.compile` takes an update's passes and its loss whole, as a GPU computes them: on the device "meta"."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from polystill.models.supernets import Supernets
from polystill.objectives.aio_kd import AioKd
from polystill.objectives.base import Objective
from polystill.objectives.fused import _Batch
from polystill.objectives.nll import Nll
from polystill.objectives.plain import one_rank
from polystill.objectives.projection import Output
from polystill.objectives.selective_kd import SelectiveKd
from polystill.students import Student

META = torch.device("meta")
NETWORKS = [Student(2, 2), Student(1, 2), Student(2, 1)]


@pytest.mark.parametrize("shared", [True, False])
def test_passes_are_one_graph_forward_and_backward(make_model, make_batch, shared: bool) -> None:
    model, batch = make_model(layers=2, dropout=0.1, attention_dropout=0.1).to(META).train(), make_batch().to(META)
    (plan,) = Supernets(model).plans(NETWORKS, "shared" if shared else "plain").values()

    def passes(source: Tensor, target_in: Tensor) -> list[Tensor]:
        return model.hidden_states(source, target_in, plan)

    compiled = torch.compile(passes, fullgraph=True, backend="aot_eager")
    states = compiled(batch.source, batch.target_in)
    assert [x.shape for x in states] == [(5, 7, 16)] * 3
    torch.stack(states).sum().backward()
    assert model.encoder[0].feed_forward.expand.weight.grad.device == META


@pytest.mark.parametrize(
    "objective", [Nll(), AioKd(mutual="no_weight"), SelectiveKd(teacher="x", temperature=2.0)], ids=lambda o: o.kind
)
@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`")
def test_a_loss_and_its_gradients_are_one_graph(objective: Objective) -> None:
    """Loops over chunks and terms included: two of each here."""
    frozen = isinstance(objective, SelectiveKd)
    tensors = [torch.zeros(20, 16, device=META) for _ in range(3)]
    weight, bias, target = torch.zeros(40, 16, device=META), torch.zeros(40, device=META), tensors[0][:, 0].long()

    def loss(states: list[Tensor]) -> tuple[Tensor, Tensor, list[Tensor]]:
        outputs = [Output(x, weight, bias, frozen=frozen and i == 0) for i, x in enumerate(states)]
        return _Batch(outputs, (0, 1, 2), target, objective, 1, one_rank).compute(None)

    with torch.no_grad():
        total, report, gradients = torch.compile(loss, fullgraph=True, backend="aot_eager")(tensors)
    assert total.shape == () and len(report) == 2 * (3 - frozen) + 2
    assert [x.shape for x in gradients] == [(40, 16), (40,), *[(20, 16)] * (3 - frozen)]
