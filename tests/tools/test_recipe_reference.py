"""tools/recipe_reference.py: the page has every key, and is the one in docs/."""

from __future__ import annotations

from polystill.config.recipe import Recipe
from tools import recipe_reference


def test_the_page_is_up_to_date():
    assert recipe_reference.page() == recipe_reference.PAGE.read_text(encoding="utf-8"), (
        "run python tools/recipe_reference.py"
    )


def test_every_section_of_a_recipe_has_a_heading():
    page = recipe_reference.page()
    for key in Recipe.model_fields:
        if key not in {"name", "seed", "targets", "domains"}:
            assert f"](#{key}" in page, key
