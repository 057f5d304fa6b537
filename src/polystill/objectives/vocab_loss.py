"""Projection to the vocabulary and every loss of a family, fused over chunks of tokens, with gradients by hand.

A (tokens x vocabulary) tensor is by far the largest of a training step, and distilling n students with autograd keeps
several of them for every network and every pair. Here a chunk's logits, losses and gradients are made and used up
before the next chunk's, so memory beyond the hidden states and their gradients grows neither with the tokens nor with
the students. The networks run once, and on a GPU no decision leaves the device.

Whether a student's gradient is detached depends on the whole batch's cross-entropies. They are computed first, by a
projection of their own, or else the caller says which cross-entropies it expects: then everything is computed at once
for the decisions that follow from these, and only if the batch decides otherwise the gradients are computed again.
Both ways give the same numbers to the last bit.

Shapes: N target tokens, D d_model, V vocabulary, K distinct networks, C tokens in a chunk or block.

Gradients with respect to the logits of a network with probabilities p, and d = p_a * (log p_a - log p_b):
    CE against the smoothed target q:          p - q
    KL(a || b) = sum d, into b:                p_b - p_a
    KL(a || b), into a:                        d - p_a * sum d"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from polystill.objectives.aio_kd import FamilyLoss, aio_kd_loss
from polystill.objectives.decisions import Term, directed_terms
from polystill.objectives.projection import (
    Gradients,
    Normaliser,
    Projection,
    exponentiate,
    log_sum_exp,
    scaled_once,
    widen,
)


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
    expected: Tensor | None = None,
) -> FamilyLoss:
    """The AIO-KD loss of one batch from hidden states; only `.loss` is differentiable.

    Args:
        hidden: K tensors (N, D), the distinct networks' states at the real target tokens.
        members: for each network of the step, teacher first, its index in `hidden`; a network drawn twice counts twice.
        weight, bias: (V, D), (V,) of the output projection. target: (N,) token ids.
        sum_over_ranks: as in `aio_kd_loss`.
        expected: cross-entropies (networks,) that decide as this batch will probably do, on the CPU; only how they
            compare with each other counts. They save one projection where they are right and never change the result.
    """
    loss, report, again = _FusedFamilyLoss.apply(
        weight, bias, target, tuple(members), settings, sum_over_ranks, expected, *hidden
    )
    networks = len(members)
    ce_each, decided, kd, mutual = report[:networks], report[networks:-2], report[-2], report[-1]
    return FamilyLoss(
        loss=loss,
        ce=ce_each.sum(),
        kd=kd,
        mutual=mutual,
        ce_each=ce_each,
        ce_decided=decided,
        projections_again=again,
    )


def cross_entropies(
    hidden: Sequence[Tensor], weight: Tensor, bias: Tensor, target: Tensor, label_smoothing: float
) -> tuple[Tensor, Tensor]:
    """Label-smoothed and plain cross-entropy sums, each (K,) in float64, chunk by chunk and without gradients."""
    with torch.no_grad():
        projection, normaliser = Projection(hidden, weight, bias), Normaliser(hidden, target)
        normaliser.run(projection)
        return normaliser.smoothed(projection, label_smoothing), normaliser.nll


class _FusedFamilyLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        weight: Tensor,
        bias: Tensor,
        target: Tensor,
        members: tuple[int, ...],
        settings: LossSettings,
        sum_over_ranks: Callable[[Tensor], Tensor],
        expected: Tensor | None,
        *hidden: Tensor,
    ) -> tuple[Tensor, Tensor, int]:
        if torch.is_autocast_enabled(weight.device.type):
            dtype = torch.get_autocast_dtype(weight.device.type)
            weight, bias = weight.to(dtype), bias.to(dtype)
            hidden = tuple(h.to(dtype) for h in hidden)
        projection, normaliser = Projection(hidden, weight, bias), Normaliser(hidden, target)
        of_members, counts = _members_on(target.device, members, len(hidden))
        gradients = Gradients(projection, target, settings.ce_weight * counts, settings.label_smoothing)
        guess = None if expected is None else _terms(expected, members, settings)
        sums, again = counts.new_zeros(0), 0
        if len(hidden) == 1:
            guess = []
            _add_nll(projection, normaliser, gradients)
        elif guess is None:
            again = _FORWARD
            normaliser.run(projection)
        else:
            sums = _add_family(projection, normaliser, guess, gradients, normalised=False)
        ce = normaliser.smoothed(projection, settings.label_smoothing)[of_members]
        decided = sum_over_ranks(ce)
        terms = _terms(decided, members, settings)
        if terms != guess:
            again += _FORWARD_AND_BACKWARD if guess is not None else 0
            gradients.clear()
            sums = _add_family(projection, normaliser, terms, gradients, normalised=True)
        ctx.gradients = gradients.finish()
        kd, mutual = _reported(terms, sums)
        loss = settings.ce_weight * ce.sum() + settings.kd_weight * kd + settings.mutual_weight * mutual
        report = torch.stack([*ce, *decided, kd, mutual])
        ctx.mark_non_differentiable(report)
        return loss.to(projection.wide), report, again

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, loss_gradient: Tensor, *_: Any) -> tuple[Any, ...]:
        weight, bias, *hidden = scaled_once(ctx, loss_gradient)
        return weight, bias, None, None, None, None, None, *hidden


_FORWARD, _FORWARD_AND_BACKWARD = 1, 3


@lru_cache(maxsize=4096)
def _members_on(device: torch.device, members: tuple[int, ...], distinct: int) -> tuple[Tensor, Tensor]:
    """The members (networks,), and how often each distinct network is drawn (K,) in float64.

    They are kept, since a copy to a GPU would make it wait.
    """
    of_members = torch.tensor(members)
    counts = of_members.bincount(minlength=distinct)
    return of_members.to(device), counts.to(device, torch.float64)


def _add_nll(projection: Projection, normaliser: Normaliser, gradients: Gradients) -> None:
    """The gradients of one network's cross-entropy, from one projection."""
    weight = gradients.ce_weight.to(projection.wide)
    for chunk, states, logits in projection.chunks():
        normaliser.see(chunk, logits)
        for block in projection.blocks(chunk):
            largest, total = exponentiate(logits[:, block])
            logits[:, block].mul_((weight / total)[..., None])
            normaliser.of(chunk, block)[:] = total.log_().add_(largest)
        gradients.add(chunk, states, logits)


