"""The published loss against sums written out by hand; the authors' own figures are in tests/reference."""

import math

import pytest
import torch

from polystill.objectives.aio_kd import aio_kd_loss, distillations

PAD = 4
TARGET = torch.tensor([[1, 2, PAD], [3, PAD, PAD]])


def _logits(seed: int) -> torch.Tensor:
    return torch.randn(2, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _probabilities(logits: torch.Tensor) -> list[list[float]]:
    rows = [logits[0, 0], logits[0, 1], logits[1, 0]]
    return [[math.exp(x) / sum(math.exp(y) for y in row.tolist()) for x in row.tolist()] for row in rows]


def _cross_entropy(p: list[list[float]], smoothing: float) -> float:
    total = 0.0
    for row, gold in zip(p, [1, 2, 3], strict=True):
        for token, probability in enumerate(row):
            weight = 1 - smoothing if token == gold else smoothing / 4
            total -= weight * math.log(probability)
    return total


def _divergence(p: list[list[float]], q: list[list[float]]) -> float:
    return sum(a * math.log(a / b) for x, y in zip(p, q, strict=True) for a, b in zip(x, y, strict=True))


@pytest.mark.parametrize("mutual", ["none", "no_weight", "full"])
def test_sums_by_hand(mutual: str) -> None:
    logits = [_logits(seed) for seed in (1, 2, 3)]
    p = [_probabilities(x) for x in logits]
    ce = [_cross_entropy(x, 0.1) for x in p]
    kd = (_divergence(p[0], p[1]) + _divergence(p[0], p[2])) / 2
    better, worse = (1, 2) if ce[1] <= ce[2] else (2, 1)
    forward, back = _divergence(p[better], p[worse]), _divergence(p[worse], p[better])
    expected = {"none": 0.0, "no_weight": forward, "full": (forward + back) / 2}[mutual]
    result = aio_kd_loss(logits[0], logits[1:], TARGET, pad_id=PAD, mutual=mutual)
    assert result.ce.item() == pytest.approx(sum(ce), rel=1e-12)
    assert result.kd.item() == pytest.approx(kd, rel=1e-12)
    assert result.mutual.item() == pytest.approx(expected, rel=1e-12)
    assert result.loss.item() == pytest.approx(sum(ce) + 5.5 * kd + 0.5 * expected, rel=1e-12)
    assert result.ce_ratio == pytest.approx([ce[1] / ce[0], ce[2] / ce[0]])


def test_a_poor_student_does_not_move_the_teacher() -> None:
    def teacher_gradient(threshold: float, students: list[torch.Tensor]) -> torch.Tensor:
        teacher = _logits(1).requires_grad_()
        aio_kd_loss(teacher, students, TARGET, pad_id=PAD, detach_threshold=threshold).loss.backward()
        assert teacher.grad is not None
        return teacher.grad

    student = [_logits(2)]
    alone = teacher_gradient(1.1, [])
    torch.testing.assert_close(teacher_gradient(0.0, student), alone)
    assert not torch.allclose(teacher_gradient(1e9, student), alone)


def test_threshold_is_exclusive() -> None:
    (term,) = distillations([2.0, 2.2], mutual="none", detach_threshold=1.1)
    assert not term.open
    (term,) = distillations([2.0, 2.19], mutual="none", detach_threshold=1.1)
    assert term.open


def test_pairs_and_shares_of_three_students() -> None:
    terms = distillations([1.0, 3.0, 2.0, 4.0], mutual="detaching", detach_threshold=1.6)
    assert [(t.a, t.b, t.open) for t in terms if t.a == 0] == [(0, 1, False), (0, 2, False), (0, 3, False)]
    assert [(t.a, t.b, t.open) for t in terms if t.a] == [(2, 1, True), (1, 3, True), (2, 3, False)]
    assert {t.share for t in terms} == {1 / 3}


def test_padding_adds_nothing() -> None:
    teacher, student = _logits(1), _logits(2)
    before = aio_kd_loss(teacher, [student], TARGET, pad_id=PAD).loss
    teacher[1, 1:] += 10.0
    student[0, 2] -= 3 * torch.arange(5)
    assert aio_kd_loss(teacher, [student], TARGET, pad_id=PAD).loss == before


def test_decisions_follow_the_sums_of_all_ranks() -> None:
    teacher = _logits(1).requires_grad_()
    totals = torch.tensor([10.0, 30.0])
    result = aio_kd_loss(teacher, [_logits(1)], TARGET, pad_id=PAD, sum_over_ranks=lambda ce: totals)
    assert result.ce_ratio == [3.0]
