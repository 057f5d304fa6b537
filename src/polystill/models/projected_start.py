"""A narrower Transformer whose first weights are a trained one's, projected to fewer dimensions.

The wide network's residual stream x is to lie in the narrow network as scale * x P, with one matrix P of orthonormal
columns for all layers:

- P spans the directions in which the stream is largest, that is embeddings, positions and the hidden states of random
  sentences. It maps the direction (1, ..., 1) onto the narrow network's, so that layer normalisation subtracts the
  same mean in both. Within that space P is turned so that the wide network's sinusoids fall on the narrow one's, which
  no weight can change.
- A matrix reads the stream by W P and writes it by Pᵀ W.
- An attention head keeps the largest singular directions of its scores and of its update, so each head is the best one
  of its size. Where the narrow network has fewer heads or feed-forward units, those of the largest norm are kept.
- A gain of a normalisation becomes the mean of the gains that its dimension is made of.

Shapes: D and N the wide and the narrow d_model, K and J the wide and the narrow size of a head, A and B any. Weights of
layers are (outputs, inputs), as in torch.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from polystill.config import Model, Supernet
from polystill.errors import UserError
from polystill.models.layers import CrossAttention, FeedForward, Residual, SelfAttention
from polystill.models.passes import shared_plan
from polystill.models.transformer import DecoderLayer, EncoderLayer, Transformer, TransformerConfig
from polystill.students import Student

Layer = EncoderLayer | DecoderLayer

LONGEST = 128
"""Positions that P is made for: most sentences are no longer."""
SENTENCES, LENGTH = 64, 24
"""Random sentences whose hidden states P is made for, and the tokens in each: enough for a d_model of 1,024."""


def check_projection(name: str, wide: TransformerConfig | Model, narrow: Supernet) -> None:
    """Raise UserError where supernet `name` has a shape that weights of the first one cannot be projected to."""
    for key in ("encoder_layers", "decoder_layers", "d_model", "ffn_dim", "heads"):
        if (has := getattr(narrow, key)) > (most := getattr(wide, key)):
            raise UserError(
                f"supernets.{name}.{key}: {has}; with start: projected, at most the first supernet's {most}"
            )
    if narrow.d_model // narrow.heads > (size := wide.d_model // wide.heads):
        raise UserError(
            f"supernets.{name}.heads: {narrow.heads} of size {narrow.d_model // narrow.heads}; with start: projected, "
            f"heads have at most the first supernet's size {size}, so give at least {-(-narrow.d_model // size)} heads"
        )
    if narrow.activation != wide.activation:
        raise UserError(
            f"supernets.{name}.activation: {narrow.activation}; with start: projected, the first supernet's "
            f"{wide.activation}"
        )


@torch.no_grad()
def project(wide: Transformer, narrow: Transformer, students: Collection[Student] = ()) -> None:
    """Set all weights of `narrow`, whose shape `check_projection` has accepted, from those of `wide`.

    students: networks of `wide` that were trained to stand alone. One that is as deep as `narrow` gives it its layers,
    the first ones; otherwise they are taken evenly from all.
    """
    stream = _Stream.between(wide, narrow)
    narrow.embedding.copy_(wide.embedding.double() @ stream.basis * (stream.embedded * stream.ratio))
    narrow.output_bias.copy_(wide.output_bias)
    as_deep = narrow.teacher in students
    for ours, theirs in ((narrow.encoder, wide.encoder), (narrow.decoder, wide.decoder)):
        kept = range(len(ours)) if as_deep else evenly_spaced(len(theirs), len(ours))
        for depth, i in enumerate(kept):
            _project_layer(cast(Layer, theirs[i]), cast(Layer, ours[depth]), stream, first=depth == 0)


def evenly_spaced(layers: int, kept: int) -> list[int]:
    """Which layers are kept, from 0: the first, which reads embeddings, the last, whose output the decoder or the
    vocabulary's projection reads, and others evenly between."""
    return [round(i * (layers - 1) / max(kept - 1, 1)) for i in range(kept)]


