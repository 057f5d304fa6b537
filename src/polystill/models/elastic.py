"""The base of all architectures: sizes, networks of elastic depth, and the description of an architecture.

A supernet is trained as a whole, and its students are its first layers: e{E}d{D} has the first E encoder layers and the
first D decoder layers. The student that runs is an argument of a method, never state. Source embeddings, target
embeddings and output projection are one matrix. Decoding starts from `<pad>`, whose row and bias are always zero.

Shapes: B sentences, S source positions, T target positions, D d_model, V vocabulary, R = B * beam size rows in
decoding.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polystill.errors import UserError
from polystill.models.passes import PassPlan
from polystill.models.recurrence import Packing
from polystill.students import Student

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ElasticConfig:
    """The sizes of a network that all architectures have. `max_positions` is the longest sentence, in tokens."""

    architecture: ClassVar[Architecture[Any]]
    """The architecture whose sizes these are; the registry in `polystill.models` sets it."""

    vocabulary_size: int
    pad_id: int
    eos_id: int
    d_model: int
    encoder_layers: int
    decoder_layers: int
    dropout: float = 0.1
    max_positions: int = 512
    kernels: str = "fast"
    """"fast", or "plain" to train with torch's own operations; not saved with the model."""

    @property
    def teacher(self) -> Student:
        """The largest network, which has all layers."""
        return Student(self.encoder_layers, self.decoder_layers)

    @property
    def has_dropout(self) -> bool:
        """Whether anything is dropped in training."""
        return any(getattr(self, field.name) > 0 for field in fields(self) if field.name.endswith("dropout"))

    def with_depths(self, student: Student) -> Self:
        """The sizes of an ordinary model that has only this student's layers."""
        assert student.encoder_layers <= self.encoder_layers and student.decoder_layers <= self.decoder_layers
        return replace(self, encoder_layers=student.encoder_layers, decoder_layers=student.decoder_layers)


