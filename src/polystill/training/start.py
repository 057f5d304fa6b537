"""The networks that training starts from, new or trained ones, and whether a recipe fits them."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch

from polystill.config import BESIDE_START, Model, Recipe
from polystill.data.tokenizer import Tokenizer
from polystill.errors import UserError
from polystill.models import ARCHITECTURES
from polystill.models.elastic import ElasticConfig, ElasticModel
from polystill.models.folder import load_model_with_tokenizer
from polystill.models.projected_start import check_projection
from polystill.models.supernets import Supernets
from polystill.models.transformer import TransformerConfig
from polystill.runs.places import find_start
from polystill.training.accelerator import random_seed


def build_supernets(recipe: Recipe, tokenizer: Tokenizer) -> Supernets:
    """The supernets that training starts from: the first as `build_model` has it, the others new.

    Those that are to be projected from the first are new, too: `Session.project_before` projects them.

    Raises:
        UserError: as `build_model`.
    """
    first, further = build_model(recipe, tokenizer), {}
    for name, shape in recipe.supernets.items():
        torch.manual_seed(random_seed(recipe.seed, *name.encode()))  # whatever other supernets there are
        has = {field.name for field in fields(ARCHITECTURES[shape.architecture].config_class)}
        common = {key: getattr(first.config, key) for key in has & _IN_COMMON if hasattr(first.config, key)}
        further[name] = _new_model(shape.architecture, {**shape.sizes(), **common}, recipe, tokenizer)
    return Supernets(first, further)


_IN_COMMON = {"max_positions", "positions"}
"""The sizes that all supernets of a family have alike, as far as their architectures have them."""


def build_model(recipe: Recipe, tokenizer: Tokenizer) -> ElasticModel:
    """The first supernet that training starts from: new by the recipe's shape and seed, or from `model.start`.

    Raises:
        UserError: the start folder is no model of this architecture, or its vocabulary is not the data's.
    """
    shape = recipe.model
    if shape.start is None:
        torch.manual_seed(recipe.seed)
        return _new_model(shape.architecture, shape.sizes(), recipe, tokenizer)
    started, own_tokenizer = load_model_with_tokenizer(find_start(shape.start))
    if own_tokenizer.vocabulary_size != tokenizer.vocabulary_size or own_tokenizer.pieces != tokenizer.pieces:
        raise UserError(f"model.start: the vocabulary of {shape.start} is not the one that the data was tokenised with")
    check_architecture(started.config, recipe)
    changes = {key: value for key, value in shape.sizes().items() if key in BESIDE_START}
    return started.with_settings(kernels=_kernels(recipe), **changes)


def _new_model(name: str, sizes: dict[str, Any], recipe: Recipe, tokenizer: Tokenizer) -> ElasticModel:
    architecture = ARCHITECTURES[name]
    config = architecture.config_class(
        vocabulary_size=tokenizer.vocabulary_size,
        pad_id=tokenizer.pad_id,
        eos_id=tokenizer.eos_id,
        kernels=_kernels(recipe),
        **sizes,
    )
    return architecture.model_class(config)


def _kernels(recipe: Recipe) -> str:
    return "plain" if recipe.training.mode == "plain" else "fast"


def check_architecture(started: ElasticConfig, recipe: Recipe) -> None:
    """Raises UserError where the model that the recipe starts from has another architecture than the recipe says, or
    cannot be projected to the shape of a supernet that is to start from it."""
    if (name := started.architecture.name) != recipe.model.architecture:
        raise UserError(f"model.start: {recipe.model.start} needs model.architecture: {name}")
    if isinstance(started, TransformerConfig):
        check_projections(recipe, started)


def check_projections(recipe: Recipe, wide: TransformerConfig | Model) -> None:
    """Raises UserError where the first supernet cannot be projected to the shape of one that is to start from it."""
    for name, shape in recipe.supernets.items():
        if shape.start == "projected":
            check_projection(name, wide, shape)
