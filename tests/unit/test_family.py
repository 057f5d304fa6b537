"""Families in Python."""

from __future__ import annotations

import warnings
from pathlib import Path

from polystill import Family


def test_a_student_loads_without_warnings(counting_student: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        student = Family.load(counting_student.parent / "family").student("e2d2")
    assert student.config.decoder_layers == 2
    assert not [str(warning.message) for warning in caught if "sacremoses" in str(warning.message)]