# --- the residual stream --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Stream:
    """How the wide residual stream lies in the narrow one, as `scale` * x P."""

    basis: Tensor
    """P (D, N), in float64."""
    embedded: float
    """The scale of embeddings and positions: that by which the wide sinusoids fit the narrow ones best."""

    @property
    def ratio(self) -> float:
        """sqrt(D / N): by so much longer a normalised vector is in the wide network."""
        wide, narrow = self.basis.shape
        return math.sqrt(wide / narrow)

    @property
    def normalised(self) -> float:
        """The scale after a normalisation. Logits, whose matrix is the scaled embeddings', have the wide network's."""
        return 1 / (self.embedded * self.ratio)

    @classmethod
    def between(cls, wide: Transformer, narrow: Transformer) -> _Stream:
        embeddings = wide.embedding.double() * math.sqrt(wide.config.d_model)
        positions, wanted = (network.positions[:LONGEST].double() for network in (wide, narrow))
        energy = sum((x.T @ x / len(x) for x in (embeddings, positions, *_hidden_states(wide))), torch.zeros(()))
        (mean, others), (own_mean, own_others) = _mean_and_others(len(energy)), _mean_and_others(wanted.shape[1])
        directions = torch.linalg.eigh(others.T @ energy @ others).eigenvectors.flip(1)
        kept = others @ directions[:, : own_others.shape[1]]
        left, _, right = torch.linalg.svd((positions @ kept).T @ (wanted @ own_others))  # the nearest rotation
        basis = mean @ own_mean.T + kept @ left @ right @ own_others.T
        here = positions @ basis
        return cls(basis, ((here * wanted).sum() / here.square().sum()).item())


def _hidden_states(network: Transformer) -> list[Tensor]:
    """The outputs (B, D) of all normalisations for random sentences."""
    generator = torch.Generator().manual_seed(1)
    shape = 2, SENTENCES, min(LENGTH, network.config.max_positions)
    source, target = torch.randint(network.config.vocabulary_size, shape, generator=generator)
    states: list[Tensor] = []
    hooks = [
        module.register_forward_hook(lambda _, __, output: states.append(output.flatten(0, 1).double()))
        for module in network.modules()
        if isinstance(module, nn.LayerNorm)
    ]
    training = network.training
    network.eval().hidden_states(source, target, shared_plan([network.teacher]))
    network.train(training)
    for hook in hooks:
        hook.remove()
    return states


def _mean_and_others(width: int) -> tuple[Tensor, Tensor]:
    """The direction (1, ..., 1) as (width, 1), and orthonormal ones at right angles to it, (width, width - 1)."""
    start = torch.eye(width, dtype=torch.float64)
    start[:, 0] = 1
    columns = torch.linalg.qr(start).Q
    columns[:, 0] = width**-0.5
    return columns[:, :1], columns[:, 1:]


# --- layers ---------------------------------------------------------------------------------------------------------


def _project_layer(wide: Layer, narrow: Layer, stream: _Stream, *, first: bool) -> None:
    """Set a layer's weights; the first layer's self-attention reads embeddings, everything else normalised vectors."""
    scale = stream.embedded if first else stream.normalised
    _project_attention(wide.self_attention, narrow.self_attention, stream, scale)
    _project_norm(wide.self_attention_norm, narrow.self_attention_norm, stream)
    if isinstance(wide, DecoderLayer) and isinstance(narrow, DecoderLayer):
        _project_attention(wide.cross_attention, narrow.cross_attention, stream, stream.normalised)
        _project_norm(wide.cross_attention_norm, narrow.cross_attention_norm, stream)
    _project_feed_forward(wide.feed_forward, narrow.feed_forward, stream)
    _project_norm(wide.feed_forward_norm, narrow.feed_forward_norm, stream)


def _project_norm(wide: Residual, narrow: Residual, stream: _Stream) -> None:
    basis, gain, bias = stream.basis, wide.norm.weight.double(), wide.norm.bias.double()
    narrow.norm.weight.copy_(gain @ basis.square() * (stream.normalised * stream.ratio))
    narrow.norm.bias.copy_(bias @ basis * stream.normalised)


