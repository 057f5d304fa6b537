"""The published loss against sums written out by hand; the authors' own figures are in tests/reference."""

import math

import pytest
import torch

from polystill.objectives.aio_kd import MUTUAL, aio_kd_loss, device_terms, published_terms

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
    (term,) = published_terms([2.0, 2.2], mutual="none", detach_threshold=1.1)
    assert not term.open
    (term,) = published_terms([2.0, 2.19], mutual="none", detach_threshold=1.1)
    assert term.open


def test_pairs_and_shares_of_three_students() -> None:
    terms = published_terms([1.0, 3.0, 2.0, 4.0], mutual="detaching", detach_threshold=1.6)
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


def test_a_perfect_teacher_is_detached_from_all() -> None:
    """Its cross-entropy is 0, and no ratio to it is below any threshold."""
    assert [t.open for t in published_terms([0.0, 0.0, 1.0], mutual="none", detach_threshold=1.1)] == [0, 0]
    zeros = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    assert [float(t.open) for t in device_terms(zeros, mutual="none", detach_threshold=1.1)] == [0, 0]


def test_shares_add_up_to_one_in_each_supernet_that_learns() -> None:
    supernets = [0, 0, 0, 1, 1, 1, 2]
    terms = published_terms([1, 2, 3, 4, 5, 6, 0.5], supernets, mutual="no_weight", detach_threshold=1.1)
    for role in ("kd", "mutual"):
        sums = {
            supernet: sum(t.share for t in terms if t.role == role and supernets[t.b] == supernet)
            for supernet in (0, 1, 2)
        }
        expected = {0: 1, 1: 1, 2: 1 if role == "kd" else 0}  # nobody is better than the last
        assert sums == pytest.approx(expected)


# --- decided on the device --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mutual", MUTUAL)
@pytest.mark.parametrize("students", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("of_others", [0, 1, 3])
def test_terms_decided_on_the_device_equal_the_published_ones(mutual: str, students: int, of_others: int) -> None:
    supernets = [0] * (1 + students) + [1] * of_others + [2] * (of_others > 1)
    students = len(supernets) - 1
    generator = torch.Generator().manual_seed(students)
    opened = set()
    for _ in range(20):
        ce = 1 + torch.rand(1 + students, generator=generator, dtype=torch.float64)
        if students > 1:
            ce[2] = ce[1]  # a tie goes to the student drawn first
        expected = published_terms(ce.tolist(), supernets, mutual=mutual, detach_threshold=1.2)
        terms = device_terms(ce, supernets, mutual=mutual, detach_threshold=1.2)
        acting = [t for t in terms if float(t.share)]
        assert {(t.a, t.b, t.role, bool(t.open)) for t in acting} == {(t.a, t.b, t.role, t.open) for t in expected}
        assert {(t.a, t.b): float(t.share) for t in acting} == pytest.approx({(t.a, t.b): t.share for t in expected})
        opened |= {t.open for t in expected}
    assert students < 2 or opened == {True, False}


def test_decisions_left_on_the_device_are_tensors() -> None:
    ce = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    terms = device_terms(ce, mutual="no_weight", detach_threshold=1.1)
    assert all(isinstance(t.share, torch.Tensor) and isinstance(t.open, torch.Tensor) for t in terms)
    assert [(t.a, t.b, float(t.share)) for t in terms] == [(0, 1, 0.5), (0, 2, 0.5), (1, 2, 1.0), (2, 1, 0.0)]
