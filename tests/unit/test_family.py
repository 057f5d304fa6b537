"""Families in Python."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from polystill import Family
from polystill.errors import UserError
from polystill.models.folder import load_model_with_tokenizer, save_family
from polystill.models.lstm import Lstm, LstmConfig
from polystill.models.supernets import Supernets
from polystill.students import StudentSpace


def test_a_student_loads_without_warnings(counting_student: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        student = Family.load(counting_student.parent / "family").student("e2d2")
    assert student.config.decoder_layers == 2
    assert not [str(warning.message) for warning in caught if "sacremoses" in str(warning.message)]


def test_the_students_own_supernet_tells_whether_transformers_has_it(counting_student: Path, tmp_path: Path) -> None:
    model, tokenizer = load_model_with_tokenizer(counting_student)
    shape = {"vocabulary_size": tokenizer.vocabulary_size, "pad_id": tokenizer.pad_id, "eos_id": tokenizer.eos_id}
    lstm = Lstm(LstmConfig(**shape, encoder_layers=1, decoder_layers=1, d_model=16))
    for first, further, transformer, other in ((model, lstm, "e2d2", "x-e1d1"), (lstm, model, "x-e2d2", "e1d1")):
        folder = tmp_path / transformer
        space = StudentSpace.from_list([first.teacher, replace(further.teacher, supernet="x")], [])
        save_family(folder, Supernets(first, {"x": further}), tokenizer, space, {})
        assert Family.load(folder).student(transformer).config.decoder_layers == 2
        with pytest.raises(UserError, match="Hugging Face's transformers has no LSTM"):
            Family.load(folder).student(other)


def test_a_member_does_not_replace_what_is_there(counting_student: Path, tmp_path: Path) -> None:
    family, mine = Family.load(counting_student.parent / "family"), tmp_path / "mine"
    mine.mkdir()
    (mine / "notes").touch()
    with pytest.raises(UserError, match="mine: exists already"):
        family.extract("teacher", mine)
    assert (mine / "notes").exists()
    family.extract("teacher", tmp_path / "new")
    assert (tmp_path / "new/model.safetensors").is_file()
