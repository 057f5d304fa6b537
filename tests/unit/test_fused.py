"""The fused loss against its plain twin: values and gradients, for every mode and combination of drawn networks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from polystill.objectives import base, projection
from polystill.objectives.aio_kd import MUTUAL, AioKd
from polystill.objectives.base import Loss, Objective
from polystill.objectives.fused import cross_entropies, fused_loss
from polystill.objectives.nll import Nll
from polystill.objectives.plain import plain_loss
from polystill.objectives.projection import Output

TOKENS, WIDTH, VOCABULARY = 37, 8, 23
MEMBERS = [(0,), (0, 1), (0, 1, 2), (0, 1, 1), (0, 0, 1), (0, 1, 2, 3), (0, 0, 0)]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "CHUNK_ELEMENTS", VOCABULARY * 44)
    monkeypatch.setattr(projection, "BLOCK_ELEMENTS", VOCABULARY * 11)


def _inputs(networks: int, dtype: torch.dtype) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
    torch.manual_seed(3)
    hidden = [torch.randn(TOKENS, WIDTH, dtype=dtype, requires_grad=True) for _ in range(networks)]
    weight = torch.randn(VOCABULARY, WIDTH, dtype=dtype, requires_grad=True)
    bias = torch.randn(VOCABULARY, dtype=dtype, requires_grad=True)
    return hidden, weight, bias, torch.randint(0, VOCABULARY, (TOKENS,))


def _run(
    loss: Callable[..., Loss], members: Sequence[int], objective: Objective, dtype: torch.dtype
) -> tuple[Loss, list[Tensor]]:
    hidden, weight, bias, target = _inputs(max(members) + 1, dtype)
    result = loss([Output(h, weight, bias) for h in hidden], members, target, objective)
    (0.37 * result.loss).backward()  # any factor, as mean or loss scaling would give
    return result, [x.grad for x in (*hidden, weight, bias) if x.grad is not None]


@pytest.mark.parametrize("mutual", MUTUAL)
@pytest.mark.parametrize("members", MEMBERS, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 2e-5)], ids=str)
def test_equals_the_plain_twin(members: tuple[int, ...], mutual: str, dtype: torch.dtype, tolerance: float) -> None:
    objective = AioKd(mutual=mutual, detach_threshold=1.01)
    plain, plain_gradients = _run(plain_loss, members, objective, dtype)
    fused, fused_gradients = _run(fused_loss, members, objective, dtype)
    for name in ("loss", "ce", "kd", "mutual"):
        torch.testing.assert_close(
            getattr(fused, name).double(), getattr(plain, name).double(), rtol=tolerance, atol=tolerance
        )
    assert fused.ce_ratio == pytest.approx(plain.ce_ratio, rel=tolerance)
    assert len(fused_gradients) == len(plain_gradients) == max(members) + 3
    for ours, theirs in zip(fused_gradients, plain_gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("mutual", MUTUAL)
def test_decisions_left_on_the_device_change_nothing(mutual: str, monkeypatch: pytest.MonkeyPatch) -> None:
    objective = AioKd(mutual=mutual, detach_threshold=1.01)
    expected, expected_gradients = _run(fused_loss, (0, 1, 2, 3), objective, torch.float64)
    monkeypatch.setattr(base, "on_host", lambda x: False)
    result, gradients = _run(fused_loss, (0, 1, 2, 3), objective, torch.float64)
    torch.testing.assert_close(result.loss, expected.loss)
    for ours, theirs in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("mutual", MUTUAL)
@pytest.mark.parametrize("members", [(0, 1, 2, 3), (0, 1, 1), (0,)], ids=str)
def test_expected_cross_entropies_never_change_the_result(members: tuple[int, ...], mutual: str) -> None:
    objective = AioKd(mutual=mutual, detach_threshold=1.01)
    result, gradients = _run(fused_loss, members, objective, torch.float32)
    right = result.ce_decided.clone()
    for expected in (right, 7 * right, right.flip(0), torch.ones_like(right)):
        loss = partial(fused_loss, expected=expected)
        again, again_gradients = _run(loss, members, objective, torch.float32)
        assert torch.equal(again.loss, result.loss) and torch.equal(again.ce_each, result.ce_each)
        assert torch.equal(again.kd, result.kd) and torch.equal(again.mutual, result.mutual)
        for ours, theirs in zip(again_gradients, gradients, strict=True):
            assert torch.equal(ours, theirs)


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of each product with the vocabulary's matrix in a forward pass, as they are made."""
    rows: list[int] = []
    product = torch.addmm

    def counted(bias: Tensor, states: Tensor, *rest: Any, **more: Any) -> Tensor:
        rows.append(len(states))
        return product(bias, states, *rest, **more)

    monkeypatch.setattr(torch, "addmm", counted)
    return rows


def test_right_expectations_save_a_projection(products: list[int]) -> None:
    objective = AioKd(mutual="no_weight", detach_threshold=1.01)
    result, _ = _run(fused_loss, (0, 1, 2), objective, torch.float64)
    for expected, projections, again in ((None, 2, 1), (result.ce_decided, 1, 0), (result.ce_decided.flip(0), 2, 3)):
        products.clear()
        loss, _ = _run(partial(fused_loss, expected=expected), (0, 1, 2), objective, torch.float64)
        assert sum(products) == projections * 3 * TOKENS and loss.projections_again == again


