"""The AIO-KD loss as published (Miao et al., EMNLP 2023), plain: the twin that every faster form is compared with.

Shapes: B sentences, T target positions, V vocabulary; N non-pad target tokens.

One step's loss, summed over the N tokens (divide by their number over all ranks):

    ce_weight * (CE(teacher) + sum_s CE(s)) + kd_weight * mean_s KL(teacher || s) + mutual_weight * mutual

CE is label-smoothed with the mass spread as epsilon / (V - 1) over the other tokens. The KL's gradient reaches the
teacher only through students s with CE(s) / CE(teacher) < detach_threshold: dynamic gradient detaching.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

MUTUAL = ("none", "no_weight", "full", "detaching")


@dataclass(frozen=True)
class FamilyLoss:
    """Sums over non-pad tokens. `loss` is the weighted total; `ce` adds up teacher and students.

    ce_each: (1 + students,) cross-entropies, the teacher's first. ce_decided: the same over all ranks.
    projections_again: how many more products with the vocabulary's matrix there were than one forward and one backward
        pass need (which are three for each network), in forward passes of all networks.
    """

    loss: Tensor
    ce: Tensor
    kd: Tensor
    mutual: Tensor
    ce_each: Tensor
    ce_decided: Tensor
    projections_again: int = 0

    @property
    def ce_ratio(self) -> list[float]:
        """CE(student) / CE(teacher) over all ranks, by which gradients are detached."""
        return (self.ce_decided[1:] / self.ce_decided[0]).tolist()


@dataclass(frozen=True)
class Distillation:
    """share * KL(network a || network b); the gradient into a flows only if `open`. Network 0 is the teacher.

    Shares are the published means: over students for the teacher's terms, over pairs for the students' own.
    """

    a: int
    b: int
    share: float
    open: bool


def smoothed_cross_entropy(log_probabilities: Tensor, target: Tensor, label_smoothing: float) -> Tensor:
    """(N, V), (N,) -> (N,): 1 - epsilon on the target, epsilon / (V - 1) on each other token."""
    others = label_smoothing / (log_probabilities.shape[-1] - 1)
    nll = -log_probabilities.gather(-1, target[:, None])[:, 0]
    return (1 - label_smoothing - others) * nll - others * log_probabilities.sum(-1)


def distillations(ce: Sequence[float], *, mutual: str, detach_threshold: float) -> list[Distillation]:
    """Every KL term of one step, from the cross-entropies of the teacher (first) and its students on this batch.

    Knowledge distillation goes from the teacher to each student, open below the threshold. Mutual learning goes, for
    each pair of students, from the better to the worse and never detaches ("no_weight", the paper's stage 2), with the
    threshold ("detaching"), or both ways ("full").
    """
    assert mutual in MUTUAL, mutual
    students = range(1, len(ce))

    def below(worse: int, better: int) -> bool:
        return ce[worse] / ce[better] < detach_threshold

    terms = [Distillation(0, s, 1 / len(students), below(s, 0)) for s in students]
    directed: list[tuple[int, int, bool]] = []
    for i, j in combinations(students, 2) if mutual != "none" else ():
        better, worse = (i, j) if ce[i] <= ce[j] else (j, i)
        directed.append((better, worse, mutual != "detaching" or below(worse, better)))
        if mutual == "full":
            directed.append((worse, better, True))
    return terms + [Distillation(a, b, 1 / len(directed), is_open) for a, b, is_open in directed]


def aio_kd_loss(
    teacher_logits: Tensor,
    student_logits: Sequence[Tensor],
    target: Tensor,
    *,
    pad_id: int,
    label_smoothing: float = 0.1,
    ce_weight: float = 1.0,
    kd_weight: float = 5.5,
    mutual_weight: float = 0.5,
    mutual: str = "none",
    detach_threshold: float = 1.1,
    sum_over_ranks: Callable[[Tensor], Tensor] = lambda ce: ce,
) -> FamilyLoss:
    """The published loss of one batch.

    Args:
        teacher_logits: (B, T, V). student_logits: list of (B, T, V). target: (B, T), `pad_id` where there is no token.
        mutual: "none" (stage 1), "no_weight" (stage 2 of the paper), "full" or "detaching".
        sum_over_ranks: adds up detached cross-entropies (networks,) over all ranks before anything is decided by them.
    """
    real = target != pad_id
    target = target[real]
    log_p = [logits[real].log_softmax(-1) for logits in (teacher_logits, *student_logits)]
    ce_each = torch.stack([smoothed_cross_entropy(x, target, label_smoothing).sum() for x in log_p])
    decided = sum_over_ranks(ce_each.detach())
    kd = mutual_sum = ce_each.new_zeros(())
    for term in distillations(decided.tolist(), mutual=mutual, detach_threshold=detach_threshold):
        better = log_p[term.a] if term.open else log_p[term.a].detach()
        divergence = term.share * (better.exp() * (better - log_p[term.b])).sum()
        if term.a == 0:
            kd = kd + divergence
        else:
            mutual_sum = mutual_sum + divergence
    return FamilyLoss(
        loss=ce_weight * ce_each.sum() + kd_weight * kd + mutual_weight * mutual_sum,
        ce=ce_each.sum(),
        kd=kd,
        mutual=mutual_sum,
        ce_each=ce_each.detach(),
        ce_decided=decided,
    )
