"""An LSTM encoder-decoder of elastic depth with attention and input feeding (Luong et al. 2015; Kim & Rush 2016).

The encoder is unidirectional, and the topmost layer that runs writes the memory. The first decoder layer reads the
embedding of the previous token and the previous attentional state h~. The state h of the topmost decoder layer that
runs attends to the memory, with the score "general":

    a = softmax(h W_a memory)    h~ = tanh(W_c [a memory; h])    logits = E h~ + b

Decoder layer l starts from the last state of encoder layer l; in a student with fewer encoder layers, from that of the
last one. Networks share encoder passes, but each needs a decoder pass of its own, since h~ is fed back. Dropout acts on
the embeddings, between layers and on h~ (before it is fed back).

Shapes: B sentences, S source positions, T target positions, D d_model, V vocabulary, R rows of the decoder (sentences x
passes in training, sentences x beams in decoding), M memories (R in training, B in decoding), K = R / M beams.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from polystill.errors import UserError
from polystill.models.elastic import Architecture, ElasticConfig, ElasticModel, beam_rows
from polystill.models.layers import KERNELS, score_mask
from polystill.models.passes import PassPlan, exact_plan, shared_encoder_plan
from polystill.models.recurrence import (
    Packing,
    Product,
    StepProduct,
    lstm_cell,
    packed_lstm,
    plain_lstm_cell,
    plain_product,
)
from polystill.objectives.projection import product_type
from polystill.students import Student


@dataclass(frozen=True)
class LstmConfig(ElasticConfig):
    """`d_model` is the width of embeddings and states; `max_positions` bounds decoding, not training."""


FORGET_BIAS = 1.0
"""Initial bias of the forget gates: states last from the beginning (Jozefowicz et al. 2015)."""
DEEPER_GAIN = 2.0
"""Multiplies the initial input weights above the first layer: a half-open output gate halves what a layer outputs."""


@dataclass(frozen=True)
class Encoded:
    """One encoder pass read at one depth: its memory (B, S, D), and the last states of each layer, (B, D) each."""

    memory: Tensor
    hidden: list[Tensor]
    cells: list[Tensor]

    def initial(self, layer: int) -> tuple[Tensor, Tensor]:
        """The states that decoder layer `layer` (counted from 0) starts from."""
        layer = min(layer, len(self.hidden) - 1)
        return self.hidden[layer], self.cells[layer]


@dataclass(frozen=True)
class StepWeights:
    """The decoder's weights in the form that a step needs, made once for all steps.

    embedded: weight (4D, D) and bias (4D,) from the token's embedding to the gates of the first layer.
    layers: the product with (4D, 2D) of each layer; the first layer reads [h~; h], the others [x; h].
    biases: (4D,) of each layer; that of the first is part of `embedded_bias`.
    output: the product with (D, D), from the top layer's h to h~.
    cell: computes hidden states and cells from gates and cells.
    """

    embedded: Tensor
    embedded_bias: Tensor
    layers: list[Product]
    biases: list[Tensor]
    output: Product
    cell: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass
class DecoderState:
    """The state that a decoding step passes on to the next.

    hidden, cells: (rows, D) of each layer; a deeper layer has the first rows of the layer below.
    fed: (R, D), h~ of the previous step. keys, values: (M, S, D), the memory through W_a and the first half of W_c.
    mask: (M, 1, S), added to the scores. attention: (M, K, S), that of the last step.
    """

    weights: StepWeights
    hidden: list[Tensor]
    cells: list[Tensor]
    fed: Tensor
    keys: Tensor
    values: Tensor
    mask: Tensor
    attention: Tensor | None = None

    def reorder(self, rows: Tensor) -> None:
        """Let row i continue the old row rows[i] of the same sentence; rows (R,)."""
        self.hidden = [hidden.index_select(0, rows) for hidden in self.hidden]
        self.cells = [cells.index_select(0, rows) for cells in self.cells]
        self.fed = self.fed.index_select(0, rows)

    def keep(self, sentences: Tensor) -> None:
        """Keep only these sentences (B',), in this order."""
        beam_size = self.fed.shape[0] // self.keys.shape[0]
        self.keys = self.keys.index_select(0, sentences)
        self.values = self.values.index_select(0, sentences)
        self.mask = self.mask.index_select(0, sentences)
        self.reorder(beam_rows(sentences, beam_size))


class Attention(nn.Module):
    """Global attention with the score "general", and the layer that computes h~ from context and h."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.general = nn.Linear(d_model, d_model, bias=False)
        self.output = nn.Linear(2 * d_model, d_model, bias=False)


class Lstm(ElasticModel):
    """A supernet of LSTM layers."""

    config: LstmConfig
    shared_plan = staticmethod(shared_encoder_plan)

    def __init__(self, config: LstmConfig) -> None:
        super().__init__(config)
        width = config.d_model
        self.embedding = nn.Parameter(torch.empty(config.vocabulary_size, width))
        self.output_bias = nn.Parameter(torch.empty(config.vocabulary_size))
        self.encoder = nn.ModuleList(nn.LSTM(width, width, batch_first=True) for _ in range(config.encoder_layers))
        self.decoder = nn.ModuleList(
            nn.LSTMCell(width if layer else 2 * width, width) for layer in range(config.decoder_layers)
        )
        self.attention = Attention(width)
        self._initialise()

    @torch.no_grad()
    def _initialise(self) -> None:
        """Initialise the matrix of each gate Glorot-uniformly, times DEEPER_GAIN for the inputs of deeper layers.

        With the paper's U(-0.1, 0.1), networks of width 32 did not leave their first plateau on a toy language.
        """
        for name, parameter in self.named_parameters():
            if parameter.ndim == 1:
                nn.init.zeros_(parameter)
                if name.endswith(("bias_ih", "bias_ih_l0")):  # gates in the order input, forget, cell, output
                    parameter[self.config.d_model : 2 * self.config.d_model] = FORGET_BIAS
            elif name != "embedding":
                is_input_of_deeper = "weight_ih" in name and ".0." not in name
                for part in parameter.chunk(1 if name.startswith("attention") else 4):
                    nn.init.xavier_uniform_(part, DEEPER_GAIN if is_input_of_deeper else 1.0)
        nn.init.normal_(self.embedding, std=self.config.d_model**-0.5)
        self.embedding[self.config.pad_id] = 0

    # --- whole sentences----------

    def forward(
        self,
        source: Tensor,
        target_in: Tensor,
        student: Student | None = None,
        attention: list[Tensor] | None = None,
    ) -> Tensor:
        """Compute logits (B, T, V) of one network."""
        (hidden,) = self.hidden_states(source, target_in, exact_plan([student or self.teacher]), attention)
        return self.project(hidden)

    def hidden_states(
        self,
        source: Tensor,
        target_in: Tensor,
        plan: PassPlan,
        attention: list[Tensor] | None = None,
        packing: Packing | None = None,
    ) -> list[Tensor]:
        """Run all passes of a plan in one loop over time. Returns states h~ (B, T, D) for each of its reads."""
        batch = len(target_in)
        passes = plan.decoder_passes
        assert all(depth == passes[i].depth for i, depth in plan.reads), "a pass with input feeding serves one depth"
        state = self._start(self._encode_passes(source, plan, packing), [p.depth for p in passes], source)
        w = state.weights
        gates_RTG = F.linear(self.embed(target_in.repeat(len(passes), 1)), w.embedded, w.embedded_bias)
        steps, weights = [], []
        for gates_RG in gates_RTG.unbind(1):
            steps.append(self._advance(state, gates_RG))
            weights.append(state.attention)
        hidden_RTD = torch.stack(steps, 1)
        if attention is not None:
            attention_RTS = torch.cat(cast(list[Tensor], weights), 1)
            attention += [attention_RTS[i * batch : (i + 1) * batch] for i, _ in plan.reads]
        return [hidden_RTD[i * batch : (i + 1) * batch] for i, _ in plan.reads]

    def _encode_passes(self, source: Tensor, plan: PassPlan, packing: Packing | None) -> list[Encoded]:
        """The encoder states that each decoder pass reads."""
        wanted = [
            {p.encoder_depth for p in plan.decoder_passes if p.encoder_pass == i}
            for i in range(len(plan.encoder_depths))
        ]
        encoded = [self.encode(source, depths, packing) for depths in wanted]
        return [encoded[p.encoder_pass][p.encoder_depth] for p in plan.decoder_passes]

    def encode(self, source: Tensor, depths: set[int], packing: Packing | None = None) -> dict[int, Encoded]:
        """Run one encoder pass over source (B, S) without its padding; returns its states at each of these depths."""
        longest = source.shape[1]
        if packing is None:
            lengths = (source != self.pad_id).sum(1).clamp(min=1).cpu()
            packing = Packing.of(lengths, longest).on(lambda x: x.to(source.device))
        unpack = partial(packing.unpack, longest=longest)
        return self._encode_packed(packing.pack(self.embed(source)), depths, unpack)

    def _encode_packed(
        self, packed: PackedSequence, depths: set[int], unpack: Callable[[PackedSequence], Tensor]
    ) -> dict[int, Encoded]:
        hidden: list[Tensor] = []
        cells: list[Tensor] = []
        encoded = {}
        for depth, layer in enumerate(cast(list[nn.LSTM], list(self.encoder)[: max(depths)]), start=1):
            inputs = packed if depth == 1 else _with_data(packed, self._drop(packed.data))
            if self._is_fast and inputs.data.is_cpu:
                packed, last_hidden, last_cells = packed_lstm(layer, inputs, product_type(self.embedding))
            else:
                layer.train(torch.is_grad_enabled())  # cuDNN goes backward in this mode alone, also without dropout
                packed, ((last_hidden,), (last_cells,)) = layer(inputs)
            hidden.append(last_hidden)
            cells.append(last_cells)
            if depth in depths:
                encoded[depth] = Encoded(unpack(packed), list(hidden), list(cells))
        return encoded

    def embed(self, tokens: Tensor) -> Tensor:
        """(...) -> (..., D): embeddings scaled by sqrt(D), as in Marian's Transformers, with dropout."""
        return self._drop(F.embedding(tokens, self.embedding) * math.sqrt(self.config.d_model))

    def _memory_mask(self, is_padding: Tensor) -> Tensor:
        """(B, S) -> (B, 1, S), added to attention scores."""
        return score_mask(is_padding, self.embedding.dtype)[:, None, :]

    @property
    def _is_fast(self) -> bool:
        """Whether steps are those with a fast backward pass."""
        return self.config.kernels == "fast" and torch.is_grad_enabled()

    def _drop(self, x: Tensor) -> Tensor:
        return KERNELS[self.config.kernels].dropout(x, self.config.dropout if self.training else 0.0)

    def multiply_adds(self, plan: PassPlan, sentences: int, source_length: int, target_length: int) -> int:
        source, target, width = sentences * source_length, sentences * target_length, self.config.d_model
        layer = 8 * width**2  # four gates, each from the layer's input and its state
        fed = 4 * width**2  # to the first layer's gates
        attention = source * 2 * width**2 + target * (width**2 + 2 * source_length * width)
        decoders = len(plan.decoder_passes) * (target * fed + attention)
        decoders += sum(p.depth for p in plan.decoder_passes) * target * layer
        return sum(plan.encoder_depths) * source * layer + decoders

    def activation_bytes(
        self, plan: PassPlan, sentences: int, source_length: int, target_length: int, product: int, on_host: bool
    ) -> int:
        source, target, width = sentences * source_length, sentences * target_length, self.config.d_model
        random = int(self.config.dropout > 0)
        cell = 6 * 4 * width  # four gates, the cells and their tanh, in fp32
        step = (2 * product + random) * width  # input and state of a layer
        encoder_layer = source * (cell + step)
        memory = source * (3 + (product < 4)) * product * width  # as it enters the projections; keys and values
        top = (2 * product + random) * width + source_length * (4 + product * (product < 4))  # h, attention and h~
        depths = [p.depth for p in plan.decoder_passes]
        decoders = target * (sum(depths) * (cell + step) + len(depths) * (top + (product + random) * width))
        states = len(plan.reads) * target * width * 4
        return sum(plan.encoder_depths) * encoder_layer + len(depths) * memory + decoders + states

    # --- one step of the decoder --------------------------------------------------------------------------------------

    def _start(self, encoded: Sequence[Encoded], depths: Sequence[int], source: Tensor) -> DecoderState:
        """The state before the first step of decoder passes of these depths, deepest first.

        Pass i has rows [i*B, (i+1)*B) and reads encoded[i].
        """
        memory_RSD = torch.cat([e.memory for e in encoded])
        hidden, cells = [], []
        for layer in range(depths[0]):
            initial = [e.initial(layer) for e, depth in zip(encoded, depths, strict=True) if depth > layer]
            hidden.append(torch.cat([h for h, _ in initial]))
            cells.append(torch.cat([c for _, c in initial]))
        context_weight, output_weight = self.attention.output.weight.chunk(2, 1)
        return DecoderState(
            weights=self._step_weights(depths[0], output_weight),
            hidden=hidden,
            cells=cells,
            fed=torch.zeros_like(hidden[0]),
            keys=self.attention.general(memory_RSD),
            values=F.linear(memory_RSD, context_weight),
            mask=self._memory_mask(source == self.pad_id).repeat(len(encoded), 1, 1),
        )

    def _step_weights(self, depth: int, output_weight: Tensor) -> StepWeights:
        cells = cast(list[nn.LSTMCell], list(self.decoder)[:depth])
        embedded, fed = cells[0].weight_ih.chunk(2, 1)
        weights = [torch.cat([fed, cells[0].weight_hh], 1)]
        weights += [torch.cat([cell.weight_ih, cell.weight_hh], 1) for cell in cells[1:]]
        biases = [cell.bias_ih + cell.bias_hh for cell in cells]
        dtype = product_type(embedded)  # autocast caches casts of parameters, but not of tensors made from them
        product, cell = (StepProduct, lstm_cell) if self._is_fast else (plain_product, plain_lstm_cell)
        layers = [product(weight.to(dtype)) for weight in weights]
        return StepWeights(embedded, biases[0], layers, biases, product(output_weight.to(dtype)), cell)

    def _advance(self, state: DecoderState, gates_RG: Tensor) -> Tensor:
        """Advance all rows by one step; `gates_RG` (R, 4D) is the tokens' part of the first layer's gates.

        Returns h~ (R, D).
        """
        x, w = state.fed, state.weights
        for layer, product in enumerate(w.layers):
            rows = state.hidden[layer].shape[0]
            if layer:
                x = self._drop(x[:rows])
            gates = product(torch.cat([x, state.hidden[layer]], 1), w.biases[layer] if layer else gates_RG)
            x, state.cells[layer] = w.cell(gates, state.cells[layer])
            state.hidden[layer] = x
        state.fed = self._drop(self._attend(state, _topmost(state.hidden)))
        return state.fed

    def _attend(self, state: DecoderState, top_RD: Tensor) -> Tensor:
        """Compute h~ (R, D); the beams of a sentence share its memory."""
        query_MKD = top_RD.view(state.keys.shape[0], -1, top_RD.shape[1])
        scores = query_MKD @ state.keys.transpose(1, 2) + state.mask
        state.attention = scores.softmax(-1)
        context_RD = (state.attention.to(state.values.dtype) @ state.values).flatten(0, 1)
        return torch.tanh(state.weights.output(top_RD, context_RD))

    # --- step by step----------

    @torch.no_grad()
    def start(self, source: Tensor, student: Student | None = None, beam_size: int = 1) -> DecoderState:
        """Encode source (B, S) and prepare B * beam_size rows for decoding."""
        student = student or self.teacher
        encoded = self.encode(source, {student.encoder_layers})[student.encoder_layers]
        state = self._start([encoded], [student.decoder_layers], source)
        state.reorder(torch.arange(len(source), device=source.device).repeat_interleave(beam_size))
        return state

    @torch.no_grad()
    def step(self, state: DecoderState, tokens: Tensor) -> Tensor:
        """Feed one token a row (R,), first `<pad>`; returns float32 logits (R, V) of the next token."""
        gates_RG = F.linear(self.embed(tokens), state.weights.embedded, state.weights.embedded_bias)
        return self.project(self._advance(state, gates_RG)).float()

    # --- the same on tensors alone, for tracing -----------------------------------------------------------------------

    def start_tensors(self, source: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        """As `start`, for source and mask (B, S), which is 0 on padding.

        Returns hidden, cells (L, B, D), fed (B, D), keys, values (B, S, D). For tracing, the longest sentence must come
        first; the traced function takes sentences in any order.
        """
        packed = pack_padded_sequence(self.embed(source), mask.sum(1).cpu(), batch_first=True)
        depth, longest = self.config.encoder_layers, source.shape[1]

        def unpack(packed: PackedSequence) -> Tensor:  # torch's own, which the export knows
            memory: Tensor = pad_packed_sequence(packed, batch_first=True, total_length=longest)[0]
            return memory

        encoded = self._encode_packed(packed, {depth}, unpack)[depth]
        state = self._start([encoded], [self.config.decoder_layers], source)
        return torch.stack(state.hidden), torch.stack(state.cells), state.fed, state.keys, state.values

    def step_tensors(
        self, tokens: Tensor, mask: Tensor, hidden: Tensor, cells: Tensor, fed: Tensor, keys: Tensor, values: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """As `step`, for tokens (R,), the source's mask (B, S) and the tensors of `start_tensors`.

        Returns logits (R, V), hidden, cells and fed.
        """
        weights = self._step_weights(hidden.shape[0], self.attention.output.weight.chunk(2, 1)[1])
        memory_mask = self._memory_mask(mask == 0)
        state = DecoderState(weights, list(hidden.unbind()), list(cells.unbind()), fed, keys, values, memory_mask)
        logits = self.step(state, tokens)
        return logits, torch.stack(state.hidden), torch.stack(state.cells), state.fed


def _topmost(hidden: list[Tensor]) -> Tensor:
    """The state of each row in the deepest layer that it runs through."""
    parts, done = [], 0
    for layer_RD in reversed(hidden):
        parts.append(layer_RD[done:])
        done = layer_RD.shape[0]
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def _with_data(packed: PackedSequence, data: Tensor) -> PackedSequence:
    return PackedSequence(data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)


# --- the folder: config.json in our own terms, and model.safetensors under our own names ------------------------------

_TERMS = {"vocabulary_size": "vocab_size", "pad_id": "pad_token_id", "eos_id": "eos_token_id"}
"""Fields of the configuration whose key in config.json is Hugging Face's, as in Marian's config.json."""
_SAVED = [field.name for field in fields(LstmConfig) if field.name != "kernels"]
_COUNTS = ("vocabulary_size", "d_model", "encoder_layers", "decoder_layers", "max_positions")


class LstmArchitecture(Architecture[LstmConfig]):
    """Our LSTM, which transformers does not have: `model_type` "polystill-lstm"."""

    name = "lstm"
    model_type = "polystill-lstm"
    described = "one of polystill's LSTMs"
    config_class = LstmConfig
    model_class = Lstm

    def read_config(self, values: dict[str, Any], origin: str) -> LstmConfig:
        sizes: dict[str, Any] = {}
        for name in _SAVED:
            key = _TERMS.get(name, name)
            if key not in values:
                raise UserError(f"{origin}: key {key!r} is missing")
            value, least = values[key], 1 if name in _COUNTS else 0
            is_number = isinstance(value, int | float if name == "dropout" else int) and not isinstance(value, bool)
            if not is_number or value < least:
                raise UserError(f"{origin}: {key} is {value!r}; expected a number from {least} on")
            sizes[name] = value
        return LstmConfig(**sizes)

    def config_files(self, config: LstmConfig) -> dict[str, dict[str, Any]]:
        sizes = asdict(config)
        named = {_TERMS.get(name, name): sizes[name] for name in _SAVED}
        return {"config.json": {"architectures": ["Lstm"], "model_type": self.model_type, **named, "dtype": "float32"}}
