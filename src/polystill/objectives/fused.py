"""The loss of every objective from its networks' states, fused over chunks of tokens, with gradients by hand.

A (tokens x vocabulary) tensor is by far the largest of a training step, and distilling n students with autograd keeps
several of them for every network and every pair. Here a chunk's logits, losses and gradients are made and used up
before the next chunk's, so memory beyond the hidden states and their gradients grows neither with the tokens nor with
the students. No decision leaves a GPU.

An objective's terms may depend on the whole batch's cross-entropies (`Objective.reads`). These are computed first, by a
projection of their own; a GPU keeps its logits for the second walk, within a bound. On a CPU the caller may instead say
which cross-entropies it expects: everything is then computed at once for the terms that follow from these, and again
only where the batch decides otherwise. All ways give the same numbers to the last bit.

Shapes: N target tokens, D d_model, V vocabulary, K networks of one projection, C tokens in a block.

Gradients with respect to the logits of networks with probabilities p, and d = p_a * (log p_a - log p_b):
    CE against the smoothed target q:          p - q
    KL(a || b) = sum d, into b:                p_b - p_a
    KL(a || b), into a:                        d - p_a * sum d
    tau**2 * KL(a_tau || b_tau):               the same with p_tau and d_tau, times tau
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from polystill.objectives.base import Loss, Objective, Reads
from polystill.objectives.plain import Sum, compared, each_token, one_rank
from polystill.objectives.projection import (
    Chunk,
    Gradients,
    Normaliser,
    Output,
    Projection,
    exponentiate,
    log_sum_exp,
    product_type,
    widen,
)


def fused_loss(
    outputs: Sequence[Output],
    members: Sequence[int],
    target: Tensor,
    objective: Objective,
    update: int = 1,
    sum_over_ranks: Sum = one_rank,
    expected: Tensor | None = None,
) -> Loss:
    """The loss of one batch under an objective; only `.loss` is differentiable.

    Args:
        outputs: the distinct networks; those with the very same weight tensor are of one supernet, and are projected
            in one product. Only the first may be frozen.
        members: for each network of the update, the teacher first, its index in `outputs`; a network drawn twice counts
            twice.
        target: (N,) token ids. update: counted from 1, for weights that change.
        sum_over_ranks: adds up cross-entropies (networks,) over all ranks before anything is decided by them.
        expected: cross-entropies (networks,) that decide as this batch will probably do, on a CPU; only how they
            compare with each other counts. They save one projection where they are right and never change the result.
    """
    with torch.no_grad():
        batch = _Batch(outputs, tuple(members), target, objective, update, sum_over_ranks)
    loss, report = _FusedLoss.apply(batch, expected, *batch.differentiable(outputs))
    learning = (len(report) - 2) // 2
    ce_each, decided, kd, mutual = report[:learning], report[learning:-2], report[-2], report[-1]
    return Loss(loss, ce_each.sum(), kd, mutual, ce_each, decided, batch.projections_again)


def cross_entropies(
    hidden: Sequence[Tensor], weight: Tensor, bias: Tensor, target: Tensor, label_smoothing: float
) -> tuple[Tensor, Tensor]:
    """Label-smoothed and plain cross-entropy sums, each (K,) in float64, chunk by chunk and without gradients."""
    with torch.no_grad():
        projection, normaliser = Projection(hidden, weight, bias), Normaliser(hidden, target)
        normaliser.run(projection)
        return normaliser.smoothed(projection, label_smoothing), normaliser.nll


class _FusedLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, batch: _Batch, expected: Tensor | None, *_: Tensor) -> tuple[Tensor, Tensor]:
        loss, report, ctx.gradients = batch.compute(expected)
        ctx.mark_non_differentiable(report)
        return loss, report

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, loss_gradient: Tensor, _: Tensor) -> tuple[Any, ...]:
        """Scales in place what the forward pass left, so there is no second time."""
        gradients, ctx.gradients = ctx.gradients, None
        assert gradients is not None, "a fused loss goes backward once"
        return None, None, *(gradient.mul_(loss_gradient) for gradient in gradients)


Place = tuple[int, int]
"""Where a distinct network stands: its group, and its row there."""


class _Group:
    """The networks of one projection: their logits, the normaliser, and gradients unless they are frozen."""

    def __init__(self, outputs: Sequence[Output], target: Tensor, largest: int) -> None:
        tensors = outputs[0].weight, outputs[0].bias, *(output.hidden for output in outputs)
        tensors = tuple(x.to(product_type(x)) for x in tensors)
        weight, bias, *hidden = tensors
        self.projection, self.normaliser = Projection(hidden, weight, bias, largest), Normaliser(hidden, target)
        self.normalised = False
        self.gradients: Gradients | None = None


class _Batch:
    """One batch on its way to a loss and its gradients."""

    def __init__(
        self,
        outputs: Sequence[Output],
        members: tuple[int, ...],
        target: Tensor,
        objective: Objective,
        update: int,
        sum_over_ranks: Sum,
    ) -> None:
        self._members, self._objective, self._sum_over_ranks = members, objective, sum_over_ranks
        self.weights, self.projections_again = objective.weights(update), 0
        grouped: dict[tuple[int, bool], list[int]] = {}
        for i, output in enumerate(outputs):
            grouped.setdefault((id(output.weight), output.frozen), []).append(i)
        self._numbers = list(grouped.values())
        self._places = {i: (g, row) for g, numbers in enumerate(self._numbers) for row, i in enumerate(numbers)}
        largest = max(map(len, self._numbers))
        self._groups = [_Group([outputs[i] for i in numbers], target, largest) for numbers in self._numbers]
        for group, (_, frozen), numbers in zip(self._groups, grouped, self._numbers, strict=True):
            if not frozen:
                ce_weight = self.weights.ce * _counts_on(target.device, tuple(members.count(i) for i in numbers))
                group.gradients = Gradients(group.projection, target, ce_weight, objective.label_smoothing)
        self._supernets = [self._places[i][0] for i in members]
        self._learning = [self._places[i] for i in members if not outputs[i].frozen]
        self._no_sums = torch.zeros(0, dtype=torch.float64, device=target.device)
        self._computed: tuple[Tensor, Tensor] | None = None
        self.wide = self._groups[0].projection.wide

    def differentiable(self, outputs: Sequence[Output]) -> list[Tensor]:
        """The tensors that `compute` returns gradients of, in the same order."""
        tensors = []
        for group, numbers in zip(self._groups, self._numbers, strict=True):
            if group.gradients is not None:
                first = outputs[numbers[0]]
                tensors += [first.weight, first.bias, *(outputs[i].hidden for i in numbers)]
        return tensors

    def compute(self, expected: Tensor | None) -> tuple[Tensor, Tensor, list[Tensor]]:
        """The loss, its parts, and the gradients of the tensors in `differentiable`: all arithmetic, without autograd.

        The parts are cross-entropies of the members that learn, the same over all ranks, and the terms' two sums.
        """
        terms, sums = self._add_all(expected)
        weights, ce = self.weights, self.cross_entropies
        kd, mutual = _reported(terms, sums)
        loss = weights.ce * ce.sum() + weights.kd * kd + weights.mutual * mutual
        report = torch.stack([*ce, *self.decided, kd, mutual])
        gradients = [x for group in self._groups if group.gradients is not None for x in group.gradients.finish()]
        return loss.to(self.wide), report, gradients

    def _add_all(self, expected: Tensor | None) -> tuple[Sequence[_Divergence], Tensor]:
        """Compute all gradients; returns the terms, and the sum of each over the tokens, in float64."""
        if len(self._places) == 1:  # it has no terms with itself
            return [], self._add_gradients([])
        reads = self._objective.reads(self._supernets)
        if reads == "sums" and expected is not None:
            guessed = self._terms(expected)
            sums = self._add_gradients(guessed)
            terms = self._terms(self.decided)
            if terms == guessed:
                return terms, sums
            self.projections_again = _FORWARD_AND_BACKWARD
            for group in self._groups:
                if group.gradients is not None:
                    group.gradients.clear()
        elif reads == "nothing":
            terms = self._terms(None)
        else:
            self._normalise()
            terms = self._terms(self.decided if reads == "sums" else self._nll_each())
        return terms, self._add_gradients(terms)

    # --- what the terms depend on -------------------------------------------------------------------------------------

    def _normalise(self) -> None:
        """Compute the normalisers of the networks that learn by a projection of their own."""
        for group in self._groups:
            if group.gradients is not None:
                group.normaliser.run(group.projection, keep=True)
                group.normalised = True
                if not group.projection.kept:
                    self.projections_again = _FORWARD

    @property
    def cross_entropies(self) -> Tensor:
        """Label-smoothed sums in float64 of the members that learn."""
        return self._sums()[0]

    @property
    def decided(self) -> Tensor:
        """`cross_entropies` over all ranks, by which gradients are detached."""
        return self._sums()[1]

    def _sums(self) -> tuple[Tensor, Tensor]:
        """`cross_entropies` and `decided`, computed once."""
        if self._computed is None:
            smoothing = self._objective.label_smoothing
            smoothed = [g.normaliser.smoothed(g.projection, smoothing) if g.gradients else None for g in self._groups]
            ce = torch.stack([_at(smoothed, place) for place in self._learning])
            reads: Reads = self._objective.reads(self._supernets)
            self._computed = ce, self._sum_over_ranks(ce) if compared(len(ce), reads) else ce
        return self._computed

    def _nll_each(self) -> Tensor:
        """(members that learn, N)."""
        each = [group.normaliser.nll_each if group.gradients else None for group in self._groups]
        return torch.stack([_at(each, place) for place in self._learning])

    def _terms(self, ce: Tensor | None) -> list[_Divergence]:
        """The objective's terms between distinct networks."""
        divergences = []
        for t in self._objective.terms(self._supernets, ce):
            a, b = (self._places[self._members[i]] for i in (t.a, t.b))
            if a != b:  # KL(a || a) is 0
                weight = t.share * (self.weights.kd if t.role == "kd" else self.weights.mutual)
                into_a = 0.0 if self._groups[a[0]].gradients is None else weight * t.open
                divergences.append(_Divergence(a, b, t.role, t.share, weight, into_a, t.temperature))
        return divergences

    # --- gradients ----------------------------------------------------------------------------------------------------

    def _add_gradients(self, terms: Sequence[_Divergence]) -> Tensor:
        """The gradients of every cross-entropy and term; returns each term's sum over the tokens, in float64."""
        if not terms:
            for group in self._groups:
                _add_nll(group)
            return self._no_sums
        sums = self._no_sums.new_zeros(len(terms))
        learns_by = [g.gradients.ce_weight.to(self.wide, copy=True) if g.gradients else None for g in self._groups]
        for t in terms:
            if t.temperature == 1 and not each_token(t.weight):
                _at(learns_by, t.b).add_(t.weight)
        for chunks in zip(*(group.projection.chunks() for group in self._groups), strict=True):
            self._add_chunk(chunks, learns_by, terms, sums)
        for group in self._groups:
            group.normalised = True
        return sums

    def _add_chunk(
        self, chunks: Sequence[Chunk], learns_by: Sequence[Tensor | None], terms: Sequence[_Divergence], sums: Tensor
    ) -> None:
        """Turn one chunk of each group's logits into gradients, multiply these back, and add to the terms' sums."""
        tokens = chunks[0][0]
        for group, (_, _, logits) in zip(self._groups, chunks, strict=True):
            if not group.normalised:
                group.normaliser.add_targets(tokens, logits)
        for block in self._groups[0].projection.blocks(tokens):
            parts = [t.part(slice(tokens.start + block.start, tokens.start + block.stop)) for t in terms]
            log_p = [widen(logits[:, block]) for _, _, logits in chunks]
            softened = _softened(log_p, parts)
            p = [
                group.normaliser.normalise(tokens, block, x, group.normalised)
                for group, x in zip(self._groups, log_p, strict=True)
            ]
            sums += _to_gradient(log_p, p, learns_by, parts, softened)
            for group, x, (_, _, logits) in zip(self._groups, log_p, chunks, strict=True):
                if group.gradients is not None:
                    group.gradients.add_block(tokens, block, x, logits)
        for group, chunk in zip(self._groups, chunks, strict=True):
            if group.gradients is not None:
                group.gradients.add(*chunk)


