"""Word-KD: a hand-computed case, and the fused loss against its plain twin."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from polystill.objectives import projection
from polystill.objectives.base import Loss
from polystill.objectives.fused import fused_loss
from polystill.objectives.nll import Nll
from polystill.objectives.plain import plain_loss
from polystill.objectives.projection import Output
from polystill.objectives.word_kd import WordKd

TOKENS, VOCABULARY = 29, 17
LOSSES = [plain_loss, fused_loss]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "CHUNK_ELEMENTS", VOCABULARY * 12)
    monkeypatch.setattr(projection, "BLOCK_ELEMENTS", VOCABULARY * 5)


def _outputs(dtype: torch.dtype) -> tuple[Output, Output, Tensor]:
    """A student of width 6 and a teacher of width 9."""
    torch.manual_seed(5)

    def output(width: int, grad: bool) -> Output:
        shapes = ((TOKENS, width), (VOCABULARY, width), (VOCABULARY,))
        hidden, weight, bias = (torch.randn(*shape, dtype=dtype).requires_grad_(grad) for shape in shapes)
        return Output(hidden, weight, bias, frozen=not grad)

    return output(6, True), output(9, False), torch.randint(0, VOCABULARY, (TOKENS,))


def _run(
    loss: Callable[..., Loss], objective: WordKd, dtype: torch.dtype = torch.float64
) -> tuple[Loss, tuple[Tensor, ...]]:
    student, teacher, target = _outputs(dtype)
    result = loss([teacher, student], (0, 1), target, objective)
    return result, torch.autograd.grad(0.37 * result.loss, (student.hidden, student.weight, student.bias))


@pytest.mark.parametrize("loss", LOSSES)
def test_hand_computed_case(loss: Callable[..., Loss]) -> None:
    """One token of a vocabulary of three: student (1/2, 1/4, 1/4), teacher (1/4, 1/2, 1/4), target the first."""
    student = Output(torch.zeros(1, 1), torch.zeros(3, 1), torch.tensor([math.log(2), 0, 0]).requires_grad_())
    teacher = Output(torch.zeros(1, 2), torch.zeros(3, 2), torch.tensor([0, math.log(2), 0]), frozen=True)
    objective = WordKd(alpha=0.75, temperature=1, label_smoothing=0)
    result = loss([teacher, student], (0, 1), torch.tensor([0]), objective)
    assert result.ce.item() == pytest.approx(math.log(2))
    assert result.kd.item() == pytest.approx(0.25 * math.log(1 / 2) + 0.5 * math.log(2))
    assert result.loss.item() == pytest.approx(0.25 * math.log(2) + 0.75 * 0.25 * math.log(2))
    (gradient,) = torch.autograd.grad(result.loss, student.bias)
    # 0.25 * (p - target) + 0.75 * (p - q)
    expected = [0.25 * -0.5 + 0.75 * 0.25, 0.25 * 0.25 + 0.75 * -0.25, 0.25 * 0.25]
    assert gradient.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("loss", LOSSES)
def test_temperature_by_hand(loss: Callable[..., Loss]) -> None:
    """Logits 2 log 3 and 0 at temperature 2 are probabilities 3/4 and 1/4."""
    student = Output(torch.zeros(1, 1), torch.zeros(2, 1), torch.zeros(2).requires_grad_())
    teacher = Output(torch.zeros(1, 1), torch.zeros(2, 1), torch.tensor([2 * math.log(3), 0]), frozen=True)
    objective = WordKd(alpha=1, temperature=2, label_smoothing=0)
    result = loss([teacher, student], (0, 1), torch.tensor([0]), objective)
    divergence = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert result.loss.item() == pytest.approx(4 * divergence)
    (gradient,) = torch.autograd.grad(result.loss, student.bias)
    assert gradient.tolist() == pytest.approx([2 * -0.25, 2 * 0.25])


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("temperature", [1.0, 1.5, 2.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 2e-5)], ids=str)
def test_fused_equals_plain(alpha: float, temperature: float, dtype: torch.dtype, tolerance: float) -> None:
    objective = WordKd(alpha=alpha, temperature=temperature)
    expected, expected_gradients = _run(plain_loss, objective, dtype)
    result, gradients = _run(fused_loss, objective, dtype)
    for name in ("loss", "ce", "kd"):
        ours, theirs = getattr(result, name).double(), getattr(expected, name).double()
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    for ours, theirs in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def test_without_distillation_it_is_the_smoothed_nll() -> None:
    student, _, target = _outputs(torch.float64)
    result, _ = _run(fused_loss, WordKd(alpha=0))
    nll = plain_loss([student], [0], target, Nll())
    torch.testing.assert_close(result.loss, nll.loss)


def test_bf16_products_stay_close() -> None:
    objective = WordKd(temperature=1.5)
    expected, expected_gradients = _run(plain_loss, objective, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        result, gradients = _run(fused_loss, objective, torch.float32)
    assert result.loss.item() == pytest.approx(expected.loss.item(), rel=0.02)
    for ours, theirs in zip(gradients, expected_gradients, strict=True):
        assert ours.dtype == torch.float32
        assert (ours - theirs).norm() < 0.03 * theirs.norm()
