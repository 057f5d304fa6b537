"""The loss of every objective from whole logits, by autograd: the plain twin of `objectives.fused`.

Shapes: N target tokens, V vocabulary, K networks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeGuard

import torch
from torch import Tensor

from polystill.objectives.base import Loss, Objective, Reads
from polystill.objectives.projection import Output, widen

Sum = Callable[[Tensor], Tensor]
"""Adds up cross-entropies over all ranks."""


def one_rank(sums: Tensor) -> Tensor:
    return sums


def plain_loss(
    outputs: Sequence[Output],
    members: Sequence[int],
    target: Tensor,
    objective: Objective,
    update: int = 1,
    sum_over_ranks: Sum = one_rank,
) -> Loss:
    """The twin of `fused_loss`, with the same arguments."""
    logits = [torch.nn.functional.linear(o.hidden, o.weight, o.bias) for o in (outputs[i] for i in members)]
    projections = list(dict.fromkeys(id(outputs[i].weight) for i in members))
    supernets = [projections.index(id(outputs[i].weight)) for i in members]
    frozen = outputs[members[0]].frozen
    return loss_of_logits(logits, target, objective, update, sum_over_ranks, frozen=frozen, supernets=supernets)


def loss_of_logits(
    logits: Sequence[Tensor],
    target: Tensor,
    objective: Objective,
    update: int = 1,
    sum_over_ranks: Sum = one_rank,
    *,
    frozen: bool = False,
    supernets: Sequence[int] | None = None,
) -> Loss:
    """A batch's loss under an objective from logits (N, V) of each network; target (N,).

    frozen: network 0 is a frozen teacher. supernets: the number of each network's supernet; by default all are of one.
    """
    supernets = supernets or [0] * len(logits)
    weights, reads = objective.weights(update), objective.reads(supernets)
    logits = [widen(x.detach() if frozen and i == 0 else x) for i, x in enumerate(logits)]
    log_p = [x.log_softmax(-1) for x in logits]
    learning = log_p[int(frozen) :]
    ce_each = torch.stack([smoothed_cross_entropy(x, target, objective.label_smoothing).sum() for x in learning])
    decided = ce_each.detach()
    if compared(len(ce_each), reads):
        decided = sum_over_ranks(decided)
    known = {"nothing": None, "sums": decided, "tokens": _nll_each(learning, target)}
    sums = {"kd": ce_each.new_zeros(()), "mutual": ce_each.new_zeros(())}
    for term in objective.terms(supernets, known[reads]):
        tau = term.temperature
        a, b = (log_p[i] if tau == 1 else (logits[i] / tau).log_softmax(-1) for i in (term.a, term.b))
        a = a if term.open else a.detach()
        divergence = a.exp() * (a - b)
        if each_token(term.share):
            divergence = divergence * term.share[:, None]
        share = 1.0 if each_token(term.share) else term.share
        sums[term.role] = sums[term.role] + tau**2 * share * divergence.sum()
    loss = weights.ce * ce_each.sum() + weights.kd * sums["kd"] + weights.mutual * sums["mutual"]
    return Loss(loss, ce_each.sum(), sums["kd"], sums["mutual"], ce_each.detach(), decided)


def smoothed_cross_entropy(log_probabilities: Tensor, target: Tensor, label_smoothing: float) -> Tensor:
    """(N, V), (N,) -> (N,): 1 - epsilon on the target, epsilon / (V - 1) on each other token."""
    others = label_smoothing / (log_probabilities.shape[-1] - 1)
    nll = -log_probabilities.gather(-1, target[:, None])[:, 0]
    return (1 - label_smoothing - others) * nll - others * log_probabilities.sum(-1)


def _nll_each(log_p: Sequence[Tensor], target: Tensor) -> Tensor:
    """Of each network's tokens, (K, N)."""
    return -torch.stack([x.detach().gather(-1, target[:, None])[:, 0] for x in log_p])


def compared(networks: int, reads: Reads) -> bool:
    """Whether cross-entropies are added up over all ranks: to compare networks by them, or to decide."""
    return networks > 1 or reads == "sums"


def each_token(share: object) -> TypeGuard[Tensor]:
    """Whether a share or a weight is one for each token (N,)."""
    return isinstance(share, Tensor) and share.dim() == 1
