"""Every recipe that is shipped loads, and its students fit its teacher."""

from __future__ import annotations

from pathlib import Path

import pytest

from polystill.config import load_recipe
from polystill.errors import UserError
from polystill.recipe_checks import check_recipe

FOLDER = Path(__file__).parents[2] / "recipes"
RECIPES = sorted(FOLDER.glob("*.y*ml"))


def test_the_promised_recipes_are_there() -> None:
    assert {"quickstart.yaml", "multi30k.yaml", "multi30k-lstm.yaml"} <= {path.name for path in RECIPES}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_recipe_loads(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    space = check_recipe(recipe)
    assert len(space.candidates) >= (6 if recipe.method == "aio_kd" else 1)
    assert recipe.data.test


def test_quickstart_has_both_stages_and_unseen_test_sentences() -> None:
    recipe = load_recipe(FOLDER / "quickstart.yaml")
    mutual = [recipe.stage_objective(stage).mutual for stage in recipe.stages]
    assert mutual[0] == "none"
    assert mutual[-1] != "none"
    assert recipe.data.train[0].split == "train"  # type: ignore[union-attr]
    assert {source.split for source in recipe.data.test.values()} == {"test"}  # type: ignore[union-attr]


def test_students_to_evaluate_are_those_that_are_trained() -> None:
    settings = ["evaluation.students=[e1d1]", "objective.kind=nll"]
    with pytest.raises(UserError, match="e1d1 is not in this family; it has: e3d3"):
        check_recipe(load_recipe(FOLDER / "quickstart.yaml", settings))


@pytest.mark.parametrize(
    ("engine", "message"), [("torch", "torch has float32 bfloat16 float16"), ("ctranslate2", "it has")]
)
def test_a_precision_that_the_engine_lacks_is_found_before_training(engine: str, message: str) -> None:
    settings = [f"evaluation.engine={engine}", "evaluation.precision=int9"]
    with pytest.raises(UserError, match=f"precision 'int9'.*{message}"):
        check_recipe(load_recipe(FOLDER / "quickstart.yaml", settings))


def test_multi30k_lstm_is_a_teacher_or_a_family_for_the_torch_engine() -> None:
    recipe = load_recipe(FOLDER / "multi30k-lstm.yaml")
    assert recipe.evaluation.engine == "torch"
    assert list(map(str, check_recipe(recipe).candidates)) == ["e2d2"]
    family = load_recipe(FOLDER / "multi30k-lstm.yaml", ["objective.kind=aio_kd"])
    assert list(map(str, check_recipe(family).candidates)) == ["e1d1", "e2d1", "e2d2"]


def test_multi30k_is_the_published_space() -> None:
    recipe = load_recipe(FOLDER / "multi30k.yaml", ["data.folder=/elsewhere"])
    assert len(check_recipe(recipe).candidates) == 15
    assert recipe.data.folder == "/elsewhere"
