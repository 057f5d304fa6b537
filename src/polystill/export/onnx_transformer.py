"""A Transformer as ONNX graphs, in the layout of Hugging Face's transformers.js.

    onnx/encoder_model.onnx          input_ids, attention_mask (B, S) -> last_hidden_state (B, S, D)
    onnx/decoder_model_merged.onnx   input_ids (B, T), encoder_attention_mask, encoder_hidden_states, past_key_values.*
                                     -> logits (B, T, V), present.*

The decoder is one graph for the first step and all others, without a branch: keys and values of the encoder's output
are computed of those positions that the past does not hold yet, which are all of them in the first step and none later.

Shapes: B sentences, S source positions, T new target positions, P past ones, D d_model, H heads, K = D / H.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from polystill.export.onnx_graph import open_graph, write_graph
from polystill.models.layers import attend, split_heads
from polystill.models.transformer import DecoderLayer, Transformer, sinusoidal_positions

ENCODER, DECODER = "onnx/encoder_model.onnx", "onnx/decoder_model_merged.onnx"
PIPELINE_TOKENS = 256
"""So many transformers.js's translation pipeline lets a model write, whatever its generation_config.json says."""


class Encoder(nn.Module):
    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        model = self.model
        x, mask = model.embed(input_ids), _additive(attention_mask)
        for layer in model.encoder_layers(model.config.encoder_layers):
            x = layer(x, mask)
        return x


class Decoder(nn.Module):
    positions: Tensor

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model
        config = model.config
        written = max(config.max_positions, PIPELINE_TOKENS)
        self.register_buffer("positions", sinusoidal_positions(written, config.d_model, config.positions))

    def forward(
        self, input_ids: Tensor, encoder_attention_mask: Tensor, encoder_hidden_states: Tensor, *past: Tensor
    ) -> tuple[Tensor, ...]:
        """`past` has four tensors (B, H, P, K) a layer, in the order of `_past_names`."""
        model, done = self.model, past[0].shape[2]
        length = input_ids.shape[1]
        x = F.embedding(input_ids, model.embedding) * model.config.d_model**0.5
        x = x + self.positions[done : done + length]
        rows = torch.arange(length)[:, None] + done
        future = torch.arange(length + done)[None] > rows
        causal = future.float() * torch.finfo(torch.float32).min
        new_memory = encoder_hidden_states[:, past[2].shape[2] :]
        present: list[Tensor] = []
        for i, layer in enumerate(model.decoder_layers(model.config.decoder_layers)):
            x, kept = _decode(layer, x, causal, new_memory, _additive(encoder_attention_mask), past[4 * i : 4 * i + 4])
            present += kept
        return model.project(x), *present


def _additive(mask_BS: Tensor) -> Tensor:
    return ((1 - mask_BS).float() * torch.finfo(torch.float32).min)[:, None, None, :]


def _decode(
    layer: DecoderLayer, x_BTD: Tensor, causal: Tensor, new_memory: Tensor, memory_mask: Tensor, past: Sequence[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """One decoder layer on T further positions; returns its output and the grown caches."""
    attention, cross = layer.self_attention, layer.cross_attention
    query, key, value = (split_heads(part, attention.heads) for part in attention.query_key_value(x_BTD).chunk(3, -1))
    keys, values = torch.cat([past[0], key], 2), torch.cat([past[1], value], 2)
    x = layer.self_attention_norm(x_BTD, attention.output(attend(query, keys, values, causal, 0.0)))
    memory_key, memory_value = (_split_heads(part, cross.heads) for part in cross.key_value(new_memory).chunk(2, -1))
    memory_keys, memory_values = torch.cat([past[2], memory_key], 2), torch.cat([past[3], memory_value], 2)
    query = split_heads(cross.query(x), cross.heads)
    x = layer.cross_attention_norm(x, cross.output(attend(query, memory_keys, memory_values, memory_mask, 0.0)))
    return layer.feed_forward_norm(x, layer.feed_forward(x)), [keys, values, memory_keys, memory_values]


def _split_heads(x_BSD: Tensor, heads: int) -> Tensor:
    """As `split_heads`, with all sizes given: ONNX infers none where a sequence is empty."""
    return x_BSD.unflatten(-1, (heads, x_BSD.shape[-1] // heads)).transpose(1, 2)


def _past_names(layers: int, prefix: str) -> list[str]:
    kinds = ("decoder.key", "decoder.value", "encoder.key", "encoder.value")
    return [f"{prefix}.{i}.{kind}" for i in range(layers) for kind in kinds]


def write_graphs(model: Transformer, folder: Path) -> None:
    """Write both graphs; sizes of batch and sequences stay free."""
    config = model.config
    ids, mask = torch.zeros(2, 5, dtype=torch.long), torch.ones(2, 5, dtype=torch.long)
    sequence = {0: "batch_size", 1: "encoder_sequence_length"}
    inputs, outputs = ["input_ids", "attention_mask"], ["last_hidden_state"]
    write_graph(
        folder / ENCODER, Encoder(model), (ids, mask), inputs, outputs, dict.fromkeys([*inputs, *outputs], sequence)
    )
    names, presents = (_past_names(config.decoder_layers, prefix) for prefix in ("past_key_values", "present"))
    axes: dict[str, dict[int, str]] = {
        "input_ids": {0: "batch_size", 1: "decoder_sequence_length"},
        "logits": {0: "batch_size", 1: "decoder_sequence_length"},
        "encoder_attention_mask": sequence,
        "encoder_hidden_states": sequence,
    }
    for name in names:
        side = "encoder" if ".encoder." in name else "decoder"
        axes[name] = {0: "batch_size", 2: f"past_{side}_sequence_length"}
    for name in presents:
        axes[name] = {0: "batch_size", 2: f"present{name.split('.', 1)[1]}_length"}
    write_graph(
        folder / DECODER,
        Decoder(model),
        (
            *(ids[:, :2], mask, torch.zeros(2, 5, config.d_model)),
            *(torch.zeros(2, config.heads, 3, config.d_model // config.heads) for _ in names),
        ),
        ["input_ids", "encoder_attention_mask", "encoder_hidden_states", *names],
        ["logits", *presents],
        axes,
    )


class Sessions:
    """The two graphs in onnxruntime."""

    def __init__(self, folder: Path) -> None:
        self.encoder, self.decoder = open_graph(folder / ENCODER), open_graph(folder / DECODER)

    def logits(self, source: Sequence[int], target_in: Sequence[int]) -> NDArray[np.float32]:
        """Logits (T, V) of one sentence, computed token by token with the past of the step before."""
        ids, mask = np.array([source]), np.ones((1, len(source)), np.int64)
        memory = self.encoder.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        feeds = {"encoder_attention_mask": mask, "encoder_hidden_states": memory}
        for given in self.decoder.get_inputs():
            if given.name.startswith("past"):
                feeds[given.name] = np.zeros((1, given.shape[1], 0, given.shape[3]), np.float32)
        presents = [given.name for given in self.decoder.get_outputs()][1:]
        rows = []
        for token in target_in:
            logits, *present = self.decoder.run(None, {**feeds, "input_ids": np.array([[token]])})
            rows.append(logits[0, 0])
            feeds |= {n.replace("present", "past_key_values"): p for n, p in zip(presents, present, strict=True)}
        return np.stack(rows)
