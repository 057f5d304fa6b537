"""Projection to the vocabulary and every loss of a family, fused over chunks of tokens, with gradients by hand.

A (tokens x vocabulary) tensor is by far the largest of a training step, and distilling n students with autograd keeps
several of them for every network and every pair. Here a chunk's logits, losses and gradients are made and used up
before the next chunk's, so memory beyond the hidden states and their gradients grows neither with the tokens nor with
the students. Whether a student's gradient is detached depends on the whole batch's cross-entropies, so those are
computed first by a projection of their own; the networks run once.

Shapes: N target tokens, D d_model, V vocabulary, K distinct networks, C tokens in a chunk.

Gradients with respect to the logits of a network with probabilities p:
    CE against the smoothed target q:          p - q
    KL(a || b), into b:                        p_b - p_a
    KL(a || b), into a:                        p_a * (log p_a - log p_b - KL(a || b))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from polystill.objectives.aio_kd import Distillation, FamilyLoss, aio_kd_loss, distillations

CHUNK_ELEMENTS = 1 << 21
"""Elements (networks x tokens x vocabulary) of one chunk's logits: small enough for a last-level cache."""


@dataclass(frozen=True)
class LossSettings:
    """The objective's numbers. With one network (the teacher) it is the label-smoothed NLL."""

    label_smoothing: float = 0.1
    ce_weight: float = 1.0
    kd_weight: float = 5.5
    mutual_weight: float = 0.5
    mutual: str = "none"
    detach_threshold: float = 1.1


def plain_family_loss(
    hidden: Sequence[Tensor],
    members: Sequence[int],
    weight: Tensor,
    bias: Tensor,
    target: Tensor,
    settings: LossSettings,
    sum_over_ranks: Callable[[Tensor], Tensor] = lambda ce: ce,
) -> FamilyLoss:
    """The twin of `fused_family_loss`: whole logits, the published loss, autograd."""
    logits = [widen(torch.nn.functional.linear(h, weight, bias)[None]) for h in hidden]
    networks = [logits[i] for i in members]
    return aio_kd_loss(
        networks[0], networks[1:], target[None], pad_id=-1, sum_over_ranks=sum_over_ranks, **vars(settings)
    )


def fused_family_loss(
    hidden: Sequence[Tensor],
    members: Sequence[int],
    weight: Tensor,
    bias: Tensor,
    target: Tensor,
    settings: LossSettings,
    sum_over_ranks: Callable[[Tensor], Tensor] = lambda ce: ce,
) -> FamilyLoss:
    """The AIO-KD loss of one batch from hidden states; only `.loss` is differentiable.

    Args:
        hidden: K tensors (N, D), the distinct networks' states at the real target tokens.
        members: for each network of the step, teacher first, its index in `hidden`; a network drawn twice counts twice.
        weight, bias: (V, D), (V,) of the output projection. target: (N,) token ids.
        sum_over_ranks: as in `aio_kd_loss`.
    """
    loss, report = _FusedFamilyLoss.apply(weight, bias, target, members, settings, sum_over_ranks, *hidden)
    networks = len(members)
    ce_each, decided, kd, mutual = report[:networks], report[networks:-2], report[-2], report[-1]
    return FamilyLoss(
        loss=loss,
        ce=ce_each.sum(),
        kd=kd,
        mutual=mutual,
        ce_each=ce_each,
        ce_ratio=(decided[1:] / decided[0]).tolist(),
    )


def cross_entropies(
    hidden: Sequence[Tensor], weight: Tensor, bias: Tensor, target: Tensor, label_smoothing: float
) -> tuple[Tensor, Tensor]:
    """Label-smoothed and plain cross-entropy sums, each (K,) in float64, chunk by chunk and without gradients."""
    smoothed = torch.zeros(len(hidden), dtype=torch.float64, device=target.device)
    plain = torch.zeros_like(smoothed)
    others = label_smoothing / (len(weight) - 1)
    with torch.no_grad():
        for chunk in _chunks(len(target), len(hidden) * len(weight)):
            logits = _project(hidden, weight, bias, chunk)
            log_sum = logits.logsumexp(-1)
            at_target = logits.gather(-1, target[chunk].expand(len(hidden), -1)[..., None])[..., 0]
            nll = (log_sum - at_target).double()
            total = (log_sum * len(weight) - logits.sum(-1)).double()
            smoothed += ((1 - label_smoothing - others) * nll + others * total).sum(1)
            plain += nll.sum(1)
    return smoothed, plain


class _FusedFamilyLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        weight: Tensor,
        bias: Tensor,
        target: Tensor,
        members: Sequence[int],
        settings: LossSettings,
        sum_over_ranks: Callable[[Tensor], Tensor],
        *hidden: Tensor,
    ) -> tuple[Tensor, Tensor]:
        if torch.is_autocast_enabled(weight.device.type):
            dtype = torch.get_autocast_dtype(weight.device.type)
            weight, bias = weight.to(dtype), bias.to(dtype)
            hidden = tuple(h.to(dtype) for h in hidden)
        index = torch.tensor(list(members), device=weight.device)
        ce, terms = None, []
        decided = None
        if len(members) > 1:
            ce = cross_entropies(hidden, weight, bias, target, settings.label_smoothing)[0][index]
            decided = sum_over_ranks(ce)
            terms = distillations(decided.tolist(), mutual=settings.mutual, detach_threshold=settings.detach_threshold)
        gradients = _Gradients(hidden, weight, bias, target, members, settings, terms)
        for chunk in _chunks(len(target), len(hidden) * len(weight)):
            gradients.add(chunk)
        if ce is None or decided is None:
            ce = decided = gradients.ce
        ctx.save_for_backward(gradients.weight, gradients.bias, *gradients.hidden)
        loss = settings.ce_weight * ce.sum() + settings.kd_weight * gradients.kd
        loss = loss + settings.mutual_weight * gradients.mutual
        report = torch.cat([ce, decided, gradients.kd[None], gradients.mutual[None]])
        ctx.mark_non_differentiable(report)
        return loss.to(torch.float64 if weight.dtype == torch.float64 else torch.float32), report

    @staticmethod
    def backward(ctx: Any, loss_gradient: Tensor, _: Tensor) -> tuple[Any, ...]:
        weight, bias, *hidden = (gradient * loss_gradient for gradient in ctx.saved_tensors)
        return weight, bias, None, None, None, None, *hidden


