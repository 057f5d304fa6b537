"""Families of several supernets: an update of all of them against its plain twin, and what couples them."""

from collections.abc import Sequence
from itertools import product

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor

from polystill.config import Training
from polystill.models import ARCHITECTURES
from polystill.models.supernets import Supernets
from polystill.models.transformer import Transformer
from polystill.objectives.aio_kd import MUTUAL, AioKd
from polystill.objectives.base import Loss, Objective
from polystill.objectives.nll import Nll
from polystill.objectives.selective_kd import SelectiveKd
from polystill.objectives.word_kd import WordKd
from polystill.students import Student, StudentSpace
from polystill.training.feed import Position, UpdateBatch
from polystill.training.frozen import FrozenTeacher
from polystill.training.update import BatchLoss, Update, make_optimizer

TINY = [Student(e, d, "tiny") for e in (1, 2) for d in (1, 2)]
NETWORKS = [Student(3, 3), Student(2, 1), Student(2, 2, "tiny"), Student(1, 2, "tiny"), Student(2, 1, "recurrent")]
SPACE = StudentSpace.from_list(
    [Student(3, 3), Student(2, 2, "tiny"), Student(2, 1, "recurrent")], [Student(2, 1), Student(1, 2, "tiny")]
)


@pytest.fixture
def architecture() -> str:
    return "transformer"


@pytest.fixture
def supernets(make_model) -> Supernets:
    """Two Transformers, 16 and 8 wide, and an LSTM of 6; the narrow ones predict worse."""
    lstm = ARCHITECTURES["lstm"]
    torch.manual_seed(5)
    config = lstm.config_class(40, 39, 0, d_model=6, encoder_layers=2, decoder_layers=1, dropout=0.1, max_positions=64)
    tiny = make_model(2, d_model=8, ffn_dim=16, seed=3)
    return Supernets(make_model(), {"tiny": tiny, "recurrent": lstm.model_class(config)}).eval()


def _gradients(batch_loss: BatchLoss, batch, networks: Sequence[Student]) -> tuple[Loss, dict[str, Tensor]]:
    batch_loss.model.zero_grad()
    result = batch_loss(batch, networks)
    result.loss.backward()
    named = batch_loss.model.named_parameters()
    return result, {name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in named}


@pytest.mark.parametrize("mutual", MUTUAL)
@pytest.mark.parametrize("mode", ["shared", "exact"])
def test_an_update_of_several_supernets_equals_its_plain_twin(supernets, make_batch, mode, mutual) -> None:
    batch, supernets = make_batch(), supernets.double()
    ratios = sorted(BatchLoss(supernets, AioKd(), "plain")(batch, NETWORKS).ce_ratio)
    objective = AioKd(mutual=mutual, detach_threshold=(ratios[1] + ratios[2]) / 2)
    _assert_twins(supernets, batch, objective, mode)


@pytest.mark.parametrize("objective", [Nll(), WordKd(alpha=0.7, temperature=2.0), SelectiveKd(share=0.4)])
def test_a_frozen_teacher_teaches_all_supernets(supernets, make_model, make_batch, objective) -> None:
    frozen = (
        None if isinstance(objective, Nll) else FrozenTeacher(make_model(2, d_model=12, seed=9).double(), Student(2, 2))
    )
    _assert_twins(supernets.double(), make_batch(), objective, "shared", frozen)


def _assert_twins(
    supernets: Supernets, batch, objective: Objective, mode: str, frozen: FrozenTeacher | None = None
) -> None:
    plain, fast = (BatchLoss(supernets, objective, m, teacher=frozen) for m in ("plain", mode))
    expected, expected_gradients = _gradients(plain, batch, NETWORKS)
    result, gradients = _gradients(fast, batch, NETWORKS)
    for part in ("loss", "ce_each", "kd", "mutual"):
        torch.testing.assert_close(getattr(result, part), getattr(expected, part), rtol=1e-9, atol=1e-9)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected_gradients[name], rtol=1e-7, atol=1e-9)
        assert gradient.any() or "further.supernet-tiny.decoder.1" in name or not expected_gradients[name].any()


def test_detached_supernets_do_not_touch_the_teacher(supernets, make_batch) -> None:
    """With all gradients detached the first supernet learns as if it were alone, and so does every other."""
    batch, objective = make_batch(), AioKd(detach_threshold=0)
    _, together = _gradients(BatchLoss(supernets, objective, "exact"), batch, NETWORKS)
    _, alone = _gradients(BatchLoss(Supernets(supernets.first), objective, "exact"), batch, NETWORKS[:2])
    for name, gradient in alone.items():
        torch.testing.assert_close(together[name], gradient)


def _update(supernets: Supernets, batch, space: StudentSpace = SPACE, dropout: bool = True, **training) -> Update:
    settings = Training(precision="fp32", **training)
    update = Update(
        supernets,
        AioKd(),
        space,
        settings,
        Accelerator(cpu=True),
        optimizer=make_optimizer(supernets, settings, {"tiny": 0.0}),
        learning_rate=lambda update: 0.01,
        seed=1,
        dropout=dropout,
    )
    assert update.networks(1)[0] == space.teacher
    micro_batch = UpdateBatch([batch], int((batch.target != 39).sum()), torch.arange(5).numpy(), Position(), Position())
    update(micro_batch, 1)
    return update


