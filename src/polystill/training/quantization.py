"""8-bit fine-tuning: networks are computed with weights as int8 has them, and gradients change the exact ones.

The gradient of a rounded weight is taken for that of the exact one (a straight-through estimate, Bengio et al. 2013),
as Marian does for Firefox's students. Weights are rounded as exports for CTranslate2 have them: by row, to multiples of
the row's largest magnitude over 63. Activations are not rounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from polystill.models.pruning import matrices
from polystill.models.supernets import Supernets

LARGEST = 63
"""int8 weights keep seven bits (`export.ctranslate2`)."""


def rounded(weight: Tensor) -> Tensor:
    """A matrix (rows, columns) with values that int8 has; rows of zeros stay zero."""
    step = weight.abs().amax(dim=-1, keepdim=True) / LARGEST
    return (weight / step.clamp(min=torch.finfo(weight.dtype).tiny)).round_().mul_(step)


class Quantizer:
    """Rounds what a stage trains, for as long as it is computed; without `precision` it does nothing."""

    def __init__(self, model: Supernets, precision: str | None) -> None:
        self._supernets = model.each() if precision else ()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Within the block, matrices that are trained have rounded values; afterwards their own again."""
        trained = [p for supernet in self._supernets for p in matrices(supernet).values() if p.requires_grad]
        exact = [parameter.detach().clone() for parameter in trained]
        with torch.no_grad():
            for parameter in trained:
                parameter.copy_(rounded(parameter))
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, values in zip(trained, exact, strict=True):
                    parameter.copy_(values)
