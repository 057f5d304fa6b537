"""The architectures by name: the one place that lists them, and how each stands in a folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from polystill.errors import UserError
from polystill.models.elastic import ElasticModel
from polystill.models.lstm import Lstm, LstmConfig
from polystill.models.lstm_folder import (
    MODEL_TYPE,
    from_lstm_folder,
    lstm_config_files,
    lstm_parameter_names,
    read_lstm_config,
    to_lstm_folder,
)
from polystill.models.marian import (
    from_marian,
    marian_config_files,
    marian_parameter_names,
    read_marian_config,
    to_marian,
)
from polystill.models.transformer import Transformer, TransformerConfig


@dataclass(frozen=True)
class Architecture:
    """One architecture. Where depths are asked for, they are (encoder layers, decoder layers)."""

    model_type: str
    """In config.json."""
    model: Callable[[Any], ElasticModel]
    config: Callable[..., Any]
    read_config: Callable[[dict[str, Any], str], Any]
    """config.json's values and where they come from, to a configuration."""
    config_files: Callable[[Any, int, int], dict[str, dict[str, Any]]]
    """The JSON files of a folder, by name."""
    parameter_names: Callable[[int, int], set[str]]
    """The names in model.safetensors."""
    to_folder: Callable[[dict[str, Tensor], Any, int, int], dict[str, Tensor]]
    """State and configuration to the tensors of model.safetensors."""
    from_folder: Callable[[dict[str, Tensor], Any, str], dict[str, Tensor]]


ARCHITECTURES = {
    "transformer": Architecture(
        "marian",
        Transformer,
        TransformerConfig,
        read_marian_config,
        marian_config_files,
        marian_parameter_names,
        to_marian,
        from_marian,
    ),
    "lstm": Architecture(
        MODEL_TYPE,
        Lstm,
        LstmConfig,
        read_lstm_config,
        lstm_config_files,
        lstm_parameter_names,
        to_lstm_folder,
        from_lstm_folder,
    ),
}
"""By the recipe's `model.architecture`."""


def architecture_name(model_type: Any, origin: str) -> str:
    """The architecture whose folders say this `model_type`.

    Raises:
        UserError: none's do.
    """
    for name, architecture in ARCHITECTURES.items():
        if architecture.model_type == model_type:
            return name
    known = " or ".join(repr(architecture.model_type) for architecture in ARCHITECTURES.values())
    raise UserError(f"{origin}: model_type is {model_type!r}, expected {known}")


def architecture_of(model: ElasticModel) -> str:
    """The name of a model's architecture."""
    return next(name for name, architecture in ARCHITECTURES.items() if architecture.model is type(model))
