"""Validation of every candidate at once: one encoder pass, and one decoder pass for each encoder depth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from polystill.data.batching import BatchSchedule
from polystill.data.packing import PackedDataset
from polystill.models.elastic import ElasticModel
from polystill.objectives.vocab_loss import cross_entropies
from polystill.students import StudentSpace
from polystill.training.feed import make_micro_batch

BATCH_TOKENS = 2048


@dataclass(frozen=True)
class Validation:
    """Per target token and by candidate's name: label-smoothed cross-entropy and negative log-likelihood, in nats."""

    cross_entropy: dict[str, float]
    nll: dict[str, float]
    bleu: dict[str, float] | None = None
    """BLEU of greedy translations, where the stage selects by it."""

    @property
    def score(self) -> float:
        """What "best" means: the lowest of these.

        The cross-entropy summed over all candidates, as published; or their summed BLEU, with a minus sign.
        """
        return sum(self.cross_entropy.values()) if self.bleu is None else -sum(self.bleu.values())

    def record(self) -> dict[str, Any]:
        """Its values for JSON; what was not measured is absent."""
        return {name: values for name, values in vars(self).items() if values is not None}


@torch.no_grad()
def validate(
    model: ElasticModel,
    dataset: PackedDataset,
    space: StudentSpace,
    label_smoothing: float,
    *,
    rank: int = 0,
    ranks: int = 1,
    sum_over_ranks: Callable[[Tensor], Tensor] = lambda sums: sums,
) -> Validation:
    """Score all candidates on a data set; with several ranks each does its share."""
    networks = list(space.candidates)
    plan = model.shared_plan(networks)
    index = list(plan.members)
    device = model.embedding.device
    sums = torch.zeros(2, len(networks), dtype=torch.float64, device=device)
    batches = BatchSchedule(dataset.source_lengths, dataset.target_lengths, BATCH_TOKENS, seed=0).epoch(0)
    was_training = model.training
    model.eval()
    for rows in batches[rank::ranks]:
        batch = make_micro_batch(dataset, rows, model.pad_id).to(device)
        hidden = [batch.real_tokens(h) for h in model.hidden_states(batch.source, batch.target_in, plan)]
        smoothed, plain = cross_entropies(
            hidden, model.embedding, model.output_bias, batch.real_tokens(batch.target), label_smoothing
        )
        sums += torch.stack([smoothed, plain])[:, index]
    model.train(was_training)
    per_token = (sum_over_ranks(sums) / int(dataset.target_lengths.sum())).tolist()
    names = [network.name for network in networks]
    return Validation(dict(zip(names, per_token[0], strict=True)), dict(zip(names, per_token[1], strict=True)))
