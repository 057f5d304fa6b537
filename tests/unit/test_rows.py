"""What tells rows apart, and what they are called: the same everywhere."""

from __future__ import annotations

from typing import Any

import pytest

from polystill.config import Recipe
from polystill.runs.rows import artefact_name, device_key, measured_as_recipe, row_key, student_name, system_key

ROW: dict[str, Any] = {
    "model_id": "x-e2d2",
    "model": "e2d2",
    "test_set": "t",
    "device": "phone",
    "engine": "ctranslate2",
}
ROW |= {"precision": "int8", "beam": 1, "length_penalty": 1.0}


@pytest.mark.parametrize("key", [row_key, system_key, device_key])
def test_a_shortlist_makes_another_row(key: Any) -> None:
    assert key({**ROW, "shortlist": True}) != key(ROW) == key({**ROW, "shortlist": False})


def test_names() -> None:
    assert student_name(ROW) == "e2d2"
    assert student_name({**ROW, "shortlist": True}) == "e2d2 +list"
    assert artefact_name("ctranslate2", "int8", False) == "ctranslate2-int8"
    assert artefact_name("ctranslate2", "int8", True) == "ctranslate2-int8-shortlist"


def test_measured_as_the_recipe_says_is_without_a_shortlist(counting_recipe: dict[str, Any]) -> None:
    settings = {"engine": "ctranslate2", "precision": "int8", "length_penalty": 1.0}
    recipe = Recipe.model_validate({**counting_recipe, "evaluation": settings})
    short = {**ROW, "shortlist": True}
    assert measured_as_recipe(ROW, recipe) and not measured_as_recipe(short, recipe)
    assert measured_as_recipe(short, recipe, shortlist=True) and not measured_as_recipe(ROW, recipe, shortlist=True)
    assert measured_as_recipe({**ROW, "precision": "float32"}, recipe, "float32")
    assert not measured_as_recipe({**ROW, "length_penalty": 0.6}, recipe)
