"""The memory that an update needs, estimated before the first one: an error then, and not in the middle of the night.

An update's peak is where its forward pass ends: the weights' gradients and the optimizer's moments beside what the
backward pass needs (`ElasticModel.activation_bytes`) and the fused loss's chunk of logits.

Shapes: B sentences, S source positions, T target positions, of a micro-batch; V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from accelerate.utils import get_cpu_distributed_information

from polystill.data.batching import SOURCE_BUDGET, Mixture
from polystill.environment.child import available
from polystill.errors import UserError
from polystill.models.supernets import Plans, Supernets
from polystill.objectives.projection import loss_bytes

Shape = tuple[int, int, int]
"""(B, S, T)."""

LOOKED_AT = 200
"""Updates whose networks are looked at: the largest that a stage draws are among them, or hardly larger."""


@dataclass(frozen=True)
class Batching:
    """How batches become micro-batches.

    batch_tokens: as in the recipe. parts: micro-batches times ranks. multiple: as in `collate`.
    """

    batch_tokens: int
    parts: int = 1
    multiple: int = 1

    def part(self, shape: Shape) -> Shape:
        """The largest micro-batch of a batch (B, S, T)."""
        sentences, source, target = (
            -(-size // self.multiple) * self.multiple for size in (-(-shape[0] // self.parts), *shape[1:])
        )
        return sentences, source, target

    def bound(self, source: int, target: int) -> Shape:
        """A micro-batch that has as many source and target positions as any of sentences of at most these lengths.

        None is known with a multiple: a batch of short sentences grows many times over as it is rounded up.
        """
        assert self.multiple == 1
        tokens = self.batch_tokens
        sentences = max(-(-tokens // target), -(-SOURCE_BUDGET * tokens // source))
        return self.part((sentences + self.parts - 1, source, target))  # the largest part may have one more than others


@dataclass(frozen=True)
class Need:
    """Bytes of an update: of weights' gradients, moments and copies to be made, and of a micro-batch's activations."""

    weights: int
    activations: int
    shape: Shape
    networks: int

    @property
    def total(self) -> int:
        return self.weights + self.activations


class MemoryOfUpdates:
    """Estimates the memory of a stage's updates."""

    def __init__(
        self, model: Supernets, plans: Sequence[Plans], precision: str, device: torch.device, *, copied: int = 0
    ) -> None:
        """plans: of the updates that are looked at. precision: "fp32", "bf16" or "fp16". copied: bytes of weights."""
        self._copied = copied
        self._model, self._plans, self._on_host = model, plans, device.type == "cpu"
        self._product = 4 if precision == "fp32" else 2

    def activations(self, plans: Plans, shape: Shape) -> int:
        """What is held when an update's forward passes and loss end, in bytes."""
        sentences, _, length = shape
        largest = max(len(plan.reads) for plan in plans.values())
        total = 0
        for name, plan in plans.items():
            supernet = self._model[name]
            width, vocabulary = supernet.config.d_model, supernet.config.vocabulary_size
            total += supernet.activation_bytes(plan, *shape, self._product, self._on_host)
            tokens = sentences * length
            total += loss_bytes(
                len(plan.reads), largest, tokens, width, vocabulary, product=self._product, on_host=self._on_host
            )
        return total

    def need(self, shape: Shape, *, moments: bool) -> Need:
        """Of the largest update on a micro-batch of this shape. moments: the optimizer's are still to be made."""
        trained = sum(parameter.numel() for parameter in self._model.parameters() if parameter.requires_grad)
        largest = max(self._plans, key=lambda plans: self.activations(plans, shape))
        networks = sum(len(plan.reads) for plan in largest.values())
        return Need(trained * (4 + 8 * moments) + self._copied, self.activations(largest, shape), shape, networks)


def shapes(mixture: Mixture, epoch: int) -> Iterator[Shape]:
    """(B, S, T) of every batch of an epoch, before it is divided."""
    source, target = mixture.lengths(epoch)
    for rows in mixture.epoch(epoch):
        yield len(rows), int(source[rows].max()), int(target[rows].max())


def check_memory(
    memory: MemoryOfUpdates, mixture: Mixture, epoch: int, batching: Batching, *, moments: bool, free: int, where: str
) -> None:
    """Compare the largest update of an epoch with the free bytes of a device.

    Batches are made only where sizes are rounded up, or it is close.

    where: the stage and the device, as the error names them.

    Raises:
        UserError: an update needs more.
    """
    if batching.multiple == 1:
        source, target = (int(lengths.max()) for lengths in mixture.lengths(epoch))
        if memory.need(batching.bound(source, target), moments=moments).total <= free:
            return
    parts = {batching.part(shape) for shape in shapes(mixture, epoch)}
    need = max((memory.need(shape, moments=moments) for shape in parts), key=lambda need: need.total)
    if need.total > free:
        raise UserError(_too_large(need, batching, free, where))


def _too_large(need: Need, batching: Batching, free: int, where: str) -> str:
    sentences, source, target = need.shape
    told = (
        f"{where}: an update needs about {_gb(need.total)}, and {_gb(free)} are free: "
        f"{_gb(need.weights)} for gradients and the optimizer, {_gb(need.activations)} for {need.networks} network(s) "
        f"on {sentences} sentences of up to {source} source and {target} target tokens"
    )
    share = (free - need.weights) / need.activations
    tokens = int(share * batching.batch_tokens) // 16 * 16
    if tokens < max(target, 16):
        return f"{told}; no batch is small enough, take a smaller model or fewer students_per_step"
    return f"{told}; training.batch_tokens={tokens} fits, or {math.ceil(1 / share)} times training.accumulate"


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def free_bytes(device: torch.device) -> int | None:
    """Memory that this process may still take on a device; None where that is not known.

    The ranks on one machine share what its CPUs have; each rank has a GPU of its own.
    """
    if device.type == "cpu":
        free = available()
        return None if free is None else free // get_cpu_distributed_information().local_world_size
    if device.type != "cuda":
        return None
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + unused
