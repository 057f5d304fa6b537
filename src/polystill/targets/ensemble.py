"""Several models of one vocabulary as one: the average of their probabilities at every step.

Shapes: B sentences, S source positions, R = B * beam size rows, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from polystill.errors import UserError


class EnsembleState:
    """The states of all models."""

    def __init__(self, states: list[Any]) -> None:
        self.states = states

    def reorder(self, rows: Tensor) -> None:
        for state in self.states:
            state.reorder(rows)

    def keep(self, sentences: Tensor) -> None:
        for state in self.states:
            state.keep(sentences)


class Ensemble(nn.Module):
    """A `Decodable` of `Decodable`s."""

    def __init__(self, models: Sequence[Any]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)
        self.pad_id: int = models[0].pad_id
        self.eos_id: int = models[0].eos_id
        limits = [model.max_positions for model in models if model.max_positions is not None]
        self.max_positions: int | None = min(limits, default=None)

    def start(self, source: Tensor, student: Any = None, beam_size: int = 1) -> EnsembleState:
        """Encode source (B, S) with every model."""
        return EnsembleState([model.start(source, student, beam_size) for model in self.models])  # type: ignore[operator]

    def step(self, state: EnsembleState, tokens: Tensor) -> Tensor:
        """Feed one token a row (R,); returns log of the mean probability (R, V), `<pad>` left out of all."""
        log_p = []
        for model, part in zip(self.models, state.states, strict=True):
            logits = model.step(part, tokens).float()  # type: ignore[operator]
            logits[:, self.pad_id] = -math.inf
            log_p.append(logits.log_softmax(1))
        return torch.stack(log_p).logsumexp(0) - math.log(len(log_p))


def check_one_vocabulary(names: Sequence[str], vocabularies: Sequence[Sequence[str]]) -> None:
    """Raises UserError where a model's pieces are not, id for id, those of the first."""
    first = vocabularies[0]
    for name, pieces in zip(names[1:], vocabularies[1:], strict=True):
        if list(pieces) == list(first):
            continue
        if len(pieces) != len(first):
            how = f"it has {len(pieces):,} pieces, the other {len(first):,}"
        else:
            i = next(i for i, (a, b) in enumerate(zip(first, pieces, strict=True)) if a != b)
            how = f"piece {i} is {pieces[i]!r} here and {first[i]!r} there"
        raise UserError(f"{name}: its vocabulary is not that of {names[0]} ({how}); an ensemble shares one vocabulary")
