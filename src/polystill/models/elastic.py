"""What every architecture has in common: tied embeddings, elastic depth, and the interface that the rest relies on.

A network e{E}d{D} is the first E encoder and the first D decoder layers of the teacher; which one runs is an argument,
never state. Source and target embeddings and the output projection are one matrix, decoding starts from `<pad>`, and
the row and the bias of `<pad>` are zero at all times.

Shapes: B sentences, S source positions, T target positions, D d_model, V vocabulary, R = B * beam size rows in
decoding.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polystill.models.passes import PassPlan
from polystill.students import Student

_log = logging.getLogger(__name__)


class ElasticConfig(Protocol):
    """What the configurations of all architectures say."""

    @property
    def vocabulary_size(self) -> int: ...
    @property
    def pad_id(self) -> int: ...
    @property
    def eos_id(self) -> int: ...
    @property
    def d_model(self) -> int: ...
    @property
    def encoder_layers(self) -> int: ...
    @property
    def decoder_layers(self) -> int: ...
    @property
    def max_positions(self) -> int: ...


class ElasticModel(nn.Module, ABC):
    """The teacher; its students are read out of it."""

    embedding: nn.Parameter
    """(V, D)."""
    output_bias: nn.Parameter
    """(V,)."""

    def __init__(self, config: ElasticConfig) -> None:
        super().__init__()
        self.config: Any = config

    # --- of every architecture its own ------------------------------------------------------------------------------

    @staticmethod
    @abstractmethod
    def shared_plan(networks: Sequence[Student]) -> PassPlan:
        """The fewest passes that compute these networks (see `models.passes`)."""

    @abstractmethod
    def forward(self, source: Tensor, target_in: Tensor, student: Student | None = None) -> Tensor:
        """Logits (B, T, V) of one network, the teacher by default, from its own passes alone."""

    @abstractmethod
    def hidden_states(self, source: Tensor, target_in: Tensor, plan: PassPlan) -> list[Tensor]:
        """What `project` makes logits of, (B, T, D), for each of the plan's reads, all networks batched together."""

    @abstractmethod
    def start(self, source: Tensor, student: Student | None = None, beam_size: int = 1) -> Any:
        """Encode source (B, S) and make ready to decode B * beam_size rows; returns a `decoding.contract.State`."""

    @abstractmethod
    def step(self, state: Any, tokens: Tensor) -> Tensor:
        """Feed one token a row (R,), the first time `<pad>`; returns float32 logits (R, V) of the next token."""

    # --- of all architectures ---------------------------------------------------------------------------------------

    @property
    def pad_id(self) -> int:
        return int(self.config.pad_id)

    @property
    def eos_id(self) -> int:
        return int(self.config.eos_id)

    @property
    def max_positions(self) -> int:
        """The most tokens that it takes on either side."""
        return int(self.config.max_positions)

    @property
    def teacher(self) -> Student:
        return Student(self.config.encoder_layers, self.config.decoder_layers)

    def with_settings(self, **changes: Any) -> ElasticModel:
        """The same weights under other dropout probabilities or kernels (fields of the configuration)."""
        model = type(self)(replace(self.config, **changes))
        model.load_state_dict(self.state_dict())
        return model

    def mask_pad_gradient(self) -> None:
        """Zero the gradient of `<pad>`'s row and bias, so that both stay exactly zero under Adam and weight decay."""
        for parameter in (self.embedding, self.output_bias):
            if parameter.grad is not None:
                parameter.grad[self.pad_id] = 0

    def project(self, hidden: Tensor) -> Tensor:
        """(..., D) -> logits (..., V)."""
        return F.linear(hidden, self.embedding, self.output_bias)


def clear_pad(state: dict[str, Tensor], pad_id: int, origin: str) -> None:
    """Zero what decoding starts from, as Marian and CTranslate2 do; fine-tuning elsewhere may have moved it."""
    if state["embedding"][pad_id].any() or state["output_bias"][pad_id]:
        _log.warning("%s: the embedding and bias of <pad> are not zero; taken as zero, as in Marian", origin)
        state["embedding"] = state["embedding"].index_fill(0, torch.tensor(pad_id), 0.0)
        state["output_bias"] = state["output_bias"].index_fill(0, torch.tensor(pad_id), 0.0)