_FORWARD, _FORWARD_AND_BACKWARD = 1, 3


@lru_cache(maxsize=4096)
def _counts_on(device: torch.device, counts: tuple[int, ...]) -> Tensor:
    """The number of draws of each distinct network (K,) in float64; kept, and filled in where a copy would wait."""
    return torch.stack([torch.full((), count, dtype=torch.float64, device=device) for count in counts])


# --- arithmetic on one block ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Divergence:
    """A term between distinct networks, with its weight in the loss, and that of its gradient into a."""

    a: Place
    b: Place
    role: str
    share: float | Tensor
    weight: float | Tensor
    into_a: float | Tensor
    temperature: float

    def part(self, tokens: slice) -> _Divergence:
        """The same for a part of the tokens."""
        if not each_token(self.share):
            return self
        parts: dict[str, Any] = {name: x[tokens] for name, x in vars(self).items() if each_token(x)}
        return replace(self, **parts)


def _add_nll(group: _Group) -> None:
    """The gradients of the networks' cross-entropies alone, from one projection."""
    if group.gradients is None:
        return
    projection, normaliser = group.projection, group.normaliser
    weight = group.gradients.ce_weight.to(projection.wide)[:, None]
    for chunk, states, logits in projection.chunks():
        if not group.normalised:
            normaliser.add_targets(chunk, logits)
        for block in projection.blocks(chunk):
            x = widen(logits[:, block])
            largest, total = exponentiate(x)
            x.mul_((weight / total)[..., None])
            group.gradients.add_block(chunk, block, x, logits)
            normaliser.fill(chunk, block, largest, total)
        group.gradients.add(chunk, states, logits)
    group.normalised = True


