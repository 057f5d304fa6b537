"""An objective: the recipe keys it has, the networks of an update, and the terms of its loss.

Nothing here imports torch at the top, since a recipe is read without it.

Shapes: K networks of an update, N target tokens. Networks are numbered from 0, the teacher; a frozen teacher is network
0, too. Where an argument says `supernets`, it is the number of each network's supernet (K,), by which networks of one
supernet are told from others; a frozen teacher's is its own. Everything is summed over the tokens of a batch:

    loss = ce * (cross-entropies of all networks that learn) + kd * (terms of the role "kd") + mutual * (role "mutual")
    term = share * temperature**2 * KL(a || b),  a and b softened by the temperature
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from polystill.schema import Strict
from polystill.students import Student, StudentSpace

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Term:
    """share * temperature**2 * KL(network a || network b): b learns from a.

    share: a number, a 0-dimensional tensor (a decision that stays on the device), or a weight for each token (N,).
    open: the gradient into a is multiplied by it; 0 detaches a. A number or a 0-dimensional tensor.
    role: which of the objective's weights multiplies the term.
    """

    a: int
    b: int
    share: float | Tensor = 1.0
    open: float | Tensor = 1.0
    temperature: float = 1.0
    role: Literal["kd", "mutual"] = "kd"


@dataclass(frozen=True)
class Weights:
    """The weights of a loss's three sums at one update."""

    ce: float = 1.0
    kd: float = 0.0
    mutual: float = 0.0


@dataclass(frozen=True)
class Loss:
    """A batch's loss, and what it consists of: sums over the target tokens.

    loss: the weighted total, the only one with gradients. ce, kd, mutual: the three sums.
    ce_each: the cross-entropy of each network that learns, in order. ce_decided: the same over all ranks.
    projections_again: products with the vocabulary's matrix beyond one forward and one backward pass (three for each
        network), in forward passes of all networks.
    alignment: the mean of all networks' `objectives.alignment` per aligned token, where the batch has alignments.
    """

    loss: Tensor
    ce: Tensor
    kd: Tensor
    mutual: Tensor
    ce_each: Tensor
    ce_decided: Tensor
    projections_again: int = 0
    alignment: Tensor | None = None

    @property
    def ratios(self) -> Tensor:
        """CE(student) / CE(teacher) over all ranks, (students,), where it was computed."""
        return self.ce_decided[1:] / self.ce_decided[0]

    @property
    def ce_ratio(self) -> list[float]:
        """`ratios` as numbers; a GPU is waited for."""
        values: list[float] = self.ratios.tolist()
        return values


Reads = Literal["nothing", "sums", "tokens"]
"""What an objective's terms depend on: nothing of the batch, each network's cross-entropy, or that of each token."""


class Objective(Strict):
    """The base of all objectives: networks that are trained by their label-smoothed likelihood."""

    kind: str
    """The objective's name."""
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    """The share of the target distribution that all other tokens have together."""
    students_per_step: int = Field(0, ge=0)
    """Students that each update draws from every supernet, beside its largest network."""
    sampling: Literal["uniform", "sandwich"] = "uniform"
    """`uniform`: all students of an update are drawn, as published. `sandwich`: one of them is always the smallest
    (Yu & Huang 2019), whose layers serve all others and which is rarely drawn otherwise."""
    sample_every: int = Field(1, ge=1)
    """Updates for which one draw of students is kept."""

    @model_validator(mode="after")
    def _check_sandwich_draws(self) -> Self:
        if self.sampling == "sandwich" and self.students_per_step == 1:
            raise ValueError(
                "students_per_step 1 with sampling sandwich trains the smallest student and no other; take 2 or uniform"
            )
        return self

    title: ClassVar[str]
    """What cards and reports call it, with its paper."""

    @property
    def trains_family(self) -> bool:
        """Whether the students of a space learn, and not only the largest network of each supernet."""
        return self.students_per_step > 0

    @property
    def frozen_teacher(self) -> str | None:
        """The path of the frozen teacher, for an objective with the key `teacher`."""
        return None

    @property
    def detaches_at(self) -> float | None:
        """The ratio of cross-entropies (a student's to the teacher's) from which the teacher is detached."""
        return None

    def with_absolute_paths(self) -> Self:
        """The same objective, for any current folder."""
        return self

    def networks(self, space: StudentSpace, seed: int, update: int) -> list[Student]:
        """The networks that learn in an update (counted from 1): of each supernet the largest, and the drawn ones.

        They follow from the seed and the update's number alone, so that every rank and every resumed run draws alike.
        """
        draw, sandwich = (update - 1) // self.sample_every, self.sampling == "sandwich"
        return [
            network
            for members in space.supernets
            for network in (
                members.largest,
                *members.sample(self.students_per_step, seed=seed, draw=draw, sandwich=sandwich),
            )
        ]

    def drawing(self, students: int) -> Self:
        """The same objective with another number of students drawn in each update."""
        return self.model_copy(update={"students_per_step": students})

    def weights(self, update: int) -> Weights:
        """The weights of the loss's sums at an update (counted from 1)."""
        return Weights()

    def reads(self, supernets: Sequence[int]) -> Reads:
        """The cross-entropies that `terms` needs."""
        return "nothing"

    def terms(self, supernets: Sequence[int], ce: Tensor | None) -> Sequence[Term]:
        """The KL terms of one batch.

        Args:
            supernets: the number of each network's supernet (K,).
            ce: what `reads` says: None; label-smoothed cross-entropies summed over the tokens of all ranks, one of each
                network that learns; or the negative log-likelihoods of this rank's tokens, (networks that learn, N).
        """
        return ()


class FrozenTeacherObjective(Objective):
    """Networks that learn from a frozen one, which is network 0."""

    teacher: str | None = None
    """A model's folder, a run (its teacher is meant), or RUN/student, of any architecture."""
    temperature: float = Field(1.0, gt=0)
    """Temperature of both softmaxes."""

    @property
    def frozen_teacher(self) -> str | None:
        return self.teacher

    def with_absolute_paths(self) -> Self:
        teacher = self.teacher and str(Path(self.teacher).resolve())
        return self.model_copy(update={"teacher": teacher})


def on_host(x: Tensor) -> bool:
    """Whether numbers may be read without waiting for a device."""
    return x.device.type == "cpu"