class ElasticModel(nn.Module, ABC):
    """A supernet: the teacher, with its students as its first layers."""

    embedding: nn.Parameter
    """(V, D)."""
    output_bias: nn.Parameter
    """(V,)."""

    def __init__(self, config: ElasticConfig) -> None:
        super().__init__()
        self.config = config

    # --- what each architecture defines -----------------------------------------------------------------------------

    @staticmethod
    @abstractmethod
    def shared_plan(networks: Sequence[Student]) -> PassPlan:
        """The fewest passes that compute these networks (see `models.passes`)."""

    @abstractmethod
    def forward(
        self,
        source: Tensor,
        target_in: Tensor,
        student: Student | None = None,
        attention: list[Tensor] | None = None,
    ) -> Tensor:
        """Compute logits (B, T, V) of one network, the teacher by default, in passes of its own.

        If a list is given, the network's `attention` is added to it, as `hidden_states` computes it.
        """

    @abstractmethod
    def hidden_states(
        self,
        source: Tensor,
        target_in: Tensor,
        plan: PassPlan,
        attention: list[Tensor] | None = None,
        packing: Packing | None = None,
    ) -> list[Tensor]:
        """Run all passes of a plan. Returns hidden states (B, T, D), which `project` takes, for each of its reads.

        If a list is given, the attention (B, T, S) that stands for each read's word alignments is added to
        it: the weights with which the step that predicts a token attends to the source, as the first head of the last
        decoder layer has them in a Transformer. They are those before attention dropout.

        packing: of the source. An LSTM makes it where none is given; a GPU waits for that.
        """

    @abstractmethod
    def start(self, source: Tensor, student: Student | None = None, beam_size: int = 1) -> Any:
        """Encode source (B, S) and prepare B * beam_size rows for decoding; returns a `decoding.translator.State`."""

    @abstractmethod
    def step(self, state: Any, tokens: Tensor) -> Tensor:
        """Feed one token a row (R,), first `<pad>`; returns float32 logits (R, V) of the next token."""

    @abstractmethod
    def multiply_adds(self, plan: PassPlan, sentences: int, source_length: int, target_length: int) -> int:
        """Multiply-adds of a plan's forward passes over one padded batch, without projections to the vocabulary."""

    @abstractmethod
    def activation_bytes(
        self, plan: PassPlan, sentences: int, source_length: int, target_length: int, product: int, on_host: bool
    ) -> int:
        """Bytes that a plan's forward passes over one padded batch keep for the backward pass: an estimate.

        product: bytes of a number in matrix products, 2 under bf16. on_host: for the operations of a CPU.
        """

    # --- what all share ---------------------------------------------------------------------------------------------

    @property
    def architecture(self) -> Architecture[Any]:
        return self.config.architecture

    @property
    def pad_id(self) -> int:
        return self.config.pad_id

    @property
    def eos_id(self) -> int:
        return self.config.eos_id

    @property
    def max_positions(self) -> int:
        """The largest number of tokens on either side."""
        return self.config.max_positions

    @property
    def teacher(self) -> Student:
        """The largest network, which has all layers."""
        return self.config.teacher

    def network(self, student: Student | None = None) -> Network:
        """One of the supernet's networks, the teacher by default."""
        return Network(self, student or self.teacher)

    def with_settings(self, **changes: Any) -> ElasticModel:
        """The same weights with other dropout probabilities or kernels (fields of the configuration)."""
        model = type(self)(replace(self.config, **changes))
        model.load_state_dict(self.state_dict())
        return model

    @torch.no_grad()
    def grow_from(self, student: Student) -> None:
        """Make new layers above a student's pass on what they get, so that deeper networks begin where it stands.

        Does nothing in an architecture whose layers have no path around them.
        """

    def mask_pad_gradient(self) -> None:
        """Zero the gradient of `<pad>`'s row and bias, so that both stay exactly zero under Adam and weight decay."""
        for parameter in (self.embedding, self.output_bias):
            if parameter.grad is not None:
                parameter.grad[self.pad_id] = 0

    def project(self, hidden: Tensor) -> Tensor:
        """(..., D) -> logits (..., V)."""
        return F.linear(hidden, self.embedding, self.output_bias)

    def forward_flops(self, plan: PassPlan, sentences: int, source_length: int, target_length: int) -> int:
        """FLOPs of a plan's forward passes over one padded batch, projections to the vocabulary included.

        They count matrix products only, a multiply-add as two.
        """
        passes = self.multiply_adds(plan, sentences, source_length, target_length)
        return 2 * passes + self.projection_flops(plan, sentences * target_length)

    def update_flops(self, plan: PassPlan, sentences: int, source_length: int, target_length: int) -> int:
        """FLOPs of a plan's forward and backward passes over one padded batch; backward costs twice forward.

        Projections that a loss computes again are not included.
        """
        return 3 * self.forward_flops(plan, sentences, source_length, target_length)

    def projection_flops(self, plan: PassPlan, target_tokens: int) -> int:
        """FLOPs of a plan's forward projections to the vocabulary."""
        return 2 * target_tokens * self.config.d_model * self.config.vocabulary_size * len(plan.reads)


@dataclass(frozen=True)
class Network:
    """One network of a family as it runs: a supernet, the student's depths in it, and its projection."""

    supernet: ElasticModel
    student: Student

    @property
    def weight(self) -> Tensor:
        """The projection's matrix (V, D)."""
        return self.supernet.embedding

    @property
    def bias(self) -> Tensor:
        """The projection's bias (V,)."""
        return self.supernet.output_bias

    @property
    def config(self) -> ElasticConfig:
        """The sizes of an ordinary model that has only this network's layers."""
        return self.supernet.config.with_depths(self.student)

    @property
    def parameter_count(self) -> int:
        """The parameters of that ordinary model."""
        return self.supernet.architecture.parameter_count(self.config)

    def state(self) -> dict[str, Tensor]:
        """The state of that ordinary model, which is how a student leaves its family: the supernet's own tensors."""
        state = self.supernet.state_dict()
        return {name: state[name] for name in self.supernet.architecture.shapes(self.config)}


Config = TypeVar("Config", bound=ElasticConfig)


