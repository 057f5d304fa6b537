"""The optimizer and its learning rate, which depends on the number of the update alone."""

from __future__ import annotations

import math

import torch
from torch import nn

from polystill.config import Training


def make_optimizer(module: nn.Module, training: Training) -> torch.optim.AdamW:
    """Adam with decoupled weight decay, as the published settings have it."""
    return torch.optim.AdamW(
        module.parameters(),
        lr=training.learning_rate,
        betas=training.betas,
        eps=1e-8,
        weight_decay=training.weight_decay,
        fused=True,
    )


def learning_rate(update: int, *, peak: float, warmup: int, schedule: str, updates: int) -> float:
    """The learning rate of one update (from 1): linear to `peak` over `warmup` updates, then by the schedule.

    inverse_sqrt: peak * sqrt(warmup / update). cosine: half a cosine down to 0 at the last of `updates`.
    constant: stays at the peak.
    """
    if update < warmup:
        return peak * update / warmup
    if schedule == "inverse_sqrt":
        return peak * math.sqrt(max(warmup, 1) / update)
    if schedule == "cosine":
        progress = (update - warmup) / max(1, updates - warmup)
        return peak * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    assert schedule == "constant", schedule
    return peak
