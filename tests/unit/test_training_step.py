"""The batched, fused step against its plain twin: losses and gradients for every pair of a space, dropout off."""

from itertools import product

import pytest
import torch

from polystill.models.lstm import Lstm
from polystill.objectives.vocab_loss import LossSettings
from polystill.students import Student
from polystill.training.step import TrainingStep

SPACE = [Student(e, d) for e in range(1, 4) for d in range(1, 4)]


def _gradients(step: TrainingStep, batch, networks, settings):
    step.model.zero_grad()
    result = step(batch, networks, settings)
    result.loss.backward()
    gradients = {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
        for name, parameter in step.model.named_parameters()
    }
    return result, gradients


@pytest.mark.parametrize("architecture", ["transformer", "lstm"])
@pytest.mark.parametrize("mutual", ["none", "no_weight"])
@pytest.mark.parametrize("mode", ["shared", "exact"])
def test_losses_and_gradients_of_every_pair_equal_the_plain_twin(make_model, make_batch, mode, mutual) -> None:
    model, batch = make_model().double(), make_batch()
    is_lstm = isinstance(model, Lstm)
    settings = LossSettings(mutual=mutual, detach_threshold=1.006 if is_lstm else 1.0)  # amid the students' ratios
    plain, fast = (TrainingStep(model, m, lambda ce: ce) for m in ("plain", mode))
    decisions = set()
    # The LSTM's loops are slow, and it batches every pair alike.
    pairs = list(product(SPACE, SPACE))
    for a, b in pairs[::13] if is_lstm else pairs:
        networks = [model.teacher, a, b]
        expected, expected_gradients = _gradients(plain, batch, networks, settings)
        result, gradients = _gradients(fast, batch, networks, settings)
        torch.testing.assert_close(result.loss, expected.loss, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(result.ce_each, expected.ce_each, rtol=1e-9, atol=1e-9)
        for name, gradient in gradients.items():
            torch.testing.assert_close(gradient, expected_gradients[name], rtol=1e-7, atol=1e-9)
        decisions |= {ratio < settings.detach_threshold for ratio in result.ce_ratio}
    assert decisions == {True, False}  # both sides of the threshold were met


@pytest.mark.parametrize("mode", ["shared", "exact", "plain"])
def test_teacher_alone_is_the_smoothed_nll(make_model, make_batch, mode) -> None:
    model, batch = make_model(), make_batch()
    result = TrainingStep(model, mode, lambda ce: ce)(batch, [model.teacher], LossSettings(label_smoothing=0.1))
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
        return TrainingStep(model, mode, lambda ce: ce)(batch, twice, LossSettings()).ce_ratio

    shared, exact = ratios("shared"), ratios("exact")
    assert shared[0] == shared[1]
    assert exact[0] != exact[1]
