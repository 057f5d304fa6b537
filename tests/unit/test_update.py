"""The batched, fused step against its plain twin: losses and gradients for every pair of a space, dropout off."""

from itertools import product

import numpy as np
import pytest
import torch

from polystill.models.layers import score_mask, split_heads
from polystill.models.supernets import Supernets
from polystill.models.transformer import Transformer
from polystill.objectives import base
from polystill.objectives.aio_kd import AioKd
from polystill.objectives.base import Loss
from polystill.objectives.nll import Nll
from polystill.students import Student
from polystill.training.feed import MicroBatch
from polystill.training.update import BatchLoss, Expectation

SPACE = [Student(e, d) for e in range(1, 4) for d in range(1, 4)]


def _gradients(batch_loss: BatchLoss, batch, networks):
    batch_loss.model.zero_grad()
    result = batch_loss(batch, networks)
    result.loss.backward()
    gradients = {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
        for name, parameter in batch_loss.model.named_parameters()
    }
    return result, gradients


@pytest.mark.parametrize("architecture", ["transformer", "lstm"])
@pytest.mark.parametrize("mutual", ["none", "no_weight"])
@pytest.mark.parametrize("mode", ["shared", "exact"])
def test_losses_and_gradients_of_every_pair_equal_the_plain_twin(make_model, make_batch, mode, mutual) -> None:
    model, batch = make_model().double(), make_batch()
    ratios = sorted(BatchLoss(Supernets(model), AioKd(), "plain")(batch, [model.teacher, *SPACE]).ce_ratio)
    objective = AioKd(mutual=mutual, detach_threshold=(ratios[3] + ratios[4]) / 2)
    plain, fast = (BatchLoss(Supernets(model), objective, m) for m in ("plain", mode))
    decisions = set()
    # The LSTM's loops are slow, and it batches every pair alike.
    pairs = list(product(SPACE, SPACE))
    for a, b in pairs if isinstance(model, Transformer) else pairs[::13]:
        networks = [model.teacher, a, b]
        expected, expected_gradients = _gradients(plain, batch, networks)
        result, gradients = _gradients(fast, batch, networks)
        torch.testing.assert_close(result.loss, expected.loss, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(result.ce_each, expected.ce_each, rtol=1e-9, atol=1e-9)
        for name, gradient in gradients.items():
            torch.testing.assert_close(gradient, expected_gradients[name], rtol=1e-7, atol=1e-9)
        decisions |= {ratio < objective.detach_threshold for ratio in result.ce_ratio}
    assert decisions == {True, False}  # both sides of the threshold were met


@pytest.mark.parametrize("mode", ["shared", "exact", "plain"])
def test_teacher_alone_is_the_smoothed_nll(make_model, make_batch, mode) -> None:
    model, batch = make_model(), make_batch()
    result = BatchLoss(Supernets(model), Nll(label_smoothing=0.1), mode)(batch, [model.teacher])
    logits = model(batch.source, batch.target_in)
    log_p, real = logits.log_softmax(-1), batch.target != model.pad_id
    others = 0.1 / (log_p.shape[-1] - 1)
    q = torch.full_like(log_p, others).scatter_(-1, batch.target[..., None], 0.9)
    expected = -(q * log_p).sum(-1)[real].sum()
    torch.testing.assert_close(result.loss, expected, rtol=1e-5, atol=1e-4)


def test_exact_mode_draws_masks_of_its_own_for_equal_networks(make_model, make_batch) -> None:
    model, batch = make_model(dropout=0.3).train(), make_batch()
    twice = [model.teacher, Student(2, 2), Student(2, 2)]

    def ratios(mode: str) -> list[float]:
        torch.manual_seed(1)
        return BatchLoss(Supernets(model), AioKd(), mode)(batch, twice).ce_ratio

    shared, exact = ratios("shared"), ratios("exact")
    assert shared[0] == shared[1]
    assert exact[0] != exact[1]


def test_plain_kernels_give_the_values_and_gradients_of_the_fast_ones(make_model, make_batch) -> None:
    fast, batch = make_model(dropout=0.0).double(), make_batch()
    plain = fast.with_settings(kernels="plain").double()
    plain.load_state_dict(fast.state_dict())  # float64 as it is
    networks = [fast.teacher, Student(3, 1), Student(2, 2)]
    losses = [BatchLoss(Supernets(model.train()), AioKd(), "plain") for model in (fast, plain)]
    (expected, expected_gradients), (result, gradients) = (_gradients(each, batch, networks) for each in losses)
    torch.testing.assert_close(result.loss, expected.loss, rtol=1e-9, atol=1e-9)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected_gradients[name], rtol=1e-7, atol=1e-9)


