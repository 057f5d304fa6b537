"""Networks as pairs of ONNX graphs, an encoder and one decoding step, and the sessions that run them token by token.

A Transformer, in the layout of Hugging Face's transformers.js:

    onnx/encoder_model.onnx          input_ids, attention_mask (B, S) -> last_hidden_state (B, S, D)
    onnx/decoder_model_merged.onnx   input_ids (B, T), encoder_attention_mask, encoder_hidden_states, past_key_values.*
                                     -> logits (B, T, V), present.*

Its decoder is one graph for the first step and all others, without a branch: the keys and values of the encoder's
output are computed for those positions that the past does not hold yet. In the first step these are all, later none.

An LSTM, in a layout of our own, as transformers.js knows no such model:

    onnx/encoder_model.onnx   input_ids, attention_mask (B, S)
                              -> hidden, cells (L, B, D), attentional (B, D), keys, values (B, S, D)
    onnx/decoder_model.onnx   input_ids (R,), encoder_attention_mask (B, S), hidden, cells (L, R, D),
                              attentional (R, D), keys, values (B, S, D)
                              -> logits (R, V), next_hidden, next_cells, next_attentional

Its first token is `<pad>`, then each step takes what the step before returned. Padding is at the end of sources.

Shapes: B sentences, S source positions, R = B * beam size rows (those of a sentence beside each other; for the first
step each row of the encoder's state is repeated), T new target positions, P past ones, L decoder layers, D d_model,
H heads, K = D / H, V vocabulary.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from polystill.models.layers import attend, split_heads
from polystill.models.lstm import Lstm
from polystill.models.transformer import DecoderLayer, Transformer, sinusoidal_positions

OPSET = 17
ENCODER = "onnx/encoder_model.onnx"
TRANSFORMER_DECODER, LSTM_DECODER = "onnx/decoder_model_merged.onnx", "onnx/decoder_model.onnx"
PIPELINE_TOKENS = 256
"""Tokens that transformers.js's translation pipeline lets a model write, whatever its generation_config.json says."""
STATE = ("hidden", "cells", "attentional")
MEMORY = ("keys", "values")
SOURCE = {0: "batch_size", 1: "encoder_sequence_length"}


def write_graph(
    path: Path,
    module: nn.Module,
    example: tuple[Tensor, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
    axes: dict[str, dict[int, str]],
) -> None:
    """Trace a module's forward; `axes` names the sizes that stay free, by tensor and dimension."""
    with _quietly(), torch.inference_mode():
        torch.onnx.export(
            module.eval(),  # it is left in the mode that it had, and so are the model's layers in it
            example,
            str(path),
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,  # it fixes sizes of 0, as a Transformer's past has in the first step
        )


@contextmanager
def _quietly() -> Iterator[None]:
    """torch warns of its older exporter and of every shape that it follows, in C++ too, on the process' own stderr."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    sys.stderr.flush()
    stderr = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere, warnings.catch_warnings():
            os.dup2(nowhere.fileno(), 2)
            warnings.simplefilter("ignore")
            yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        logger.setLevel(level)


def open_graph(path: Path) -> Any:
    """An onnxruntime session on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])


# --- Transformer ----------------------------------------------------------------------------------------------------


class TransformerEncoder(nn.Module):
    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        model = self.model
        x, mask = model.embed(input_ids), _additive(attention_mask)
        for layer in model.encoder_layers(model.config.encoder_layers):
            x = layer(x, mask)
        return x


class TransformerDecoder(nn.Module):
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