class Architecture(ABC, Generic[Config]):
    """Everything that depends on the kind of a network: its classes, its folders and the groups of pruning.

    A new architecture is a subclass, with a configuration and a network, and one line in `polystill.models`.
    """

    name: str
    """The recipe's `model.architecture`."""
    model_type: str
    """The `model_type` in config.json."""
    described: str
    """The kind of model, for error messages."""
    config_class: type[Config]
    model_class: type[ElasticModel]

    # --- folders ----------------------------------------------------------------------------------------------------

    @abstractmethod
    def read_config(self, values: dict[str, Any], origin: str) -> Config:
        """The sizes that the values of a config.json describe; `origin` is its path.

        Raises:
            UserError: a key is missing or has a value that this architecture does not have.
        """

    @abstractmethod
    def config_files(self, config: Config) -> dict[str, dict[str, Any]]:
        """The contents of a folder's JSON files by name."""

    def stored_names(self, config: Config) -> Mapping[str, tuple[str, ...]]:
        """By our names of parameters, the names in model.safetensors of the parts that each one stacks.

        Parts are stacked along the first dimension. By default both names are the same.
        """
        return {name: (name,) for name in self.shapes(config)}

    def parameter_names(self, config: Config) -> set[str]:
        """The names of parameters in model.safetensors. Sparse files hold these and no other tensors."""
        return {name for parts in self.stored_names(config).values() for name in parts}

    def to_folder(self, state: dict[str, Tensor], config: Config) -> dict[str, Tensor]:
        """The tensors of model.safetensors, from the state of an ordinary model of these sizes."""
        tensors: dict[str, Tensor] = {}
        for ours, names in self.stored_names(config).items():
            parts = state[ours].detach().chunk(len(names))
            tensors |= {name: part.contiguous() for name, part in zip(names, parts, strict=True)}
        return tensors

    def from_folder(self, tensors: dict[str, Tensor], config: Config, origin: str) -> dict[str, Tensor]:
        """The inverse of `to_folder`, in float32; `origin` is the folder.

        Raises:
            UserError: a parameter is missing, has another shape than the configuration says, or is unknown.
        """
        state: dict[str, Tensor] = {}
        shapes = self.shapes(config)
        for ours, names in self.stored_names(config).items():
            expected = [shapes[ours][0] // len(names), *shapes[ours][1:]]
            for name in names:
                if name not in tensors:
                    raise UserError(f"{origin}: parameter {name!r} is missing; is this {self.described}?")
                if (shape := list(tensors[name].shape)) != expected:
                    raise UserError(f"{origin}: parameter {name!r} has shape {shape}, but config.json says {expected}")
            state[ours] = torch.cat([tensors[name].float() for name in names])
        for name in sorted(tensors.keys() - self.parameter_names(config)):
            raise UserError(f"{origin}: unknown parameter {name!r}; is this {self.described}?")
        _clear_pad(state, config.pad_id, origin)
        return state

    # --- sizes ------------------------------------------------------------------------------------------------------

    def shapes(self, config: Config) -> Mapping[str, torch.Size]:
        """The shapes of the state of an ordinary model of these sizes, by name; no memory is allocated."""
        return _shapes(config)

    def parameter_count(self, config: Config) -> int:
        """The parameters of an ordinary model of these sizes. Tables of positions are not parameters."""
        return sum(shape.numel() for shape in self.shapes(config).values())

    # --- pruning ----------------------------------------------------------------------------------------------------

    def is_pruned(self, parameter: nn.Parameter) -> bool:
        """Whether a parameter takes part in pruning: matrices do, vectors such as biases and normalisations do not."""
        return parameter.ndim > 1

    def layer_of(self, name: str) -> str:
        """The layer of a parameter: "encoder.0" of encoder.0.feed_forward.expand.weight.

        A parameter outside of the stacks of layers belongs to its module: "attention.output" of
        attention.output.weight, and "embedding", which stands alone, to itself.
        """
        parts = name.split(".")
        for i, part in enumerate(parts[:-1]):
            if part.isdecimal():
                return ".".join(parts[: i + 1])
        return ".".join(parts[:-1]) or name


@lru_cache(maxsize=64)
def _shapes(config: ElasticConfig) -> Mapping[str, torch.Size]:
    with torch.device("meta"):
        model = config.architecture.model_class(config)
    return MappingProxyType({name: tensor.shape for name, tensor in model.state_dict().items()})


def beam_rows(sentences: Tensor, beam_size: int) -> Tensor:
    """The rows (B' * beam_size,) of these sentences (B',) in decoding."""
    beams = torch.arange(beam_size, device=sentences.device)
    return (sentences[:, None] * beam_size + beams).flatten()


def _clear_pad(state: dict[str, Tensor], pad_id: int, origin: str) -> None:
    """Zero the row and bias of `<pad>`, as Marian and CTranslate2 do: training elsewhere may have moved them."""
    if state["embedding"][pad_id].any() or state["output_bias"][pad_id]:
        _log.warning("%s: the embedding and bias of <pad> are not zero; taken as zero, as in Marian", origin)
        state["embedding"] = state["embedding"].index_fill(0, torch.tensor(pad_id), 0.0)
        state["output_bias"] = state["output_bias"].index_fill(0, torch.tensor(pad_id), 0.0)