@pytest.mark.parametrize("mutual", MUTUAL)
def test_a_device_projects_once_as_far_as_its_memory_goes(
    mutual: str, products: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps the logits that it decides by; beyond the bound it projects again, to the same numbers."""
    objective = AioKd(mutual=mutual, detach_threshold=1.01)
    monkeypatch.setattr(base, "on_host", lambda x: False)
    monkeypatch.setattr(projection, "CHUNK_ELEMENTS_OF_GPU", VOCABULARY * 44)
    kept, gradients = _run(fused_loss, (0, 1, 2), objective, torch.float32)
    assert sum(products) == 3 * TOKENS and kept.projections_again == 0
    monkeypatch.setattr(projection, "KEPT_BYTES", 3 * TOKENS * VOCABULARY * 4 - 1)
    products.clear()
    again, again_gradients = _run(fused_loss, (0, 1, 2), objective, torch.float32)
    assert sum(products) == 6 * TOKENS and again.projections_again == 1
    assert torch.equal(kept.loss, again.loss)
    assert all(torch.equal(a, b) for a, b in zip(gradients, again_gradients, strict=True))


def test_what_is_decided_beforehand_needs_no_projection_to_decide_by(products: list[int]) -> None:
    for objective, members in (
        (Nll(), (0,)),
        (AioKd(), (0,)),
        (AioKd(), (0, 0)),
        (AioKd(detach_threshold=0.0), (0, 1, 2)),
        (AioKd(detach_threshold=0.0, mutual="full"), (0, 1, 2)),
        (AioKd(detach_threshold=0.0, mutual="detaching"), (0, 1)),
    ):
        products.clear()
        result, gradients = _run(fused_loss, members, objective, torch.float64)
        assert sum(products) == (max(members) + 1) * TOKENS and result.projections_again == 0
        _, expected = _run(plain_loss, members, objective, torch.float64)
        for ours, theirs in zip(gradients, expected, strict=True):
            torch.testing.assert_close(ours, theirs)


def test_threshold_divides_the_students_of_these_tests() -> None:
    result, _ = _run(fused_loss, (0, 1, 2, 3), AioKd(), torch.float64)
    assert min(result.ce_ratio) < 1.01 < max(result.ce_ratio)


@pytest.mark.parametrize("mutual", MUTUAL)
@pytest.mark.parametrize("members", [(0,), (0, 1, 2)], ids=str)
def test_bf16_products_stay_close(members: tuple[int, ...], mutual: str) -> None:
    objective = AioKd(mutual=mutual)
    full, full_gradients = _run(plain_loss, members, objective, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        fused, fused_gradients = _run(fused_loss, members, objective, torch.float32)
        plain, plain_gradients = _run(plain_loss, members, objective, torch.float32)
    for twin, twin_gradients in ((full, full_gradients), (plain, plain_gradients)):
        assert fused.loss.item() == pytest.approx(twin.loss.item(), rel=0.02)
        for ours, theirs in zip(fused_gradients, twin_gradients, strict=True):
            assert ours.dtype == torch.float32
            assert (ours - theirs).norm() < 0.03 * theirs.norm()


def test_validation_cross_entropies_equal_the_loss() -> None:
    hidden, weight, bias, target = _inputs(3, torch.float64)
    smoothed, plain = cross_entropies(hidden, weight, bias, target, 0.1)
    outputs = [Output(h, weight, bias) for h in hidden]
    result = plain_loss(outputs, (0, 1, 2), target, AioKd())
    torch.testing.assert_close(smoothed, result.ce_each)
    expected = [-(h @ weight.t() + bias).log_softmax(-1)[range(TOKENS), target].sum() for h in hidden]
    torch.testing.assert_close(plain, torch.stack(expected))


def test_no_tokens_on_this_rank_add_nothing() -> None:
    hidden = [torch.randn(0, WIDTH, requires_grad=True) for _ in range(2)]
    weight, bias = torch.randn(VOCABULARY, WIDTH, requires_grad=True), torch.zeros(VOCABULARY, requires_grad=True)
    empty = torch.zeros(0, dtype=torch.long)
    elsewhere = torch.tensor([5.0, 6.0], dtype=torch.float64)
    outputs = [Output(h, weight, bias) for h in hidden]
    result = fused_loss(outputs, (0, 1), empty, AioKd(), sum_over_ranks=lambda ce: ce + elsewhere)
    result.loss.backward()
    assert result.loss.item() == 0
    assert weight.grad is not None and weight.grad.abs().sum() == 0


_MEMORY = """
import sys, torch
from polystill.objectives.aio_kd import AioKd
from polystill.objectives.fused import fused_loss
from polystill.objectives.projection import Output
torch.set_num_threads(1)
networks, tokens, vocabulary, width = int(sys.argv[1]), int(sys.argv[2]), 8000, 32
hidden = [torch.randn(tokens, width, requires_grad=True) for _ in range(networks)]
weight, bias = torch.randn(vocabulary, width, requires_grad=True), torch.zeros(vocabulary, requires_grad=True)
target = torch.randint(0, vocabulary, (tokens,))
def peak():
    return [int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")][0]
before = peak()
outputs = [Output(h, weight, bias) for h in hidden]
loss = fused_loss(outputs, range(networks), target, AioKd(mutual="no_weight")).loss
loss.backward()
print((peak() - before) / 1024 - 4 * sum(h.numel() for h in hidden) / 2**20)
"""


@pytest.mark.parametrize(("networks", "tokens"), [(8, 2000), (2, 8000)])
def test_memory_grows_neither_with_students_nor_with_tokens(networks: int, tokens: int) -> None:
    """Whole logits would take 61 MiB a network and 2,000 tokens; chunks of 2^22 elements take 16 MiB and a copy."""
    command = [sys.executable, "-c", _MEMORY, str(networks), str(tokens)]
    grown = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert grown < 125, f"{grown:.0f} MiB beyond hidden states and their gradients"
