"""Every objective: its fused loss against the plain twin, and its gradients against finite differences, in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from polystill.objectives import OBJECTIVES, projection
from polystill.objectives.aio_kd import MUTUAL, AioKd
from polystill.objectives.base import Objective, Reads, Term, Weights
from polystill.objectives.fused import fused_loss
from polystill.objectives.nll import Nll
from polystill.objectives.plain import plain_loss
from polystill.objectives.projection import Output
from polystill.objectives.selective_kd import SelectiveKd
from polystill.objectives.word_kd import WordKd

TOKENS, WIDTH, OTHER_WIDTH, VOCABULARY = 11, 5, 7, 13


class Everything(Objective):
    """All that a term can be: weights for each token, temperatures, open and detached, between two projections."""

    kind: Literal["everything"] = "everything"

    def weights(self, update: int) -> Weights:
        return Weights(0.7, 1.5 * update, 0.4)

    def reads(self, supernets: Sequence[int]) -> Reads:
        return "tokens"

    def terms(self, supernets: Sequence[int], ce: Tensor | None) -> Sequence[Term]:
        assert ce is not None and ce.shape == (len(supernets), TOKENS)
        hard = (ce[1] > ce[1].median()).to(ce.dtype)
        return [
            Term(0, 1, 0.5),
            Term(0, 2, hard),
            Term(1, 2, 0.3 + hard, open=0.0, role="mutual"),
            Term(2, 0, 0.25, temperature=2.0),
            Term(2, 1, hard, temperature=1.5, role="mutual"),
            Term(1, 0, hard, open=0.0, temperature=1.5),
        ]


CASES: list[tuple[Objective, int]] = [
    (Nll(), 1),
    *((AioKd(mutual=mutual, detach_threshold=1.02), 3) for mutual in MUTUAL),
    (AioKd(students_per_step=0), 1),
    *((WordKd(alpha=0.4, temperature=temperature), 1) for temperature in (1.0, 2.0)),
    *((SelectiveKd(alpha=0.8, share=0.3, temperature=temperature), 1) for temperature in (1.0, 2.0)),
    (Everything(), 3),
]
"""Objectives, and how many networks learn."""


def _label(case: object) -> str:
    return repr(case) if isinstance(case, Objective) else str(case)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "CHUNK_ELEMENTS", VOCABULARY * 12)
    monkeypatch.setattr(projection, "BLOCK_ELEMENTS", VOCABULARY * 5)


def _random(*shape: int, grad: bool = True) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=grad)


def _outputs(objective: Objective, learning: int, widths: Sequence[int]) -> tuple[list[Output], list[Tensor]]:
    """Random networks, and what they have gradients for: one projection for each width, in turn; a frozen teacher."""
    frozen = "teacher" in type(objective).model_fields
    projections = {width: (_random(VOCABULARY, width), _random(VOCABULARY)) for width in dict.fromkeys(widths)}
    hidden, weight, bias = (_random(*s, grad=False) for s in ((TOKENS, 9), (VOCABULARY, 9), (VOCABULARY,)))
    teacher = [Output(hidden, weight, bias, frozen=True)]
    outputs = teacher if frozen else []
    outputs = outputs + [
        Output(_random(TOKENS, width), *projections[width])
        for width in (widths[i % len(widths)] for i in range(learning))
    ]
    leaves = [x for pair in projections.values() for x in pair] + [o.hidden for o in outputs if not o.frozen]
    return outputs, [x for x in leaves if x.requires_grad]


def test_every_registered_objective_is_here() -> None:
    assert {type(objective) for objective, _ in CASES} - {Everything} == set(OBJECTIVES.values())


@pytest.mark.parametrize("widths", [(WIDTH,), (WIDTH, OTHER_WIDTH)], ids=str)
@pytest.mark.parametrize(("objective", "learning"), CASES, ids=_label)
def test_fused_equals_plain(objective: Objective, learning: int, widths: tuple[int, ...]) -> None:
    torch.manual_seed(4)
    widths = widths[:learning]
    outputs, leaves = _outputs(objective, learning, widths)
    target, members = torch.randint(0, VOCABULARY, (TOKENS,)), range(len(outputs))
    results = []
    for loss in (plain_loss, fused_loss):
        result = loss(outputs, members, target, objective, update=2)
        results.append((result, torch.autograd.grad(0.37 * result.loss, leaves)))
    (plain, expected), (fused, gradients) = results
    for name in ("loss", "ce", "kd", "mutual", "ce_each", "ce_decided"):
        torch.testing.assert_close(getattr(fused, name), getattr(plain, name).detach(), rtol=1e-11, atol=1e-11)
    for ours, theirs in zip(gradients, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-11)


class _Afresh(torch.autograd.Function):
    """A loss whose every backward pass has a forward pass of its own, as gradcheck goes backward several times."""

    @staticmethod
    def forward(ctx: Any, loss: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        ctx.loss = loss
        ctx.save_for_backward(*inputs)
        return loss(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        with torch.enable_grad():
            inputs = [x.detach().requires_grad_() for x in ctx.saved_tensors]
            return None, *torch.autograd.grad(ctx.loss(*inputs), inputs, gradient)


def _check(loss: Callable[..., Tensor], *inputs: Tensor) -> None:
    # The fast mode compares a random projection of the Jacobian: an error anywhere in it shows.
    assert torch.autograd.gradcheck(lambda *x: _Afresh.apply(loss, *x), inputs, fast_mode=True)


@pytest.mark.parametrize("mutual", MUTUAL)
@pytest.mark.parametrize("networks", [1, 3])
def test_family(networks: int, mutual: str) -> None:
    """With all terms open: detached ones, no functions of their teacher, are compared with the plain twin instead."""
    torch.manual_seed(3)
    hidden = [_random(TOKENS, WIDTH) for _ in range(networks)]
    objective = AioKd.model_validate({"mutual": mutual, "detach_threshold": 1e9})
    target = torch.randint(0, VOCABULARY, (TOKENS,))

    def loss(weight: Tensor, bias: Tensor, *hidden: Tensor) -> Tensor:
        return fused_loss([Output(h, weight, bias) for h in hidden], range(networks), target, objective).loss

    _check(loss, _random(VOCABULARY, WIDTH), _random(VOCABULARY), *hidden)


@pytest.mark.parametrize(
    "objective",
    [WordKd(alpha=0.4), WordKd(alpha=0.4, temperature=2.0), SelectiveKd(share=0.4, temperature=2.0)],
    ids=repr,
)
def test_frozen_teacher(objective: Objective) -> None:
    torch.manual_seed(5)
    states, matrix, vector = (_random(*shape, grad=False) for shape in ((TOKENS, 7), (VOCABULARY, 7), (VOCABULARY,)))
    teacher, target = Output(states, matrix, vector, frozen=True), torch.randint(0, VOCABULARY, (TOKENS,))

    def loss(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return fused_loss([teacher, Output(hidden, weight, bias)], (0, 1), target, objective).loss

    _check(loss, _random(TOKENS, WIDTH), _random(VOCABULARY, WIDTH), _random(VOCABULARY))


def test_a_second_backward_pass_is_refused() -> None:
    output = Output(_random(TOKENS, WIDTH), _random(VOCABULARY, WIDTH), _random(VOCABULARY))
    loss = fused_loss([output], [0], torch.zeros(TOKENS, dtype=torch.long), Nll()).loss
    loss.backward(retain_graph=True)
    with pytest.raises(AssertionError, match="goes backward once"):
        loss.backward()
