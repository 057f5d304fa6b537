"""The steps of an LSTM: matrix products and cells, each with a plain twin.

Autograd would compute a weight's gradient at each step and add up T matrices of the weight's size. `StepProduct` keeps
the input and gradient of each step instead and multiplies them once: dW = sum over t of dY_t^T X_t = dY^T X.
`lstm_cell` is one node of autograd's graph, not a dozen.

Shapes: R rows, which may differ from step to step, I and O inputs and outputs of the weight, D width, N rows of all
steps together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence


@dataclass(frozen=True)
class Packing:
    """The order in which B sentences lie step after step, longest first and without padding (`PackedSequence`).

    It is made of lengths on the host: the way of `torch.nn.utils.rnn` to it makes a GPU wait.

    places (N,): where the packed tokens stand in a flattened (B, S). order (B,): the sentences, longest first; ranks
    (B,): its inverse. sizes (S',): sentences that have a token at each step; it stays on the host, where LSTMs read it.
    """

    places: Tensor
    order: Tensor
    ranks: Tensor
    sizes: Tensor

    @classmethod
    def of(cls, lengths: Tensor, longest: int) -> Packing:
        """Of sentences of these lengths (B,), at least 1, on the host, that are padded to `longest` tokens."""
        sorted_lengths, order = lengths.sort(descending=True)
        steps = torch.arange(int(sorted_lengths[0]))
        has_token = sorted_lengths > steps[:, None]
        places = (order * longest + steps[:, None])[has_token]
        return cls(places, order, order.argsort(), has_token.sum(1))

    def on(self, move: Callable[[Tensor], Tensor]) -> Packing:
        """The same elsewhere: `move` copies a tensor to a device, or pins it."""
        return Packing(move(self.places), move(self.order), move(self.ranks), self.sizes)

    def pack(self, x_BSD: Tensor) -> PackedSequence:
        data = x_BSD.flatten(0, 1).index_select(0, self.places)
        return PackedSequence(data, self.sizes, self.order, self.ranks)

    def unpack(self, packed: PackedSequence, longest: int) -> Tensor:
        """(B, longest, D), with zeros for padding."""
        data = packed.data
        padded = data.new_zeros(len(self.order) * longest, data.shape[1]).index_copy(0, self.places, data)
        return padded.unflatten(0, (-1, longest))


class Product(Protocol):
    """Multiplies with one weight (O, I), step after step."""

    def __call__(self, x: Tensor, addend: Tensor) -> Tensor:
        """x (R, I) and addend (R, O) or (O,) to x W^T + addend."""
        ...


def plain_product(weight: Tensor) -> Product:
    """The twin of `StepProduct`, with autograd's own gradient; decoding uses it."""

    def product(x: Tensor, addend: Tensor) -> Tensor:
        return torch.addmm(addend, x, weight.t())

    return product


class StepProduct:
    """As `plain_product`, but one product makes the weight's gradient for all steps together."""

    def __init__(self, weight: Tensor) -> None:
        self._steps: list[tuple[Tensor, Tensor]] = []  # input (R, I) and gradient (R, O) of each step backward
        self._weight = _Gathered.apply(weight, self._steps)

    def __call__(self, x: Tensor, addend: Tensor) -> Tensor:
        out: Tensor = _Step.apply(x.to(self._weight.dtype), addend.to(self._weight.dtype), self._weight, self._steps)
        return out


class _Gathered(torch.autograd.Function):
    """The weight itself. Its backward pass follows those of all steps, which leave inputs and gradients in `steps`."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, steps: list[tuple[Tensor, Tensor]]) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.steps = steps
        return weight.view_as(weight)

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor, None]:
        inputs, gradients = zip(*ctx.steps, strict=True)
        ctx.steps.clear()
        return torch.cat(gradients).t() @ torch.cat(inputs), None


class _Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, addend: Tensor, weight: Tensor, steps: list[tuple[Tensor, Tensor]]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.steps, ctx.is_bias = steps, addend.ndim == 1
        return torch.addmm(addend, x, weight.t())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (gradient,) = gradients
        x, weight = ctx.saved_tensors
        ctx.steps.append((x.detach(), gradient))  # without its graph, which holds this list
        return gradient @ weight, gradient.sum(0) if ctx.is_bias else gradient, None, None


def plain_lstm_cell(gates: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
    """Gates (R, 4D), in torch's order, and cells (R, D) to hidden states and cells, computed at least in float32."""
    wide = _widened(gates)
    entered, kept, new, shown = wide.chunk(4, 1)
    cells = kept.sigmoid() * cells + entered.sigmoid() * new.tanh()
    return (shown.sigmoid() * cells.tanh()).to(gates.dtype), cells


def lstm_cell(gates: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
    """As `plain_lstm_cell`, in one node of autograd's graph."""
    hidden, new_cells = _Cell.apply(gates, cells)
    return hidden, new_cells


def _widened(gates: Tensor) -> Tensor:
    return gates.to(torch.promote_types(gates.dtype, torch.float32))


class _Cell(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gates: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
        entered, kept, new, shown = _widened(gates).chunk(4, 1)
        entered, kept, new, shown = entered.sigmoid(), kept.sigmoid(), new.tanh(), shown.sigmoid()
        after = torch.addcmul(kept * cells, entered, new)
        squashed = after.tanh()
        ctx.save_for_backward(entered, kept, new, shown, cells, squashed)
        ctx.dtype = gates.dtype
        return (shown * squashed).to(gates.dtype), after

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        entered, kept, new, shown, cells, squashed = ctx.saved_tensors
        d_hidden, d_after = gradients
        d_hidden = d_hidden.to(squashed.dtype)
        d_after = d_after + _of_tanh(d_hidden * shown, squashed)
        parts = (
            _of_sigmoid(d_after * new, entered),
            _of_sigmoid(d_after * cells, kept),
            _of_tanh(d_after * entered, new),
            _of_sigmoid(d_hidden * squashed, shown),
        )
        return torch.cat(parts, 1).to(ctx.dtype), d_after * kept


_of_sigmoid = torch.ops.aten.sigmoid_backward.default
_of_tanh = torch.ops.aten.tanh_backward.default


def packed_lstm(layer: nn.LSTM, packed: PackedSequence, dtype: torch.dtype) -> tuple[PackedSequence, Tensor, Tensor]:
    """Run a one-layer LSTM over packed sequences, with products in `dtype`. Its plain twin is `layer` itself.

    Returns the same as `layer`: the states of all steps, and the last hidden states and cells (B, D) of the sentences.
    """
    sizes = packed.batch_sizes.tolist()
    weight_ih, weight_hh, bias_ih, bias_hh = layer.all_weights[0]
    gates_NG = F.linear(packed.data, weight_ih, bias_ih + bias_hh)
    product = StepProduct(weight_hh.to(dtype))
    hidden = gates_NG.new_zeros(sizes[0], layer.hidden_size)
    cells = _widened(hidden)
    steps: list[Tensor] = []
    ended: list[tuple[Tensor, Tensor]] = []  # the last states of finished sentences, the shortest first
    for size, gates in zip(sizes, gates_NG.split(sizes), strict=True):
        if size < len(hidden):
            ended.append((hidden[size:], cells[size:]))
            hidden, cells = hidden[:size], cells[:size]
        hidden, cells = lstm_cell(product(hidden, gates), cells)
        steps.append(hidden)
    last_hidden, last_cells = (torch.cat(parts) for parts in zip((hidden, cells), *reversed(ended), strict=True))
    order = packed.unsorted_indices
    if order is not None:
        last_hidden, last_cells = last_hidden.index_select(0, order), last_cells.index_select(0, order)
    states = PackedSequence(torch.cat(steps), packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)
    return states, last_hidden, last_cells
