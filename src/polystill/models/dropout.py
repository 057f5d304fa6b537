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
    out: Tensor = _ByteDropout.apply(x, max(1, round(probability * 256)))
    return out


def plain_dropout(x: Tensor, probability: float) -> Tensor:
    """The twin of `dropout`: torch's own."""
    return F.dropout(x, probability)


def random_bytes(count: int) -> Tensor:
    """`count` independent uniform bytes (uint8) from PyTorch's default CPU generator."""
    words = torch.empty((count + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
    return words.view(torch.uint8)[:count]


class _ByteDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, drop_of_256: int) -> Tensor:
        keep = (random_bytes(x.numel()) >= drop_of_256).view(x.shape)
        ctx.save_for_backward(keep)
        ctx.scale = 256.0 / (256 - drop_of_256)
        return (x * keep).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (keep,) = ctx.saved_tensors
        return (gradient * keep).mul_(ctx.scale), None
