"""Selective-KD: the selected tokens, its loss against one written out, and a tiny run."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from polystill.objectives import projection
from polystill.objectives.fused import fused_loss
from polystill.objectives.plain import plain_loss
from polystill.objectives.projection import Output
from polystill.objectives.selective_kd import SelectiveKd
from polystill.runs import Run
from polystill.training.loop import train_family

TOKENS, VOCABULARY = 29, 17


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "CHUNK_ELEMENTS", VOCABULARY * 12)
    monkeypatch.setattr(projection, "BLOCK_ELEMENTS", VOCABULARY * 5)


def _outputs() -> tuple[Output, Output, Tensor]:
    """A frozen teacher of width 9, a student of width 6, and targets."""
    torch.manual_seed(5)

    def output(width: int, frozen: bool) -> Output:
        shapes = ((TOKENS, width), (VOCABULARY, width), (VOCABULARY,))
        hidden, weight, bias = (torch.randn(*s, dtype=torch.float64).requires_grad_(not frozen) for s in shapes)
        return Output(hidden, weight, bias, frozen)

    return output(9, True), output(6, False), torch.randint(0, VOCABULARY, (TOKENS,))


def _by_hand(teacher: Output, student: Output, target: Tensor, objective: SelectiveKd) -> Tensor:
    """CE + alpha * tau**2 * KL at the tokens whose target is least likely."""
    logits = student.hidden @ student.weight.t() + student.bias
    aims = teacher.hidden @ teacher.weight.t() + teacher.bias
    log_p, tau = logits.log_softmax(-1), objective.temperature
    nll = -log_p[range(TOKENS), target]
    smoothing = objective.label_smoothing
    others = smoothing / (VOCABULARY - 1)
    ce = -((1 - smoothing - others) * log_p[range(TOKENS), target] + others * log_p.sum(-1))
    selected = nll.detach().sort(descending=True).indices[: math.ceil(objective.share * TOKENS)]
    q, log_p_tau = (aims / tau).softmax(-1), (logits / tau).log_softmax(-1)
    divergence = (q * (q.log() - log_p_tau)).sum(-1)
    return ce.sum() + objective.alpha * tau**2 * divergence[selected].sum()


@pytest.mark.parametrize("loss", [plain_loss, fused_loss])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("share", [0.01, 0.5, 1.0])
def test_values_and_gradients_by_hand(loss: Callable[..., Any], temperature: float, share: float) -> None:
    teacher, student, target = _outputs()
    objective = SelectiveKd(alpha=0.7, share=share, temperature=temperature)
    leaves = (student.hidden, student.weight, student.bias)
    expected = _by_hand(teacher, student, target, objective)
    expected_gradients = torch.autograd.grad(expected, leaves)
    result = loss([teacher, student], (0, 1), target, objective)
    torch.testing.assert_close(result.loss, expected)
    torch.testing.assert_close(result.ce + 0.7 * result.kd, expected)
    for ours, theirs in zip(torch.autograd.grad(result.loss, leaves), expected_gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_hardest_words_are_selected_of_equals_the_first() -> None:
    (term,) = SelectiveKd(share=0.4).terms(2, torch.tensor([[1.0, 3.0, 2.0, 3.0, 0.5]]))
    assert (term.a, term.b) == (0, 1) and torch.equal(torch.as_tensor(term.share), torch.tensor([0, 1.0, 0, 1, 0]))
    (term,) = SelectiveKd(share=0.3).terms(2, torch.tensor([[1.0, 1.0, 1.0]]))
    assert torch.equal(torch.as_tensor(term.share), torch.tensor([1.0, 0, 0]))


def test_no_tokens_on_this_rank_add_nothing() -> None:
    teacher, student, target = _outputs()
    student = Output(student.hidden[:0], student.weight, student.bias)
    teacher = Output(teacher.hidden[:0], teacher.weight, teacher.bias, frozen=True)
    assert fused_loss([teacher, student], (0, 1), target[:0], SelectiveKd()).loss.item() == 0


@pytest.mark.parametrize("mode", ["shared", "plain"])
def test_a_run(counting_recipe: dict[str, Any], prepared_run: Callable[..., Run], mode: str) -> None:
    counting_recipe["stages"] = [{"name": "one", "updates": 4}]
    teacher = prepared_run(counting_recipe, "teacher")
    train_family(teacher)
    student = {**counting_recipe, "model": {**counting_recipe["model"], "d_model": 8}}
    student["objective"] = {"kind": "selective_kd", "teacher": str(teacher.folder), "share": 0.3}
    student["training"] = {**counting_recipe["training"], "mode": mode}
    run = prepared_run(student, "student")
    assert (run.recipe.method, run.recipe.trains_family) == ("selective_kd", False)
    train_family(run)
    record = run.record("training.one")
    assert record is not None and set(record["validation"]["nll"]) == {"e2d2"} and "interaction" not in record
    cost = run.results()["cost"]["training.one"]
    assert cost["projections_again"] == (4 if mode == "shared" else 0)