def test_layers_that_a_stage_does_not_train_stay_as_they_are(supernets, make_batch) -> None:
    smallest = SPACE.only("smallest")
    supernets.hold_all_but(smallest)
    before = {name: tensor.clone() for name, tensor in supernets.state_dict().items()}
    _update(supernets, make_batch(), smallest)
    moved = {name for name, tensor in supernets.state_dict().items() if not tensor.equal(before[name])}
    assert {name for name in moved if name.startswith("first.")} == {
        f"first.{name}" for name in supernets.network(Student(2, 1)).state()
    }
    assert any(name.startswith("further.supernet-recurrent.") for name in moved)
    supernets.hold_all_but(SPACE)
    assert all(parameter.requires_grad for parameter in supernets.parameters())


def test_deeper_networks_grow_from_the_smallest(make_model, make_batch) -> None:
    batch, model = make_batch(), Transformer(make_model(dropout=0.0).config)
    networks = [Student(e, d) for e, d in product((2, 3), (1, 2, 3))]
    before = [model(batch.source, batch.target_in, network) for network in networks]
    model.grow_from(networks[0])
    after = [model(batch.source, batch.target_in, network) for network in networks]
    torch.testing.assert_close(after[0], before[0], rtol=0, atol=0)
    for deep, was in zip(after[1:], before[1:], strict=True):
        torch.testing.assert_close(deep, after[0], rtol=1e-4, atol=1e-4)
        assert not torch.allclose(was, after[0], rtol=1e-4, atol=1e-4)
    model(batch.source, batch.target_in).square().mean().backward()
    gradients = [parameter.grad for name, parameter in model.named_parameters() if "output.weight" in name]
    assert all(gradient is not None and gradient.any() for gradient in gradients)


def test_a_stage_may_be_without_dropout(make_model, make_batch) -> None:
    space = StudentSpace.from_list([Student(3, 3)], [Student(2, 1)])

    def trained(dropout: float, on: bool) -> Tensor:
        model = Supernets(make_model(dropout=dropout))
        _update(model, make_batch(), space, dropout=on)
        return model.first.embedding.detach()

    without = trained(0.0, True)
    assert trained(0.5, False).equal(without)
    assert not trained(0.5, True).equal(without)


def test_gradients_are_clipped_by_supernet(supernets, make_batch) -> None:
    _update(supernets, make_batch(), clip_norm=0.001)
    for supernet in supernets.each():
        norm = torch.stack([p.grad.norm() for p in supernet.parameters() if p.grad is not None]).norm()
        assert norm == pytest.approx(0.001, rel=1e-3)


def test_a_supernet_has_a_learning_rate_of_its_own(supernets, make_batch) -> None:
    before = {name: [p.clone() for p in supernet.parameters()] for name, supernet in supernets.items()}
    _update(supernets, make_batch())
    moved = {
        name: any(not torch.equal(p, q) for p, q in zip(supernet.parameters(), before[name], strict=True))
        for name, supernet in supernets.items()
    }
    assert moved == {"": True, "tiny": False, "recurrent": True}


@pytest.mark.parametrize(("mode", "passes"), [("shared", 3), ("exact", 5), ("plain", 5)])
def test_flops_are_those_of_all_supernets(supernets, mode, passes) -> None:
    plans = supernets.plans(NETWORKS, mode)
    assert sum(len(plan.encoder_depths) for plan in plans.values()) == passes
    expected = sum(supernets[name].update_flops(plan, 4, 6, 7) for name, plan in plans.items())
    assert supernets.update_flops(plans, 4, 6, 7) == expected
    assert supernets.projection_flops(plans, 28) == 2 * 28 * 40 * (2 * 16 + 2 * 8 + 6)


@pytest.mark.parametrize(("mode", "tiny"), [("exact", True), ("plain", False)])
def test_networks_without_dropout_share_passes_in_exact_mode(make_model, mode: str, tiny: bool) -> None:
    supernets = Supernets(make_model(), {"tiny": make_model(2, dropout=0.0)})
    plans = supernets.plans(NETWORKS[:4], mode)
    assert {name: plan.shared for name, plan in plans.items()} == {"": False, "tiny": tiny}


@pytest.mark.parametrize("name", ["half", "type", "keys", "first", "further"])
def test_a_supernet_may_have_the_name_of_a_method(make_model, name: str) -> None:
    narrow = make_model(d_model=8)
    supernets = Supernets(make_model(), {name: narrow})
    assert supernets[name] is narrow and [each for each, _ in supernets.items()] == ["", name]
    assert len(supernets.state_dict()) == 2 * len(narrow.state_dict())


def test_every_pair_of_two_supernets_is_in_the_loss(supernets, make_batch) -> None:
    """Ratios name each student in the order of the networks, whatever supernet it is of."""
    batch = make_batch()
    for a, b in product([Student(1, 1), Student(3, 2)], TINY):
        result = BatchLoss(supernets, AioKd(), "shared")(batch, [Student(3, 3), a, b])
        for student, ce in zip([a, b], result.ce_each[1:], strict=True):
            alone = BatchLoss(supernets, Nll(), "shared")(batch, [student])
            torch.testing.assert_close(ce, alone.ce_each[0])