def _softened(logits: Sequence[Tensor], terms: Sequence[_Divergence]) -> dict[tuple[Place, float], Tensor]:
    """Log-probabilities (C, V) of the terms' networks at temperatures other than 1."""
    softened: dict[tuple[Place, float], Tensor] = {}
    for place, tau in dict.fromkeys((place, t.temperature) for t in terms for place in (t.a, t.b)):
        if tau != 1:
            x = _at(logits, place) / tau
            softened[place, tau] = x.sub_(log_sum_exp(x)[..., None])
    return softened


def _to_gradient(
    log_p: Sequence[Tensor],
    p: Sequence[Tensor],
    learns_by: Sequence[Tensor | None],
    terms: Sequence[_Divergence],
    softened: Mapping[tuple[Place, float], Tensor],
) -> Tensor:
    """Turn log-probabilities (K, C, V) of each group in place into gradients with respect to the logits.

    The parts of the cross-entropies' targets are left to `Gradients`. Of a frozen group nothing changes.

    Args:
        p: the probabilities of each group; they may be changed.
        learns_by: of each group the weights (K,) of cross-entropies and terms that its networks learn by, without terms
            that have a weight for each token or a temperature. None for a frozen group.
        softened: log-probabilities for terms with a temperature.

    Returns every term's divergence without the factor temperature**2, summed over the tokens; weights for each token
    are in the sum, other shares are not.
    """
    factor = [None if w is None else w[:, None].repeat(1, x.shape[1]) for x, w in zip(log_p, learns_by, strict=True)]
    taught: dict[Place, Tensor] = {}
    later: list[tuple[Place, Tensor, float | Tensor]] = []
    sums = []
    for t in terms:
        tau = t.temperature
        log_a, log_b = (softened.get((place, tau), _at(log_p, place)) for place in (t.a, t.b))
        p_a = _at(p, t.a) if tau == 1 else log_a.exp()
        pointwise = torch.sub(log_a, log_b).mul_(p_a)
        divergence = pointwise.sum(-1)
        sums.append((divergence * t.share if each_token(t.share) else divergence).sum(dtype=torch.float64))
        if tau != 1:
            later.append((t.b, log_b.exp().sub_(p_a), tau * t.weight))
            if _acts(t.into_a):
                later.append((t.a, pointwise.sub_(p_a * divergence[:, None]), tau * t.into_a))
            continue
        later.append((t.b, p_a, -t.weight))
        if each_token(t.weight):
            _at(factor, t.b).add_(t.weight)
        if _acts(t.into_a):
            _at(factor, t.a).sub_(t.into_a * divergence)
            if t.a in taught:
                _add_scaled(taught[t.a], pointwise, t.into_a)
            else:
                taught[t.a] = pointwise.mul_(_column(t.into_a))
    for x, probabilities, scale in zip(log_p, p, factor, strict=True):
        if scale is not None:
            torch.mul(probabilities, scale[..., None], out=x)
    for place, pointwise in taught.items():
        _at(log_p, place).add_(pointwise)
    for place, change, weight in later:
        _add_scaled(_at(log_p, place), change, weight)
    return torch.stack(sums)


