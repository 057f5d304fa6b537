"""Which KL terms act in a step, decided on the device: the tensors of `aio_kd.distillations`, without a look at them.

A decision depends on cross-entropies that a GPU has only just computed. Reading them on the host would make it wait in
the middle of the step, so every term that could act is listed, and those that do not act weigh nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations

import torch
from torch import Tensor


@dataclass(frozen=True)
class Term:
    """share * KL(network a || network b); the gradient into a is multiplied by `open`. Network 0 is the teacher.

    share, open: numbers, or 0-dimensional tensors where the decision stays on the device; open is 0 or 1.
    """

    a: int
    b: int
    share: float | Tensor
    open: float | Tensor


def directed_terms(ce: Tensor, *, mutual: str, detach_threshold: float, on_host: bool) -> list[Term]:
    """The terms of a step from the cross-entropies (networks,) of teacher and students.

    on_host: read the decisions, as costs nothing on a CPU; terms without a share are then left out. Otherwise they stay
        on ce's device.
    """
    students = len(ce) - 1
    if not students:
        return []
    pairs, a, b = _pairs_on(ce.device, students, mutual != "none")
    shares = [ce.new_full((students,), 1 / students)]
    between = len(pairs) - students
    if between:
        first, second = a[students:], b[students:]
        if mutual == "full":
            shares.append(ce.new_full((between,), 1 / between))
        else:  # the better teaches the worse; of two equals the one drawn first counts as better
            better = (ce[first] < ce[second]) | ((ce[first] == ce[second]) & (first < second))
            shares.append(better.to(ce.dtype) * (2 / between))
    is_open = ce[b] / ce[a] < detach_threshold
    if mutual != "detaching":
        is_open |= a > 0
    share, opened = torch.cat(shares), is_open.to(ce.dtype)
    if not on_host:
        return [Term(*pair, s, o) for pair, s, o in zip(pairs, share, opened, strict=True)]
    numbers = zip(pairs, share.tolist(), opened.tolist(), strict=True)
    return [Term(*pair, s, o) for pair, s, o in numbers if s]


@lru_cache(maxsize=64)
def _pairs_on(device: torch.device, students: int, mutual: bool) -> tuple[list[tuple[int, int]], Tensor, Tensor]:
    """Who teaches whom: the teacher every student, and with `mutual` then each student each other; as indices too.

    They are kept, since a copy to a GPU would make it wait.
    """
    pairs = [(0, s) for s in range(1, students + 1)]
    pairs += permutations(range(1, students + 1), 2) if mutual else []
    a, b = torch.tensor(pairs, device=device).unbind(1)
    return pairs, a, b
