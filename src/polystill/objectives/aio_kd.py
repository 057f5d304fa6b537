"""AIO-KD (Miao et al., EMNLP 2023): a teacher trained together with sampled students of its own.

Summed over the target tokens, with students s drawn anew in each update:

    ce_weight * (CE(teacher) + sum_s CE(s)) + kd_weight * mean_s KL(teacher || s) + mutual_weight * mutual

In a family of several supernets the largest network of each further supernet is a student in every update, too, and
means are taken over the students of each supernet.

CE is label-smoothed with the mass spread as epsilon / (V - 1) over the other tokens. The KL's gradient reaches the
teacher only through students s with CE(s) / CE(teacher) < detach_threshold: dynamic gradient detaching.

Shapes: B sentences, T target positions, V vocabulary; K = 1 + students networks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import combinations, permutations
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from pydantic import Field

from polystill.objectives import base
from polystill.objectives.base import Loss, Objective, Reads, Term, Weights

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Mutual = Literal["none", "no_weight", "full", "detaching"]
MUTUAL: tuple[Mutual, ...] = get_args(Mutual)


class AioKd(Objective):
    """`aio_kd` trains a teacher together with sampled students of its own."""

    kind: Literal["aio_kd"] = "aio_kd"
    title: ClassVar[str] = "AIO-KD (Miao et al., EMNLP 2023): teacher and sampled students trained jointly in one run"
    students_per_step: int = Field(2, ge=0)
    """Students that each update draws from every supernet, beside its largest network."""
    ce_weight: float = Field(1.0, ge=0)
    """Weight of all cross-entropies against the text."""
    kd_weight: float = Field(5.5, ge=0)
    """Weight of what students learn from the teacher."""
    kd_warmup: int = Field(0, ge=0)
    """Updates over which kd_weight grows linearly from 0 to its value; 0 applies it in full at once, as published."""
    mutual_weight: float = Field(0.5, ge=0)
    """Weight of what students learn from each other."""
    mutual: Mutual = "none"
    """How students teach each other: `none` (the paper's stage 1), `no_weight` (the better teaches the worse, stage 2),
    `full` (both ways), `detaching` (the better teaches the worse, with the threshold)."""
    detach_threshold: float = Field(1.1, ge=0)
    """From this CE(student) / CE(teacher) on, no gradient of the student's KL reaches the teacher. 0 always
    detaches."""

    @property
    def detaches_at(self) -> float:
        return self.detach_threshold

    def weights(self, update: int) -> Weights:
        share = min(1.0, update / self.kd_warmup) if self.kd_warmup else 1.0
        return Weights(self.ce_weight, self.kd_weight * share, self.mutual_weight)

    def reads(self, supernets: Sequence[int]) -> Reads:
        """Nothing decides where there are no students, or where all are detached and no better one teaches a worse."""
        fixed = self.detach_threshold == 0 and (self.mutual in ("none", "full") or len(supernets) == 2)
        return "nothing" if len(supernets) == 1 or fixed else "sums"

    def terms(self, supernets: Sequence[int], ce: Tensor | None) -> Sequence[Term]:
        if ce is None or base.on_host(ce):
            values = [1.0] * len(supernets) if ce is None else ce.tolist()
            return published_terms(values, supernets, mutual=self.mutual, detach_threshold=self.detach_threshold)
        return device_terms(ce, supernets, mutual=self.mutual, detach_threshold=self.detach_threshold)


def published_terms(
    ce: Sequence[float], supernets: Sequence[int] | None = None, *, mutual: str, detach_threshold: float
) -> list[Term]:
    """Every KL term of one step, from the cross-entropies of the teacher (first) and its students on this batch.

    Knowledge distillation goes from the teacher to each student, open below the threshold. Mutual learning goes, for
    each pair of students, from the better to the worse and never detaches ("no_weight"), with the threshold
    ("detaching"), or both ways ("full"). Of two equal students the one drawn first counts as the better one.

    Shares are means over the terms by which the students of one supernet learn, for the teacher's terms and for the
    students' own. By default all networks are of one supernet, as published.
    """
    assert mutual in MUTUAL, mutual
    students = range(1, len(ce))

    def below(worse: int, better: int) -> float:
        return float(ce[better] != 0 and ce[worse] / ce[better] < detach_threshold)

    taught = [Term(0, s, open=below(s, 0)) for s in students]
    directed: list[Term] = []
    for i, j in combinations(students, 2) if mutual != "none" else ():
        better, worse = (i, j) if ce[i] <= ce[j] else (j, i)
        is_open = below(worse, better) if mutual == "detaching" else 1.0
        directed.append(Term(better, worse, open=is_open, role="mutual"))
        if mutual == "full":
            directed.append(Term(worse, better, role="mutual"))
    supernets = supernets or [0] * len(ce)
    return [*_with_shares(taught, supernets), *_with_shares(directed, supernets)]


def _with_shares(terms: Sequence[Term], supernets: Sequence[int]) -> list[Term]:
    """The terms with equal shares, which add up to 1 in each supernet that learns."""
    learners = Counter(supernets[term.b] for term in terms)
    return [replace(term, share=1 / learners[supernets[term.b]]) for term in terms]


def device_terms(
    ce: Tensor, supernets: Sequence[int] | None = None, *, mutual: str, detach_threshold: float
) -> list[Term]:
    """`published_terms` decided on the device of the cross-entropies (networks,).

    Reading them on the host would make a GPU wait in the middle of a step. So every term that could act is listed, and
    those that do not act have the share 0.
    """
    import torch

    students = len(ce) - 1
    if not students:
        return []
    pairs, a, b, same = _pairs_on(ce.device, tuple(supernets or [0] * len(ce)), mutual != "none")
    acts = torch.ones_like(ce[b])
    if mutual not in ("none", "full"):
        first, second = a[students:], b[students:]
        better = (ce[first] < ce[second]) | ((ce[first] == ce[second]) & (first < second))
        acts[students:] = better.to(ce.dtype)
    shares = acts / (same.to(acts.dtype) @ acts).clamp(min=1)
    is_open = ce[b] / ce[a] < detach_threshold
    if mutual != "detaching":
        is_open |= a > 0
    decided = zip(pairs, shares, is_open.to(ce.dtype), strict=True)
    return [Term(*pair, share, opened, role="mutual" if pair[0] else "kd") for pair, share, opened in decided]


@lru_cache(maxsize=64)
def _pairs_on(
    device: torch.device, supernets: tuple[int, ...], mutual: bool
) -> tuple[list[tuple[int, int]], Tensor, Tensor, Tensor]:
    """Pairs (who teaches, who learns): the teacher and each student; with `mutual` then two students.

    Returns them, those who teach (P,), those who learn (P,), and a float64 matrix (P, P): 1 where two pairs are of one
    kind and have learners of one supernet. They are kept, and filled in where a copy to a GPU would make it wait.
    """
    import torch

    students = range(1, len(supernets))
    pairs = [(0, s) for s in students]
    pairs += permutations(students, 2) if mutual else []

    def filled(values: Sequence[int]) -> Tensor:
        return torch.stack([torch.full((), value, device=device) for value in values])

    a, b = (filled(each) for each in zip(*pairs, strict=True))
    kinds = filled([2 * supernets[b] + (a == 0) for a, b in pairs])
    return pairs, a, b, (kinds == kinds[:, None]).double()


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
) -> Loss:
    """The published loss of one batch, by whole logits and autograd.

    Args:
        teacher_logits: (B, T, V). student_logits: list of (B, T, V). target: (B, T), `pad_id` where there is no token.
        mutual: as `AioKd.mutual`.
        sum_over_ranks: adds up detached cross-entropies (networks,) over all ranks before anything is decided by them.
    """
    from polystill.objectives.plain import loss_of_logits

    objective = AioKd.model_construct(
        label_smoothing=label_smoothing,
        ce_weight=ce_weight,
        kd_weight=kd_weight,
        mutual_weight=mutual_weight,
        mutual=mutual,  # type: ignore[arg-type]
        detach_threshold=detach_threshold,
    )
    real = target != pad_id
    logits = [logits[real] for logits in (teacher_logits, *student_logits)]
    return loss_of_logits(logits, target[real], objective, sum_over_ranks=sum_over_ranks)
