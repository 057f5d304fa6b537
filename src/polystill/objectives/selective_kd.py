"""Selective knowledge distillation (Wang et al., ACL 2021), by batch: only hard words are learnt from the teacher.

With a frozen teacher q and a student p (or each of several), summed over the target tokens:

    CE(p) + alpha * tau**2 * (KL(q_tau || p_tau) at the selected tokens)

Selected is the `share` of the batch's tokens whose target the student finds least likely (the paper's word
cross-entropy, without label smoothing). A batch is what one process computes at once: an update's tokens, or those of a
micro-batch of one rank where `training.accumulate` or several processes divide it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from polystill.objectives.base import FrozenTeacherObjective, Reads, Term, Weights

if TYPE_CHECKING:
    from torch import Tensor


class SelectiveKd(FrozenTeacherObjective):
    """`selective_kd` trains by likelihood, and against a frozen teacher at the hardest tokens."""

    kind: Literal["selective_kd"] = "selective_kd"
    title: ClassVar[str] = "selective word-level distillation (Wang et al., ACL 2021)"
    alpha: float = Field(1.0, ge=0)
    """The weight of the teacher's part; the likelihood has the weight 1 at every token."""
    share: float = Field(0.5, gt=0, le=1)
    """The share of the batch's tokens that are learnt from the teacher, rounded up to whole tokens."""

    def weights(self, update: int) -> Weights:
        return Weights(kd=self.alpha)

    def reads(self, supernets: Sequence[int]) -> Reads:
        return "tokens"

    def terms(self, supernets: Sequence[int], ce: Tensor | None) -> Sequence[Term]:
        assert ce is not None
        hardest_first = ce.argsort(stable=True, dim=1, descending=True)
        selected = ce.new_zeros(ce.shape).scatter_(1, hardest_first[:, : math.ceil(self.share * ce.shape[1])], 1)
        return [Term(0, 1 + i, each, temperature=self.temperature) for i, each in enumerate(selected)]
