"""One training step of a family: teacher and sampled students over one batch, to one loss.

Shapes: B sentences, S source positions, T target positions, N real target tokens, D d_model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from polystill.models.elastic import ElasticModel
from polystill.models.passes import PassPlan, exact_plan
from polystill.objectives.aio_kd import FamilyLoss, aio_kd_loss
from polystill.objectives.projection import widen
from polystill.objectives.vocab_loss import LossSettings, decisions, fused_family_loss
from polystill.objectives.word_kd import Output, WordKdSettings, fused_word_kd_loss, plain_word_kd_loss
from polystill.students import Student
from polystill.training.feed import MicroBatch
from polystill.training.frozen import FrozenTeacher

MODES = ("shared", "exact", "plain")

GUESSES_PAY = 2 / 3
"""A wrong guess of a batch's decisions costs three projections, none at all one; so many must be right."""


class TrainingStep(nn.Module):
    """Forward pass and loss in one module, so that data-parallel wrappers see all use of the parameters.

    mode: "shared" and "exact" batch all networks (see `models.passes`) and fuse the vocabulary loss; "plain" runs one
    network after another with whole logits and is their twin.
    """

    def __init__(
        self,
        model: ElasticModel,
        mode: str,
        sum_over_ranks: Callable[[Tensor], Tensor],
        teacher: FrozenTeacher | None = None,
    ) -> None:
        super().__init__()
        assert mode in MODES
        self.model = model
        self.mode = mode
        self._sum_over_ranks = sum_over_ranks
        self._teacher = teacher
        self._ratios: dict[Student, float] = {}  # cross-entropy to the teacher's, when last drawn
        self._right = 1.0  # share of guesses that were right lately, or would have been

    def forward(
        self, batch: MicroBatch, networks: Sequence[Student], settings: LossSettings | WordKdSettings
    ) -> FamilyLoss:
        """The loss of `networks` (teacher first) on a batch: sums over its real target tokens."""
        if isinstance(settings, WordKdSettings):
            return self._word_kd(batch, networks, settings)
        if self.mode == "plain":
            return self._plain(batch, networks, settings)
        model, plan = self.model, self.plan(networks)
        hidden = [batch.real_tokens(h) for h in model.hidden_states(batch.source, batch.target_in, plan)]
        guess = self._guess(networks)
        loss = fused_family_loss(
            hidden,
            plan.members,
            model.embedding,
            model.output_bias,
            batch.real_tokens(batch.target),
            settings,
            self._sum_over_ranks,
            guess if self._right > GUESSES_PAY else None,
        )
        self._remember(networks, loss, guess, settings)
        return loss

    def _guess(self, networks: Sequence[Student]) -> Tensor | None:
        """Cross-entropies, in the teacher's, that decide as they did when these students were last drawn."""
        if any(network not in self._ratios for network in networks):
            return None
        return torch.tensor([self._ratios[network] for network in networks], dtype=torch.float64)

    def _remember(
        self, networks: Sequence[Student], loss: FamilyLoss, guess: Tensor | None, settings: LossSettings
    ) -> None:
        if loss.ce_decided.device.type != "cpu":  # the step would wait for its numbers
            return
        if guess is not None:
            right = decisions(guess, settings) == decisions(loss.ce_decided, settings)
            self._right += 0.05 * (right - self._right)
        self._ratios.update(zip(networks[1:], loss.ce_ratio, strict=True))
        self._ratios[networks[0]] = 1.0

    def plan(self, networks: Sequence[Student]) -> PassPlan:
        """The passes that this mode computes the networks with."""
        return self.model.shared_plan(networks) if self.mode == "shared" else exact_plan(networks)

    def _word_kd(self, batch: MicroBatch, networks: Sequence[Student], settings: WordKdSettings) -> FamilyLoss:
        assert self._teacher is not None
        model = self.model
        (hidden,) = model.hidden_states(batch.source, batch.target_in, self.plan(networks))
        student = Output(batch.real_tokens(hidden), model.embedding, model.output_bias)
        loss = plain_word_kd_loss if self.mode == "plain" else fused_word_kd_loss
        return loss(student, self._teacher.output(batch), batch.real_tokens(batch.target), settings)

    def _plain(self, batch: MicroBatch, networks: Sequence[Student], settings: LossSettings) -> FamilyLoss:
        logits = [widen(self.model(batch.source, batch.target_in, network)) for network in networks]
        return aio_kd_loss(
            logits[0],
            logits[1:],
            batch.target,
            pad_id=self.model.pad_id,
            sum_over_ranks=self._sum_over_ranks,
            **vars(settings),
        )
