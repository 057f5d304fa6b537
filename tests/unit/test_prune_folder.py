"""Pruning folders, and what takes a folder in the sparse form."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from polystill.data.tokenizer import Tokenizer
from polystill.errors import UserError
from polystill.export.driver import export_folder
from polystill.export.prune import prune_folder
from polystill.models.folder import (
    SPARSE_WEIGHTS,
    load_model,
    load_model_with_tokenizer,
    parameter_count,
    save_family,
    save_student,
)
from polystill.models.lstm import Lstm, LstmConfig
from polystill.models.pruning import matrices, nonzero_parameters, prune, sparsity_of
from polystill.models.supernets import Supernets
from polystill.runs.family import WEIGHTS, family_space, read_family
from polystill.storage import sha256
from polystill.students import Student, StudentSpace, in_ranges


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    state, theirs = one.state_dict(), other.state_dict()
    return state.keys() == theirs.keys() and all(torch.equal(tensor, theirs[name]) for name, tensor in state.items())


@pytest.fixture
def family(counting_student: Path, make_model: Callable[..., Any], tmp_path: Path) -> Path:
    """Three layers of random weights, with the toy language's tokenizer."""
    tokenizer = Tokenizer.load(counting_student)
    model = make_model(layers=3, vocabulary_size=tokenizer.vocabulary_size, d_model=32)
    space = StudentSpace.from_list([model.teacher], in_ranges(model.teacher, (1, 3), (1, 3)))
    save_family(tmp_path / "family", Supernets(model), tokenizer, space, {"seed": 7})
    return tmp_path / "family"


def test_a_students_folder(counting_student: Path, tmp_path: Path) -> None:
    pruned = prune_folder(counting_student, tmp_path / "out", 0.8, "matrix")
    expected = load_model(counting_student)
    prune(expected, 0.8, "matrix")
    loaded, tokenizer = load_model_with_tokenizer(tmp_path / "out")
    assert same(loaded, expected)
    assert tokenizer.pieces == Tokenizer.load(counting_student).pieces
    assert not (tmp_path / "out" / WEIGHTS).exists()
    size = (tmp_path / "out" / SPARSE_WEIGHTS).stat().st_size
    assert (pruned.bytes_before, pruned.bytes_after) == ((counting_student / WEIGHTS).stat().st_size, size)
    assert pruned.bytes_after < pruned.bytes_before / 2  # the headers of so small files
    assert pruned.parameters == parameter_count(counting_student) == parameter_count(tmp_path / "out")
    assert pruned.nonzero_parameters == nonzero_parameters(expected)
    assert sum(row.nonzero for row in pruned.matrices) == sum(int(p.count_nonzero()) for p in matrices(loaded).values())
    info = json.loads((tmp_path / "out" / "polystill.json").read_text())
    assert info["pruning"] == {"sparsity": pytest.approx(0.8, abs=1e-3), "scope": "matrix"}
    assert info["weights_bytes"] == size


def test_a_family_stays_a_family_and_one_mask_serves_all(family: Path, tmp_path: Path) -> None:
    prune_folder(family, tmp_path / "out", 0.5, "global")
    assert family_space(tmp_path / "out") == family_space(family)
    assert read_family(tmp_path / "out") == {**read_family(family), "sparsity": 0.5}
    whole = load_model(tmp_path / "out")
    save_student(tmp_path / "out", Student(2, 1), tmp_path / "e2d1")  # as an ordinary folder
    student = load_model(tmp_path / "e2d1")
    assert (tmp_path / "e2d1" / WEIGHTS).is_file()
    theirs = dict(whole.named_parameters())
    assert all(torch.equal(parameter, theirs[name]) for name, parameter in student.named_parameters())


