"""Every recipe that is shipped loads, and its students fit its teacher."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from polystill.config import load_recipe
from polystill.errors import UserError
from polystill.models.folder import load_model_with_tokenizer
from polystill.pipeline import check_recipe

FOLDER = Path(__file__).parents[2] / "recipes"
DOCS = FOLDER.parent / "docs"
RECIPES = sorted(FOLDER.glob("*.y*ml"))


def test_the_promised_recipes_are_there() -> None:
    assert {"quickstart.yaml", "multi30k.yaml", "multi30k-lstm.yaml"} <= {path.name for path in RECIPES}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_recipe_loads(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert recipe.data.test
    if recipe.model.start is None:  # or else the run that it starts from says which students there are
        gold = load_recipe(path, ["data.targets={}", "targets={gold: 1}"])  # other commands make its targets first
        assert len(check_recipe(gold).candidates) >= (6 if recipe.method == "aio_kd" else 1)


def test_quickstart_has_both_stages_and_unseen_test_sentences() -> None:
    recipe = load_recipe(FOLDER / "quickstart.yaml")
    mutual = [recipe.stage_objective(stage).model_dump()["mutual"] for stage in recipe.stages]
    assert mutual[0] == "none"
    assert mutual[-1] != "none"
    assert recipe.data.train[0].split == "train"  # type: ignore[union-attr]
    assert {source.split for source in recipe.data.test.values()} == {"test"}  # type: ignore[union-attr]


def test_students_to_evaluate_are_those_that_are_trained() -> None:
    settings = ["evaluation.students=[e1d1]", "objective={kind: nll}", "stages=[{name: one, updates: 1}]"]
    with pytest.raises(UserError, match="e1d1 is not in this family; it has: small-e3d3 e3d3"):
        check_recipe(load_recipe(FOLDER / "quickstart.yaml", settings))


def test_a_precision_is_checked_with_the_engines_of_those_that_are_evaluated() -> None:
    mixed = ["supernets={recurrent: {architecture: lstm, d_model: 8}}", "evaluation.precision=int8"]
    with pytest.raises(UserError, match="precision 'int8': torch has float32"):
        check_recipe(load_recipe(FOLDER / "quickstart.yaml", mixed))
    check_recipe(load_recipe(FOLDER / "quickstart.yaml", [*mixed, "evaluation.students=[e2d2]"]))


@pytest.mark.parametrize(
    ("engine", "message"), [("torch", "torch has float32 bfloat16 float16"), ("ctranslate2", "it has")]
)
def test_a_precision_that_the_engine_lacks_is_found_before_training(engine: str, message: str) -> None:
    settings = [f"evaluation.engine={engine}", "evaluation.precision=int9"]
    with pytest.raises(UserError, match=f"precision 'int9'.*{message}"):
        check_recipe(load_recipe(FOLDER / "quickstart.yaml", settings))


def test_multi30k_lstm_is_a_teacher_or_a_family_for_the_torch_engine() -> None:
    recipe = load_recipe(FOLDER / "multi30k-lstm.yaml")
    assert recipe.evaluation.engine_for(recipe.model.architecture) == "torch"
    assert list(map(str, check_recipe(recipe).candidates)) == ["e2d2"]
    family = load_recipe(FOLDER / "multi30k-lstm.yaml", ["objective.kind=aio_kd"])
    assert list(map(str, check_recipe(family).candidates)) == ["e1d1", "e2d1", "e2d2"]


def test_multi30k_has_two_widths_and_the_published_space_one() -> None:
    recipe = load_recipe(FOLDER / "multi30k.yaml", ["data.folder=/elsewhere"])
    names = list(map(str, check_recipe(recipe).candidates))
    assert len(names) == 29 and {"tiny-e1d1", "small-e3d2", "small-e6d6", "e3d2", "e6d6"} <= set(names)
    assert recipe.data.folder == "/elsewhere"
    assert len(check_recipe(load_recipe(FOLDER / "multi30k-one-width.yaml")).candidates) == 15


def test_the_recipe_for_an_opus_mt_model_is_one(tmp_path: Path) -> None:
    """Of docs/opus-mt.md; its sizes come from the model."""
    (text,) = re.findall(r"```yaml\n(.*?)```", (DOCS / "opus-mt.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "recipe.yaml").write_text(text, encoding="utf-8")
    recipe = load_recipe(tmp_path / "recipe.yaml")
    recipe.refuse_ignored_keys()
    assert recipe.name == "from-opus-mt" and str(recipe.model.start).endswith("start")
    with pytest.raises(UserError, match=r"model\.start: .*start: no such folder"):
        check_recipe(recipe)
    with pytest.raises(UserError, match=r"model\.d_model.*leave"):
        load_recipe(tmp_path / "recipe.yaml", ["model.d_model=64"]).refuse_ignored_keys()


def test_what_transformers_has_saved_again_is_a_folder_to_start_from(counting_student: Path, tmp_path: Path) -> None:
    """As docs/opus-mt.md does with a folder whose weights would have to be unpickled."""
    from transformers import MarianMTModel, MarianTokenizer

    MarianMTModel.from_pretrained(counting_student).save_pretrained(tmp_path)
    MarianTokenizer.from_pretrained(counting_student).save_pretrained(tmp_path)
    model, tokenizer = load_model_with_tokenizer(tmp_path)
    before, expected = load_model_with_tokenizer(counting_student)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before.parameters(), strict=True))
    assert (tokenizer.pieces, tokenizer.source_language) == (expected.pieces, expected.source_language)
    assert tokenizer.encode_source(["one two"]) == expected.encode_source(["one two"])
