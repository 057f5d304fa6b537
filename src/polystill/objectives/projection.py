"""The projection to the vocabulary and its gradients, over chunks and blocks of tokens.

Matrix products are fastest over large chunks, the arithmetic between them over blocks that stay in a core's cache: a
chunk is projected whole, turned into gradients block by block, and multiplied back whole. No tensor of (tokens x
vocabulary) outlives its chunk, except on a GPU within a bound (`KEPT_BYTES`).

Shapes: N target tokens, D d_model, V vocabulary, K networks of one projection, C tokens in a chunk or block.

The smoothed target of a cross-entropy is one number everywhere but at the target token. That constant part of the
gradient never enters the (C, V) tensors: what it adds to the products is known from column sums.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from polystill.objectives import base

CHUNK_ELEMENTS, CHUNK_ELEMENTS_OF_GPU = 1 << 22, 1 << 26
"""Elements (networks x tokens x vocabulary) of one chunk's logits, on a CPU and on a GPU."""
BLOCK_ELEMENTS = 1 << 18
"""Elements of one block on a CPU, of which a core's own cache holds a handful."""
KEPT_BYTES = 1 << 31
"""At most so many bytes of a projection's logits stay on a GPU from one walk over the chunks to the next."""


@dataclass(frozen=True)
class Output:
    """A network's states (N, D) at the target tokens, and its projection to the vocabulary: (V, D), (V,).

    frozen: it has no cross-entropy, and no gradient flows into it.
    """

    hidden: Tensor
    weight: Tensor
    bias: Tensor
    frozen: bool = False


Chunk = tuple[slice, Tensor, Tensor]
"""A chunk's tokens, its states (K * C, D), and its logits (K, C, V), both as the product has them, such as bf16."""


