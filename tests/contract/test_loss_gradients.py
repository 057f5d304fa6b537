"""Every fused loss: its gradients against finite differences, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from polystill.objectives import projection
from polystill.objectives.aio_kd import MUTUAL
from polystill.objectives.vocab_loss import LossSettings, fused_family_loss
from polystill.objectives.word_kd import Output, WordKdSettings, fused_word_kd_loss

TOKENS, WIDTH, VOCABULARY = 11, 5, 13
Loss = Callable[..., Tensor]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "CHUNK_ELEMENTS", VOCABULARY * 12)
    monkeypatch.setattr(projection, "BLOCK_ELEMENTS", VOCABULARY * 5)


class _Afresh(torch.autograd.Function):
    """A loss whose every backward pass has a forward pass of its own, as gradcheck goes backward several times."""

    @staticmethod
    def forward(ctx: Any, loss: Loss, *inputs: Tensor) -> Tensor:
        ctx.loss = loss
        ctx.save_for_backward(*inputs)
        return loss(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        with torch.enable_grad():
            inputs = [x.detach().requires_grad_() for x in ctx.saved_tensors]
            return None, *torch.autograd.grad(ctx.loss(*inputs), inputs, gradient)


def _random(*shape: int, grad: bool = True) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=grad)


def _check(loss: Loss, *inputs: Tensor) -> None:
    assert torch.autograd.gradcheck(lambda *x: _Afresh.apply(loss, *x), inputs)


@pytest.mark.parametrize("mutual", MUTUAL)
@pytest.mark.parametrize("networks", [1, 3])
def test_family(networks: int, mutual: str) -> None:
    """With all terms open: detached ones, no functions of their teacher, are compared with the plain twin instead."""
    torch.manual_seed(3)
    hidden = [_random(TOKENS, WIDTH) for _ in range(networks)]
    target, settings = torch.randint(0, VOCABULARY, (TOKENS,)), LossSettings(mutual=mutual, detach_threshold=1e9)

    def loss(weight: Tensor, bias: Tensor, *hidden: Tensor) -> Tensor:
        return fused_family_loss(hidden, range(networks), weight, bias, target, settings).loss

    _check(loss, _random(VOCABULARY, WIDTH), _random(VOCABULARY), *hidden)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_word_kd(temperature: float) -> None:
    torch.manual_seed(5)
    teacher = Output(*(_random(*shape, grad=False) for shape in ((TOKENS, 7), (VOCABULARY, 7), (VOCABULARY,))))
    target, settings = torch.randint(0, VOCABULARY, (TOKENS,)), WordKdSettings(0.4, temperature)

    def loss(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return fused_word_kd_loss(Output(hidden, weight, bias), teacher, target, settings).loss

    _check(loss, _random(TOKENS, WIDTH), _random(VOCABULARY, WIDTH), _random(VOCABULARY))


def test_a_second_backward_pass_is_refused() -> None:
    hidden, weight, bias = _random(TOKENS, WIDTH), _random(VOCABULARY, WIDTH), _random(VOCABULARY)
    target = torch.zeros(TOKENS, dtype=torch.long)
    loss = fused_family_loss([hidden], [0], weight, bias, target, LossSettings()).loss
    loss.backward(retain_graph=True)
    with pytest.raises(AssertionError, match="goes backward once"):
        loss.backward()
