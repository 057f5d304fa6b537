"""Families in Python."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from polystill import Family
from polystill.errors import UserError


def test_a_student_loads_without_warnings(counting_student: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        student = Family.load(counting_student.parent / "family").student("e2d2")
    assert student.config.decoder_layers == 2
    assert not [str(warning.message) for warning in caught if "sacremoses" in str(warning.message)]


def test_a_member_does_not_replace_what_is_there(counting_student: Path, tmp_path: Path) -> None:
    family, mine = Family.load(counting_student.parent / "family"), tmp_path / "mine"
    mine.mkdir()
    (mine / "notes").touch()
    with pytest.raises(UserError, match="mine: exists already"):
        family.extract("teacher", mine)
    assert (mine / "notes").exists()
    family.extract("teacher", tmp_path / "new")
    assert (tmp_path / "new/model.safetensors").is_file()
