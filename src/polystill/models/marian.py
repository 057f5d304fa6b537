"""The Transformer as a Hugging Face Marian folder: the one table of its foreign names, and its config.json.

Our parameters fuse query, key and value into one matrix; all others map one to one.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
from torch import Tensor

from polystill.errors import UserError
from polystill.models.elastic import Architecture
from polystill.models.transformer import POSITIONS, Transformer, TransformerConfig, sinusoidal_positions

_Names = list[tuple[str, tuple[str, ...]]]

_SELF_ATTENTION = [
    ("self_attention.query_key_value", ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")),
    ("self_attention.output", ("self_attn.out_proj",)),
    ("self_attention_norm.norm", ("self_attn_layer_norm",)),
]
_CROSS_ATTENTION = [
    ("cross_attention.query", ("encoder_attn.q_proj",)),
    ("cross_attention.key_value", ("encoder_attn.k_proj", "encoder_attn.v_proj")),
    ("cross_attention.output", ("encoder_attn.out_proj",)),
    ("cross_attention_norm.norm", ("encoder_attn_layer_norm",)),
]
_FEED_FORWARD = [
    ("feed_forward.expand", ("fc1",)),
    ("feed_forward.contract", ("fc2",)),
    ("feed_forward_norm.norm", ("final_layer_norm",)),
]
_LAYER: dict[str, _Names] = {
    "encoder": [*_SELF_ATTENTION, *_FEED_FORWARD],
    "decoder": [*_SELF_ATTENTION, *_CROSS_ATTENTION, *_FEED_FORWARD],
}
_POSITIONS_KEY = "polystill_positions"
"""The key in config.json for positions other than MarianMTModel's own; the folder then holds their tables as well."""
_EMBEDDING, _BIAS = "model.shared.weight", "final_logits_bias"
# MarianMTModel saves the embedding again for each side and for the output.
_TIED = ("model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight", "lm_head.weight")
_POSITION_TABLES = ("model.encoder.embed_positions.weight", "model.decoder.embed_positions.weight")


class TransformerArchitecture(Architecture[TransformerConfig]):
    """Our Transformer, which is MarianMTModel under other names."""

    name = "transformer"
    model_type = "marian"
    described = "a Marian model"
    config_class = TransformerConfig
    model_class = Transformer

    def read_config(self, values: dict[str, Any], origin: str) -> TransformerConfig:
        def need(key: str) -> Any:
            if key not in values:
                raise UserError(f"{origin}: key {key!r} is missing")
            return values[key]

        def refuse(key: str, wanted: Any, default: Any) -> None:
            given = values.get(key, default)
            if given != wanted:
                raise UserError(f"{origin}: {key} is {given!r}; polystill's Transformer needs {wanted!r}")

        refuse("scale_embedding", True, False)
        refuse("share_encoder_decoder_embeddings", True, True)
        refuse("decoder_vocab_size", need("vocab_size"), values.get("vocab_size"))
        refuse("decoder_attention_heads", need("encoder_attention_heads"), None)
        refuse("decoder_ffn_dim", need("encoder_ffn_dim"), None)
        refuse("decoder_start_token_id", need("pad_token_id"), None)
        refuse("static_position_embeddings", True, True)
        refuse("normalize_before", False, False)
        activation = {"silu": "swish"}.get(need("activation_function"), values["activation_function"])
        if activation not in ("relu", "swish", "gelu"):
            raise UserError(f"{origin}: activation_function {activation!r}; polystill has relu, swish and gelu")
        return TransformerConfig(
            vocabulary_size=need("vocab_size"),
            pad_id=need("pad_token_id"),
            eos_id=need("eos_token_id"),
            d_model=need("d_model"),
            ffn_dim=values["encoder_ffn_dim"],
            heads=values["encoder_attention_heads"],
            encoder_layers=need("encoder_layers"),
            decoder_layers=need("decoder_layers"),
            activation=activation,
            dropout=values.get("dropout", 0.1),
            attention_dropout=values.get("attention_dropout", 0.0),
            activation_dropout=values.get("activation_dropout", 0.0),
            max_positions=values.get("max_position_embeddings", 512),
            positions=_read_positions(values, origin),
        )

    def config_files(self, config: TransformerConfig) -> dict[str, dict[str, Any]]:
        return {"config.json": _config(config), "generation_config.json": _generation_config(config)}

    def stored_names(self, config: TransformerConfig) -> dict[str, tuple[str, ...]]:
        names: dict[str, tuple[str, ...]] = {"embedding": (_EMBEDDING,), "output_bias": (_BIAS,)}
        for side, layers in (("encoder", config.encoder_layers), ("decoder", config.decoder_layers)):
            for i, (ours, parts), kind in product(range(layers), _LAYER[side], ("weight", "bias")):
                names[f"{side}.{i}.{ours}.{kind}"] = tuple(f"model.{side}.layers.{i}.{p}.{kind}" for p in parts)
        return names

    def to_folder(self, state: dict[str, Tensor], config: TransformerConfig) -> dict[str, Tensor]:
        """MarianMTModel's state, without its copies of the tied embedding."""
        tensors = super().to_folder(state, config)
        tensors[_BIAS] = tensors[_BIAS][None]
        if config.positions != "huggingface":  # MarianMTModel makes those itself, and reads others from the folder
            for name in _POSITION_TABLES:
                tensors[name] = sinusoidal_positions(config.max_positions, config.d_model, config.positions)
        return tensors

    def from_folder(self, tensors: dict[str, Tensor], config: TransformerConfig, origin: str) -> dict[str, Tensor]:
        """Our state. Folders may leave out the bias, hold the embedding under any of its names, and repeat it."""
        tensors = dict(tensors)
        copies = {name: tensors.pop(name) for name in _TIED if name in tensors}
        tables = {name: tensors.pop(name) for name in _POSITION_TABLES if name in tensors}
        if copies:
            tensors.setdefault(_EMBEDDING, next(iter(copies.values())))
        tensors[_BIAS] = tensors.get(_BIAS, torch.zeros(config.vocabulary_size)).reshape(-1)
        state = super().from_folder(tensors, config, origin)
        for name, copy in copies.items():
            if not torch.equal(copy.float(), tensors[_EMBEDDING].float()):
                raise UserError(f"{origin}: {name!r} differs from the shared embedding; polystill needs all three tied")
        for name, table in tables.items():
            count = min(len(table), config.max_positions)
            expected = sinusoidal_positions(count, config.d_model, config.positions)
            if table.shape[1] != config.d_model or not torch.allclose(table[:count].float(), expected, atol=1e-3):
                raise UserError(f"{origin}: {name!r} holds other positions than the sinusoids of its configuration")
        return state


