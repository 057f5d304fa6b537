"""The parts of a post-norm Transformer layer, for training on whole sentences and for decoding step by step.

Shapes: R rows (sentences, or sentences x beams), T query positions, S key positions, D d_model, H heads, K = D / H,
F feed-forward width.

Attention on a CPU is a plain masked softmax: at the lengths of translation it is several times faster there than
`scaled_dot_product_attention` and its backward pass, and the score tensors are small. A GPU has fused kernels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polystill.models.dropout import add_dropped, dropout, plain_add_dropped, plain_dropout

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


def attend(query_RHTK: Tensor, key_RHSK: Tensor, value_RHSK: Tensor, mask: Tensor | None, drop: float) -> Tensor:
    """Scaled dot-product attention; `mask` is added to the scores (0 or the lowest float). Returns (R, T, D).

    At the lengths of sentences this is faster than torch's own on a CPU; a GPU has fused kernels for it.
    """
    if query_RHTK.is_cuda:
        return plain_attend(query_RHTK, key_RHSK, value_RHSK, mask, drop)
    scale = 1.0 / math.sqrt(query_RHTK.shape[-1])
    scores = query_RHTK @ key_RHSK.transpose(-1, -2)
    scores = scores * scale if mask is None else torch.add(mask, scores, alpha=scale)
    weights = dropout(scores.softmax(-1), drop)
    return (weights @ value_RHSK).transpose(1, 2).flatten(2)


def plain_attend(query_RHTK: Tensor, key_RHSK: Tensor, value_RHSK: Tensor, mask: Tensor | None, drop: float) -> Tensor:
    """The twin of `attend`: torch's own scaled dot-product attention."""
    out = F.scaled_dot_product_attention(query_RHTK, key_RHSK, value_RHSK, mask, drop)
    return out.transpose(1, 2).flatten(2)


@dataclass(frozen=True)
class Kernels:
    """What a network computes attention and dropout with in training."""

    attend: Callable[[Tensor, Tensor, Tensor, Tensor | None, float], Tensor]
    dropout: Callable[[Tensor, float], Tensor]
    add_dropped: Callable[[Tensor, Tensor, float], Tensor]


KERNELS = {
    "fast": Kernels(attend, dropout, add_dropped),
    "plain": Kernels(plain_attend, plain_dropout, plain_add_dropped),
}
"""By name: ours, and their plain twins."""


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
