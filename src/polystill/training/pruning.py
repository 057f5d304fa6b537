"""Pruning as a part of training: weights go by a schedule, and what is zero stays zero.

What an update does follows from its number and the weights alone: the mask is where the weights are zero. So nothing is
added to a checkpoint, and a killed run continues to the bit.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from polystill.config import Pruning, Recipe
from polystill.errors import mistakes_in
from polystill.models.elastic import ElasticModel
from polystill.models.pruning import prune, sparsity_of, zeros
from polystill.models.supernets import Supernets

NOTICED = 0.01
"""No model has so many zeros by chance."""


def sparsity_at(update: int, settings: Pruning) -> float | None:
    """The sparsity that the weights are pruned to before an update (from 1), or None where nothing changes.

    oneshot: all at once before the first update. gradual: at every `every`-th update and at the last of `updates`,
    S * (1 - (1 - update / updates) ** 3) (Zhu & Gupta 2017, equation 1, from zero).
    """
    if settings.schedule == "oneshot":
        return settings.sparsity if update == 1 else None
    if settings.schedule == "gradual":
        last = settings.updates
        if update == last or (update < last and update % settings.every == 0):
            return settings.sparsity * (1 - (1 - update / last) ** 3)
    return None


class Pruner:
    """One stage's pruning of every supernet by itself; without settings it does nothing."""

    def __init__(self, model: Supernets, settings: Pruning | None) -> None:
        self._supernets, self._settings = model.each(), settings
        self._zeros: list[tuple[nn.Parameter, Tensor]] = []

    def begin(self, update: int) -> None:
        """Prune as the schedule has it for this update, and see what is to stay zero."""
        if self._settings is None:
            return
        sparsity = sparsity_at(update, self._settings)
        if sparsity is not None:
            with mistakes_in(f"update {update}"):
                for supernet in self._supernets:
                    prune(supernet, sparsity, self._settings.scope)
        self._zeros = [pair for supernet in self._supernets for pair in zeros(supernet)]

    def mask_gradient(self) -> None:
        """Zero the gradients of what stays zero: it has no part in the gradient's norm and moves no moments."""
        for parameter, zero in self._zeros:
            if parameter.grad is not None:
                parameter.grad.masked_fill_(zero, 0.0)

    @torch.no_grad()
    def hold(self) -> None:
        """After the optimizer's step: moments of earlier gradients have moved what was pruned since."""
        for parameter, zero in self._zeros:
            parameter.masked_fill_(zero, 0.0)

    def at_target(self, update: int) -> bool:
        """Whether the model is as sparse after this update as it will be: before, no weights count as the best."""
        return self._settings is None or self._settings.schedule != "gradual" or update >= self._settings.updates

    def record(self) -> dict[str, float]:
        """The entries of the stage's record."""
        return {} if self._settings is None else {"sparsity": round(sparsity_of(*self._supernets), 6)}


def warn_of_zeros(recipe: Recipe, model: ElasticModel, warn: Callable[[str], None]) -> None:
    """Warn where a pruned model is about to be trained dense again: nobody would see it in the end."""
    stages = recipe.stages_of("")
    if recipe.model.start is None or not stages or stages[0].pruning is not None:
        return
    share = sparsity_of(model)
    if share > NOTICED:
        place = f"stages.{recipe.stages.index(stages[0])}"
        hold = f"; to keep them zero, say {place}.pruning: {{schedule: hold}}" if stages[0].supernets == "all" else ""
        warn(f"model.start: {share:.0%} of its weights are zero, which training will change{hold}")