@dataclass(frozen=True)
class _Divergence:
    """A term between distinct networks a and b: its share of the reported sum, its weight, its weight into a."""

    a: int
    b: int
    is_kd: bool
    share: float | Tensor
    weight: float | Tensor
    weight_into_a: float | Tensor


def decisions(ce: Tensor, settings: LossSettings) -> list[Term]:
    """The terms that cross-entropies (networks,) decide for, read where they lie on the host."""
    on_host = ce.device.type == "cpu"
    return directed_terms(ce, mutual=settings.mutual, detach_threshold=settings.detach_threshold, on_host=on_host)


def _terms(decided: Tensor, members: Sequence[int], settings: LossSettings) -> list[_Divergence]:
    terms = []
    for t in decisions(decided, settings):
        if members[t.a] != members[t.b]:  # KL(a || a) is 0
            weight = t.share * (settings.kd_weight if t.a == 0 else settings.mutual_weight)
            terms.append(_Divergence(members[t.a], members[t.b], t.a == 0, t.share, weight, weight * t.open))
    return terms


def _add_family(
    projection: Projection,
    normaliser: Normaliser,
    terms: Sequence[_Divergence],
    gradients: Gradients,
    *,
    normalised: bool,
) -> Tensor:
    """The gradients of every cross-entropy and divergence; returns each term's sum over the tokens, in float64.

    normalised: whether the normaliser is full already; otherwise this fills it.
    """
    sums = torch.zeros(len(terms), dtype=torch.float64, device=normaliser.log_sums.device)
    own = gradients.ce_weight.to(projection.wide, copy=True)
    for t in terms:
        own[t.b] += t.weight
    for chunk, states, logits in projection.chunks():
        if not normalised:
            normaliser.see(chunk, logits)
        for block in projection.blocks(chunk):
            log_sums = normaliser.of(chunk, block)
            if not normalised:
                log_sums[:] = log_sum_exp(logits[:, block])
            sums += _to_gradient(logits[:, block].sub_(log_sums[..., None]), own, terms)
        gradients.add(chunk, states, logits)
    return sums


def _reported(terms: Sequence[_Divergence], sums: Tensor) -> tuple[Tensor, Tensor]:
    """The sums of knowledge distillation and mutual learning, 0-dimensional."""
    kd, mutual = sums.new_zeros(2)
    for t, total in zip(terms, sums, strict=True):
        if t.is_kd:
            kd = kd + t.share * total
        else:
            mutual = mutual + t.share * total
    return kd, mutual


def _to_gradient(log_p: Tensor, own: Tensor, terms: Sequence[_Divergence]) -> Tensor:
    """Turn log-probabilities (K, C, V) in place into the gradient with respect to the logits, but for the targets'.

    own (K,): each network's weight as the one that learns. Returns every term's divergence, summed over the tokens.
    """
    p = log_p.exp()
    factor = own[:, None].repeat(1, log_p.shape[1])
    taught: dict[int, Tensor] = {}
    sums = []
    for t in terms:
        pointwise = torch.sub(log_p[t.a], log_p[t.b]).mul_(p[t.a])
        divergence = pointwise.sum(-1)
        sums.append(divergence.sum(dtype=torch.float64))
        if _acts(t.weight_into_a):
            factor[t.a] -= t.weight_into_a * divergence
            if t.a in taught:
                _add_scaled(taught[t.a], pointwise, t.weight_into_a)
            else:
                taught[t.a] = pointwise.mul_(t.weight_into_a)
    torch.mul(p, factor[..., None], out=log_p)
    for a, pointwise in taught.items():
        log_p[a].add_(pointwise)
    for t in terms:
        _add_scaled(log_p[t.b], p[t.a], -t.weight)
    return torch.stack(sums) if sums else p.new_zeros(0, dtype=torch.float64)


def _acts(weight: float | Tensor) -> bool:
    """Whether a term may weigh something; what a GPU has decided is not asked for."""
    return isinstance(weight, Tensor) or weight != 0


def _add_scaled(into: Tensor, x: Tensor, scale: float | Tensor) -> None:
    if isinstance(scale, Tensor):
        into.addcmul_(x, scale)
    else:
        into.add_(x, alpha=scale)
