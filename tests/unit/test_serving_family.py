"""serving.family: the student that answers, and what was measured of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from polystill.decoding.ctranslate2 import CTranslate2Translator
from polystill.errors import UserError
from polystill.runs.results import QualityRow
from polystill.serving.family import Family, Measured, Student, measured


def family(**latencies: float | None) -> Family:
    """Students whose BLEU is their place in the list."""
    nothing: Any = None
    students = [
        Student(name, nothing, Measured(bleu=float(i), latency_p95_ms=ms))
        for i, (name, ms) in enumerate(latencies.items())
    ]
    return Family("test", students, "en", "de")


def test_a_student_is_chosen_by_name_and_the_first_without() -> None:
    students = family(e3d3=None, e1d1=None)
    assert students.choose("e1d1", None).name == "e1d1"
    assert students.choose(None, None).name == "e3d3"
    with pytest.raises(UserError, match=r"no such student is served \(did you mean 'e1d1'\?\); there are: e3d3 e1d1"):
        students.choose("e1d2", None)
    with pytest.raises(UserError, match="not both"):
        students.choose("e1d1", 5)


def test_a_sentence_fits_if_the_engine_reads_all_of_it(counting_ctranslate2: Path) -> None:
    student = Student("e2d2", CTranslate2Translator(counting_ctranslate2, threads=1))
    assert student.fits("one two")
    assert not student.fits("one " * 100)
    assert not student.fits(f"one{' ' * 5000}two")  # few tokens, but more characters than the engine looks at


def test_the_best_student_within_a_latency_budget_is_chosen() -> None:
    students = family(e1d1=10.0, e2d2=20.0, e3d3=40.0, e4d4=None)
    assert students.choose(None, 39).name == "e2d2"
    assert students.choose(None, 40).name == "e3d3"
    with pytest.raises(UserError, match="the fastest is e1d1, 10 ms"):
        students.choose(None, 9)
    with pytest.raises(UserError, match="no student's latency has been measured"):
        family(e1d1=None).choose(None, 100)


def test_measured_takes_the_rows_of_the_engine_that_serves() -> None:
    how: dict[str, Any] = {"engine": "ctranslate2", "precision": "int8", "beam": 1, "length_penalty": 0.5}
    row = QualityRow(model="e1d1", model_id="x", **how, test_set="a", bleu=30.0)
    rows = [
        replace(row, engine="torch", bleu=1.0),
        replace(row, beam=5, bleu=2.0, latency_p95_ms=99.0),
        replace(row, length_penalty=1.0, bleu=3.0, latency_p95_ms=88.0),
        row,
        replace(row, test_set="b", bleu=4.0, latency_p50_ms=3.0, latency_p95_ms=4.0),
    ]
    figures = measured(rows, ("e1d1", "ctranslate2", "int8", False, 1), 0.5)
    assert figures == Measured(bleu=30.0, test_set="a", latency_p50_ms=3.0, latency_p95_ms=4.0)
    assert figures.latency_ms == 4.0
    chosen_by = measured(
        [*rows, replace(row, test_set="validation", bleu=29.0)], ("e1d1", "ctranslate2", "int8", False, 1), 0.5
    )
    assert (chosen_by.bleu, chosen_by.test_set, chosen_by.latency_ms) == (29.0, "validation", 4.0)
    assert measured(rows, ("e2d2", "ctranslate2", "int8", False, 1), 0.5) == Measured()