class _Gradients:
    """Accumulates the gradients and the KL sums of one batch, chunk by chunk."""

    def __init__(
        self,
        hidden: Sequence[Tensor],
        weight: Tensor,
        bias: Tensor,
        target: Tensor,
        members: Sequence[int],
        settings: LossSettings,
        terms: Sequence[Distillation],
    ) -> None:
        self._hidden, self._weight, self._bias, self._target = hidden, weight, bias, target
        self._settings = settings
        wide = torch.float64 if weight.dtype == torch.float64 else torch.float32
        self.hidden = [torch.empty(h.shape, dtype=wide, device=h.device) for h in hidden]
        self.weight = torch.zeros(weight.shape, dtype=wide, device=weight.device)
        self.bias = torch.zeros(bias.shape, dtype=wide, device=bias.device)
        self.ce = torch.zeros(1, dtype=torch.float64, device=weight.device)
        self.kd = torch.zeros((), dtype=torch.float64, device=weight.device)
        self.mutual = torch.zeros((), dtype=torch.float64, device=weight.device)
        self._ce_weight = [settings.ce_weight * members.count(k) for k in range(len(hidden))]
        # (a, b, share, weight, open, is knowledge distillation), of distinct networks: KL(a || a) is 0.
        self._terms = [
            (members[t.a], members[t.b], t.share, self._weight_of(t), t.open, t.a == 0)
            for t in terms
            if members[t.a] != members[t.b]
        ]

    def _weight_of(self, term: Distillation) -> float:
        return term.share * (self._settings.kd_weight if term.a == 0 else self._settings.mutual_weight)

    def add(self, chunk: slice) -> None:
        log_p = _project(self._hidden, self._weight, self._bias, chunk).log_softmax(-1)
        p = log_p.exp()
        if len(self._hidden) == 1:
            self._add_cross_entropy(log_p[0], self._target[chunk])
        gradient = self._logits_gradient(log_p, p, self._target[chunk])
        gradient = gradient.to(self._weight.dtype)
        for into, of_network in zip(self.hidden, gradient, strict=True):
            into[chunk] = of_network @ self._weight
        stacked = torch.cat([h[chunk] for h in self._hidden])
        flat = gradient.flatten(0, 1)
        if self.weight.dtype == flat.dtype:
            self.weight.addmm_(flat.t(), stacked)
        else:  # a bf16 product, summed up in float32
            self.weight += flat.t() @ stacked
        self.bias += flat.sum(0)

    def _add_cross_entropy(self, log_p: Tensor, target: Tensor) -> None:
        smoothing = self._settings.label_smoothing
        others = smoothing / (log_p.shape[-1] - 1)
        nll = -log_p.gather(-1, target[:, None]).sum(dtype=torch.float64)
        self.ce += (1 - smoothing - others) * nll - others * log_p.sum(dtype=torch.float64)

    def _logits_gradient(self, log_p: Tensor, p: Tensor, target: Tensor) -> Tensor:
        """(K, C, V): d loss / d logits."""
        own = list(self._ce_weight)
        for _, b, _, weight, _, _ in self._terms:
            own[b] += weight
        gradient = p * p.new_tensor(own)[:, None, None]
        for a, b, share, weight, is_open, is_kd in self._terms:
            gradient[b].add_(p[a], alpha=-weight)
            pointwise = (log_p[a] - log_p[b]).mul_(p[a])
            divergence = pointwise.sum(-1)
            total = self.kd if is_kd else self.mutual
            total += share * divergence.sum(dtype=torch.float64)
            if is_open:
                gradient[a].add_(pointwise, alpha=weight)
                gradient[a].addcmul_(p[a], divergence[:, None], value=-weight)
        smoothing = self._settings.label_smoothing
        others = smoothing / (p.shape[-1] - 1)
        ce_weight = p.new_tensor(self._ce_weight)[:, None, None]
        gradient -= others * ce_weight
        at_target = (-(1 - smoothing - others) * ce_weight).expand(-1, len(target), 1)
        return gradient.scatter_add_(2, target.expand(len(p), -1)[..., None], at_target)


def _chunks(tokens: int, elements_a_token: int) -> list[slice]:
    size = max(1, CHUNK_ELEMENTS // elements_a_token)
    return [slice(start, min(start + size, tokens)) for start in range(0, tokens, size)]


def _project(hidden: Sequence[Tensor], weight: Tensor, bias: Tensor, chunk: slice) -> Tensor:
    """Logits (K, C, V) of one chunk, in float32 at least."""
    stacked = torch.cat([h[chunk] for h in hidden])
    logits = torch.addmm(bias, stacked, weight.t()).unflatten(0, (len(hidden), -1))
    return widen(logits)


def widen(logits: Tensor) -> Tensor:
    """Logits in float32 at least: losses are never computed in less."""
    return logits if logits.dtype == torch.float64 else logits.float()
