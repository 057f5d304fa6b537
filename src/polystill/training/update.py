"""One update of a stage: drawn networks, forward passes, loss, gradients, and the optimizer's step.

Training and `polystill bench train` both run `Update`. What it does follows from the weights, the batch and the numbers
(seed, stage, update, rank): drawn students, learning rate and dropout masks need no generator's state in a checkpoint.

Shapes: B sentences, S source positions, T target positions, N real target tokens, D d_model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from typing import get_args

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.utils import clip_grad_norm_

from polystill.config import Mode, Training
from polystill.models.supernets import Plans, Supernets
from polystill.objectives import base
from polystill.objectives.alignment import alignment_loss
from polystill.objectives.base import Loss, Objective
from polystill.objectives.fused import fused_loss
from polystill.objectives.plain import Sum, loss_of_logits
from polystill.objectives.projection import Output
from polystill.students import Student, StudentSpace
from polystill.training.accelerator import random_seed, sum_over_ranks
from polystill.training.feed import MicroBatch, UpdateBatch
from polystill.training.frozen import FrozenTeacher
from polystill.training.pruning import Pruner
from polystill.training.quantization import Quantizer

_NO_FACTORS: Mapping[str, float] = {}


def stage_seed(seed: int, stage: int) -> int:
    """The seed of a stage's batches and students."""
    return seed * 1000 + stage


def make_optimizer(
    model: Supernets, training: Training, factors: Mapping[str, float] = _NO_FACTORS
) -> torch.optim.AdamW:
    """Adam with decoupled weight decay, as the published settings have it.

    factors: of the learning rate of further supernets, by name.
    """
    return torch.optim.AdamW(
        [{"params": [*supernet.parameters()], "factor": factors.get(name, 1.0)} for name, supernet in model.items()],
        lr=training.learning_rate,
        betas=training.betas,
        eps=1e-8,
        weight_decay=training.weight_decay,
        fused=True,
    )


def learning_rate(update: int, *, peak: float, warmup: int, schedule: str, updates: int) -> float:
    """The learning rate of one update (from 1): linear to `peak` over `warmup` updates, then by the schedule.

    inverse_sqrt: peak * sqrt(warmup / update). cosine: half a cosine down to 0 at the last of `updates`.
    constant: stays at the peak.
    """
    if update < warmup:
        return peak * update / warmup
    if schedule == "inverse_sqrt":
        return peak * math.sqrt(max(warmup, 1) / update)
    if schedule == "cosine":
        progress = (update - warmup) / max(1, updates - warmup)
        return peak * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    assert schedule == "constant", schedule
    return peak


@dataclass(frozen=True)
class Updated:
    """The outcome of an update. What is read of `figures` waits for a GPU, once.

    figures (3,): loss, norm and applied, on the device. losses: of each micro-batch of this rank, without gradients.
    """

    figures: Tensor
    learning_rate: float
    networks: list[Student]
    losses: list[Loss]

    @cached_property
    def _read(self) -> list[float]:
        figures: list[float] = self.figures.tolist()
        return figures

    @property
    def loss(self) -> float:
        """Per target token, over all ranks."""
        return self._read[0]

    @property
    def norm(self) -> float:
        """Of the gradient, before it was clipped."""
        return self._read[1]

    @property
    def applied(self) -> bool:
        """Whether the optimizer took its step; it does not where the loss or the gradient is not finite."""
        return bool(self._read[2])


