"""model.positions, from the recipe to the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from polystill.config import parse_recipe
from polystill.models.folder import load_model_with_tokenizer
from polystill.models.transformer import Transformer, sinusoidal_positions
from polystill.training.start import build_model


@pytest.mark.parametrize(
    ("start", "positions", "expected"),
    [
        (None, None, "huggingface"),
        (None, "marian", "marian"),
        ("counting_student", None, "huggingface"),
        ("counting_student", "marian", "marian"),
        ("marian_student", None, "marian"),
    ],
)
def test_the_recipes_or_else_those_of_the_start(
    start: str | None,
    positions: str | None,
    expected: str,
    counting_recipe: dict[str, Any],
    counting_student: Path,
    request: pytest.FixtureRequest,
) -> None:
    folder = request.getfixturevalue(start) if start else counting_student
    if start:
        counting_recipe["model"] = {"start": str(folder)}
        del counting_recipe["data"]["tokenizer"]
    if positions:
        counting_recipe["model"]["positions"] = positions
    recipe = parse_recipe(counting_recipe, "test")
    recipe.refuse_ignored_keys()
    _, tokenizer = load_model_with_tokenizer(folder)
    model = build_model(recipe, tokenizer)
    assert isinstance(model, Transformer)
    assert model.config.positions == expected
    table = sinusoidal_positions(model.max_positions, model.config.d_model, expected)
    assert torch.equal(model.positions, table)


def test_marians_last_frequency_is_a_ten_thousandth() -> None:
    table = sinusoidal_positions(3, 8, "marian")
    expected = torch.tensor([2.0, 2.0 * 10000 ** (-1 / 3), 2.0 * 10000 ** (-2 / 3), 2.0e-4]).sin()
    assert torch.allclose(table[2, :4], expected)