def test_plain_kernels_are_torchs_own(make_model, make_batch) -> None:
    fast = make_model(dropout=0.3, attention_dropout=0.2, activation_dropout=0.2).train()
    plain, batch = fast.with_settings(kernels="plain").train(), make_batch()

    def kernels(model) -> set[str]:
        with torch.profiler.profile() as profile:
            model(batch.source, batch.target_in)
        return {event.name for event in profile.events()}

    assert {"aten::scaled_dot_product_attention", "aten::dropout"} <= kernels(plain)
    assert not {"aten::scaled_dot_product_attention", "aten::dropout", "aten::bernoulli_"} & kernels(fast)


def test_guesses_of_decisions_are_given_up_where_they_do_not_pay(make_model, make_batch) -> None:
    """Two batches that decide otherwise take turns, so that what was decided last is always wrong; then one stays."""
    model, batches = make_model(), [make_batch(seed=seed) for seed in (1, 2)]
    networks = [model.teacher, Student(1, 1)]
    ratios = [BatchLoss(Supernets(model), AioKd(), "plain")(batch, networks).ce_ratio[0] for batch in batches]
    fused = BatchLoss(Supernets(model), AioKd(detach_threshold=sum(ratios) / 2), "shared")
    again = [fused(batches[i % 2], networks).projections_again for i in range(15)]
    assert again == [1] + [3] * 8 + [1] * 6
    again = [fused(batches[0], networks).projections_again for _ in range(15)]
    assert again[-1] == 0


def test_a_device_makes_no_guesses_and_no_projection_again(make_model, make_batch, monkeypatch) -> None:
    model, batches = make_model(), [make_batch(seed=seed) for seed in (1, 2)]
    networks, objective = [model.teacher, Student(1, 1), Student(2, 1)], AioKd(mutual="no_weight")
    expected = [BatchLoss(Supernets(model), objective, "shared")(batch, networks).loss for batch in batches]
    monkeypatch.setattr(base, "on_host", lambda x: False)
    batch_loss = BatchLoss(Supernets(model), objective, "shared")
    for _ in range(2):
        results = [batch_loss(batch, networks) for batch in batches]
        assert [result.projections_again for result in results] == [0, 0]
        assert batch_loss._expectation.cross_entropies(networks) is None
        torch.testing.assert_close([result.loss for result in results], expected)


def _loss_with(ratios: list[float]) -> Loss:
    ce = torch.tensor([1.0, *ratios], dtype=torch.float64)
    total = ce.sum()
    return Loss(total, total, total, total, ce_each=ce, ce_decided=ce)


def test_an_expectation_is_what_was_decided_when_the_students_were_last_drawn() -> None:
    teacher, small, middle = Student(3, 3), Student(1, 1), Student(2, 2)
    expectation = Expectation(AioKd(detach_threshold=1.1))
    assert expectation.cross_entropies([teacher, small]) is None
    expectation.learn([teacher, small], _loss_with([1.2]))
    assert expectation.cross_entropies([teacher, middle]) is None
    expectation.learn([teacher, middle, small], _loss_with([1.05, 1.3]))
    guess = expectation.cross_entropies([teacher, small, middle])
    assert guess is not None and guess.tolist() == [1.0, 1.3, 1.05]


