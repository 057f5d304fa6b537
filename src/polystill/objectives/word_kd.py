"""Word-level knowledge distillation (Kim & Rush 2016, equation 6; Hinton et al. 2015 for the temperature).

Of one batch, summed over its N target tokens, with a frozen teacher q and a student p:

    (1 - alpha) * CE(student) + alpha * tau**2 * KL(q_tau || p_tau)

CE is label-smoothed as everywhere else; q_tau and p_tau are softmaxes of logits / tau. The paper's cross-entropy
against the teacher differs from the divergence by the teacher's entropy, which has no gradient. The factor tau**2 keeps
the gradient's size when the temperature changes.

Shapes: N target tokens, V vocabulary, D and D' the widths of student and teacher, which need not be alike.

Gradients with respect to the student's logits: CE against the smoothed target t gives p - t, KL(q_tau || p_tau) gives
(p_tau - q_tau) / tau.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from polystill.objectives.aio_kd import FamilyLoss, smoothed_cross_entropy
from polystill.objectives.projection import Gradients, Normaliser, Projection, log_sum_exp, scaled_once, widen


@dataclass(frozen=True)
class WordKdSettings:
    alpha: float = 0.5
    temperature: float = 1.0
    label_smoothing: float = 0.1


@dataclass(frozen=True)
class Output:
    """A network's states (N, D) at the target tokens, and its projection to the vocabulary: (V, D), (V,)."""

    hidden: Tensor
    weight: Tensor
    bias: Tensor


def plain_word_kd_loss(student: Output, teacher: Output, target: Tensor, settings: WordKdSettings) -> FamilyLoss:
    """The twin of `fused_word_kd_loss`: whole logits and autograd."""
    logits = widen(torch.nn.functional.linear(student.hidden, student.weight, student.bias))
    with torch.no_grad():
        aim = widen(torch.nn.functional.linear(teacher.hidden, teacher.weight, teacher.bias))
    ce = smoothed_cross_entropy(logits.log_softmax(-1), target, settings.label_smoothing).sum()
    tau = settings.temperature
    q, log_p = (aim / tau).log_softmax(-1), (logits / tau).log_softmax(-1)
    kd = tau**2 * (q.exp() * (q - log_p)).sum()
    return _loss((1 - settings.alpha) * ce + settings.alpha * kd, ce.detach(), kd.detach())


def fused_word_kd_loss(student: Output, teacher: Output, target: Tensor, settings: WordKdSettings) -> FamilyLoss:
    """The loss of one batch; only `.loss` is differentiable, and only with respect to the student.

    Args:
        student, teacher: outputs over the same vocabulary. target: (N,) token ids.
    """
    loss, report = _FusedWordKdLoss.apply(student.weight, student.bias, student.hidden, teacher, target, settings)
    return _loss(loss, report[0], report[1])


def _loss(loss: Tensor, ce: Tensor, kd: Tensor) -> FamilyLoss:
    return FamilyLoss(loss=loss, ce=ce, kd=kd, mutual=torch.zeros_like(kd), ce_each=ce[None], ce_decided=ce[None])


class _FusedWordKdLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        weight: Tensor,
        bias: Tensor,
        hidden: Tensor,
        teacher: Output,
        target: Tensor,
        settings: WordKdSettings,
    ) -> tuple[Tensor, Tensor]:
        aim = (teacher.weight, teacher.bias, teacher.hidden)
        if torch.is_autocast_enabled(weight.device.type):
            dtype = torch.get_autocast_dtype(weight.device.type)
            weight, bias, hidden, *aim = (x.to(dtype) for x in (weight, bias, hidden, *aim))  # type: ignore[assignment]
        projection, teachers = Projection([hidden], weight, bias), Projection([aim[2]], aim[0], aim[1])
        ce_weight = torch.full((1,), 1 - settings.alpha, dtype=torch.float64, device=weight.device)
        gradients = Gradients(projection, target, ce_weight, settings.label_smoothing)
        normaliser = Normaliser([hidden], target)
        kd = torch.zeros((), dtype=torch.float64, device=weight.device)
        for (chunk, states, logits), (_, _, aims) in zip(projection.chunks(), teachers.chunks(), strict=True):
            normaliser.see(chunk, logits)
            for block in projection.blocks(chunk):
                log_sum, divergence = _to_gradient(logits[:, block], aims[:, block], settings)
                normaliser.of(chunk, block)[:] = log_sum
                kd = kd + divergence
            gradients.add(chunk, states, logits)
        ce = normaliser.smoothed(projection, settings.label_smoothing)[0]
        kd = settings.temperature**2 * kd
        ctx.gradients = gradients.finish()
        report = torch.stack([ce, kd])
        ctx.mark_non_differentiable(report)
        return ((1 - settings.alpha) * ce + settings.alpha * kd).to(projection.wide), report

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, loss_gradient: Tensor, _: Tensor) -> tuple[Any, ...]:
        return *scaled_once(ctx, loss_gradient), None, None, None


def _to_gradient(logits: Tensor, aims: Tensor, settings: WordKdSettings) -> tuple[Tensor, Tensor]:
    """Turn the student's logits (1, C, V) in place into the gradient with respect to them, but for the targets'.

    `aims`, the teacher's logits, are used up. Returns the log denominators (1, C) and the divergence's sum.
    """
    tau, alpha = settings.temperature, settings.alpha
    log_sum = log_sum_exp(logits)
    if tau == 1:
        log_p = logits.sub_(log_sum[..., None])
    else:
        log_p = logits / tau
        log_p.sub_(log_sum_exp(log_p)[..., None])
        aims.div_(tau)
    log_q = aims.sub_(log_sum_exp(aims)[..., None])
    q = log_q.exp()
    divergence = log_q.sub_(log_p).mul_(q).sum(-1).sum(dtype=torch.float64)
    if tau == 1:
        logits.exp_().add_(q, alpha=-alpha)
    else:
        logits.sub_(log_sum[..., None]).exp_().mul_(1 - alpha)
        logits.add_(log_p.exp_().sub_(q), alpha=alpha * tau)
    return log_sum, divergence
