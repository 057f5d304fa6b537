"""Dropout whose random numbers are cheap on a CPU.

PyTorch's CPU generator is sequential and makes one number an element, which costs more than the matrix products
around it at small widths. Here every 64-bit random number decides eight elements, one byte each. The drop
probability is thereby rounded to a multiple of 1/256 (0.1 becomes 26/256 = 0.1016, 0.3 becomes 77/256 = 0.3008), and
the scale follows the rounded value, so expectations are exact. On other devices PyTorch's own kernel is used.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def dropout(x: Tensor, probability: float) -> Tensor:
    """Zero elements with the given probability and scale the others so that the expectation stays."""
    if probability == 0.0:
        return x
    if x.device.type != "cpu":
        return F.dropout(x, probability)
    out: Tensor = _ByteDropout.apply(x, _of_256(probability))
    return out


def add_dropped(x: Tensor, update: Tensor, probability: float) -> Tensor:
    """x + dropout(update), in one pass over the data."""
    if probability == 0.0 or x.device.type != "cpu":
        return x + dropout(update, probability)
    out: Tensor = _AddDropped.apply(x, update, _of_256(probability))
    return out


def plain_dropout(x: Tensor, probability: float) -> Tensor:
    """The twin of `dropout`: torch's own."""
    return F.dropout(x, probability)


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


class _ByteDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, drop_of_256: int) -> Tensor:
        randoms = random_bytes(x.numel()).view(x.shape)
        ctx.save_for_backward(randoms)
        ctx.drop_of_256, ctx.scale = drop_of_256, 256.0 / (256 - drop_of_256)
        return _kept(randoms, drop_of_256, x).mul_(x).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (randoms,) = ctx.saved_tensors
        return _kept(randoms, ctx.drop_of_256, gradient).mul_(gradient).mul_(ctx.scale), None


class _AddDropped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, update: Tensor, drop_of_256: int) -> Tensor:
        randoms = random_bytes(update.numel()).view(update.shape)
        ctx.save_for_backward(randoms)
        ctx.drop_of_256, ctx.scale = drop_of_256, 256.0 / (256 - drop_of_256)
        return torch.addcmul(x, update, _kept(randoms, drop_of_256, update), value=ctx.scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        (randoms,) = ctx.saved_tensors
        return gradient, _kept(randoms, ctx.drop_of_256, gradient).mul_(gradient).mul_(ctx.scale), None
