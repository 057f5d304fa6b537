"""The Transformer as a Hugging Face Marian folder: the one table of its foreign names, and its config.json.

Our parameters fuse query, key and value into one matrix; all others map one to one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from polystill.errors import UserError
from polystill.models.elastic import Architecture, clear_pad
from polystill.models.passes import PassPlan
from polystill.models.transformer import (
    POSITIONS,
    Transformer,
    TransformerConfig,
    multiply_adds,
    sinusoidal_positions,
)

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
# MarianMTModel saves these again for each side; all three are the one embedding.
_TIED = ("model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight", "lm_head.weight")
_POSITION_TABLES = ("model.encoder.embed_positions.weight", "model.decoder.embed_positions.weight")


class TransformerArchitecture(Architecture[TransformerConfig]):
    """Our Transformer, which is MarianMTModel under other names."""

    name = "transformer"
    model_type = "marian"
    config_class = TransformerConfig
    model_class = Transformer

    def read_config(self, values: dict[str, Any], origin: str) -> TransformerConfig:
        return _read_config(values, origin)

    def config_files(self, config: TransformerConfig) -> dict[str, dict[str, Any]]:
        return {"config.json": _config(config), "generation_config.json": _generation_config(config)}

    def parameter_names(self, config: TransformerConfig) -> set[str]:
        return {name for _, parts in _names(config) for name in parts}

    def to_folder(self, state: dict[str, Tensor], config: TransformerConfig) -> dict[str, Tensor]:
        """MarianMTModel's state, without its copies of the tied embedding."""
        marian: dict[str, Tensor] = {}
        for ours, names in _names(config):
            for name, part in zip(names, state[ours].detach().chunk(len(names)), strict=True):
                marian[name] = part[None].contiguous() if name == "final_logits_bias" else part.contiguous()
        if config.positions != "huggingface":  # MarianMTModel makes those itself, and reads others from the folder
            for name in _POSITION_TABLES:
                marian[name] = sinusoidal_positions(config.max_positions, config.d_model, config.positions)
        return marian

    def from_folder(self, tensors: dict[str, Tensor], config: TransformerConfig, origin: str) -> dict[str, Tensor]:
        marian = _with_shared_embedding(tensors, config)
        state: dict[str, Tensor] = {}
        shapes = self.shapes(config)
        for ours, names in _names(config):
            for name in names:
                if name not in marian:
                    raise UserError(
                        f"{origin}: not a Marian model that polystill can read: parameter {name!r} is missing"
                    )
            parts = [marian.pop(name).float() for name in names]
            tensor = parts[0].reshape(-1) if ours == "output_bias" else torch.cat(parts)
            if tensor.shape != shapes[ours]:
                raise UserError(
                    f"{origin}: parameter {names[0]!r} has shape {list(tensor.shape)}, "
                    f"but config.json says {list(shapes[ours])}"
                )
            state[ours] = tensor
        _check_rest(marian, state["embedding"], config, origin)
        clear_pad(state, config.pad_id, origin)
        return state

    def multiply_adds(
        self, config: TransformerConfig, plan: PassPlan, sentences: int, source_length: int, target_length: int
    ) -> int:
        return multiply_adds(config, plan, sentences, source_length, target_length)


# --- model.safetensors ----------------------------------------------------------------------------------------------


def _names(config: TransformerConfig) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Our parameters' names, each with Marian's names of the parts that it stacks along its first dimension."""
    yield "embedding", ("model.shared.weight",)
    yield "output_bias", ("final_logits_bias",)
    for side, layers in (("encoder", config.encoder_layers), ("decoder", config.decoder_layers)):
        for i in range(layers):
            for ours, parts in _LAYER[side]:
                for kind in ("weight", "bias"):
                    yield (
                        f"{side}.{i}.{ours}.{kind}",
                        tuple(f"model.{side}.layers.{i}.{part}.{kind}" for part in parts),
                    )


def _with_shared_embedding(tensors: dict[str, Tensor], config: TransformerConfig) -> dict[str, Tensor]:
    """Add what some Marian folders leave out: the embedding's own name, and a bias of zero."""
    marian = dict(tensors)
    if "model.shared.weight" not in marian:
        for name in _TIED:
            if name in marian:
                marian["model.shared.weight"] = marian[name]
                break
    marian.setdefault("final_logits_bias", torch.zeros(1, config.vocabulary_size))
    return marian


def _check_rest(rest: dict[str, Tensor], embedding: Tensor, config: TransformerConfig, origin: str) -> None:
    """Refuse tensors that are neither copies of the embedding nor the positions of the configuration."""
    for name, tensor in rest.items():
        if name in _TIED:
            if tensor.shape != embedding.shape or not torch.equal(tensor.float(), embedding):
                raise UserError(f"{origin}: {name!r} differs from the shared embedding; polystill needs all three tied")
        elif name in _POSITION_TABLES:
            count = min(len(tensor), config.max_positions)
            ours = sinusoidal_positions(count, config.d_model, config.positions)
            if tensor.shape[1] != config.d_model or not torch.allclose(tensor[:count].float(), ours, atol=1e-3):
                raise UserError(f"{origin}: {name!r} holds other positions than the sinusoids of its configuration")
        else:
            raise UserError(f"{origin}: unknown parameter {name!r}; is this a Marian model?")


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


def _read_config(values: dict[str, Any], origin: str) -> TransformerConfig:
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


def _read_positions(values: dict[str, Any], origin: str) -> str:
    kind = values.get(_POSITIONS_KEY, "huggingface")
    if kind not in POSITIONS:
        raise UserError(f"{origin}: {_POSITIONS_KEY} is {kind!r}; polystill has {' and '.join(POSITIONS)}")
    return str(kind)
