"""The parts of a post-norm Transformer layer, and dropout that is cheap on a CPU.

Layers train on whole sentences and decode step by step. Attention on a CPU is a plain masked softmax: at the lengths of
translation it is several times faster there than `scaled_dot_product_attention` and its backward pass, and the score
tensors are small. A GPU has fused kernels.

PyTorch's CPU generator is sequential and makes one number an element, which costs more than the matrix products around
it at small widths. Dropout here takes one byte of a 64-bit random number for each element. The drop probability is
thereby rounded to a multiple of 1/256 (0.1 becomes 26/256 = 0.1016, 0.3 becomes 77/256 = 0.3008). The scale follows the
rounded value, so expectations are exact. On other devices PyTorch's own kernel runs.

Shapes: R rows (sentences, or sentences x beams), T query positions, S key positions, D d_model, H heads, K = D / H,
F feed-forward width.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SOFTMAX_ROW = 16
"""Elements in the widest vector register of float32; see `softmax`."""

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "swish": F.silu, "gelu": F.gelu}


def linear(inputs: int, outputs: int, parts: int = 1) -> nn.Linear:
    """A linear layer, Glorot-uniform with zero bias; a fused projection initialises each of its parts on its own."""
    layer = nn.Linear(inputs, outputs)
    for part in layer.weight.data.chunk(parts):
        nn.init.xavier_uniform_(part)
    nn.init.zeros_(layer.bias)
    return layer


def split_heads(x_RTD: Tensor, heads: int) -> Tensor:
    """(R, T, D) -> (R, H, T, K)."""
    return x_RTD.unflatten(-1, (heads, -1)).transpose(1, 2)


def score_mask(is_hidden: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the mask to add to attention scores: the lowest float where they are hidden, else 0."""
    return torch.zeros((), dtype=dtype, device=is_hidden.device).masked_fill(is_hidden, torch.finfo(dtype).min)


def attend(query_RHTK: Tensor, key_RHSK: Tensor, value_RHSK: Tensor, mask: Tensor | None, drop: float) -> Tensor:
    """Scaled dot-product attention; `mask` is added to the scores (see `score_mask`). Returns (R, T, D)."""
    if not query_RHTK.is_cpu:
        return plain_attend(query_RHTK, key_RHSK, value_RHSK, mask, drop)
    scale = 1.0 / math.sqrt(query_RHTK.shape[-1])
    scores = query_RHTK @ key_RHSK.transpose(-1, -2)
    scores = scores * scale if mask is None else torch.add(mask, scores, alpha=scale)
    weights = dropout(softmax(scores), drop)
    return (weights @ value_RHSK).transpose(1, 2).flatten(2)


def softmax(scores: Tensor) -> Tensor:
    """Softmax over the last dimension.

    PyTorch computes rows of fewer than 16 elements one element at a time on a CPU, which takes up to ten times as long
    as rows of 16. Such rows are padded.
    """
    missing = SOFTMAX_ROW - scores.shape[-1]
    if missing <= 0 or not scores.is_cpu or torch.onnx.is_in_onnx_export():
        return scores.softmax(-1)
    return F.pad(scores, (0, missing), value=-math.inf).softmax(-1)[..., :-missing]


def plain_attend(query_RHTK: Tensor, key_RHSK: Tensor, value_RHSK: Tensor, mask: Tensor | None, drop: float) -> Tensor:
    """The twin of `attend`: torch's own scaled dot-product attention."""
    out = F.scaled_dot_product_attention(query_RHTK, key_RHSK, value_RHSK, mask, drop)
    return out.transpose(1, 2).flatten(2)


# --- dropout -------------------------------------------------------------------------------------------------------


def dropout(x: Tensor, probability: float) -> Tensor:
    """Zero elements with the given probability and scale the others so that the expectation stays; as `F.dropout`."""
    if probability == 0.0:
        return x
    if not x.is_cpu:
        return F.dropout(x, probability)
    out: Tensor = _ByteDropout.apply(x, _of_256(probability))
    return out


