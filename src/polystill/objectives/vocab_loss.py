"""Projection to the vocabulary and every loss of a family, fused over chunks of tokens, with gradients by hand.

A (tokens x vocabulary) tensor is by far the largest of a training step, and distilling n students with autograd keeps
several of them for every network and every pair. Here a chunk's logits, losses and gradients are made and used up
before the next chunk's, so memory beyond the hidden states and their gradients grows neither with the tokens nor with
the students. Whether a student's gradient is detached depends on the whole batch's cross-entropies, so those are
computed first by a projection of their own; the networks run once, and no decision leaves the device.

Matrix products are fastest over large chunks, the arithmetic between them over blocks that stay in a core's cache: a
chunk is projected whole, turned into gradients block by block, and multiplied back whole.

Shapes: N target tokens, D d_model, V vocabulary, K distinct networks, C tokens in a chunk or block.

Gradients with respect to the logits of a network with probabilities p, and d = p_a * (log p_a - log p_b):
    CE against the smoothed target q:          p - q
    KL(a || b) = sum d, into b:                p_b - p_a
    KL(a || b), into a:                        d - p_a * sum d
The smoothed target is the same number everywhere but at the target token. That constant part of the gradient never
enters the (C, V) tensors: what it adds to the products is known from column sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from polystill.objectives.aio_kd import FamilyLoss, aio_kd_loss
from polystill.objectives.decisions import directed_terms

CHUNK_ELEMENTS = 1 << 22
"""Elements (networks x tokens x vocabulary) of one chunk's logits."""
BLOCK_ELEMENTS = 1 << 18
"""Elements of one block on a CPU, where a handful of such tensors fits into a core's own cache."""


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
    return FamilyLoss(loss=loss, ce=ce_each.sum(), kd=kd, mutual=mutual, ce_each=ce_each, ce_decided=decided)


def cross_entropies(
    hidden: Sequence[Tensor], weight: Tensor, bias: Tensor, target: Tensor, label_smoothing: float
) -> tuple[Tensor, Tensor]:
    """Label-smoothed and plain cross-entropy sums, each (K,) in float64, chunk by chunk and without gradients."""
    with torch.no_grad():
        projection = _Projection(hidden, weight, bias)
        nll, log_sums = _normalise(projection, target)
        return projection.smoothed(nll, log_sums, label_smoothing), nll


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
        projection = _Projection(hidden, weight, bias)
        counts = torch.bincount(torch.tensor(list(members)), minlength=len(hidden)).to(target.device, torch.float64)
        gradients = _Gradients(projection, target, settings.ce_weight * counts, settings.label_smoothing)
        of_members = torch.tensor(list(members), device=target.device)
        kd = mutual = torch.zeros((), dtype=torch.float64, device=target.device)
        if len(hidden) == 1:
            nll, log_sums = _add_nll(projection, target, gradients)
            ce = projection.smoothed(nll, log_sums, settings.label_smoothing)[of_members]
            decided = sum_over_ranks(ce)
        else:
            nll, log_sums = _normalise(projection, target)
            ce = projection.smoothed(nll, log_sums, settings.label_smoothing)[of_members]
            decided = sum_over_ranks(ce)
            terms = _terms(decided, members, settings)
            kd, mutual = _add_family(projection, log_sums, terms, gradients)
        ctx.save_for_backward(*gradients.finish())
        loss = settings.ce_weight * ce.sum() + settings.kd_weight * kd + settings.mutual_weight * mutual
        report = torch.cat([ce, decided, kd[None], mutual[None]])
        ctx.mark_non_differentiable(report)
        return loss.to(projection.wide), report

    @staticmethod
    def backward(ctx: Any, loss_gradient: Tensor, _: Tensor) -> tuple[Any, ...]:
        weight, bias, *hidden = (gradient * loss_gradient for gradient in ctx.saved_tensors)
        return weight, bias, None, None, None, None, *hidden


