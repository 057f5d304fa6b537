"""How an LSTM stands in a folder: config.json in our own terms, and model.safetensors under our own names.

Transformers has no such model; `model_type` "polystill-lstm" says whose it is.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from polystill.errors import UserError
from polystill.models.elastic import clear_pad
from polystill.models.lstm import Lstm, LstmConfig

MODEL_TYPE = "polystill-lstm"
_TERMS = {"vocabulary_size": "vocab_size", "pad_id": "pad_token_id", "eos_id": "eos_token_id"}
"""Those of `LstmConfig`'s fields that Hugging Face calls otherwise; its words are used, as in Marian's config.json."""
_SAVED = [name for name in LstmConfig.__dataclass_fields__ if name != "kernels"]
_COUNTS = ("vocabulary_size", "d_model", "encoder_layers", "decoder_layers", "max_positions")


def lstm_parameter_names(encoder_layers: int, decoder_layers: int) -> set[str]:
    """The parameters of a network of that depth."""
    config = LstmConfig(1, 0, 0, d_model=1, encoder_layers=encoder_layers, decoder_layers=decoder_layers)
    with torch.device("meta"):
        return set(Lstm(config).state_dict())


def to_lstm_folder(
    state: dict[str, Tensor], _: LstmConfig, encoder_layers: int, decoder_layers: int
) -> dict[str, Tensor]:
    """The first layers of our state."""
    names = lstm_parameter_names(encoder_layers, decoder_layers)
    return {name: tensor.detach().contiguous() for name, tensor in state.items() if name in names}


def from_lstm_folder(tensors: dict[str, Tensor], config: LstmConfig, origin: str) -> dict[str, Tensor]:
    """Our state, in float32.

    Raises:
        UserError: a parameter is missing, has another shape than the folder's configuration says, or is unknown.
    """
    with torch.device("meta"):
        expected = Lstm(config).state_dict()
    for name, ours in expected.items():
        if name not in tensors:
            raise UserError(f"{origin}: parameter {name!r} is missing")
        if tensors[name].shape != ours.shape:
            raise UserError(
                f"{origin}: parameter {name!r} has shape {list(tensors[name].shape)}, "
                f"but config.json says {list(ours.shape)}"
            )
    for name in tensors:
        if name not in expected:
            raise UserError(f"{origin}: unknown parameter {name!r}; is this one of polystill's LSTMs?")
    state = {name: tensor.float() for name, tensor in tensors.items()}
    clear_pad(state, config.pad_id, origin)
    return state


def lstm_config_files(config: LstmConfig, encoder_layers: int, decoder_layers: int) -> dict[str, dict[str, Any]]:
    """The folder's JSON files for the first layers."""
    fields = asdict(replace(config, encoder_layers=encoder_layers, decoder_layers=decoder_layers))
    named = {_TERMS.get(name, name): fields[name] for name in _SAVED}
    return {"config.json": {"architectures": ["Lstm"], "model_type": MODEL_TYPE, **named, "dtype": "float32"}}


def read_lstm_config(values: dict[str, Any], origin: str) -> LstmConfig:
    """The shape that config.json describes.

    Raises:
        UserError: a key is missing or no number that can be right.
    """
    fields: dict[str, Any] = {}
    for name in _SAVED:
        key = _TERMS.get(name, name)
        if key not in values:
            raise UserError(f"{origin}: key {key!r} is missing")
        value, least = values[key], 1 if name in _COUNTS else 0
        is_number = isinstance(value, int | float if name == "dropout" else int) and not isinstance(value, bool)
        if not is_number or value < least:
            raise UserError(f"{origin}: {key} is {value!r}; expected a number from {least} on")
        fields[name] = value
    return LstmConfig(**fields)
