"""Bad input: status 2, one clear message with what and where, no traceback, and nothing of the user's overwritten."""

from __future__ import annotations

import gzip
import json
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.apart import drop_powers

SENTENCES = [f"The {word} is here number {i}." for i, word in enumerate(("dog", "house", "river", "book") * 30)]
GERMAN = [line.replace("The", "Das").replace("is here number", "ist hier Nummer") for line in SENTENCES]


@pytest.fixture
def text_recipe(tmp_path: Path, tiny_recipe: Path) -> Path:
    """The tiny recipe with text files of the user's as training data, which the tests then spoil."""
    (tmp_path / "train.en").write_text("\n".join(SENTENCES) + "\n")
    (tmp_path / "train.de").write_text("\n".join(GERMAN) + "\n")
    values = yaml.safe_load(tiny_recipe.read_text())
    values["data"]["folder"] = str(tmp_path)
    values["data"]["train"] = [{"kind": "text", "source": "train.en", "target": "train.de"}]
    path = tmp_path / "text.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def missing_file(folder: Path) -> None:
    (folder / "train.de").unlink()


def unequal_sides(folder: Path) -> None:
    (folder / "train.de").write_text("\n".join(GERMAN[:-3]) + "\n")


def empty_corpus(folder: Path) -> None:
    for side in ("en", "de"):
        (folder / f"train.{side}").write_text("")


def all_cleaned_away(folder: Path) -> None:
    (folder / "train.de").write_text("\n".join(SENTENCES) + "\n")  # identical sides


def binary_file(folder: Path) -> None:
    (folder / "train.de").write_bytes(bytes(range(256)) * 200)


def truncated_gzip(folder: Path) -> None:
    content = gzip.compress(os.urandom(5000).hex().encode())
    (folder / "train.de").write_bytes(content[: len(content) // 2])


def folder_for_a_file(folder: Path) -> None:
    (folder / "train.de").unlink()
    (folder / "train.de").mkdir()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (missing_file, ["train.de"]),
        (unequal_sides, ["train.en", "120", "117"]),
        (empty_corpus, ["train.en", "empty"]),
        (all_cleaned_away, ["all 120 pairs were cleaned away", "identical"]),
        (binary_file, ["train.de"]),
        (truncated_gzip, ["train.de"]),
        (folder_for_a_file, ["train.de"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_bad_text(
    polystill: Any, text_recipe: Path, tmp_path: Path, spoil: Callable[[Path], None], words: list[str]
) -> None:
    spoil(tmp_path)
    polystill("prepare", text_recipe, "--out", tmp_path / "run").refused(*words)
    assert not (tmp_path / "run" / "data").exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["trainin.threads=1"], ["unknown key 'trainin'", "did you mean 'training'?"]),
        (["training.lerning_rate=1"], ["'training.lerning_rate'", "did you mean 'learning_rate'?"]),
        (["training.learning_rate=fast"], ["training.learning_rate", "'fast'"]),
        (["evaluation.students=[e2d1, e9d9]"], ["e9d9", "e1d1 e2d1 e2d2"]),
        (["students.encoder=[1, 9]"], ["students.encoder", "2 encoder layers"]),
        (["evaluation.precision=int7"], ["int7", "int8"]),
        (["data.max_tokens=65"], ["data.max_tokens 65", "64 positions"]),
        (["model={start: /no/such/model}", "data.tokenizer={}"], ["model.start: /no/such/model"]),
        (["model.start=/no/such/model"], ["model.d_model", "data.tokenizer.vocabulary_size", "leave them out"]),
        (["data.validation.kind=synthetik"], ["data.validation", "synthetik"]),
        (["data.tokenizer.vocabulary_size=1000000"], ["vocabulary_size"]),
        (["seed"], ["--set seed", "key.path=value"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) and "=" in value[0] else "",
)
def test_bad_recipes(polystill: Any, tiny_recipe: Path, tmp_path: Path, settings: list[str], words: list[str]) -> None:
    given = [part for setting in settings for part in ("--set", setting)]
    polystill("prepare", tiny_recipe, "--out", tmp_path / "run", *given).refused(*words)


def test_recipe_that_is_not_there(polystill: Any, tmp_path: Path) -> None:
    polystill("run", tmp_path / "no.yaml", "--out", tmp_path / "run").refused("no.yaml", "no such recipe")
    assert not (tmp_path / "run").exists()


# --- start models -----------------------------------------------------------------------------------------------------


def cut_vocabulary(folder: Path) -> None:
    vocabulary = json.loads((folder / "vocab.json").read_text())
    (folder / "vocab.json").write_text(json.dumps({piece: i for piece, i in vocabulary.items() if i < 300}))


def other_vocabulary_size(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 399}))


def other_model_type(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "bart"}))


