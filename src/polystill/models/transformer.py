"""A post-norm Transformer of elastic depth, as Marian has it.

Every layer's output is normalised, so hidden states can be read after any encoder and any decoder layer. As in Marian,
embeddings are scaled by sqrt(D), and positions are sinusoidal (one of the two kinds in `POSITIONS`).

Shapes: B sentences, S source positions, T target positions, D d_model, V vocabulary, R = B * beam size rows in
decoding, H heads, K = D / H.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polystill.models.elastic import ElasticConfig, ElasticModel, beam_rows
from polystill.models.layers import (
    KERNELS,
    SOFTMAX_ROW,
    CrossAttention,
    FeedForward,
    Residual,
    SelfAttention,
    score_mask,
)
from polystill.models.passes import PassPlan, shared_plan
from polystill.models.recurrence import Packing
from polystill.students import Student

POSITIONS = ("huggingface", "marian")
"""Sinusoids whose i-th frequency is 10000 ** (-i / (D / 2)), as in MarianMTModel, or 10000 ** (-i / (D / 2 - 1)), as in
Marian and Bergamot. A network that was trained with one kind does not work with the other."""


@dataclass(frozen=True, kw_only=True)
class TransformerConfig(ElasticConfig):
    ffn_dim: int
    heads: int
    activation: str = "relu"
    attention_dropout: float = 0.0
    activation_dropout: float = 0.0
    positions: str = "huggingface"
    """One of `POSITIONS`."""


class EncoderLayer(nn.Module):
    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        c = config
        self.self_attention = SelfAttention(c.d_model, c.heads, c.attention_dropout, c.kernels)
        self.self_attention_norm = Residual(c.d_model, c.dropout, c.kernels)
        self.feed_forward = FeedForward(c.d_model, c.ffn_dim, c.activation, c.activation_dropout, c.kernels)
        self.feed_forward_norm = Residual(c.d_model, c.dropout, c.kernels)

    def forward(self, x_BSD: Tensor, mask: Tensor) -> Tensor:
        x = self.self_attention_norm(x_BSD, self.self_attention(x_BSD, mask))
        return self.feed_forward_norm(x, self.feed_forward(x))


class DecoderLayer(nn.Module):
    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        c = config
        self.self_attention = SelfAttention(c.d_model, c.heads, c.attention_dropout, c.kernels)
        self.self_attention_norm = Residual(c.d_model, c.dropout, c.kernels)
        self.cross_attention = CrossAttention(c.d_model, c.heads, c.attention_dropout, c.kernels)
        self.cross_attention_norm = Residual(c.d_model, c.dropout, c.kernels)
        self.feed_forward = FeedForward(c.d_model, c.ffn_dim, c.activation, c.activation_dropout, c.kernels)
        self.feed_forward_norm = Residual(c.d_model, c.dropout, c.kernels)

    def forward(self, x_BTD: Tensor, causal_mask: Tensor, memory_BSD: Tensor, memory_mask: Tensor) -> Tensor:
        return self.read_memory(self.read_target(x_BTD, causal_mask), memory_BSD, memory_mask)

    def read_target(self, x_BTD: Tensor, causal_mask: Tensor) -> Tensor:
        """The first part of the layer, which depends on the target alone."""
        return self.self_attention_norm(x_BTD, self.self_attention(x_BTD, causal_mask))

    def read_memory(self, x_BTD: Tensor, memory_BSD: Tensor, memory_mask: Tensor) -> Tensor:
        """The rest of the layer."""
        x = self.cross_attention_norm(x_BTD, self.cross_attention(x_BTD, memory_BSD, memory_mask))
        return self.feed_forward_norm(x, self.feed_forward(x))

    def step(self, x_RD: Tensor, cache: LayerCache, memory_mask: Tensor) -> Tensor:
        update, cache.self_keys, cache.self_values = self.self_attention.step(x_RD, cache.self_keys, cache.self_values)
        x = self.self_attention_norm(x_RD, update)
        update = self.cross_attention.step(x, cache.memory_keys, cache.memory_values, memory_mask)
        x = self.cross_attention_norm(x, update)
        return self.feed_forward_norm(x, self.feed_forward(x))


@dataclass
class LayerCache:
    """Keys and values of one decoder layer, for the memory (B, H, S, K) and for the target so far (R, H, t, K)."""

    memory_keys: Tensor
    memory_values: Tensor
    self_keys: Tensor | None = None
    self_values: Tensor | None = None


@dataclass
class DecoderState:
    """The state that a decoding step passes on to the next; row r is beam r % beam_size of sentence r // beam_size."""

    layers: list[LayerCache]
    memory_mask: Tensor
    beam_size: int
    position: int = 0

    def reorder(self, rows: Tensor) -> None:
        """Let row i continue the old row rows[i] of the same sentence; rows (R,)."""
        for layer in self.layers:
            assert layer.self_keys is not None and layer.self_values is not None
            layer.self_keys = layer.self_keys.index_select(0, rows)
            layer.self_values = layer.self_values.index_select(0, rows)

    def keep(self, sentences: Tensor) -> None:
        """Keep only these sentences (B',), in this order."""
        self.memory_mask = self.memory_mask.index_select(0, sentences)
        for layer in self.layers:
            layer.memory_keys = layer.memory_keys.index_select(0, sentences)
            layer.memory_values = layer.memory_values.index_select(0, sentences)
        if self.position:
            self.reorder(beam_rows(sentences, self.beam_size))