# --- config.json ----------------------------------------------------------------------------------------------------


def _config(config: TransformerConfig) -> dict[str, Any]:
    return {
        "architectures": ["MarianMTModel"],
        "model_type": "marian",
        "vocab_size": config.vocabulary_size,
        "decoder_vocab_size": config.vocabulary_size,
        "d_model": config.d_model,
        "encoder_layers": config.encoder_layers,
        "decoder_layers": config.decoder_layers,
        "num_hidden_layers": config.encoder_layers,
        "encoder_attention_heads": config.heads,
        "decoder_attention_heads": config.heads,
        "encoder_ffn_dim": config.ffn_dim,
        "decoder_ffn_dim": config.ffn_dim,
        "activation_function": config.activation,
        "dropout": config.dropout,
        "attention_dropout": config.attention_dropout,
        "activation_dropout": config.activation_dropout,
        "encoder_layerdrop": 0.0,
        "decoder_layerdrop": 0.0,
        "max_position_embeddings": config.max_positions,
        **({} if config.positions == "huggingface" else {_POSITIONS_KEY: config.positions}),
        "scale_embedding": True,
        "share_encoder_decoder_embeddings": True,
        "tie_word_embeddings": True,
        "is_encoder_decoder": True,
        "pad_token_id": config.pad_id,
        "eos_token_id": config.eos_id,
        "bos_token_id": None,
        "decoder_start_token_id": config.pad_id,
        "dtype": "float32",
    }


def _generation_config(config: TransformerConfig) -> dict[str, Any]:
    """As in polystill's own decoding, `<pad>` gets no probability, and a beam of n ends with n translations."""
    return {
        "decoder_start_token_id": config.pad_id,
        "eos_token_id": config.eos_id,
        "forced_eos_token_id": config.eos_id,
        "pad_token_id": config.pad_id,
        "bad_words_ids": [[config.pad_id]],
        "max_length": config.max_positions,
        "num_beams": 5,
        "early_stopping": True,
    }


def _read_positions(values: dict[str, Any], origin: str) -> str:
    kind = values.get(_POSITIONS_KEY, "huggingface")
    if kind not in POSITIONS:
        raise UserError(f"{origin}: {_POSITIONS_KEY} is {kind!r}; polystill has {' and '.join(POSITIONS)}")
    return str(kind)