class Projection:
    """The logits of all networks that share one projection, chunk by chunk."""

    def __init__(self, hidden: Sequence[Tensor], weight: Tensor, bias: Tensor, largest: int = 0) -> None:
        """largest: networks of the largest projection that is walked over in step with this one, with its chunks."""
        self.hidden, self.weight, self.bias = hidden, weight, bias
        self.networks, self.tokens, self.vocabulary = len(hidden), len(hidden[0]), len(weight)
        self.wide = _wide(weight.dtype)
        self._row = max(self.networks, largest) * self.vocabulary
        self._kept: list[Chunk] = []

    def chunks(self, keep: bool = False) -> Iterator[Chunk]:
        """Every chunk. One chunk's logits lie where the last one's did.

        keep: the next walk needs no product, as this one's logits are kept; on a GPU, where they fit into `KEPT_BYTES`.
        """
        if self._kept:
            kept, self._kept = self._kept, []
            yield from (self._chunk(*piece) for piece in kept)
            return
        slices = _slices(self.tokens, self._elements() // self._row)
        keep = keep and self._fits()
        rows = self.tokens if keep or not slices else slices[0].stop
        buffer, start = self.weight.new_empty(self.networks * rows, self.vocabulary), 0
        for chunk in slices:
            states = torch.cat([h[chunk] for h in self.hidden])
            logits = buffer[start : start + len(states)]
            torch.addmm(self.bias, states, self.weight.t(), out=logits)
            if keep:
                self._kept.append((chunk, states, logits))
                start += len(states)
            yield self._chunk(chunk, states, logits)

    def _chunk(self, chunk: slice, states: Tensor, logits: Tensor) -> Chunk:
        return chunk, states, logits.unflatten(0, (self.networks, -1))

    @property
    def kept(self) -> bool:
        """Whether the next walk needs no product."""
        return bool(self._kept)

    def _fits(self) -> bool:
        size = self.networks * self.tokens * self.vocabulary * self.weight.element_size()
        return not base.on_host(self.weight) and size <= KEPT_BYTES

    def _elements(self) -> int:
        return CHUNK_ELEMENTS if base.on_host(self.weight) else CHUNK_ELEMENTS_OF_GPU

    def blocks(self, chunk: slice) -> list[slice]:
        """The blocks of a chunk, counted from its start."""
        tokens = chunk.stop - chunk.start
        return _slices(tokens, BLOCK_ELEMENTS // self._row if base.on_host(self.weight) else tokens)

    def state_sums(self) -> Tensor:
        """(K, D) in float64: every network's states added up."""
        return torch.stack([column_sums(h) for h in self.hidden])


def loss_bytes(
    networks: int, largest: int, tokens: int, d_model: int, vocabulary: int, *, product: int, on_host: bool
) -> int:
    """What the fused loss holds of one projection beside the states it is given, in bytes: an estimate.

    These are the states as the product takes them, all gradients, and a chunk's logits with what is made of them.

    product: bytes of a number in products. largest: as in `Projection`.
    """
    states = networks * tokens * d_model * (4 + product * (product < 4))
    matrix = vocabulary * d_model * (4 + product * (product < 4))
    elements = CHUNK_ELEMENTS if on_host else CHUNK_ELEMENTS_OF_GPU
    chunk = min(tokens, max(1, elements // (largest * vocabulary))) * networks * vocabulary
    whole = networks * tokens * vocabulary * product
    logits = whole if not on_host and whole <= KEPT_BYTES else chunk * product
    block = min(chunk, BLOCK_ELEMENTS) if on_host else chunk
    return states + matrix + logits + block * 4 * 4  # in fp32: log-probabilities, probabilities, terms, exponentials


class Normaliser:
    """The normalisers that turn a batch's logits into log-probabilities, and the cross-entropies that follow from it.

    It is filled chunk by chunk: `add_targets` of each chunk, then the normalisers of each of its blocks.
    """

    def __init__(self, hidden: Sequence[Tensor], target: Tensor) -> None:
        """hidden: K tensors (N, D). target: (N,) token ids."""
        networks, wide = len(hidden), _wide(hidden[0].dtype)
        self._target = target
        self._largest = torch.empty(networks, len(target), dtype=wide, device=target.device)  # logits
        self._totals = torch.empty_like(self._largest)  # of exp(logits - largest)
        self.log_sums = torch.empty_like(self._largest)
        """(K, N): the softmaxes' log denominators."""
        self._at_target = torch.empty_like(self._largest)
        self._at_target_sum = torch.zeros(networks, dtype=torch.float64, device=target.device)

    def run(self, projection: Projection, keep: bool = False) -> None:
        """Fill all of it by a walk of its own. keep: as in `Projection.chunks`."""
        for chunk, _, logits in projection.chunks(keep):
            self.add_targets(chunk, logits)
            for block in projection.blocks(chunk):
                wide = widen(logits[:, block])
                largest = wide.amax(-1)
                self.fill(chunk, block, largest, _exponentials(wide, largest).sum(-1))

    def add_targets(self, chunk: slice, logits: Tensor) -> None:
        """Take the targets' logits out of a chunk's (K, C, V)."""
        ids = self._target[chunk].expand(len(logits), -1)[..., None]
        at_target = logits.gather(-1, ids)[..., 0]
        self._at_target[:, chunk] = at_target
        self._at_target_sum += at_target.sum(1, dtype=torch.float64)

    def fill(self, chunk: slice, block: slice, largest: Tensor, totals: Tensor) -> None:
        """Take a block's largest logits and its sums of exp(logits - largest), each (K, C)."""
        self._largest[:, chunk][:, block] = largest
        self._totals[:, chunk][:, block] = totals
        self.log_sums[:, chunk][:, block] = totals.log() + largest

    def normalise(self, chunk: slice, block: slice, logits: Tensor, filled: bool) -> Tensor:
        """Turn a block's logits (K, C, V) in place into log-probabilities; returns the probabilities.

        filled: the block's normalisers are known. The result is the same to the last bit.
        """
        largest = self._largest[:, chunk][:, block] if filled else logits.amax(-1)
        p = _exponentials(logits, largest)
        if not filled:
            self.fill(chunk, block, largest, p.sum(-1))
        logits.sub_(self.log_sums[:, chunk][:, block, None])
        return p.div_(self._totals[:, chunk][:, block, None])

    @property
    def nll_each(self) -> Tensor:
        """Negative log-likelihood of each target token (K, N)."""
        return self.log_sums - self._at_target

    @property
    def nll(self) -> Tensor:
        """Cross-entropy sums (K,) in float64."""
        return self.log_sums.sum(1, dtype=torch.float64) - self._at_target_sum

    def smoothed(self, projection: Projection, label_smoothing: float) -> Tensor:
        """Label-smoothed cross-entropy sums (K,) in float64."""
        others = label_smoothing / (projection.vocabulary - 1)
        logits = projection.state_sums() @ column_sums(projection.weight)
        logits += projection.tokens * projection.bias.sum(dtype=torch.float64)
        everywhere = projection.vocabulary * self.log_sums.sum(1, dtype=torch.float64) - logits
        return (1 - label_smoothing - others) * self.nll + others * everywhere


def column_sums(matrix: Tensor) -> Tensor:
    """(rows, D) -> (D,) in float64. By parts, as torch first makes a copy in float64 of all that it adds up."""
    return torch.stack([part.sum(0, dtype=torch.float64) for part in matrix.split(1024)]).sum(0)


def log_sum_exp(logits: Tensor) -> Tensor:
    """(K, C, V) -> (K, C): `logsumexp`, faster on a CPU."""
    largest = logits.amax(-1)
    return _exponentials(logits, largest).sum(-1).log_().add_(largest)


def exponentiate(logits: Tensor) -> tuple[Tensor, Tensor]:
    """exp(logits - largest) in place; returns the largest logits and the sums of the exponentials, (K, C)."""
    largest = logits.amax(-1)
    total = logits.sub_(largest[..., None]).exp_().sum(-1)
    return largest, total


def _exponentials(logits: Tensor, largest: Tensor) -> Tensor:
    return (logits - largest[..., None]).exp_()


class Gradients:
    """Accumulates the gradients of one batch chunk by chunk: of the states, the projection's weight and its bias."""

    def __init__(self, projection: Projection, target: Tensor, ce_weight: Tensor, label_smoothing: float) -> None:
        """ce_weight (K,): how much each network's cross-entropy counts."""
        self._projection, self._target, self.ce_weight = projection, target, ce_weight
        self._others = label_smoothing / (projection.vocabulary - 1)
        self._target_weight = (label_smoothing + self._others - 1) * ce_weight
        wide = projection.wide
        self.hidden = [torch.empty_like(h, dtype=wide) for h in projection.hidden]
        self.weight = torch.zeros_like(projection.weight, dtype=wide)
        self.bias = torch.zeros_like(projection.bias, dtype=wide)

    def add_block(self, chunk: slice, block: slice, gradient: Tensor, logits: Tensor) -> None:
        """Take the gradient (K, C, V) with respect to one block of a chunk's logits, and put it in their place.

        It is in float32 at least, and lacks the part of the cross-entropies' targets, which is added here and by
        `finish`.
        """
        target = self._target[chunk][block]
        at_target = self._target_weight[:, None, None].to(gradient.dtype).expand(-1, gradient.shape[1], 1)
        gradient.scatter_add_(2, target.expand(len(gradient), -1)[..., None], at_target)
        self.bias += gradient.sum((0, 1))
        if gradient.dtype != logits.dtype:
            logits[:, block] = gradient

    def add(self, chunk: slice, states: Tensor, gradient: Tensor) -> None:
        """Multiply a chunk's gradient (K, C, V) back, which `add_block` has put in the place of its logits."""
        flat = gradient.flatten(0, 1)
        for into, part in zip(self.hidden, (flat @ self._projection.weight).chunk(len(self.hidden)), strict=True):
            into[chunk] = part
        if self.weight.dtype == flat.dtype:
            self.weight.addmm_(flat.t(), states)
        else:  # a bf16 product, summed up in float32
            self.weight += flat.t() @ states

    def clear(self) -> None:
        """Forget what was added."""
        self.weight.zero_()
        self.bias.zero_()

    def finish(self) -> list[Tensor]:
        """The gradients of weight, bias and each network's states, with what label smoothing adds everywhere."""
        projection = self._projection
        everywhere = -self._others * self.ce_weight
        self.weight += everywhere.to(torch.float64) @ projection.state_sums()
        self.bias += projection.tokens * everywhere.sum()
        columns = column_sums(projection.weight).to(projection.wide)
        for hidden, constant in zip(self.hidden, everywhere, strict=True):
            hidden += constant * columns
        return [self.weight, self.bias, *self.hidden]


def _slices(length: int, size: int) -> list[slice]:
    size = max(1, size)
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def product_type(x: Tensor) -> torch.dtype:
    """The type in which products with a tensor are computed: autocast's, where that is on."""
    device = x.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return x.dtype


def widen(logits: Tensor) -> Tensor:
    """Logits in float32 at least, the same tensor where they are: losses are never computed in less."""
    return logits.to(_wide(logits.dtype))
