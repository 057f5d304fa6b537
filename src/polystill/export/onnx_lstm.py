"""An LSTM as ONNX graphs, in a layout of our own: transformers.js knows no such model.

    onnx/encoder_model.onnx   input_ids, attention_mask (B, S)
                              -> hidden, cells (L, B, D), attentional (B, D), keys, values (B, S, D)
    onnx/decoder_model.onnx   input_ids (R,), encoder_attention_mask (B, S), hidden, cells (L, R, D),
                              attentional (R, D), keys, values (B, S, D)
                              -> logits (R, V), next_hidden, next_cells, next_attentional

The first token is `<pad>`, then each step takes what the step before returned. Padding is at the end of sources.

Shapes: B sentences, S source positions, R = B * beam size rows (those of a sentence beside each other; for the first
step each row of the encoder's state is repeated), L decoder layers, D d_model, V vocabulary, T target positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polystill.export.onnx_graph import open_graph, write_graph
from polystill.models.lstm import Lstm

ENCODER, DECODER = "onnx/encoder_model.onnx", "onnx/decoder_model.onnx"
STATE = ("hidden", "cells", "attentional")
MEMORY = ("keys", "values")
SOURCE = {0: "batch_size", 1: "encoder_sequence_length"}


class Encoder(nn.Module):
    def __init__(self, model: Lstm) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        return self.model.start_tensors(input_ids, attention_mask)


class Decoder(nn.Module):
    def __init__(self, model: Lstm) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, encoder_attention_mask: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        return self.model.step_tensors(input_ids, encoder_attention_mask, *state)


def write_graphs(model: Lstm, folder: Path) -> None:
    """Write both graphs; sizes of batch and sequences stay free."""
    layers, width = model.config.decoder_layers, model.config.d_model
    ids, mask = torch.zeros(2, 5, dtype=torch.long), torch.ones(2, 5, dtype=torch.long)
    inputs, outputs = ["input_ids", "attention_mask"], [*STATE, *MEMORY]
    axes = {name: SOURCE for name in (*inputs, *MEMORY)} | _state_axes("", "batch_size")
    write_graph(folder / ENCODER, Encoder(model), (ids, mask), inputs, outputs, axes)

    states = torch.zeros(layers, 4, width), torch.zeros(layers, 4, width), torch.zeros(4, width)
    memory = torch.zeros(2, 5, width), torch.zeros(2, 5, width)
    example = (torch.zeros(4, dtype=torch.long), mask, *states, *memory)
    inputs, outputs = (
        ["input_ids", "encoder_attention_mask", *STATE, *MEMORY],
        ["logits", *(f"next_{n}" for n in STATE)],
    )
    rows = "rows"
    axes = {name: SOURCE for name in ("encoder_attention_mask", *MEMORY)}
    axes |= {"input_ids": {0: rows}, "logits": {0: rows}, **_state_axes("", rows), **_state_axes("next_", rows)}
    write_graph(folder / DECODER, Decoder(model), example, inputs, outputs, axes)


def _state_axes(prefix: str, rows: str) -> dict[str, dict[int, str]]:
    return {f"{prefix}{name}": {0 if name == "attentional" else 1: rows} for name in STATE}


class Sessions:
    """The two graphs in onnxruntime."""

    def __init__(self, folder: Path) -> None:
        self.encoder, self.decoder = open_graph(folder / ENCODER), open_graph(folder / DECODER)

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
