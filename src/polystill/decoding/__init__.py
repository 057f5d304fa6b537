"""Decoding: translate with a model. ENGINES is the registry of the engines that run one, one file each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from polystill.decoding.ctranslate2 import CTranslate2
from polystill.decoding.engine import Engine
from polystill.decoding.torch import Torch
from polystill.errors import UserError, nearest

ENGINES: dict[str, Engine] = {engine.name: engine for engine in (CTranslate2(), Torch())}
"""All engines, by their names. The first one that has a model's architecture runs it by default."""

if TYPE_CHECKING:
    EngineName: TypeAlias = str
else:  # choices, for the command line
    EngineName = Literal[tuple(ENGINES)]


def find_engine(name: str) -> Engine:
    """Return the engine of that name.

    Raises:
        UserError: there is none; the message lists all engines.
    """
    if name not in ENGINES:
        raise UserError(f"engine {name!r}: unknown{nearest(name, list(ENGINES))}; there are: {' '.join(ENGINES)}")
    return ENGINES[name]


def default_engine(architecture: str) -> Engine:
    """Return the engine that runs models of an architecture unless the user chooses another one."""
    return next(engine for engine in ENGINES.values() if architecture in engine.architectures)