def _add_nll(projection: _Projection, target: Tensor, gradients: _Gradients) -> tuple[Tensor, Tensor]:
    """The gradients of one network's cross-entropy, from one projection; returns as `_normalise`."""
    log_sums = torch.empty(1, projection.tokens, dtype=projection.wide, device=target.device)
    nll = torch.zeros(1, dtype=torch.float64, device=target.device)
    weight = gradients.ce_weight.to(projection.wide)
    for chunk, states, logits in projection.chunks():
        nll -= _at_target(logits, target[chunk]).sum(1, dtype=torch.float64)
        for block in projection.blocks(chunk):
            largest, total = _exponentiate(logits[:, block])
            logits[:, block].mul_((weight / total)[..., None])
            log_sums[:, chunk][:, block] = total.log_().add_(largest)
        gradients.add(chunk, states, logits)
    return nll + log_sums.sum(1, dtype=torch.float64), log_sums


@dataclass(frozen=True)
class _Divergence:
    """A term between distinct networks a and b: its share of the reported sum, its weight, its weight into a."""

    a: int
    b: int
    is_kd: bool
    share: float | Tensor
    weight: float | Tensor
    weight_into_a: float | Tensor


def _terms(decided: Tensor, members: Sequence[int], settings: LossSettings) -> list[_Divergence]:
    terms = []
    on_host = decided.device.type == "cpu"
    for t in directed_terms(
        decided, mutual=settings.mutual, detach_threshold=settings.detach_threshold, on_host=on_host
    ):
        if members[t.a] != members[t.b]:  # KL(a || a) is 0
            weight = t.share * (settings.kd_weight if t.a == 0 else settings.mutual_weight)
            terms.append(_Divergence(members[t.a], members[t.b], t.a == 0, t.share, weight, weight * t.open))
    return terms


def _add_family(
    projection: _Projection, log_sums: Tensor, terms: Sequence[_Divergence], gradients: _Gradients
) -> tuple[Tensor, Tensor]:
    """The gradients of every cross-entropy and divergence; returns the sums of knowledge distillation and mutual."""
    sums = torch.zeros(len(terms), dtype=torch.float64, device=log_sums.device)
    own = gradients.ce_weight.to(projection.wide, copy=True)
    for t in terms:
        own[t.b] += t.weight
    for chunk, states, logits in projection.chunks():
        for block in projection.blocks(chunk):
            log_p = logits[:, block].sub_(log_sums[:, chunk][:, block, None])
            sums += _to_gradient(log_p, own, terms)
        gradients.add(chunk, states, logits)
    kd, mutual = log_sums.new_zeros(2, dtype=torch.float64)
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


class _Projection:
    """The logits of all networks, chunk by chunk."""

    def __init__(self, hidden: Sequence[Tensor], weight: Tensor, bias: Tensor) -> None:
        self.hidden, self.weight, self.bias = hidden, weight, bias
        self.networks, self.tokens, self.vocabulary = len(hidden), len(hidden[0]), len(weight)
        self.wide = torch.float64 if weight.dtype == torch.float64 else torch.float32

    def chunks(self) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Of every chunk its tokens, its states (K * C, D), and its logits (K, C, V) in float32 at least."""
        for chunk in _slices(self.tokens, CHUNK_ELEMENTS // (self.networks * self.vocabulary)):
            states = torch.cat([h[chunk] for h in self.hidden])
            logits = torch.addmm(self.bias, states, self.weight.t())
            yield chunk, states, widen(logits).unflatten(0, (self.networks, -1))

    def blocks(self, chunk: slice) -> list[slice]:
        """The blocks of a chunk, counted from its start."""
        tokens = chunk.stop - chunk.start
        on_cpu = self.weight.device.type == "cpu"
        return _slices(tokens, BLOCK_ELEMENTS // (self.networks * self.vocabulary) if on_cpu else tokens)

    def state_sums(self) -> Tensor:
        """(K, D) in float64: every network's states added up."""
        return torch.stack([h.sum(0, dtype=torch.float64) for h in self.hidden])

    def smoothed(self, nll: Tensor, log_sums: Tensor, label_smoothing: float) -> Tensor:
        """Label-smoothed cross-entropy sums (K,) from the plain ones and the softmaxes' log denominators (K, N)."""
        others = label_smoothing / (self.vocabulary - 1)
        logits = self.state_sums() @ self.weight.sum(0, dtype=torch.float64)
        logits += self.tokens * self.bias.sum(dtype=torch.float64)
        everywhere = self.vocabulary * log_sums.sum(1, dtype=torch.float64) - logits
        return (1 - label_smoothing - others) * nll + others * everywhere


