"""Students of a folder that is no run: a family's, or one student's."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polystill.data.tokenizer import Tokenizer
from polystill.decoding.ctranslate2 import INFO, read_info
from polystill.errors import UserError
from polystill.export.prune import prune_folder
from polystill.export.students import export_student, extract_student, write_extracted
from polystill.models.folder import load_model, save_family
from polystill.models.lstm import Lstm, LstmConfig
from polystill.models.pruning import sparsity_of
from polystill.models.supernets import Supernets
from polystill.students import Student, StudentSpace, in_ranges


@pytest.fixture
def pruned(counting_student: Path, make_model: Callable[..., Any], tmp_path: Path) -> Path:
    tokenizer = Tokenizer.load(counting_student)
    model = make_model(layers=2, vocabulary_size=tokenizer.vocabulary_size, d_model=32)
    space = StudentSpace.from_list([model.teacher], in_ranges(model.teacher, (1, 2), (1, 2)))
    save_family(tmp_path / "family", Supernets(model), tokenizer, space, {"seed": 7, "method": "aio_kd"})
    prune_folder(tmp_path / "family", tmp_path / "pruned", 0.5, "global")
    return tmp_path / "pruned"


@pytest.mark.parametrize(("to", "reads_weights"), [("sparse", True), ("hf", True), ("ctranslate2", False)])
def test_a_pruned_family_ships_its_students(pruned: Path, tmp_path: Path, to: str, reads_weights: bool) -> None:
    out = export_student(pruned, "e2d1", to, tmp_path / "out")
    card = (out / "README.md").read_text()
    assert "2 encoder and 1 decoder layers" in card and "AIO-KD" in card and "seed: 7" in card
    if reads_weights:
        model = load_model(out)
        assert model.teacher == Student(2, 1) and sparsity_of(model) > 0.3


def test_a_pruned_family_keeps_its_positions(
    counting_student: Path, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    """The sparse form has no table of positions, and other programs would take Hugging Face's instead."""
    tokenizer = Tokenizer.load(counting_student)
    model = make_model(layers=2, vocabulary_size=tokenizer.vocabulary_size, d_model=32, positions="marian")
    space = StudentSpace.from_list([model.teacher], in_ranges(model.teacher, (1, 2), (1, 2)))
    save_family(tmp_path / "family", Supernets(model), tokenizer, space, {"seed": 7})
    prune_folder(tmp_path / "family", tmp_path / "pruned", 0.3, "global")
    export_student(tmp_path / "pruned", "e2d1", "hf", tmp_path / "out")  # verified: the same logits
    config: Any = load_model(tmp_path / "out").config
    assert config.positions == "marian"


def test_one_student_is_itself(counting_student: Path, tmp_path: Path) -> None:
    own = load_model(counting_student).teacher
    assert load_model(export_student(counting_student, str(own), "sparse", tmp_path / "out")).teacher == own
    with pytest.raises(UserError, match=f"student e9d9 is not in this family; it has: {own}"):
        export_student(counting_student, "e9d9", "sparse", tmp_path / "other")


def test_students_are_extracted(pruned: Path, tmp_path: Path) -> None:
    assert load_model(extract_student(pruned, "smallest", tmp_path / "out")).teacher == Student(1, 1)


def test_a_student_whose_note_cannot_be_written(pruned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder may become read-only at any moment."""
    whole = Path.open

    def refused(path: Path, mode: str = "r", *rest: Any, **others: Any) -> Any:
        if INFO in path.name and mode != "r":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return whole(path, mode, *rest, **others)

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(UserError, match=rf"^{tmp_path}/out/{INFO}: no permission"):
        write_extracted(pruned, Student(1, 1), tmp_path / "out")


def test_an_lstms_student_is_extracted(counting_student: Path, tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(counting_student)
    ids = {"pad_id": tokenizer.pad_id, "eos_id": tokenizer.eos_id, "vocabulary_size": tokenizer.vocabulary_size}
    config = LstmConfig(**ids, encoder_layers=2, decoder_layers=2, d_model=16)
    model = Lstm(config)
    space = StudentSpace.from_list([model.teacher], in_ranges(model.teacher, (1, 2), (1, 2)))
    save_family(tmp_path / "family", Supernets(model), tokenizer, space, {})
    assert load_model(extract_student(tmp_path / "family", "e1d1", tmp_path / "out")).teacher == Student(1, 1)


@pytest.mark.parametrize("to", ["ctranslate2", "hf"])
def test_an_export_has_the_name_of_a_further_supernets_student(
    counting_student: Path, make_model: Callable[..., Any], tmp_path: Path, to: str
) -> None:
    tokenizer = Tokenizer.load(counting_student)
    shape = {"vocabulary_size": tokenizer.vocabulary_size, "d_model": 32}
    supernets = Supernets(make_model(layers=2, **shape), {"tiny": make_model(layers=1, **shape)})
    space = StudentSpace.from_list([Student(2, 2), Student(1, 1, "tiny")], [])
    save_family(tmp_path / "family", supernets, tokenizer, space, {})
    out = export_student(tmp_path / "family", "tiny-e1d1", to, tmp_path / "out")
    assert read_info(out)["name"] == "tiny-e1d1"


def test_what_only_a_run_has_is_said(pruned: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--shortlist is learnt from a run's training data"):
        export_student(pruned, "e1d1", "ctranslate2", tmp_path / "out", shortlist=True)
    for function in (extract_student, lambda folder, name: export_student(folder, name, "hf")):
        with pytest.raises(UserError, match="--out: name a new folder"):
            function(pruned, "e1d1")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").write_text("dear")
    with pytest.raises(UserError, match="mine"):
        export_student(pruned, "e1d1", "hf", tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter"]
