"""Networks of elastic depth, and their registry: a new architecture is one more line here."""

from __future__ import annotations

from typing import Any

from polystill.models.elastic import Architecture
from polystill.models.lstm import LstmArchitecture
from polystill.models.marian import TransformerArchitecture

_ARCHITECTURES: list[Architecture[Any]] = [
    TransformerArchitecture(),
    LstmArchitecture(),
]

ARCHITECTURES = {architecture.name: architecture for architecture in _ARCHITECTURES}
"""By the recipe's `model.architecture`."""

for _architecture in _ARCHITECTURES:
    _architecture.config_class.architecture = _architecture
