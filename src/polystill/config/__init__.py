"""The recipe: everything that one run depends on, as typed and checked values.

A recipe is a YAML file; `--set key.path=value` changes single values. Unknown keys, wrong types and impossible
combinations are found here, before any work starts, with the file, the field and what would be right.
"""

from polystill.config.data import (
    GOLD,
    Cleaning,
    Data,
    HuggingFaceSource,
    MtdataSource,
    Source,
    SyntheticSource,
    TextSource,
    TokenizerSettings,
    TsvSource,
)
from polystill.config.model import BESIDE_START, PRESETS, TRANSFORMER_ONLY, Model, Students
from polystill.config.reading import load_recipe, parse_recipe
from polystill.config.recipe import Evaluation, Recipe
from polystill.config.training import Pruning, Stage, Training

__all__ = [
    "BESIDE_START",
    "GOLD",
    "PRESETS",
    "TRANSFORMER_ONLY",
    "Cleaning",
    "Data",
    "Evaluation",
    "HuggingFaceSource",
    "Model",
    "MtdataSource",
    "Pruning",
    "Recipe",
    "Source",
    "Stage",
    "Students",
    "SyntheticSource",
    "TextSource",
    "TokenizerSettings",
    "Training",
    "TsvSource",
    "load_recipe",
    "parse_recipe",
]
