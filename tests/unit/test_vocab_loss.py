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

from polystill.objectives import projection, vocab_loss
from polystill.objectives.aio_kd import MUTUAL, FamilyLoss
from polystill.objectives.decisions import directed_terms
from polystill.objectives.vocab_loss import LossSettings, cross_entropies, fused_family_loss, plain_family_loss

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
    loss: Callable[..., FamilyLoss], members: Sequence[int], settings: LossSettings, dtype: torch.dtype
) -> tuple[FamilyLoss, list[Tensor]]:
    hidden, weight, bias, target = _inputs(max(members) + 1, dtype)
    result = loss(hidden, members, weight, bias, target, settings)
    (0.37 * result.loss).backward()  # any factor, as mean or loss scaling would give
    return result, [x.grad for x in (*hidden, weight, bias) if x.grad is not None]


@pytest.mark.parametrize("mutual", MUTUAL)
@pytest.mark.parametrize("members", MEMBERS, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 2e-5)], ids=str)
def test_equals_the_plain_twin(members: tuple[int, ...], mutual: str, dtype: torch.dtype, tolerance: float) -> None:
    settings = LossSettings(mutual=mutual, detach_threshold=1.01)
    plain, plain_gradients = _run(plain_family_loss, members, settings, dtype)
    fused, fused_gradients = _run(fused_family_loss, members, settings, dtype)
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
    settings = LossSettings(mutual=mutual, detach_threshold=1.01)
    expected, expected_gradients = _run(fused_family_loss, (0, 1, 2, 3), settings, torch.float64)
    monkeypatch.setattr(
        vocab_loss, "directed_terms", lambda ce, **settings: directed_terms(ce, **{**settings, "on_host": False})
    )
    result, gradients = _run(fused_family_loss, (0, 1, 2, 3), settings, torch.float64)
    torch.testing.assert_close(result.loss, expected.loss)
    for ours, theirs in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("mutual", MUTUAL)
@pytest.mark.parametrize("members", [(0, 1, 2, 3), (0, 1, 1), (0,)], ids=str)
def test_expected_cross_entropies_never_change_the_result(members: tuple[int, ...], mutual: str) -> None:
    settings = LossSettings(mutual=mutual, detach_threshold=1.01)
    result, gradients = _run(fused_family_loss, members, settings, torch.float32)
    right = result.ce_decided.clone()
    for expected in (right, 7 * right, right.flip(0), torch.ones_like(right)):
        loss = partial(fused_family_loss, expected=expected)
        again, again_gradients = _run(loss, members, settings, torch.float32)
        assert torch.equal(again.loss, result.loss) and torch.equal(again.ce_each, result.ce_each)
        assert torch.equal(again.kd, result.kd) and torch.equal(again.mutual, result.mutual)
        for ours, theirs in zip(again_gradients, gradients, strict=True):
            assert torch.equal(ours, theirs)


def test_right_expectations_save_a_projection(monkeypatch: pytest.MonkeyPatch) -> None:
    projected = []
    chunks = projection.Projection.chunks

    def counted(self: projection.Projection) -> Any:
        projected.append(1)
        return chunks(self)

    monkeypatch.setattr(projection.Projection, "chunks", counted)
    settings = LossSettings(mutual="no_weight", detach_threshold=1.01)
    result, _ = _run(fused_family_loss, (0, 1, 2), settings, torch.float64)
    for expected, projections, again in ((None, 2, 1), (result.ce_decided, 1, 0), (result.ce_decided.flip(0), 2, 3)):
        projected.clear()
        loss, _ = _run(partial(fused_family_loss, expected=expected), (0, 1, 2), settings, torch.float64)
        assert len(projected) == projections and loss.projections_again == again


def test_threshold_divides_the_students_of_these_tests() -> None:
    result, _ = _run(fused_family_loss, (0, 1, 2, 3), LossSettings(), torch.float64)
    assert min(result.ce_ratio) < 1.01 < max(result.ce_ratio)


@pytest.mark.parametrize("mutual", MUTUAL)
@pytest.mark.parametrize("members", [(0,), (0, 1, 2)], ids=str)
def test_bf16_products_stay_close(members: tuple[int, ...], mutual: str) -> None:
    settings = LossSettings(mutual=mutual)
    full, full_gradients = _run(plain_family_loss, members, settings, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        fused, fused_gradients = _run(fused_family_loss, members, settings, torch.float32)
        plain, plain_gradients = _run(plain_family_loss, members, settings, torch.float32)
    for twin, twin_gradients in ((full, full_gradients), (plain, plain_gradients)):
        assert fused.loss.item() == pytest.approx(twin.loss.item(), rel=0.02)
        for ours, theirs in zip(fused_gradients, twin_gradients, strict=True):
            assert ours.dtype == torch.float32
            assert (ours - theirs).norm() < 0.03 * theirs.norm()


def test_validation_cross_entropies_equal_the_loss() -> None:
    hidden, weight, bias, target = _inputs(3, torch.float64)
    smoothed, plain = cross_entropies(hidden, weight, bias, target, 0.1)
    result = plain_family_loss(hidden, (0, 1, 2), weight, bias, target, LossSettings())
    torch.testing.assert_close(smoothed, result.ce_each)
    expected = [-(h @ weight.t() + bias).log_softmax(-1)[range(TOKENS), target].sum() for h in hidden]
    torch.testing.assert_close(plain, torch.stack(expected))


def test_no_tokens_on_this_rank_add_nothing() -> None:
    hidden = [torch.randn(0, WIDTH, requires_grad=True) for _ in range(2)]
    weight, bias = torch.randn(VOCABULARY, WIDTH, requires_grad=True), torch.zeros(VOCABULARY, requires_grad=True)
    empty = torch.zeros(0, dtype=torch.long)
    elsewhere = torch.tensor([5.0, 6.0], dtype=torch.float64)
    result = fused_family_loss(hidden, (0, 1), weight, bias, empty, LossSettings(), lambda ce: ce + elsewhere)
    result.loss.backward()
    assert result.loss.item() == 0
    assert weight.grad is not None and weight.grad.abs().sum() == 0


_MEMORY = """
import sys, torch
from polystill.objectives.vocab_loss import *
torch.set_num_threads(1)
networks, tokens, vocabulary, width = int(sys.argv[1]), int(sys.argv[2]), 8000, 32
hidden = [torch.randn(tokens, width, requires_grad=True) for _ in range(networks)]
weight, bias = torch.randn(vocabulary, width, requires_grad=True), torch.zeros(vocabulary, requires_grad=True)
target = torch.randint(0, vocabulary, (tokens,))
def peak():
    return [int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")][0]
before = peak()
loss = fused_family_loss(hidden, list(range(networks)), weight, bias, target, LossSettings(mutual="no_weight")).loss
loss.backward()
print((peak() - before) / 1024 - 4 * sum(h.numel() for h in hidden) / 2**20)
"""


@pytest.mark.parametrize(("networks", "tokens"), [(2, 2000), (8, 2000), (2, 16000)])
def test_memory_grows_neither_with_students_nor_with_tokens(networks: int, tokens: int) -> None:
    """Whole logits would take 61 MiB a network and 2,000 tokens; chunks of 2^22 elements take 16 MiB and a copy."""
    command = [sys.executable, "-c", _MEMORY, str(networks), str(tokens)]
    grown = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert grown < 125, f"{grown:.0f} MiB beyond hidden states and their gradients"