def add_dropped(x: Tensor, update: Tensor, probability: float) -> Tensor:
    """x + dropout(update), in one pass over the data."""
    if probability == 0.0 or not x.is_cpu:
        return x + dropout(update, probability)
    out: Tensor = _AddDropped.apply(x, update, _of_256(probability))
    return out


def plain_add_dropped(x: Tensor, update: Tensor, probability: float) -> Tensor:
    """The twin of `add_dropped`."""
    return x + F.dropout(update, probability)


def random_bytes(count: int) -> Tensor:
    """`count` independent uniform bytes (uint8) from PyTorch's default CPU generator."""
    words = torch.empty((count + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
    return words.view(torch.uint8)[:count]


def _of_256(probability: float) -> int:
    return min(max(1, round(probability * 256)), 255)


def _kept(randoms: Tensor, drop_of_256: int, like: Tensor) -> Tensor:
    """1 where an element is kept, else 0, in the numbers of `like`: products with booleans are 20 times slower."""
    return torch.ge(randoms, drop_of_256, out=torch.empty_like(like, memory_format=torch.contiguous_format))


def _draw(ctx: Any, x: Tensor, drop_of_256: int) -> Tensor:
    """Random bytes for the elements of x, kept for the backward pass."""
    randoms = random_bytes(x.numel()).view(x.shape)
    ctx.save_for_backward(randoms)
    ctx.drop_of_256, ctx.scale = drop_of_256, 256.0 / (256 - drop_of_256)
    return randoms


class _ByteDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, drop_of_256: int) -> Tensor:
        randoms = _draw(ctx, x, drop_of_256)
        return _kept(randoms, drop_of_256, x).mul_(x).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (randoms,) = ctx.saved_tensors
        return _kept(randoms, ctx.drop_of_256, gradient).mul_(gradient).mul_(ctx.scale), None


class _AddDropped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, update: Tensor, drop_of_256: int) -> Tensor:
        randoms = _draw(ctx, update, drop_of_256)
        return torch.addcmul(x, update, _kept(randoms, drop_of_256, update), value=ctx.scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        return gradient, *_ByteDropout.backward(ctx, gradient)


# --- the layer's parts ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kernels:
    """The operations for attention and dropout in training."""

    attend: Callable[[Tensor, Tensor, Tensor, Tensor | None, float], Tensor]
    dropout: Callable[[Tensor, float], Tensor]
    add_dropped: Callable[[Tensor, Tensor, float], Tensor]


KERNELS = {
    "fast": Kernels(attend, dropout, add_dropped),
    "plain": Kernels(plain_attend, F.dropout, plain_add_dropped),
}
"""By the configuration's `kernels`: ours, and their plain twins."""


class SelfAttention(nn.Module):
    """Multi-head attention of a sequence to itself; query, key and value share one projection."""

    def __init__(self, d_model: int, heads: int, attention_dropout: float, kernels: str = "fast") -> None:
        super().__init__()
        self.heads = heads
        self.attention_dropout = attention_dropout
        self.kernels = KERNELS[kernels]
        self.query_key_value = linear(d_model, 3 * d_model, parts=3)
        self.output = linear(d_model, d_model)

    def forward(self, x_RTD: Tensor, mask: Tensor | None) -> Tensor:
        query, key, value = (split_heads(x, self.heads) for x in self.query_key_value(x_RTD).chunk(3, -1))
        drop = self.attention_dropout if self.training else 0.0
        return self.output(self.kernels.attend(query, key, value, mask, drop))

    def step(self, x_RD: Tensor, keys: Tensor | None, values: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """One further position: returns its output (R, D) and the grown caches (R, H, t, K)."""
        query, key, value = (split_heads(x, self.heads) for x in self.query_key_value(x_RD[:, None]).chunk(3, -1))
        keys = key if keys is None else torch.cat([keys, key], 2)
        values = value if values is None else torch.cat([values, value], 2)
        return self.output(attend(query, keys, values, None, 0.0))[:, 0], keys, values


class CrossAttention(nn.Module):
    """Multi-head attention of the target to the encoder's memory."""

    def __init__(self, d_model: int, heads: int, attention_dropout: float, kernels: str = "fast") -> None:
        super().__init__()
        self.heads = heads
        self.attention_dropout = attention_dropout
        self.kernels = KERNELS[kernels]
        self.query = linear(d_model, d_model)
        self.key_value = linear(d_model, 2 * d_model, parts=2)
        self.output = linear(d_model, d_model)

    def forward(self, x_RTD: Tensor, memory_RSD: Tensor, mask: Tensor) -> Tensor:
        key, value = self.project_memory(memory_RSD)
        drop = self.attention_dropout if self.training else 0.0
        query = split_heads(self.query(x_RTD), self.heads)
        return self.output(self.kernels.attend(query, key, value, mask, drop))

    def first_head(self, x_RTD: Tensor, memory_RSD: Tensor, mask: Tensor) -> Tensor:
        """The first head's weights (R, T, S) without computing the others; mask (R, 1, 1, S)."""
        width = x_RTD.shape[-1] // self.heads
        query = F.linear(x_RTD, self.query.weight[:width], self.query.bias[:width])
        key = F.linear(memory_RSD, self.key_value.weight[:width], self.key_value.bias[:width])
        scores = query @ key.transpose(1, 2) / math.sqrt(width)
        return softmax(scores + mask[:, 0])

    def plain_first_head(self, x_RTD: Tensor, memory_RSD: Tensor, mask: Tensor) -> Tensor:
        """The twin of `first_head`: the first of all heads' weights."""
        query, (key, _) = split_heads(self.query(x_RTD), self.heads), self.project_memory(memory_RSD)
        scores = query @ key.transpose(-1, -2) / math.sqrt(key.shape[-1]) + mask
        return scores.softmax(-1)[:, 0]

    def project_memory(self, memory_RSD: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (R, H, S, K) of a memory."""
        key, value = self.key_value(memory_RSD).chunk(2, -1)
        return split_heads(key, self.heads), split_heads(value, self.heads)

    def step(self, x_RD: Tensor, keys_BHSK: Tensor, values_BHSK: Tensor, mask: Tensor) -> Tensor:
        """One position of all beams of B sentences; the beams of a sentence share its keys and values."""
        sentences = keys_BHSK.shape[0]
        query = split_heads(self.query(x_RD).unflatten(0, (sentences, -1)), self.heads)  # beams stand as positions
        return self.output(attend(query, keys_BHSK, values_BHSK, mask, 0.0)).flatten(0, 1)


class FeedForward(nn.Module):
    def __init__(
        self, d_model: int, ffn_dim: int, activation: str, activation_dropout: float, kernels: str = "fast"
    ) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.activation_dropout = activation_dropout
        self.kernels = KERNELS[kernels]
        self.expand = linear(d_model, ffn_dim)
        self.contract = linear(ffn_dim, d_model)

    def forward(self, x: Tensor) -> Tensor:
        drop = self.activation_dropout if self.training else 0.0
        return self.contract(self.kernels.dropout(self.activation(self.expand(x)), drop))


class Residual(nn.Module):
    """Post-norm: LayerNorm(x + dropout(sublayer output))."""

    def __init__(self, d_model: int, drop: float, kernels: str = "fast") -> None:
        super().__init__()
        self.drop = drop
        self.kernels = KERNELS[kernels]
        self.norm = nn.LayerNorm(d_model)

    def forward(self, x: Tensor, update: Tensor) -> Tensor:
        return self.norm(self.kernels.add_dropped(x, update, self.drop if self.training else 0.0))
