"""The terms decided on the device against those of the published loss's plain list."""

from __future__ import annotations

import pytest
import torch

from polystill.objectives.aio_kd import MUTUAL, distillations
from polystill.objectives.decisions import directed_terms


@pytest.mark.parametrize("mutual", MUTUAL)
@pytest.mark.parametrize("students", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("on_host", [True, False])
def test_equal_the_published_terms(mutual: str, students: int, on_host: bool) -> None:
    generator = torch.Generator().manual_seed(students)
    opened = set()
    for _ in range(20):
        ce = 1 + torch.rand(1 + students, generator=generator, dtype=torch.float64)
        if students > 1:
            ce[2] = ce[1]  # a tie goes to the student drawn first
        expected = distillations(ce.tolist(), mutual=mutual, detach_threshold=1.2)
        terms = directed_terms(ce, mutual=mutual, detach_threshold=1.2, on_host=on_host)
        found = [t for t in terms if float(t.share)]
        assert {(t.a, t.b, bool(t.open)) for t in found} == {(t.a, t.b, t.open) for t in expected}
        assert {(t.a, t.b): float(t.share) for t in found} == pytest.approx({(t.a, t.b): t.share for t in expected})
        opened |= {t.open for t in expected}
    assert students < 2 or opened == {True, False}


def test_decisions_left_on_the_device_are_tensors() -> None:
    ce = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    terms = directed_terms(ce, mutual="no_weight", detach_threshold=1.1, on_host=False)
    assert all(isinstance(t.share, torch.Tensor) and isinstance(t.open, torch.Tensor) for t in terms)
    assert [(t.a, t.b, float(t.share)) for t in terms] == [(0, 1, 0.5), (0, 2, 0.5), (1, 2, 1.0), (2, 1, 0.0)]