def test_an_lstm(counting_student: Path, tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(counting_student)
    torch.manual_seed(1)
    config = LstmConfig(tokenizer.vocabulary_size, tokenizer.pad_id, tokenizer.eos_id, 16, 2, 1)
    model = Lstm(config)
    save_family(tmp_path / "family", Supernets(model), tokenizer, StudentSpace.from_list([model.teacher], []), {})
    prune_folder(tmp_path / "family", tmp_path / "out", 0.9, "layer")
    loaded = load_model(tmp_path / "out")
    assert isinstance(loaded, Lstm)
    prune(model, 0.9, "layer")
    assert same(loaded, model)
    info = export_folder(tmp_path / "out", tmp_path / "int8", "sparse", "int8")
    assert info["weights_bytes"] < (tmp_path / "out" / SPARSE_WEIGHTS).stat().st_size


@pytest.mark.parametrize("to", ["hf", "ctranslate2"])
def test_other_programs_get_it_dense(counting_student: Path, tmp_path: Path, to: str) -> None:
    """Both exports are verified against the pruned weights as they are written."""
    prune_folder(counting_student, tmp_path / "pruned", 0.3, "matrix")
    info = export_folder(tmp_path / "pruned", tmp_path / "out", to)
    assert info["format"] == to
    if to == "hf":
        assert same(load_model(tmp_path / "out"), load_model(tmp_path / "pruned"))
        assert (tmp_path / "out" / WEIGHTS).is_file() and not (tmp_path / "out" / SPARSE_WEIGHTS).exists()


def test_what_is_known_of_a_pruned_student_is_known_of_its_exports(aligned_student: Path, tmp_path: Path) -> None:
    prune_folder(aligned_student, tmp_path / "pruned", 0.1, "matrix")
    info = export_folder(tmp_path / "pruned", tmp_path / "out", "ctranslate2")
    assert info["alignment"] is True
    assert info["source_sha256"] == sha256(tmp_path / "pruned" / SPARSE_WEIGHTS)


def test_export_of_a_dense_student_in_the_sparse_form(counting_student: Path, tmp_path: Path) -> None:
    """It works without zeros, too; exact in float32, and in int8 within half a scale."""
    info = export_folder(counting_student, tmp_path / "exact", "sparse")
    assert same(load_model(tmp_path / "exact"), load_model(counting_student))
    assert info["verification"]["largest_weight_difference"] == 0 and info["quantization"] == "float32"
    small = export_folder(counting_student, tmp_path / "small", "sparse", "int8")
    largest = max(float(p.detach().abs().max()) for p in load_model(counting_student).parameters())
    assert 0 < small["verification"]["largest_weight_difference"] <= largest / 127 / 2 * 1.001
    assert small["weights_bytes"] < info["weights_bytes"] / 2
    assert load_model(tmp_path / "small").embedding[load_model(counting_student).pad_id].abs().max() == 0
    assert small["verification"]["identical"] >= 0.5 and small["verification"]["mean_difference"] > 0
    with pytest.raises(UserError, match=r"--quantization int4: unknown .*--to sparse has float32 float16 int8"):
        export_folder(counting_student, tmp_path / "other", "sparse", "int4")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(("quantization", "error"), [("float32", 1e-6), ("int8", 1.0)])
def test_sparse_weights_that_are_read_back_otherwise_are_noticed(
    quantization: str, error: float, counting_student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load_wrongly(folder: Path) -> Any:
        model = load_model(folder)
        with torch.no_grad():
            model.embedding.mul_(1 + error)
        return model

    monkeypatch.setattr("polystill.models.folder.load_model", load_wrongly)
    with pytest.raises(UserError, match="out: not written"):
        export_folder(counting_student, tmp_path / "out", "sparse", quantization)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("sparsity", [1.0, -0.5, 80.0])
def test_sparsity_outside_its_range(counting_student: Path, tmp_path: Path, sparsity: float) -> None:
    with pytest.raises(UserError, match=f"--sparsity {sparsity:g}: expected at least 0 and less than 1"):
        prune_folder(counting_student, tmp_path / "out", sparsity, "global")
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten(counting_student: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("mine")
    for name in ("file", "folder"):
        with pytest.raises(UserError, match=f"{name}: exists already; give a new folder"):
            prune_folder(counting_student, tmp_path / name, 0.5, "global")
    assert (tmp_path / "file").read_text() == (tmp_path / "folder" / "file").read_text() == "mine"


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        prune_folder(tmp_path / "nowhere", tmp_path / "out", 0.5, "global")
    (tmp_path / "ctranslate2").mkdir()
    (tmp_path / "ctranslate2" / "config.json").write_text("{}")
    (tmp_path / "ctranslate2" / "model.bin").write_text("")
    with pytest.raises(UserError, match="ctranslate2: a CTranslate2 model, which only translates"):
        prune_folder(tmp_path / "ctranslate2", tmp_path / "out", 0.5, "global")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty: no model here; expected a model's folder"):
        prune_folder(tmp_path / "empty", tmp_path / "out", 0.5, "global")


def test_a_truncated_sparse_folder_is_named(counting_student: Path, tmp_path: Path) -> None:
    prune_folder(counting_student, tmp_path / "out", 0.8, "global")
    weights = tmp_path / "out" / SPARSE_WEIGHTS
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(UserError, match=f"{weights}: not a readable safetensors file"):
        load_model(tmp_path / "out")


def test_pruning_again_goes_on_from_the_sparse_form(counting_student: Path, tmp_path: Path) -> None:
    prune_folder(counting_student, tmp_path / "half", 0.5, "global")
    prune_folder(tmp_path / "half", tmp_path / "more", 0.9, "global")
    half, more = load_model(tmp_path / "half"), load_model(tmp_path / "more")
    assert sparsity_of(more) == pytest.approx(0.9, abs=1e-3)
    for (name, one), other in zip(matrices(half).items(), matrices(more).values(), strict=True):
        assert not other[one == 0].any(), name


def test_rounded_weights_are_not_pruned(counting_student: Path, tmp_path: Path) -> None:
    export_folder(counting_student, tmp_path / "small", "sparse", "int8")
    with pytest.raises(UserError, match=r"small: its weights are int8; prune the folder that they were made of"):
        prune_folder(tmp_path / "small", tmp_path / "out", 0.5, "global")
    assert not (tmp_path / "out").exists()


def test_what_is_recorded_is_what_is_there(counting_student: Path, tmp_path: Path) -> None:
    prune_folder(counting_student, tmp_path / "most", 0.75, "matrix")
    prune_folder(tmp_path / "most", tmp_path / "again", 0.5, "matrix")
    assert json.loads((tmp_path / "again/polystill.json").read_text())["pruning"]["sparsity"] == 0.75
