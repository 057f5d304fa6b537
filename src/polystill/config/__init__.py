"""The recipe: everything that one run depends on, as typed and checked values.

A recipe is a YAML file; `--set key.path=value` changes single values. Unknown keys, wrong types and impossible
combinations are found here, before any work starts, with the file, the field and what would be right.
"""

from polystill.config.data import (
    GOLD,
    Cleaning,
    Data,
    TokenizerSettings,
)
from polystill.config.model import BESIDE_START, PRESETS, TRANSFORMER_ONLY, Model, Students, Supernet
from polystill.config.reading import load_recipe, parse_recipe
from polystill.config.recipe import Evaluation, Recipe
from polystill.config.training import Mode, Precision, Pruning, Stage, Training

__all__ = [
    "BESIDE_START",
    "GOLD",
    "PRESETS",
    "TRANSFORMER_ONLY",
    "Cleaning",
    "Data",
    "Evaluation",
    "Mode",
    "Model",
    "Precision",
    "Pruning",
    "Recipe",
    "Stage",
    "Students",
    "Supernet",
    "TokenizerSettings",
    "Training",
    "load_recipe",
    "parse_recipe",
]
