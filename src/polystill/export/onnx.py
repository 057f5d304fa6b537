"""Export to ONNX, in the layout of Hugging Face's transformers.js: one folder for browsers, node and onnxruntime.

    onnx/encoder_model.onnx          input_ids, attention_mask (B, S) -> last_hidden_state (B, S, D)
    onnx/decoder_model_merged.onnx   input_ids (B, T), encoder_attention_mask, encoder_hidden_states, past_key_values.*
                                     -> logits (B, T, V), present.*
    config.json, generation_config.json, tokenizer.json and what OPUS-MT's folders have

The decoder is one graph for the first step and all others, without a branch: keys and values of the encoder's output
are computed of those positions that the past does not hold yet, which are all of them in the first step and none later.

A model of another architecture needs its own pair of an encoder and a decoder module here, with its state in the place
of past and present; the rest of this file does not depend on it.

Shapes: B sentences, S source positions, T new target positions, P past ones, D d_model, H heads, K = D / H.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from polystill.data.tokenizer import Tokenizer
from polystill.export.agreement import Agreement, agreement, forced_log_probs, greedy_tokens, judge
from polystill.export.card import Record, write_card
from polystill.export.description import check_replaceable, describe, lines_to_verify, versions, write_info
from polystill.export.fast_tokenizer import write_fast_tokenizer
from polystill.extras import need_packages
from polystill.models.folder import load_transformer_with_tokenizer
from polystill.models.layers import attend, split_heads
from polystill.models.marian import generation_config, marian_config
from polystill.models.transformer import DecoderLayer, Transformer
from polystill.storage import atomic_folder

ENCODER, DECODER = "onnx/encoder_model.onnx", "onnx/decoder_model_merged.onnx"
OPSET = 17


def export_onnx(
    student: Path, out: Path, lines: Sequence[str] | None = None, record: Record | None = None
) -> dict[str, Any]:
    """Write a Hugging Face Marian folder's model as ONNX, verify in onnxruntime that it translates alike.

    Raises:
        UserError: as `export_student`; or a package of the [onnx] extra is missing.
    """
    check_replaceable(out)
    need_packages("export --to onnx", ("onnx", "onnxruntime"), extra="onnx")
    model, tokenizer = load_transformer_with_tokenizer(student, "the ONNX export")
    lines = lines_to_verify(tokenizer, lines)
    with atomic_folder(out) as temporary:
        (temporary / "onnx").mkdir()
        write_graphs(model, temporary)
        shape = model.config.encoder_layers, model.config.decoder_layers
        _write_json(temporary / "config.json", marian_config(model.config, *shape))
        _write_json(temporary / "generation_config.json", {**generation_config(model.config), "num_beams": 1})
        tokenizer.save(temporary)
        write_fast_tokenizer(tokenizer, temporary, lines)
        found = verify(model, tokenizer, temporary, lines)
        judge(found, "float32", out)
        info = describe(student, model, tokenizer, "onnx")
        info["versions"] |= versions("onnx", "onnxruntime")
        info["verification"] = found._asdict()
        write_info(temporary, info)
        write_card(temporary, info, record)
    return info


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


# --- the graphs ---------------------------------------------------------------------------------------------------


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
    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: Tensor, encoder_attention_mask: Tensor, encoder_hidden_states: Tensor, *past: Tensor
    ) -> tuple[Tensor, ...]:
        """`past` has four tensors (B, H, P, K) a layer, in the order of `_past_names`."""
        model, done = self.model, past[0].shape[2]
        length = input_ids.shape[1]
        x = F.embedding(input_ids, model.embedding) * model.config.d_model**0.5
        x = x + model.positions[done : done + length]
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
    """Trace both graphs; sizes of batch and sequences stay free."""
    config = model.config
    ids, mask = torch.zeros(2, 5, dtype=torch.long), torch.ones(2, 5, dtype=torch.long)
    sequence = {0: "batch_size", 1: "encoder_sequence_length"}
    with _quietly():
        torch.onnx.export(
            Encoder(model),
            (ids, mask),
            str(folder / ENCODER),
            input_names=["input_ids", "attention_mask"],
            output_names=["last_hidden_state"],
            dynamic_axes=dict.fromkeys(("input_ids", "attention_mask", "last_hidden_state"), sequence),
            opset_version=OPSET,
            dynamo=False,  # it fixes sizes of 0, and the past of the first step has one
        )
        names, presents = (_past_names(config.decoder_layers, prefix) for prefix in ("past_key_values", "present"))
        past = [torch.zeros(2, config.heads, 3, config.d_model // config.heads) for _ in names]
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
        torch.onnx.export(
            Decoder(model),
            (ids[:, :2], mask, torch.zeros(2, 5, config.d_model), *past),
            str(folder / DECODER),
            input_names=["input_ids", "encoder_attention_mask", "encoder_hidden_states", *names],
            output_names=["logits", *presents],
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )


@contextmanager
def _quietly() -> Iterator[None]:
    """torch warns of its older exporter and of every shape that it follows."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


# --- running and verification -------------------------------------------------------------------------------------


class Sessions:
    """The two graphs in onnxruntime."""

    def __init__(self, folder: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        providers = ["CPUExecutionProvider"]
        self.encoder = onnxruntime.InferenceSession(str(folder / ENCODER), options, providers)
        self.decoder = onnxruntime.InferenceSession(str(folder / DECODER), options, providers)

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


def verify(model: Transformer, tokenizer: Tokenizer, folder: Path, lines: Sequence[str]) -> Agreement:
    """Let onnxruntime score, token by token, what the source model wrote, and see whether it would write the same."""
    ids = {piece: i for i, piece in enumerate(tokenizer.pieces)}
    sessions, same, differences = Sessions(folder), [], []
    for source, tokens in zip(tokenizer.encode_source(lines), greedy_tokens(model, tokenizer, lines), strict=True):
        source = source[: model.max_positions]
        target = [ids[piece] for piece in tokens]
        if not target:
            continue
        logits = torch.from_numpy(sessions.logits(source, [model.pad_id, *target[:-1]]))
        logits[:, model.pad_id] = -torch.inf
        scores = logits.log_softmax(-1).gather(1, torch.tensor(target)[:, None])[:, 0].tolist()
        differences += [abs(a - b) for a, b in zip(forced_log_probs(model, source, target), scores, strict=True)]
        logits[0, model.eos_id] = -torch.inf  # an empty translation is ruled out
        same.append(logits.argmax(-1).tolist() == target)
    return agreement(same, differences)
