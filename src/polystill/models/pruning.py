"""Magnitude pruning of a model of any architecture (Kim & Rush 2016, section 5; See et al. 2016).

All weight matrices take part, embeddings included; biases and normalisations (vectors) do not. The row of `<pad>` is
zero as it always is, and not counted. A pruned weight is exactly zero, and that is the whole of the mask: nothing else
has to be kept, saved or resumed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from polystill.errors import UserError
from polystill.models.elastic import ElasticModel

Scope = Literal["global", "layer", "matrix"]
SCOPES: tuple[Scope, ...] = ("global", "layer", "matrix")

_LAYER = re.compile(r"(?:.*?\.)?\d+(?=\.)")


@dataclass(frozen=True)
class MatrixCount:
    """One matrix of a model: its weights (the row of `<pad>` left out), and those of them that are not zero."""

    name: str
    weights: int
    nonzero: int

    @property
    def sparsity(self) -> float:
        return 1 - self.nonzero / self.weights


def matrices(model: nn.Module) -> dict[str, nn.Parameter]:
    """What is pruned, by name: all parameters with more than one dimension, tied ones once."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.ndim > 1}


def check_sparsity(sparsity: float, origin: str) -> None:
    """Raises UserError where the share of weights to remove is not in [0, 1)."""
    if not 0 <= sparsity < 1:
        raise UserError(f"{origin} {sparsity:g}: expected at least 0 and less than 1, such as 0.8 for 80 %")


@torch.no_grad()
def prune(model: ElasticModel, sparsity: float, scope: Scope) -> None:
    """Zero the smallest weights, in place: round(sparsity * weights) of them, zeros that are there already included.

    scope: what is ranked together: `global` all matrices, `layer` those of one layer (the embedding, or what else is
    outside of all layers, is one of its own), `matrix` each matrix. Of equal magnitudes the first goes first, in the
    order of the parameters and of their rows.

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
    """The parameters of a model that are left: non-zero weights, and all biases and normalisations."""
    vectors = sum(parameter.numel() for parameter in model.parameters() if parameter.ndim <= 1)
    return vectors + sum(row.nonzero for row in counts(model))


def sparsity_of(model: ElasticModel) -> float:
    """The share of all matrices' weights that is zero."""
    rows = counts(model)
    return 1 - sum(row.nonzero for row in rows) / sum(row.weights for row in rows)


def zeros(model: nn.Module) -> Iterator[tuple[nn.Parameter, Tensor]]:
    """Each matrix with the mask of its zeros."""
    for parameter in matrices(model).values():
        yield parameter, parameter.detach() == 0


def _groups(model: nn.Module, scope: Scope) -> dict[str, dict[str, nn.Parameter]]:
    groups: dict[str, dict[str, nn.Parameter]] = {}
    for name, parameter in matrices(model).items():
        key = {"global": "", "layer": layer_of(name), "matrix": name}[scope]
        groups.setdefault(key, {})[name] = parameter
    return groups


def layer_of(name: str) -> str:
    """The layer of a parameter: "encoder.0" of encoder.0.feed_forward.expand.weight; outside of layers its module."""
    found = _LAYER.match(name)
    return found[0] if found else name.rpartition(".")[0] or name


def _pad_row(model: ElasticModel, parameter: nn.Parameter) -> int | None:
    return model.pad_id if parameter is model.embedding else None


def _prune_together(group: list[nn.Parameter], sparsity: float, pad_rows: list[int | None]) -> None:
    """The k smallest of all weights of a group become zero; a magnitude of -1 keeps `<pad>` out of the count."""
    magnitudes, padding = [], 0
    for parameter, pad_row in zip(group, pad_rows, strict=True):
        magnitude = parameter.detach().abs()
        if pad_row is not None:
            magnitude[pad_row] = -1
            padding += magnitude.shape[1]
        magnitudes.append(magnitude.flatten())
    flat = torch.cat(magnitudes)
    if not torch.isfinite(flat).all():
        raise UserError("the model's weights are not all numbers; it cannot be pruned")
    count = round(sparsity * (len(flat) - padding))
    if count == 0:
        return
    removed = _smallest(flat, count + padding)
    for parameter, mask in zip(group, removed.split([p.numel() for p in group]), strict=True):
        parameter.masked_fill_(mask.view_as(parameter), 0.0)


def _smallest(values: Tensor, count: int) -> Tensor:
    """The mask of exactly `count` smallest values (N,), the first of equal ones."""
    threshold = values.kthvalue(count).values
    mask = values < threshold
    ties = (values == threshold).nonzero()[:, 0]
    mask[ties[: count - int(mask.sum())]] = True
    return mask