class Update:
    """Trains a model by one objective, one update a call."""

    def __init__(
        self,
        model: Supernets,
        objective: Objective,
        space: StudentSpace,
        training: Training,
        accelerator: Accelerator,
        *,
        optimizer: torch.optim.Optimizer,
        learning_rate: Callable[[int], float],
        seed: int,
        stage: int = 0,
        dropout: bool = True,
        teacher: FrozenTeacher | None = None,
        pruner: Pruner | None = None,
        quantizer: Quantizer | None = None,
    ) -> None:
        """seed: the recipe's. stage: its index. learning_rate: of an update, counted from 1. dropout: False: none."""
        self.batch_loss = BatchLoss(
            model,
            objective,
            training.mode,
            lambda values: sum_over_ranks(accelerator, values),
            teacher,
            training.alignment_weight,
        )
        self._model, self._objective, self._space, self._accelerator = model, objective, space, accelerator
        self._optimizer, self._learning_rate, self._seed, self._stage = optimizer, learning_rate, seed, stage
        self._pruner, self._dropout = pruner or Pruner(model, None), dropout
        self._quantizer = quantizer or Quantizer(model)
        self._clip_norm = training.clip_norm or math.inf
        self._scaled = accelerator.mixed_precision == "fp16"
        # Fused optimizers leave a step out by a number on the device, as GradScaler has them do.
        self._decides_on_device = not self._scaled and getattr(optimizer, "_step_supports_amp_scaling", False)
        self._wrapped_loss, self._wrapped_optimizer = accelerator.prepare(self.batch_loss, optimizer)

    def networks(self, update: int) -> list[Student]:
        """The networks of an update, the teacher first."""
        return self._objective.networks(self._space, stage_seed(self._seed, self._stage), update)

    def __call__(
        self, batch: UpdateBatch, update: int, mark: Callable[[str | None], object] = lambda part: None
    ) -> Updated:
        """One optimizer update on one batch of all ranks.

        update: counted from 1. mark: is told the part that begins, as `bench.parts` names them, and None at the end.
        """
        accelerator, networks = self._accelerator, self.networks(update)
        rate = self._learning_rate(update)
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group.get("factor", 1.0)
        torch.manual_seed(random_seed(self._seed, self._stage, update, accelerator.process_index))
        self._pruner.begin(update)
        self._model.train(self._dropout)  # nothing else depends on it
        self._wrapped_optimizer.zero_grad()
        total = torch.zeros((), dtype=torch.float64, device=accelerator.device)
        losses: list[Loss] = []
        with self._quantizer():
            for i, micro_batch in enumerate(batch.micro_batches):
                last = i + 1 == len(batch.micro_batches)
                with nullcontext() if last else accelerator.no_sync(self._wrapped_loss):
                    mark("encoder")
                    loss: Loss = self._wrapped_loss(micro_batch.to(accelerator.device), networks, update)
                    mark("vocabulary_loss")
                    accelerator.backward(loss.loss * (accelerator.num_processes / batch.target_tokens))
                losses.append(replace(loss, loss=loss.loss.detach()))
                total += losses[-1].loss
        mark("optimizer")
        figures = self._apply(sum_over_ranks(accelerator, total) / batch.target_tokens)
        mark(None)
        return Updated(figures, rate, networks, losses)

    def _apply(self, mean_loss: Tensor) -> Tensor:
        """Take the optimizer's step, unless the loss or the gradient is not finite. Returns `Updated.figures`."""
        supernets = self._model.each()
        for supernet in supernets:
            supernet.mask_pad_gradient()
        self._pruner.mask_gradient()
        self._accelerator.unscale_gradients()
        # By supernet: one norm over all would let a poor supernet slow the teacher down.
        # That of a supernet without gradients is on the CPU, where a GPU need not be waited for.
        clipped = [clip_grad_norm_(supernet.parameters(), self._clip_norm) for supernet in supernets]
        norms = [norm.to(mean_loss.device, torch.float64, non_blocking=True) for norm in clipped]
        total = norms[0] if len(norms) == 1 else torch.stack(norms).norm()
        # Under fp16 the scaler itself leaves out updates whose gradient overflows, and lowers its scale.
        applied = mean_loss.isfinite() if self._scaled else mean_loss.isfinite() & total.isfinite()
        if self._decides_on_device:
            self._optimizer.found_inf = (~applied).float()  # type: ignore[attr-defined]
        if self._decides_on_device or applied:  # with a scaler or another optimizer a GPU waits here
            self._wrapped_optimizer.step()
            self._pruner.hold()
        elif self._scaled:
            self._accelerator.scaler.update()  # this update's unscaling is over
        return torch.stack([mean_loss, total, applied])


