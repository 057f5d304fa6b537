"""Marian exports, in Marian."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from polystill.decoding.beam import TorchTranslator
from polystill.decoding.translator import DecodingOptions
from polystill.errors import UserError
from polystill.export import marian
from polystill.export.driver import export_folder
from polystill.models.folder import load_model_with_tokenizer

Translate = Callable[..., list[str]]


def test_marian_translates_like_the_student(
    marian_student: Path, tmp_path: Path, run_marian: Translate, hundred_lines: list[str], translate: Translate
) -> None:
    info = export_folder(marian_student, tmp_path / "out", "marian", lines=hundred_lines)
    assert not (tmp_path / "out" / "decoder-alignment.yml").exists()  # it was trained without
    assert info["verification"]["identical"] == 1
    assert info["verification"]["largest_difference"] < 1e-3
    lines = [*hundred_lines, "", "eins ⁇ 😀", "seven"]
    theirs = run_marian(tmp_path / "out", lines, "--beam-size", "1")
    ours = translate(marian_student, lines)
    different = [(a, b) for a, b in zip(ours, theirs, strict=True) if a != b]
    print(f"{len(different)} of {len(lines)} differ: {different}")
    assert len(different) <= 1
    assert len(set(theirs)) > 50
    assert all(line for line in run_marian(tmp_path / "out", hundred_lines))  # beam 5, as decoder.yml says


def test_marian_aligns_as_the_student_does(
    aligned_student: Path, tmp_path: Path, run_marian: Translate, hundred_lines: list[str]
) -> None:
    """Of each target piece, end mark included, Marian gives the attention to every source piece."""
    export_folder(aligned_student, tmp_path / "out", "marian", lines=hundred_lines)
    theirs = run_marian(tmp_path / "out", hundred_lines, "--beam-size", "1", config="decoder-alignment.yml")
    translator = TorchTranslator(*load_model_with_tokenizer(aligned_student))
    ours = translator.translate(hundred_lines, DecodingOptions(beam_size=1, alignment=True))
    same = total = 0
    for line, (found, *_) in zip(theirs, ours, strict=True):
        text, _, rows = line.partition(" ||| ")
        assert found.alignment is not None
        if text == found.text:
            attention = [[float(share) for share in row.split(",")] for row in rows.split()]
            assert all(sum(row) == pytest.approx(1, abs=1e-3) for row in attention)
            links = [(int(np.argmax(row)), target) for target, row in enumerate(attention)]
            links = [(s, t) for s, t in links if t < len(found.tokens) and s < len(found.alignment.source) - 1]
            same += sorted(links) == sorted(found.alignment.links)
            total += 1
    print(f"{same} of {total} alignments are the same")
    assert total > 95
    assert same >= total - 1


def test_a_wrong_conversion_is_noticed_and_not_written(
    marian_student: Path, tmp_path: Path, with_pymarian: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = marian.parameters

    def swapped(model: object) -> object:
        arrays = dict(right(model))
        arrays["encoder_l1_self_Wq"] = np.ascontiguousarray(arrays["encoder_l1_self_Wq"].T)
        return arrays

    monkeypatch.setattr(marian, "parameters", swapped)
    with pytest.raises(UserError, match=r"does not translate like its source.*at most 0.001 in float32"):
        export_folder(marian_student, tmp_path / "out", "marian")
    assert not list(tmp_path.iterdir())


def test_marians_own_message_is_passed_on(
    marian_student: Path, tmp_path: Path, with_pymarian: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marian, "parameters", lambda model: {"nothing": np.zeros(1)})
    with pytest.raises(UserError, match="pymarian decode: "):
        export_folder(marian_student, tmp_path / "out", "marian")
    assert not list(tmp_path.iterdir())


def test_marian_reads_what_people_type_as_the_student_does(
    marian_student: Path,
    tmp_path: Path,
    run_marian: Translate,
    hundred_lines: list[str],
    typed_lines: Callable[[Path], list[str]],
    translate: Translate,
) -> None:
    export_folder(marian_student, tmp_path / "out", "marian", lines=hundred_lines)
    lines = typed_lines(marian_student)
    theirs = run_marian(tmp_path / "out", lines, "--beam-size", "1")
    rows = zip(lines, translate(marian_student, lines), theirs, strict=True)
    different = [(line, a, b) for line, a, b in rows if not a.startswith(b) and not b.startswith(a)]  # loops are cut
    assert len(different) <= 2, different


def test_marian_makes_characters_of_bytes(
    marian_student: Path, tmp_path: Path, run_marian: Translate, byte_student: Callable[[Path], Path]
) -> None:
    export_folder(byte_student(marian_student), tmp_path / "out", "marian", lines=["one"])
    (line,) = run_marian(tmp_path / "out", ["one two"])
    assert "AAA" in line and "<0x" not in line