def _reported(terms: Sequence[_Divergence], sums: Tensor) -> tuple[Tensor, Tensor]:
    """The sums of knowledge distillation and mutual learning, 0-dimensional."""
    totals = {"kd": sums.new_zeros(()), "mutual": sums.new_zeros(())}
    for t, total in zip(terms, sums, strict=True):
        share = 1.0 if each_token(t.share) else t.share
        totals[t.role] = totals[t.role] + share * (t.temperature**2 * total)
    return totals["kd"], totals["mutual"]


def _at(of_groups: Sequence[Tensor | None], place: Place) -> Tensor:
    """A network's row of its group's tensor."""
    tensor = of_groups[place[0]]
    assert tensor is not None, "nothing flows into a frozen network"
    return tensor[place[1]]


def _acts(weight: float | Tensor) -> bool:
    """Whether a term may weigh something; a number on a device is not waited for."""
    return isinstance(weight, Tensor) or weight != 0


def _column(scale: float | Tensor) -> float | Tensor:
    """A weight for each token (C,) as (C, 1), to multiply (C, V) by."""
    return scale[:, None] if each_token(scale) else scale


def _add_scaled(into: Tensor, x: Tensor, scale: float | Tensor) -> None:
    if isinstance(scale, Tensor):
        into.addcmul_(x, torch.as_tensor(_column(scale)))
    else:
        into.add_(x, alpha=scale)