def _project_feed_forward(wide: FeedForward, narrow: FeedForward, stream: _Stream) -> None:
    expand = wide.expand.weight.double() @ stream.basis / stream.normalised
    contract = stream.basis.T @ wide.contract.weight.double() * stream.normalised
    kept = _largest(expand.norm(dim=1) * contract.norm(dim=0), narrow.expand.out_features)
    _set(narrow.expand, expand[kept], wide.expand.bias[kept])
    _set(narrow.contract, contract[:, kept], wide.contract.bias.double() @ stream.basis * stream.normalised)


def _largest(norms: Tensor, count: int) -> Tensor:
    """Where the `count` largest norms are, in their order."""
    return norms.topk(count).indices.sort().values


def _set(layer: nn.Linear, weight: Tensor, bias: Tensor) -> None:
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)


# --- attention ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Head:
    """One head of size K, its bias in the last column. Keys need none: it adds the same to all scores of a query."""

    query: Tensor
    """(K, N + 1)."""
    key: Tensor
    """(K, N)."""
    value: Tensor
    """(K, N + 1)."""
    output: Tensor
    """(K, N)."""

    def of_size(self, size: int) -> _Head:
        """The head of size J <= K whose scores, and whose update for given scores, are nearest to this one's."""
        query, key = _of_rank(size, self.query, self.key)
        scale = (size / len(self.query)) ** 0.25  # scores are divided by the square root of a head's size
        return _Head(query * scale, key * scale, *_of_rank(size, self.value, self.output))

    @property
    def strength(self) -> Tensor:
        return (self.value.T @ self.output).norm()


def _of_rank(rank: int, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Of (K, A) and (K, B) make (rank, A) and (rank, B) whose product over the rows is nearest to theirs."""
    (left_basis, left), (right_basis, right) = torch.linalg.qr(left.T), torch.linalg.qr(right.T)
    outer, values, inner = torch.linalg.svd(left @ right.T)
    root = values[:rank].sqrt()
    return (left_basis @ outer[:, :rank] * root).T, (right_basis @ inner[:rank].T * root).T


def _project_attention(
    wide: SelfAttention | CrossAttention, narrow: SelfAttention | CrossAttention, stream: _Stream, scale: float
) -> None:
    """Set the weights of attention of a stream of this scale to itself or, in cross-attention, to the memory."""
    memory_scale = scale if isinstance(wide, SelfAttention) else stream.normalised
    size = narrow.output.in_features // narrow.heads
    heads = [head.of_size(size) for head in _heads(wide, stream.basis, scale, memory_scale)]
    strength = torch.stack([head.strength for head in heads])
    strength[0] = math.inf  # alignments are the first head's
    heads = [heads[i] for i in _largest(strength, narrow.heads)]
    query, value = (torch.cat([getattr(head, part) for head in heads]) for part in ("query", "value"))
    key, output = (torch.cat([getattr(head, part) for head in heads]) for part in ("key", "output"))
    weight = torch.cat([query[:, :-1], key, value[:, :-1]])
    bias = torch.cat([query[:, -1], torch.zeros_like(query[:, -1]), value[:, -1]])
    start = 0
    for layer in _query_key_value(narrow):
        end = start + layer.out_features
        _set(layer, weight[start:end], bias[start:end])
        start = end
    _set(narrow.output, output.T, wide.output.bias.double() @ stream.basis * scale)


def _query_key_value(attention: SelfAttention | CrossAttention) -> list[nn.Linear]:
    """The layers that compute queries, keys and values, in this order."""
    if isinstance(attention, SelfAttention):
        return [attention.query_key_value]
    return [attention.query, attention.key_value]


def _heads(attention: SelfAttention | CrossAttention, basis: Tensor, scale: float, memory_scale: float) -> list[_Head]:
    """The wide network's heads of size K, which read and write the narrow stream and read the narrow memory."""
    layers = _query_key_value(attention)
    weights = torch.cat([layer.weight for layer in layers]).double() @ basis
    query, key, value = weights.chunk(3)
    query_bias, _, value_bias = torch.cat([layer.bias for layer in layers]).double()[:, None].chunk(3)
    parts = (
        torch.cat([query / scale, query_bias], 1),
        key / memory_scale,
        torch.cat([value / memory_scale, value_bias], 1),
        attention.output.weight.double().T @ basis * scale,
    )
    return [_Head(*each) for each in zip(*(part.chunk(attention.heads) for part in parts), strict=True)]
