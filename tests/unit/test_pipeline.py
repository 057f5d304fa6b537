"""What is refused before hours are spent, and what that check reads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from polystill.config import parse_recipe
from polystill.errors import UserError
from polystill.models import folder as model_folder
from polystill.pipeline import check_recipe, prepare_data
from polystill.runs import Run
from polystill.targets.store import Candidate, Entry


@pytest.fixture
def start(counting_student: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(counting_student, tmp_path / "start"))


@pytest.fixture
def recipe(start: Path, counting_recipe: dict[str, Any]) -> dict[str, Any]:
    del counting_recipe["data"]["tokenizer"]
    counting_recipe["data"]["max_tokens"] = 48
    return {**counting_recipe, "model": {"start": str(start)}}


def test_a_start_model_is_checked_without_its_weights(recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_folder, "load_model", lambda *_: pytest.fail("weights are loaded"))
    space = check_recipe(parse_recipe(recipe, "test"))
    assert str(space.teacher) == "e2d2"
    recipe["data"]["max_tokens"] = 49
    with pytest.raises(UserError, match=r"data.max_tokens 49 .* 48 positions"):
        check_recipe(parse_recipe(recipe, "test"))


def test_a_start_model_without_weights_or_of_another_architecture_is_refused(
    recipe: dict[str, Any], start: Path
) -> None:
    lstm = {**recipe, "model": {**recipe["model"], "architecture": "lstm"}}
    with pytest.raises(UserError, match=r"model\.start: .*start needs model\.architecture: transformer"):
        check_recipe(parse_recipe(lstm, "test"))
    weights = start / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(UserError, match=r"^model\.start: .*not a readable safetensors file"):
        check_recipe(parse_recipe(recipe, "test"))
    weights.unlink()
    with pytest.raises(UserError, match=r"^model\.start: .*model\.safetensors: no such file"):
        check_recipe(parse_recipe(recipe, "test"))


def test_a_start_model_whose_vocabulary_does_not_fit_is_refused(recipe: dict[str, Any], start: Path) -> None:
    config = json.loads((start / "config.json").read_text())
    config["vocab_size"] = config["decoder_vocab_size"] = 50
    (start / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"^model\.start: .*45 entries, but config\.json says vocab_size 50"):
        check_recipe(parse_recipe(recipe, "test"))


def test_targets_and_frozen_teachers_of_another_language_pair_are_refused(
    counting_recipe: dict[str, Any], start: Path, make_targets: Any, tmp_path: Path
) -> None:
    entries = [Entry([0], "one two", [], [Candidate("deux un")])]
    make_targets(tmp_path / "news", entries, kind="text", languages=["en", "fr"])
    counting_recipe["data"]["targets"] = {"news": str(tmp_path / "news")}
    with pytest.raises(UserError, match=r"^data\.targets\.news: .*news: this is for en–fr, but en–de is needed"):
        check_recipe(parse_recipe(counting_recipe, "test"))

    config = json.loads((start / "tokenizer_config.json").read_text())
    (start / "tokenizer_config.json").write_text(json.dumps({**config, "target_lang": "fr"}))
    del counting_recipe["data"]["targets"]
    counting_recipe["data"]["max_tokens"] = 48
    counting_recipe["objective"] = {"kind": "word_kd", "teacher": str(start)}
    del counting_recipe["stages"][1]
    with pytest.raises(UserError, match=r"^objective\.teacher: .*start: this is for en–fr, but en–de is needed"):
        check_recipe(parse_recipe(counting_recipe, "test"))


def test_other_data_are_not_prepared_for_a_run_that_has_trained(
    counting_recipe: dict[str, Any], tmp_path: Path, counting_data: Path
) -> None:
    corpus = Path(shutil.copytree(counting_data, tmp_path / "corpus"))
    recipe = parse_recipe({**counting_recipe, "data": {**counting_recipe["data"], "folder": str(corpus)}}, "test")
    prepare_data(recipe, folder := tmp_path / "run")
    (folder / "checkpoints").mkdir()
    shutil.rmtree(folder / "data")
    whole = (corpus / "train.de").read_text()
    (corpus / "train.de").write_text(whole.replace("null eins", "eins null"))
    with pytest.raises(UserError, match=f"^{folder}: its networks were trained on other data"):
        prepare_data(recipe, folder)
    assert not (folder / "data").exists()
    (corpus / "train.de").write_text(whole)
    prepare_data(recipe, folder)
    Run.open(folder).check_data()


@pytest.mark.parametrize("name", ["train/00000.arrow", "tokenizer/source.spm", "test/counting.target.txt"])
def test_a_flipped_bit_in_prepared_data_is_noticed(counting_recipe: dict[str, Any], tmp_path: Path, name: str) -> None:
    recipe, folder = parse_recipe(counting_recipe, "test"), tmp_path / "run"
    prepare_data(recipe, folder)
    path = folder / "data" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"^{path}: damaged, .* or remove {folder / 'data'}, and polystill run"):
        prepare_data(recipe, folder)
    if name.startswith("test/"):
        with pytest.raises(UserError, match=f"^{path}: damaged"):
            Run.open(folder).test_lines("counting", "target")
    shutil.rmtree(folder / "data")
    prepare_data(recipe, folder)
