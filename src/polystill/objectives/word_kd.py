"""Word-level knowledge distillation (Kim & Rush 2016, equation 6; Hinton et al. 2015 for the temperature).

With a frozen teacher q and a student p (or each of several), summed over the target tokens:

    (1 - alpha) * CE(p) + alpha * tau**2 * KL(q_tau || p_tau)

CE is label-smoothed. q_tau and p_tau are softmaxes of logits / tau. The paper's cross-entropy against the teacher
differs from the divergence by the teacher's entropy, which has no gradient. The factor tau**2 keeps the gradient's size
when the temperature changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from polystill.objectives.base import FrozenTeacherObjective, Term, Weights

if TYPE_CHECKING:
    from torch import Tensor


class WordKd(FrozenTeacherObjective):
    """`word_kd` trains one network or a family against a frozen teacher, at every token."""

    kind: Literal["word_kd"] = "word_kd"
    title: ClassVar[str] = "word-level distillation (Kim & Rush, EMNLP 2016)"
    alpha: float = Field(0.5, ge=0, le=1)
    """The share of the teacher's part; the likelihood has the rest."""

    def weights(self, update: int) -> Weights:
        return Weights(ce=1 - self.alpha, kd=self.alpha)

    def terms(self, supernets: Sequence[int], ce: Tensor | None) -> Sequence[Term]:
        return [Term(0, network, temperature=self.temperature) for network in range(1, len(supernets))]