def _normalise(projection: _Projection, target: Tensor) -> tuple[Tensor, Tensor]:
    """NLL sums (K,) in float64, and the softmaxes' log denominators (K, N)."""
    log_sums = torch.empty(projection.networks, projection.tokens, dtype=projection.wide, device=target.device)
    nll = torch.zeros(projection.networks, dtype=torch.float64, device=target.device)
    for chunk, _, logits in projection.chunks():
        nll -= _at_target(logits, target[chunk]).sum(1, dtype=torch.float64)
        for block in projection.blocks(chunk):
            largest, total = _exponentiate(logits[:, block])
            log_sums[:, chunk][:, block] = total.log_().add_(largest)
    return nll + log_sums.sum(1, dtype=torch.float64), log_sums


def _exponentiate(logits: Tensor) -> tuple[Tensor, Tensor]:
    """exp(logits - largest) in place; returns the largest logits and the sums of what stands there now, (K, C)."""
    largest = logits.amax(-1)
    total = logits.sub_(largest[..., None]).exp_().sum(-1)
    return largest, total


def _at_target(logits: Tensor, target: Tensor) -> Tensor:
    """(K, C, V), (C,) -> (K, C)."""
    return logits.gather(-1, target.expand(len(logits), -1)[..., None])[..., 0]


class _Gradients:
    """Accumulates the gradients of one batch chunk by chunk: of the states, the projection's weight and its bias."""

    def __init__(self, projection: _Projection, target: Tensor, ce_weight: Tensor, label_smoothing: float) -> None:
        """ce_weight (K,): how much each network's cross-entropy counts."""
        self._projection, self._target, self.ce_weight = projection, target, ce_weight
        self._others = label_smoothing / (projection.vocabulary - 1)
        self._at_target = (label_smoothing + self._others - 1) * ce_weight
        wide = projection.wide
        self.hidden = [torch.empty_like(h, dtype=wide) for h in projection.hidden]
        self.weight = torch.zeros_like(projection.weight, dtype=wide)
        self.bias = torch.zeros_like(projection.bias, dtype=wide)

    def add(self, chunk: slice, states: Tensor, gradient: Tensor) -> None:
        """Multiply a chunk's gradient with respect to its logits (K, C, V), but for label smoothing's part, back."""
        at_target = self._at_target[:, None, None].to(gradient.dtype).expand(-1, gradient.shape[1], 1)
        gradient.scatter_add_(2, self._target[chunk].expand(len(gradient), -1)[..., None], at_target)
        flat = gradient.flatten(0, 1)
        self.bias += flat.sum(0)
        flat = flat.to(states.dtype)
        for into, part in zip(self.hidden, (flat @ self._projection.weight).chunk(len(self.hidden)), strict=True):
            into[chunk] = part
        if self.weight.dtype == flat.dtype:
            self.weight.addmm_(flat.t(), states)
        else:  # a bf16 product, summed up in float32
            self.weight += flat.t() @ states

    def finish(self) -> tuple[Tensor, ...]:
        """The gradients of weight, bias and each network's states, with what label smoothing adds everywhere."""
        projection = self._projection
        everywhere = -self._others * self.ce_weight
        self.weight += everywhere.to(torch.float64) @ projection.state_sums()
        self.bias += projection.tokens * everywhere.sum()
        columns = projection.weight.sum(0, dtype=projection.wide)
        for hidden, constant in zip(self.hidden, everywhere, strict=True):
            hidden += constant * columns
        return self.weight, self.bias, *self.hidden


def _slices(length: int, size: int) -> list[slice]:
    size = max(1, size)
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]


def widen(logits: Tensor) -> Tensor:
    """Logits in float32 at least: losses are never computed in less."""
    return logits if logits.dtype == torch.float64 else logits.float()
