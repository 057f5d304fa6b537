"""What may be named as a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from polystill.errors import UserError
from polystill.export import FORMATS
from polystill.runs.places import OTHER_PROGRAMS, Kind, Place, find_folder, find_model, find_start, open_place


def test_runs_students_and_folders_are_found(tmp_path: Path) -> None:
    run, device, model = tmp_path / "run", tmp_path / "device", tmp_path / "model"
    for path in (run / "recipe.yaml", run / "family" / "config.json", device / "model.bin", model / "config.json"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert find_model(run) == Place(run, Kind.RUN, run / "family", run=run)
    assert find_model(run / "e4d2") == Place(run / "e4d2", Kind.STUDENT, run / "family", run=run, student="e4d2")
    assert find_folder(run) == run / "family"
    with pytest.raises(
        UserError, match=r"run/e4d2: a folder is needed; write the student's with polystill extract \S*run e4d2"
    ):
        find_folder(run / "e4d2")
    assert find_model(run / "family") == Place(run / "family", Kind.MODEL, run / "family")
    (run / "family" / "family.json").touch()
    assert find_model(run / "family").kind is Kind.FAMILY
    assert find_model(device) == Place(device, Kind.CTRANSLATE2, device)
    assert find_model(model) == Place(model, Kind.MODEL, model)


@pytest.mark.parametrize("names", [["model.npz"], ["model.bin", "decoder.yml"], ["model.npz", "model.bin"]])
def test_what_marian_wrote_is_told_from_what_looks_like_it(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).touch()
    assert find_model(tmp_path) == Place(tmp_path, Kind.MARIAN, tmp_path)
    (tmp_path / "model.en.intgemm8.bin").touch()
    (tmp_path / "vocab.en.spm").touch()
    assert open_place(tmp_path).kind is Kind.BERGAMOT  # which Firefox's engine runs
    (tmp_path / "config.json").touch()
    assert open_place(tmp_path).kind in (Kind.MODEL, Kind.CTRANSLATE2)


def test_a_run_is_a_run_before_its_training_is_finished(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").touch()
    place = open_place(tmp_path)
    assert (place.kind, place.has_model, place.run) == (Kind.RUN, False, tmp_path)
    (tmp_path / "config.json").touch()  # whatever else is in the folder
    assert open_place(tmp_path).kind is Kind.RUN


def test_files_and_other_folders_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "run" / "family").mkdir(parents=True)
    (tmp_path / "run" / "family" / "config.json").touch()
    (tmp_path / "run" / "recipe.yaml").touch()
    assert open_place(tmp_path / "run" / "recipe.yaml").kind is Kind.YAML  # and no student
    (tmp_path / "run" / "translations.tsv").touch()
    assert open_place(tmp_path / "run" / "translations.tsv").kind is Kind.FILE
    assert open_place(tmp_path).kind is Kind.FOLDER
    assert open_place(tmp_path / "nowhere").kind is Kind.NOTHING
    assert not any(open_place(path).has_model for path in (tmp_path, tmp_path / "nowhere"))


def test_what_is_none_is_said_with_what_would_be(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: no such folder; expected a model's folder .*, a run .*RUN/STUDENT"):
        find_model(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"model\.start: .*nowhere: .* or a run \(with a recipe.yaml\).*finished$"):
        find_start(str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="no model here; expected"):
        find_model(tmp_path)
    (tmp_path / "package.argosmodel").touch()
    with pytest.raises(UserError, match=r"package\.argosmodel: a file; expected a model's folder"):
        find_model(tmp_path / "package.argosmodel")
    (tmp_path / "recipe.yaml").touch()
    with pytest.raises(UserError, match=r"no family yet; continue it with polystill run .*recipe\.yaml --out"):
        find_model(tmp_path)


@pytest.mark.parametrize(
    ("to", "files", "message"),
    [
        ("argos", ["translate-en_de-1_0.argosmodel"], "an Argos package, .* argospm install {f}/translate-en_de-1_0"),
        ("argos", [], "an Argos package, .* argospm install {f}/FILE"),
        ("bergamot", ["metadata.json"], "a Bergamot model, for Firefox's translator"),
        ("onnx", ["config.json"], "an ONNX model, for the programs that its README.md shows"),
    ],
)
def test_exports_for_other_programs_are_named(tmp_path: Path, to: str, files: list[str], message: str) -> None:
    for name in files:
        (tmp_path / name).touch()
    (tmp_path / "polystill.json").write_text(json.dumps({"format": to}))
    others = "; polystill itself translates with runs and with exports to ctranslate2, hf, marian and sparse"
    place = open_place(tmp_path)
    assert (place.kind, place.format, place.has_model) == (Kind.EXPORT, to, False)
    with pytest.raises(UserError, match=f"{message.format(f=tmp_path)}.*{others}"):
        find_model(tmp_path)


@pytest.mark.parametrize("info", ['{"format": "ctranslate2"}', "{}", "[1]", "garbage", '{"format": ["argos"]}'])
def test_another_or_damaged_note_is_no_such_export(tmp_path: Path, info: str) -> None:
    (tmp_path / "model.bin").touch()
    (tmp_path / "polystill.json").write_text(info)
    assert find_model(tmp_path) == Place(tmp_path, Kind.CTRANSLATE2, tmp_path)


def test_every_format_is_translated_with_or_named() -> None:
    assert set(OTHER_PROGRAMS) | {"ctranslate2", "hf", "marian", "sparse"} == set(FORMATS)
