"""Magnitude pruning of a model of any architecture (Kim & Rush 2016, section 5; See et al. 2016).

The architecture says which parameters are pruned: all matrices, embeddings included, but no biases or normalisations.
The row of `<pad>` is always zero and is not counted. A pruned weight is exactly zero, and this is the whole mask:
nothing else has to be kept, saved or resumed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from polystill.errors import UserError
from polystill.models.elastic import ElasticModel

Scope = Literal["global", "layer", "matrix"]


@dataclass(frozen=True)
class MatrixCount:
    """One matrix of a model: how many weights it has, without the row of `<pad>`, and how many are not zero."""

    name: str
    weights: int
    nonzero: int

    @property
    def sparsity(self) -> float:
        return 1 - self.nonzero / self.weights


def matrices(model: ElasticModel) -> dict[str, nn.Parameter]:
    """The parameters that are pruned, by name; tied ones once."""
    return {name: each for name, each in model.named_parameters() if model.architecture.is_pruned(each)}


def check_sparsity(sparsity: float, origin: str) -> None:
    """Raises UserError where the share of weights to remove is outside of [0, 1)."""
    if not 0 <= sparsity < 1:
        raise UserError(f"{origin} {sparsity:g}: expected at least 0 and less than 1, such as 0.8 for 80 %")


@torch.no_grad()
def prune(model: ElasticModel, sparsity: float, scope: Scope) -> None:
    """Zero the smallest weights in place: round(sparsity * weights) of them; weights that are zero already count.

    `scope` says which weights are ranked together: `global` all, `layer` those of a layer (see
    `Architecture.layer_of`), `matrix` those of a matrix. Of equal magnitudes the first is pruned first, in the order of
    the parameters and of their rows.

    Raises:
        UserError: sparsity is not in [0, 1), or a weight is not a number.
    """
    check_sparsity(sparsity, "sparsity")
    for group in _groups(model, scope).values():
        _prune_together(list(group.values()), sparsity, [_pad_row(model, parameter) for parameter in group.values()])


def counts(model: ElasticModel) -> list[MatrixCount]:
    """Each matrix with its weights and non-zero weights."""
    rows = []
    for name, parameter in matrices(model).items():
        pad = parameter.shape[1] if _pad_row(model, parameter) is not None else 0
        rows.append(MatrixCount(name, parameter.numel() - pad, int(parameter.detach().count_nonzero())))
    return rows


def nonzero_parameters(model: ElasticModel) -> int:
    """The parameters that pruning has left: non-zero weights, and all biases and normalisations."""
    pruned = model.architecture.is_pruned
    unpruned = sum(parameter.numel() for parameter in model.parameters() if not pruned(parameter))
    return unpruned + sum(row.nonzero for row in counts(model))


def sparsity_of(*models: ElasticModel) -> float:
    """The share of zeros among the weights of all matrices."""
    rows = [row for model in models for row in counts(model)]
    return 1 - sum(row.nonzero for row in rows) / sum(row.weights for row in rows)


def zeros(model: ElasticModel) -> Iterator[tuple[nn.Parameter, Tensor]]:
    """Each matrix with the mask of its zeros."""
    for parameter in matrices(model).values():
        yield parameter, parameter.detach() == 0


def _groups(model: ElasticModel, scope: Scope) -> dict[str, dict[str, nn.Parameter]]:
    groups: dict[str, dict[str, nn.Parameter]] = {}
    for name, parameter in matrices(model).items():
        key = {"global": "", "layer": model.architecture.layer_of(name), "matrix": name}[scope]
        groups.setdefault(key, {})[name] = parameter
    return groups


def _pad_row(model: ElasticModel, parameter: nn.Parameter) -> int | None:
    return model.pad_id if parameter is model.embedding else None


def _prune_together(group: list[nn.Parameter], sparsity: float, pad_rows: list[int | None]) -> None:
    """Zero the smallest weights of a group; a magnitude of -1 keeps `<pad>` out of the count."""
    magnitudes, padding = [], 0
    for parameter, pad_row in zip(group, pad_rows, strict=True):
        magnitude = parameter.detach().abs()
        if pad_row is not None:
            magnitude[pad_row] = -1
            padding += magnitude.shape[1]
        magnitudes.append(magnitude.flatten())
    flat = torch.cat(magnitudes)
    if not torch.isfinite(flat).all():
        raise UserError(
            "weights are not finite, so they cannot be pruned; train with a lower learning rate or a clip_norm"
        )
    count = round(sparsity * (len(flat) - padding))
    if count == 0:
        return
    removed = _smallest(flat, count + padding)
    for parameter, mask in zip(group, removed.split([p.numel() for p in group]), strict=True):
        parameter.masked_fill_(mask.view_as(parameter), 0.0)


def _smallest(values: Tensor, count: int) -> Tensor:
    """A mask (N,) of exactly `count` smallest values (N,); of equal ones the first."""
    threshold = values.kthvalue(count).values
    mask = values < threshold
    ties = (values == threshold).nonzero()[:, 0]
    mask[ties[: count - int(mask.sum())]] = True
    return mask