class BatchLoss(nn.Module):
    """Forward passes and loss in one module, so that data-parallel wrappers see all use of the parameters.

    mode: "shared" and "exact" batch all networks (see `models.passes`) and fuse the vocabulary loss; "plain" runs one
    network after another with whole logits and is their twin.
    """

    def __init__(
        self,
        model: Supernets,
        objective: Objective,
        mode: str,
        sum_over_ranks: Sum = lambda values: values,
        teacher: FrozenTeacher | None = None,
        alignment_weight: float = 0.1,
    ) -> None:
        super().__init__()
        assert mode in get_args(Mode)
        self.model, self.objective, self.mode, self.alignment_weight = model, objective, mode, alignment_weight
        self._sum_over_ranks, self._teacher = sum_over_ranks, teacher
        self._expectation = Expectation(objective)

    def forward(self, batch: MicroBatch, networks: Sequence[Student], update: int = 1) -> Loss:
        """The loss of `networks` on a batch: sums over its real target tokens.

        The teacher comes first, and the networks of one supernet stand together. Where the batch has alignments, every
        network's attention learns them, too.
        """
        attention: list[Tensor] | None = [] if len(batch.links) else None
        loss = self._loss(batch, networks, update, attention)
        if not attention:
            return loss
        alignment = torch.stack([alignment_loss(each, batch.links, batch.link_shares) for each in attention]).sum()
        mean = alignment.detach() / (len(attention) * batch.link_shares.sum())
        return replace(loss, loss=loss.loss + self.alignment_weight * alignment, alignment=mean)

    def _loss(
        self, batch: MicroBatch, networks: Sequence[Student], update: int, attention: list[Tensor] | None
    ) -> Loss:
        """The objective's loss; adds each network's attention (B, T, S) to a list, if one is given."""
        model, target = self.model, batch.real_tokens(batch.target)
        frozen = [] if self._teacher is None else [self._teacher.output(batch)]
        if self.mode == "plain":
            return self._plain(batch, frozen, target, networks, update, attention)
        outputs, members = [*frozen], [*range(len(frozen))]
        for name, plan in self.plans(networks).items():
            supernet = model[name]
            members += [len(outputs) + member for member in plan.members]
            of_reads: list[Tensor] | None = None if attention is None else []
            hidden = supernet.hidden_states(batch.source, batch.target_in, plan, of_reads, batch.packing)
            if attention is not None and of_reads is not None:
                attention += [of_reads[member] for member in plan.members]
            outputs += [Output(batch.real_tokens(h), supernet.embedding, supernet.output_bias) for h in hidden]
        expected = self._expectation.cross_entropies(networks)
        loss = fused_loss(outputs, members, target, self.objective, update, self._sum_over_ranks, expected)
        self._expectation.learn(networks, loss)
        return loss

    def _plain(
        self,
        batch: MicroBatch,
        frozen: Sequence[Output],
        target: Tensor,
        networks: Sequence[Student],
        update: int,
        attention: list[Tensor] | None,
    ) -> Loss:
        model = self.model
        logits = [linear(output.hidden, output.weight, output.bias) for output in frozen]
        logits += [batch.real_tokens(model[n.supernet](batch.source, batch.target_in, n, attention)) for n in networks]
        return loss_of_logits(
            logits,
            target,
            self.objective,
            update,
            self._sum_over_ranks,
            frozen=bool(frozen),
            supernets=supernet_numbers(networks, frozen=bool(frozen)),
        )

    def plans(self, networks: Sequence[Student]) -> Plans:
        """The passes that this mode computes the networks with."""
        return self.model.plans(networks, self.mode)


def supernet_numbers(networks: Sequence[Student], *, frozen: bool = False) -> list[int]:
    """The number of each network's supernet, as objectives take it; with a frozen teacher, which is the first."""
    names = list(dict.fromkeys(network.supernet for network in networks))
    return [0] * frozen + [names.index(network.supernet) + frozen for network in networks]


class Expectation:
    """Guesses on a CPU what a batch's cross-entropies will decide: what they decided when its students were last drawn.

    A right guess saves the fused loss the projection that it would decide by; a wrong one costs three projections.
    Where guesses are often wrong none are made, but what they would have been is still watched. There are none on a
    GPU, where a projection's logits are kept instead, and for objectives that decide nothing.
    """

    PAYS = 2 / 3
    """The share of right guesses from which they pay: one in three may cost what the other two save."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self._ratios: dict[Student, float] = {}  # cross-entropy to the teacher's, when last drawn
        self._right = 1.0  # share of guesses that were right lately, or would have been

    def cross_entropies(self, networks: Sequence[Student]) -> Tensor | None:
        """A guess (networks,), in the teacher's cross-entropy, or None."""
        return self._guess(networks) if self._right > self.PAYS else None

    def _guess(self, networks: Sequence[Student]) -> Tensor | None:
        if any(network not in self._ratios for network in networks):
            return None
        return torch.tensor([self._ratios[network] for network in networks], dtype=torch.float64)

    def learn(self, networks: Sequence[Student], loss: Loss) -> None:
        """Take in what a batch has decided."""
        supernets = supernet_numbers(networks)
        if self._objective.reads(supernets) != "sums" or not base.on_host(loss.ce_decided):
            return
        guess = self._guess(networks)
        if guess is not None:
            decided = (self._objective.terms(supernets, ce) for ce in (guess, loss.ce_decided))
            self._right += 0.05 * ((next(decided) == next(decided)) - self._right)
        self._ratios.update(zip(networks[1:], loss.ce_ratio, strict=True))
        self._ratios[networks[0]] = 1.0
