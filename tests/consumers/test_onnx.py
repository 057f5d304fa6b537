"""ONNX exports in Hugging Face's transformers.js, under node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from polystill.export.driver import export_folder


@pytest.mark.parametrize("student", ["spelling_student", "marian_student"])  # of either kind of positions
def test_transformers_js_translates_a_hundred_lines_like_the_student(
    student: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    hundred_lines: list[str],
    translate: Callable[..., list[str]],
    run_node: Callable[..., list[str]],
) -> None:
    folder: Path = request.getfixturevalue(student)
    export_folder(folder, tmp_path / "out", "onnx", lines=hundred_lines)
    lines = [*hundred_lines, "☃ one", "  seven   two "]
    theirs = run_node("onnx.mjs", tmp_path / "out", lines)
    ours = translate(folder, lines)
    # A loop goes on to our limit, and for 256 tokens in its pipeline.
    different = [(a, b) for a, b in zip(ours, theirs, strict=True) if a != b and not b.startswith(a)]
    assert not different
    assert sum(a == b for a, b in zip(ours, theirs, strict=True)) >= len(lines) - 2
    assert len(set(theirs)) > 50


def test_transformers_js_reads_what_people_type_as_the_student_does(
    spelling_student: Path,
    tmp_path: Path,
    hundred_lines: list[str],
    typed_lines: Callable[[Path], list[str]],
    translate: Callable[..., list[str]],
    run_node: Callable[..., list[str]],
) -> None:
    export_folder(spelling_student, tmp_path / "out", "onnx", lines=hundred_lines)
    lines = typed_lines(spelling_student)
    theirs, ours = run_node("onnx.mjs", tmp_path / "out", lines), translate(spelling_student, lines)
    # Lines whose accents tokenizer.json composes, and SentencePiece does not; and loops, which go on there.
    different = [line for line, a, b in zip(lines, ours, theirs, strict=True) if a != b and not b.startswith(a)]
    assert len(different) <= 3, different


def test_transformers_js_makes_characters_of_bytes(
    spelling_student: Path, tmp_path: Path, byte_student: Callable[[Path], Path], run_node: Callable[..., list[str]]
) -> None:
    export_folder(byte_student(spelling_student), tmp_path / "out", "onnx", lines=["one"])
    (line,) = run_node("onnx.mjs", tmp_path / "out", ["one two"])
    assert "AAA" in line and "<0x" not in line