class Transformer(ElasticModel):
    """A supernet of Transformer layers."""

    config: TransformerConfig
    positions: Tensor
    shared_plan = staticmethod(shared_plan)

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(config)
        assert config.d_model % config.heads == 0 and config.d_model % 2 == 0
        self.embedding = nn.Parameter(torch.empty(config.vocabulary_size, config.d_model))
        self.output_bias = nn.Parameter(torch.empty(config.vocabulary_size))
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.decoder = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers))
        positions = sinusoidal_positions(config.max_positions, config.d_model, config.positions)
        self.register_buffer("positions", positions, persistent=False)
        self._scale_by_depth()
        nn.init.normal_(self.embedding, std=config.d_model**-0.5)
        nn.init.zeros_(self.output_bias)
        with torch.no_grad():
            self.embedding[config.pad_id] = 0

    def _scale_by_depth(self) -> None:
        """Divide the initial matrices of layer l by sqrt(l), as Marian's --transformer-depth-scaling does.

        Post-norm networks of six layers leave their first plateau much sooner when deep layers start near identity
        (Zhang et al. 2019).
        """
        with torch.no_grad():
            for side in (self.encoder, self.decoder):
                for depth, layer in enumerate(side, start=1):
                    for module in layer.modules():
                        if isinstance(module, nn.Linear):
                            module.weight /= math.sqrt(depth)

    @torch.no_grad()
    def grow_from(self, student: Student) -> None:
        """Make the layers above a student's add nothing to what they get, which leaves their normalisations alone."""
        above = [*self.encoder[student.encoder_layers :], *self.decoder[student.decoder_layers :]]
        for layer in cast(list[EncoderLayer | DecoderLayer], above):
            layer.self_attention.output.weight.zero_()
            layer.feed_forward.contract.weight.zero_()
            if isinstance(layer, DecoderLayer):
                layer.cross_attention.output.weight.zero_()

    def encoder_layers(self, depth: int) -> list[EncoderLayer]:
        return cast(list[EncoderLayer], list(self.encoder)[:depth])

    def decoder_layers(self, depth: int) -> list[DecoderLayer]:
        return cast(list[DecoderLayer], list(self.decoder)[:depth])

    # --- whole sentences --------------------------------------------------------------------------------------------

    def forward(
        self,
        source: Tensor,
        target_in: Tensor,
        student: Student | None = None,
        attention: list[Tensor] | None = None,
    ) -> Tensor:
        """Compute logits (B, T, V) of one network in one encoder pass and one decoder pass."""
        student, mask = student or self.teacher, self.memory_mask(source)
        memory, causal = self._encode(source, mask, student.encoder_layers), self.causal_mask(target_in)
        x = self.embed(target_in)
        for depth, layer in enumerate(self.decoder_layers(student.decoder_layers), start=1):
            x = layer.read_target(x, causal)
            if attention is not None and depth == student.decoder_layers:
                attention.append(layer.cross_attention.plain_first_head(x, memory, mask))
            x = layer.read_memory(x, memory, mask)
        return self.project(x)

    def _encode(self, source: Tensor, mask: Tensor, depth: int) -> Tensor:
        """The memory (B, S, D) of the first `depth` encoder layers."""
        x = self.embed(source)
        for layer in self.encoder_layers(depth):
            x = layer(x, mask)
        return x

    def hidden_states(
        self,
        source: Tensor,
        target_in: Tensor,
        plan: PassPlan,
        attention: list[Tensor] | None = None,
        packing: Packing | None = None,
    ) -> list[Tensor]:
        """Run all passes of a plan, batched. Returns hidden states (B, T, D) for each of its reads."""
        memories = self._encode_passes(source, plan)
        return self._decode_passes(target_in, memories, self.memory_mask(source), plan, attention)

    def _encode_passes(self, source: Tensor, plan: PassPlan) -> list[Tensor]:
        """The memory (B, S, D) that each decoder pass reads."""
        batch = source.shape[0]
        tiled = source.repeat(len(plan.encoder_depths), 1)
        x, mask = self.embed(tiled), self.memory_mask(tiled)
        wanted = {(p.encoder_pass, p.encoder_depth) for p in plan.decoder_passes}
        memory_of: dict[tuple[int, int], Tensor] = {}
        for depth, layer in enumerate(self.encoder_layers(plan.encoder_depths[0]), start=1):
            rows = batch * sum(needed >= depth for needed in plan.encoder_depths)
            if rows < len(x):
                x, mask = x[:rows], mask[:rows]
            x = layer(x, mask)
            for i in range(rows // batch):
                if (i, depth) in wanted:
                    memory_of[i, depth] = x[i * batch : (i + 1) * batch]
        return [memory_of[p.encoder_pass, p.encoder_depth] for p in plan.decoder_passes]

    def _decode_passes(
        self,
        target_in: Tensor,
        memories: Sequence[Tensor],
        memory_mask: Tensor,
        plan: PassPlan,
        attention: list[Tensor] | None = None,
    ) -> list[Tensor]:
        batch, passes = target_in.shape[0], len(plan.decoder_passes)
        causal, layers = self.causal_mask(target_in), self.decoder_layers(plan.decoder_passes[0].depth)
        memory, memory_mask = torch.cat(list(memories)), memory_mask.repeat(passes, 1, 1, 1)
        apart, together = (1, passes) if plan.shared else (passes, 1)
        x = layers[0].read_target(self.embed(target_in.repeat(apart, 1)), causal).repeat(together, 1, 1)
        wanted = set(plan.reads)
        hidden_of: dict[tuple[int, int], Tensor] = {}
        attention_of: dict[tuple[int, int], Tensor] = {}
        for depth, layer in enumerate(layers, start=1):
            rows = batch * sum(p.depth >= depth for p in plan.decoder_passes)
            if rows < len(x):
                x, memory, memory_mask = x[:rows], memory[:rows], memory_mask[:rows]
            if depth > 1:
                x = layer.read_target(x, causal)
            here = {i: slice(i * batch, (i + 1) * batch) for i in range(rows // batch) if (i, depth) in wanted}
            for i, part in here.items() if attention is not None else ():
                attention_of[i, depth] = layer.cross_attention.first_head(x[part], memory[part], memory_mask[part])
            x = layer.read_memory(x, memory, memory_mask)
            hidden_of |= {(i, depth): x[part] for i, part in here.items()}
        if attention is not None:
            attention += [attention_of[read] for read in plan.reads]
        return [hidden_of[read] for read in plan.reads]

    def embed(self, tokens: Tensor) -> Tensor:
        """(B, T) -> (B, T, D): scaled embeddings plus positions, with dropout."""
        x = F.embedding(tokens, self.embedding) * math.sqrt(self.config.d_model)
        x = x + self.positions[: tokens.shape[1]]
        return KERNELS[self.config.kernels].dropout(x, self.config.dropout if self.training else 0.0)

    def memory_mask(self, source: Tensor) -> Tensor:
        """(B, S) -> (B, 1, 1, S), added to attention scores; it hides `<pad>`."""
        return score_mask(source == self.pad_id, self.embedding.dtype)[:, None, None, :]

    def causal_mask(self, target_in: Tensor) -> Tensor:
        """(T, T), added to attention scores. Padding follows all tokens, so it needs no mask of its own."""
        length = target_in.shape[1]
        lowest = torch.finfo(self.embedding.dtype).min
        return torch.full((length, length), lowest, dtype=self.embedding.dtype, device=target_in.device).triu(1)

    def multiply_adds(self, plan: PassPlan, sentences: int, source_length: int, target_length: int) -> int:
        width, source, target = self.config.d_model, sentences * source_length, sentences * target_length
        feed_forward = 2 * width * self.config.ffn_dim
        encoder_layer = source * (4 * width**2 + feed_forward + 2 * source_length * width)
        self_attention = target * (4 * width**2 + 2 * target_length * width)
        decoder_layer = self_attention + target * (2 * width**2 + feed_forward + 2 * source_length * width)
        decoder_layer += source * 2 * width**2
        decoders = sum(p.depth for p in plan.decoder_passes) * decoder_layer
        if plan.shared:  # passes share the first layer's self-attention, which depends on the target alone
            decoders -= (len(plan.decoder_passes) - 1) * self_attention
        return sum(plan.encoder_depths) * encoder_layer + decoders

    def activation_bytes(
        self, plan: PassPlan, sentences: int, source_length: int, target_length: int, product: int, on_host: bool
    ) -> int:
        c, source, target = self.config, sentences * source_length, sentences * target_length
        d, random = c.d_model, int(c.dropout > 0)
        # A residual keeps what LayerNorm got and a byte of dropout, attention its input, query, key, value and output.
        residual = d * (4 + random)
        attention = 5 * d * product + residual
        feed_forward = (d + c.ffn_dim * (1 + (c.activation != "relu"))) * product + residual
        feed_forward += c.ffn_dim * (product + 1) * (c.activation_dropout > 0)

        def weights(length: int) -> int:
            """Of a position's attention: a CPU keeps them, as they are padded and as they enter the product."""
            if not on_host:
                return 0
            copies = product * (product < 4 or length < SOFTMAX_ROW) + 5 * (c.attention_dropout > 0)
            return c.heads * (4 * max(length, SOFTMAX_ROW) + length * copies)

        encoder_layer = source * (attention + feed_forward + weights(source_length))
        self_attention = target * (attention + weights(target_length))
        # The memory enters its projection in fp32 once for all layers, or as a copy of each layer.
        cross_attention = target * (3 * d * product + residual + weights(source_length)) + source * 2 * d * product
        cross_attention += source * d * product * (product < 4)
        decoder_layer = self_attention + cross_attention + target * feed_forward
        decoders = sum(p.depth for p in plan.decoder_passes) * decoder_layer
        if plan.shared:
            decoders -= (len(plan.decoder_passes) - 1) * self_attention
        memories = len(plan.decoder_passes) * source * d * 4
        states = len(plan.reads) * target * d * 4
        return sum(plan.encoder_depths) * encoder_layer + decoders + memories + states

    # --- step by step -----------------------------------------------------------------------------------------------

    @torch.no_grad()
    def start(self, source: Tensor, student: Student | None = None, beam_size: int = 1) -> DecoderState:
        """Encode source (B, S) and prepare B * beam_size rows for decoding."""
        student, mask = student or self.teacher, self.memory_mask(source)
        memory = self._encode(source, mask, student.encoder_layers)
        layers = self.decoder_layers(student.decoder_layers)
        caches = [LayerCache(*layer.cross_attention.project_memory(memory)) for layer in layers]
        return DecoderState(caches, mask, beam_size)

    @torch.no_grad()
    def step(self, state: DecoderState, tokens: Tensor) -> Tensor:
        """Feed one token a row (R,), first `<pad>`; returns float32 logits (R, V) of the next token."""
        x = F.embedding(tokens, self.embedding) * math.sqrt(self.config.d_model) + self.positions[state.position]
        for layer, cache in zip(self.decoder_layers(len(state.layers)), state.layers, strict=True):
            x = layer.step(x, cache, state.memory_mask)
        state.position += 1
        return self.project(x).float()


def sinusoidal_positions(count: int, d_model: int, kind: str = "huggingface") -> Tensor:
    """(count, D): sines in the first half of the columns, cosines in the second. `kind` is one of POSITIONS."""
    assert kind in POSITIONS
    position = torch.arange(count, dtype=torch.float64)[:, None]
    half = d_model // 2
    steps = half if kind == "huggingface" else max(half - 1, 1)
    frequency = 10000.0 ** (-torch.arange(half, dtype=torch.float64) / steps)
    angles = position * frequency
    return torch.cat([angles.sin(), angles.cos()], 1).float()