@pytest.mark.parametrize("objective", [Nll(), AioKd(detach_threshold=0.0)])
def test_an_objective_that_decides_nothing_is_not_guessed_at(objective) -> None:
    expectation, networks = Expectation(objective), [Student(3, 3), Student(1, 1)]
    expectation.learn(networks, _loss_with([1.2]))
    assert expectation.cross_entropies(networks) is None


# --- guided alignment -------------------------------------------------------------------------------------------------


@pytest.fixture
def aligned_batch(make_batch) -> MicroBatch:
    """A batch in which every sentence has a link, some tokens have two, and some none."""
    batch = make_batch()
    links = [np.array([(0, 0), (1, 0), (0, 2), (i % 3, 3)]) for i in range(len(batch.source))]
    return MicroBatch.of(batch.source, batch.target, 39, links)


@pytest.mark.parametrize("architecture", ["transformer", "lstm"])
@pytest.mark.parametrize("mode", ["shared", "exact"])
def test_alignments_are_learnt_as_by_the_plain_twin(make_model, aligned_batch, mode) -> None:
    supernets = Supernets(make_model().double(), {"small": make_model(layers=2, d_model=8, seed=2).double()})
    networks = [Student(3, 3), Student(1, 1), Student(3, 1), Student(1, 1), Student(2, 2, "small")]
    plain, fast = (BatchLoss(supernets, AioKd(), m, alignment_weight=0.7) for m in ("plain", mode))
    (expected, expected_gradients), (result, gradients) = (
        _gradients(b, aligned_batch, networks) for b in (plain, fast)
    )
    torch.testing.assert_close(result.loss, expected.loss, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(result.alignment, expected.alignment, rtol=1e-9, atol=1e-9)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected_gradients[name], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("architecture", ["transformer", "lstm"])
@pytest.mark.parametrize("mode", ["shared", "exact", "plain"])
def test_alignments_add_marians_cost_and_leave_the_rest_alone(make_model, make_batch, aligned_batch, mode) -> None:
    model = make_model()
    networks = [model.teacher, Student(1, 1), Student(2, 1)]
    batch_loss = BatchLoss(Supernets(model), AioKd(), mode, alignment_weight=0.5)
    without, with_alignment = batch_loss(make_batch(), networks), batch_loss(aligned_batch, networks)
    assert without.alignment is None
    torch.testing.assert_close(with_alignment.ce_each, without.ce_each)
    wanted = torch.zeros(5, 7, 7).flatten().index_put((aligned_batch.links,), aligned_batch.link_shares).view(5, 7, 7)
    cost = torch.zeros(())
    for network in networks:
        attention: list[torch.Tensor] = []
        model(aligned_batch.source, aligned_batch.target_in, network, attention)
        (weights,) = attention
        torch.testing.assert_close(weights.sum(-1), torch.ones(5, 7))
        assert not weights[(aligned_batch.source == model.pad_id)[:, None].expand_as(weights)].any()
        cost += -(wanted * (weights + 1e-6).log()).sum()
    torch.testing.assert_close(with_alignment.loss - without.loss, 0.5 * cost, rtol=1e-4, atol=1e-3)


def test_the_first_head_is_the_one_that_attention_computes(make_model, make_batch) -> None:
    """The module's output is that of its heads' weights; the other heads come from the same formula."""
    layer, batch = make_model().decoder[0].cross_attention, make_batch()
    x, memory = torch.randn(5, 7, 16), torch.randn(5, 7, 16)
    mask = score_mask(batch.source == 39, torch.float32)[:, None, None, :]
    first = layer.first_head(x, memory, mask)
    torch.testing.assert_close(first, layer.plain_first_head(x, memory, mask))
    keys, values = layer.project_memory(memory)
    heads = split_heads(layer.query(x), 4) @ keys.transpose(-1, -2) / 2 + mask
    heads = heads.softmax(-1)
    heads[:, 0] = first
    expected = layer.output((heads @ values).transpose(1, 2).flatten(2))
    torch.testing.assert_close(layer(x, memory, mask), expected, rtol=1e-4, atol=1e-5)
