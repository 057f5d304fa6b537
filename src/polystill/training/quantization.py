"""8-bit fine-tuning: networks are computed with weights as int8 has them, and gradients change the exact ones.

The gradient of a rounded weight is taken for that of the exact one (a straight-through estimate, Bengio et al. 2013),
as Marian does for Firefox's students. Weights are rounded as exports for CTranslate2 have them: by row, to multiples of
the row's largest magnitude over 63. Activations are not rounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    """Rounds some supernets for as long as they are computed."""

    def __init__(self, model: Supernets, supernets: Sequence[str] = ()) -> None:
        self._matrices = [matrix for name in supernets for matrix in matrices(model[name]).values()]

    @property
    def copied_bytes(self) -> int:
        """Of the exact weights, while there are rounded ones."""
        return sum(matrix.numel() * matrix.element_size() for matrix in self._matrices)

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Within the block, matrices have rounded values; afterwards their own again."""
        exact = [matrix.detach().clone() for matrix in self._matrices]
        with torch.no_grad():
            for matrix in self._matrices:
                matrix.copy_(rounded(matrix))
        try:
            yield
        finally:
            with torch.no_grad():
                for matrix, values in zip(self._matrices, exact, strict=True):
                    matrix.copy_(values)