def pickled_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def truncated_weights(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (cut_vocabulary, ["vocab.json"]),
        (other_vocabulary_size, ["config.json", "400", "399"]),
        (other_model_type, ["config.json", "bart", "marian"]),
        (pickled_weights, ["model.safetensors", "never unpickles"]),
        (truncated_weights, ["model.safetensors"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_start_models_that_do_not_fit(
    polystill: Any,
    tiny_recipe: Path,
    finished_run: Path,
    tmp_path: Path,
    spoil: Callable[[Path], None],
    words: list[str],
) -> None:
    start = Path(shutil.copytree(finished_run / "family", tmp_path / "start"))
    (start / "family.json").unlink()
    spoil(start)
    settings = ("--set", f"model={{start: {start}}}", "--set", "data.tokenizer={}")
    polystill("prepare", tiny_recipe, "--out", tmp_path / "run", *settings).refused("model.start: ", *words)
    assert not (tmp_path / "run").exists()
    polystill("translate", start, stdin="A dog.\n").refused(*words)


# --- runs and students ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command", [["status"], ["evaluate"], ["pick"], ["comet"], ["extract", "e1d1"], ["export", "e1d1"], ["translate"]]
)
@pytest.mark.parametrize("kind", ["missing", "empty", "foreign"])
def test_folder_that_is_no_run(polystill: Any, tmp_path: Path, command: list[str], kind: str) -> None:
    folder = tmp_path / "folder"
    if kind != "missing":
        folder.mkdir()
    if kind == "foreign":
        (folder / "thesis.tex").write_text("mine")
    name, *student = command
    out = ["--out", str(tmp_path / "out")] if student else []
    polystill(name, folder, *student, *out).refused(folder)
    assert not (tmp_path / "out").exists()


def test_run_into_a_foreign_folder(polystill: Any, tiny_recipe: Path, tmp_path: Path) -> None:
    polystill("run", tiny_recipe, "--out", tmp_path).refused(tmp_path, "not empty and is not a run", "tiny.yaml")
    polystill("run", tiny_recipe, "--out", tiny_recipe).refused(tiny_recipe, "file")


@pytest.mark.parametrize("student", ["e1d2", "e3d1"])
def test_student_outside_the_space_lists_the_space(
    polystill: Any, finished_run: Path, tmp_path: Path, student: str
) -> None:
    words = [student, "e1d1 e2d1 e2d2"]
    polystill("extract", finished_run, student, "--out", tmp_path / "out").refused(*words)
    polystill("export", finished_run, student, "--out", tmp_path / "out").refused(*words)
    polystill("translate", finished_run, "--student", student, stdin="A dog.\n").refused(*words)
    polystill("translate", finished_run, "--student", student, "--engine", "torch", stdin="A.\n").refused(*words)
    assert list(tmp_path.iterdir()) == []


def test_wrong_student_name_and_quantization(polystill: Any, finished_run: Path, tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "out")]
    polystill("export", finished_run, "small", *out).refused("'small'", "e4d2")
    polystill("export", finished_run, "e1d1", *out, "--quantization", "int9").refused("int9", "int8")
    polystill("export", finished_run, "e1d1", *out, "--to", "hf", "--quantization", "int8").refused("quantization")
    assert not (tmp_path / "out").exists()


def test_export_into_a_foreign_folder(polystill: Any, finished_run: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    for command in ("extract", "export"):
        polystill(command, finished_run, "e1d1", "--out", tmp_path).refused(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("name", ["state.json", "results.json", "recipe.yaml"])
def test_damaged_run_files_are_named(polystill: Any, own_run: Path, name: str) -> None:
    content = (own_run / name).read_bytes()[:-20] + b"\x00{{"
    recipe = (own_run / "recipe.yaml").read_bytes()
    (own_run.parent / "copy.yaml").write_bytes(recipe)
    (own_run / name).write_bytes(content)
    polystill("run", own_run.parent / "copy.yaml", "--out", own_run).refused(own_run / name)
    assert (own_run / name).read_bytes() == content


# --- translate ------------------------------------------------------------------------------------------------------


def test_translate_mistakes(polystill: Any, finished_run: Path, tmp_path: Path) -> None:
    polystill("translate", finished_run, "--input", tmp_path / "no.en").refused("no.en", "No such file")
    polystill("translate", finished_run, "--input", tmp_path).refused(tmp_path)
    polystill("translate", finished_run, "--precision", "int7", stdin="A.\n").refused("int7", "int8")
    polystill("translate", finished_run, "--beam", "2", "--n-best", "3", stdin="A.\n").refused(
        "3 translations", "a beam of 2"
    )
    polystill("translate", finished_run, "--engine", "torch", "--precision", "int8").refused("float32")
    polystill("translate", finished_run, stdin=b"fine\n\xff\n").refused("stdin", "line 2", "UTF-8")
    polystill("translate", finished_run, "-o", tmp_path / "no" / "out", stdin="A.\n").refused(tmp_path / "no")


# --- the disk -------------------------------------------------------------------------------------------------------


def no_large_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


def test_no_space_left_in_the_data_stage(polystill: Any, tiny_recipe: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk: the system refuses the write in the same place."""
    folder = tmp_path / "run"
    polystill("prepare", tiny_recipe, "--out", folder, before=no_large_files).refused(folder, "no space left")
    assert not (folder / "data").exists()
    polystill("prepare", tiny_recipe, "--out", folder).ok()


def test_no_space_left_for_a_checkpoint(polystill: Any, tiny_recipe: Path, tmp_path: Path) -> None:
    """The run stops with the checkpoint's name, and continues once there is space."""
    folder = tmp_path / "run"
    arguments = ("run", tiny_recipe, "--out", folder, "--set", "evaluation.students=[e1d1]")
    polystill("prepare", *arguments[1:]).ok()
    polystill(*arguments, before=no_large_files).refused(folder / "checkpoints", "no space left")
    polystill(*arguments).ok()


def test_no_space_left_for_a_translation(polystill: Any, finished_run: Path) -> None:
    polystill("translate", finished_run, "-o", "/dev/full", stdin="A dog.\n").refused("/dev/full", "no space left")
    assert Path("/dev/full").is_char_device()


def test_no_permission(polystill: Any, tiny_recipe: Path, finished_run: Path, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    secret = tmp_path / "secret.en"
    secret.write_text("A dog.\n")
    secret.chmod(0)
    locked.chmod(0o555)
    commands: list[tuple[Any, ...]] = [
        ("run", tiny_recipe, "--out", locked / "run"),
        ("run", tiny_recipe, "--out", locked),
        ("extract", finished_run, "e1d1", "--out", locked / "out"),
        ("export", finished_run, "e1d1", "--out", locked / "out"),
        ("translate", finished_run, "--output", locked / "out"),
    ]
    for command in commands:
        done = polystill(*command, stdin="A dog.\n", before=drop_powers)
        done.refused(locked, "ermission")
    polystill("translate", finished_run, "--input", secret, before=drop_powers).refused(secret, "ermission")
    assert list(locked.iterdir()) == []