def write_transformer(model: Transformer, folder: Path) -> None:
    """Write both graphs; sizes of batch and sequences stay free."""
    config = model.config
    ids, mask = torch.zeros(2, 5, dtype=torch.long), torch.ones(2, 5, dtype=torch.long)
    inputs, outputs = ["input_ids", "attention_mask"], ["last_hidden_state"]
    axes = dict.fromkeys([*inputs, *outputs], SOURCE)
    write_graph(folder / ENCODER, TransformerEncoder(model), (ids, mask), inputs, outputs, axes)
    names, presents = (_past_names(config.decoder_layers, prefix) for prefix in ("past_key_values", "present"))
    pasts = [torch.zeros(2, config.heads, 3, config.d_model // config.heads) for _ in names]
    target = {0: "batch_size", 1: "decoder_sequence_length"}
    axes = {"input_ids": target, "logits": target, "encoder_attention_mask": SOURCE, "encoder_hidden_states": SOURCE}
    for name in names:
        axes[name] = {0: "batch_size", 2: f"past_{name.split('.')[2]}_sequence_length"}
    for name in presents:
        axes[name] = {0: "batch_size", 2: f"present{name.split('.', 1)[1]}_length"}
    write_graph(
        folder / TRANSFORMER_DECODER,
        TransformerDecoder(model),
        (ids[:, :2], mask, torch.zeros(2, 5, config.d_model), *pasts),
        ["input_ids", "encoder_attention_mask", "encoder_hidden_states", *names],
        ["logits", *presents],
        axes,
    )


class TransformerSessions:
    """A Transformer's two graphs in onnxruntime."""

    def __init__(self, folder: Path) -> None:
        self.encoder, self.decoder = open_graph(folder / ENCODER), open_graph(folder / TRANSFORMER_DECODER)

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


# --- LSTM -----------------------------------------------------------------------------------------------------------


class LstmStep(nn.Module):
    """One of an LSTM's methods, `start_tensors` or `step_tensors`, as a module to trace."""

    def __init__(self, model: Lstm, method: Literal["start_tensors", "step_tensors"]) -> None:
        super().__init__()
        self.model, self.method = model, method

    def forward(self, *tensors: Tensor) -> Any:
        return getattr(self.model, self.method)(*tensors)


def write_lstm(model: Lstm, folder: Path) -> None:
    """Write both graphs; sizes of batch and sequences stay free."""
    layers, width = model.config.decoder_layers, model.config.d_model
    ids, mask = torch.zeros(2, 5, dtype=torch.long), torch.ones(2, 5, dtype=torch.long)
    inputs, outputs = ["input_ids", "attention_mask"], [*STATE, *MEMORY]
    axes = {name: SOURCE for name in (*inputs, *MEMORY)} | _state_axes("", "batch_size")
    write_graph(folder / ENCODER, LstmStep(model, "start_tensors"), (ids, mask), inputs, outputs, axes)

    states = torch.zeros(layers, 4, width), torch.zeros(layers, 4, width), torch.zeros(4, width)
    memory = torch.zeros(2, 5, width), torch.zeros(2, 5, width)
    example = (torch.zeros(4, dtype=torch.long), mask, *states, *memory)
    inputs = ["input_ids", "encoder_attention_mask", *STATE, *MEMORY]
    outputs = ["logits", *(f"next_{name}" for name in STATE)]
    axes = {name: SOURCE for name in ("encoder_attention_mask", *MEMORY)}
    axes |= _state_axes("", "rows") | _state_axes("next_", "rows")
    axes |= {"input_ids": {0: "rows"}, "logits": {0: "rows"}}
    write_graph(folder / LSTM_DECODER, LstmStep(model, "step_tensors"), example, inputs, outputs, axes)


def _state_axes(prefix: str, rows: str) -> dict[str, dict[int, str]]:
    return {f"{prefix}{name}": {0 if name == "attentional" else 1: rows} for name in STATE}


class LstmSessions:
    """An LSTM's two graphs in onnxruntime."""

    def __init__(self, folder: Path) -> None:
        self.encoder, self.decoder = open_graph(folder / ENCODER), open_graph(folder / LSTM_DECODER)

    def logits(self, source: Sequence[int], target_in: Sequence[int]) -> NDArray[np.float32]:
        """Logits (T, V) of one sentence, computed token by token with the state of the step before."""
        mask = np.ones((1, len(source)), np.int64)
        encoded = self.encoder.run([*STATE, *MEMORY], {"input_ids": np.array([source]), "attention_mask": mask})
        feeds = {"encoder_attention_mask": mask, **dict(zip((*STATE, *MEMORY), encoded, strict=True))}
        rows = []
        for token in target_in:
            logits, *state = self.decoder.run(None, {**feeds, "input_ids": np.array([token])})
            rows.append(logits[0])
            feeds |= dict(zip(STATE, state, strict=True))
        return np.stack(rows)


class Graphs(NamedTuple):
    """Writes a model's two graphs into a folder that has onnx/, and runs them from there."""

    write: Callable[[Any, Path], None]
    sessions: Callable[[Path], Any]


GRAPHS = {
    "transformer": Graphs(write_transformer, TransformerSessions),
    "lstm": Graphs(write_lstm, LstmSessions),
}
"""By the architecture's name."""
