"""The loss against the authors' criterion: values and gradients of eight cases, to 1e-9 in float64.

The cases are not part of this project; they are read from the file that POLYSTILL_AIO_KD_CASES names, or from the
folder `shared/reference` beside the checkout.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from polystill.objectives.aio_kd import aio_kd_loss

_BESIDE = Path(__file__).parents[3] / "shared" / "reference" / "aio_kd_loss.json"
CASES = Path(os.environ.get("POLYSTILL_AIO_KD_CASES", _BESIDE))
SETTINGS = ("pad_id", "label_smoothing", "ce_weight", "kd_weight", "mutual_weight", "mutual", "detach_threshold")


def _cases() -> list[dict[str, Any]]:
    return json.loads(CASES.read_text(encoding="utf-8"))["cases"] if CASES.is_file() else []


def test_the_eight_cases_are_there() -> None:
    if not CASES.is_file():
        pytest.skip("the published cases are not on this machine")
    assert len(_cases()) == 8


@pytest.mark.parametrize("case", _cases(), ids=lambda case: case["name"])
def test_value_and_gradients(case: dict[str, Any]) -> None:
    teacher = torch.tensor(case["teacher_logits"], dtype=torch.float64, requires_grad=True)
    students = [torch.tensor(s, dtype=torch.float64, requires_grad=True) for s in case["student_logits"]]
    settings = {key: case[key] for key in SETTINGS}
    result = aio_kd_loss(teacher, students, torch.tensor(case["target"]), **settings)
    result.loss.backward()
    close = {"abs": 1e-9, "rel": 0}
    assert result.loss.item() == pytest.approx(case["loss"], **close)
    assert result.ce.item() == pytest.approx(case["ce"], **close)
    assert result.kd.item() == pytest.approx(case["kd"], **close)
    assert result.mutual.item() == pytest.approx(case["mutual_loss"] or 0.0, **close)
    assert result.ce_ratio == pytest.approx(case["ce_ratio"], **close)
    assert result.ce_each.tolist() == pytest.approx(case["ce_each"], **close)
    for logits, gradient in zip([teacher, *students], [case["teacher_grad"], *case["student_grads"]], strict=True):
        expected = torch.tensor(gradient, dtype=torch.float64)
        torch.testing.assert_close(logits.grad, expected, atol=1e-9, rtol=0)
