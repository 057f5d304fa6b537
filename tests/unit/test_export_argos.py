"""Argos packages, run from their own files. tests/consumers installs them in Argos Translate itself."""

from __future__ import annotations

import json
import random
import zipfile
from pathlib import Path
from typing import Any

import ctranslate2
import pytest
from sentencepiece import SentencePieceProcessor

from polystill.decoding.beam import TorchTranslator
from polystill.errors import UserError
from polystill.export import argos, pieces
from polystill.export.agreement import greedy
from polystill.export.driver import export_folder
from polystill.export.pieces import joint_pieces
from polystill.models.folder import load_model_with_tokenizer
from polystill.storage import sha256

LINES = ["one two three", "nine eight seven six five four", "zero", "five five five", "two four six eight"]


def test_the_package_is_what_was_verified(counting_student: Path, tmp_path: Path) -> None:
    info = export_folder(counting_student, tmp_path / "out", "argos", lines=LINES)
    assert info["verification"]["sentences"] == len(LINES) and info["verification"]["identical"] >= 0.8
    with zipfile.ZipFile(tmp_path / "out" / "translate-en_de-1_0.argosmodel") as package:
        names = set(package.namelist())
        config = json.loads(package.read("translate-en_de-1_0/model/config.json"))
        shown = package.read("translate-en_de-1_0/README.md").decode()
    files = {"metadata.json", "README.md", "sentencepiece.model", *(f"model/{name}" for name in argos.MODEL_FILES)}
    assert names == {f"translate-en_de-1_0/{name}" for name in files}
    assert config["add_source_eos"] is True
    written = tmp_path / "out" / "translate-en_de-1_0.argosmodel"
    assert info["files"] == {written.name: sha256(written)}
    assert shown == (tmp_path / "out" / "README.md").read_text()
    assert f"weights in int8, {written.stat().st_size / 1e6:.1f} MB on disk" in shown


def test_identical_translations_are_as_long_as_the_students(counting_student: Path, tmp_path: Path) -> None:
    generator = random.Random(1)
    words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    lines = [" ".join(generator.choices(words, k=generator.randint(5, 14))) for _ in range(16)]
    info = export_folder(counting_student, tmp_path / "out", "argos", lines=lines)
    with zipfile.ZipFile(tmp_path / "out" / "translate-en_de-1_0.argosmodel") as package:
        package.extractall(tmp_path)
    folder = tmp_path / "translate-en_de-1_0"
    processor = SentencePieceProcessor(model_file=str(folder / "sentencepiece.model"))
    engine = ctranslate2.Translator(str(folder / "model"), intra_threads=1)
    rows = engine.translate_batch([processor.encode(line, out_type=str) for line in lines], beam_size=1)
    expected = greedy(TorchTranslator(*load_model_with_tokenizer(counting_student)), lines)
    same = [row.hypotheses[0] == hypothesis.tokens for row, hypothesis in zip(rows, expected, strict=True)]
    assert info["verification"]["identical"] == sum(same) / len(lines)


def test_a_package_that_argos_would_run_otherwise_is_noticed(
    counting_student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model alone is right: the check before the package's own files were there did not see this."""

    def with_other_pieces(*arguments: Any) -> list[bytes]:
        from sentencepiece import sentencepiece_model_pb2 as pb

        proto = pb.ModelProto.FromString(joint_pieces(*arguments)[0])
        for piece in proto.pieces:
            if piece.piece.startswith("\u2581") and len(piece.piece) > 2:
                piece.piece = piece.piece + "x"
        return [proto.SerializeToString()]

    monkeypatch.setattr(pieces, "joint_pieces", with_other_pieces)
    with pytest.raises(UserError, match="does not translate like its source"):
        export_folder(counting_student, tmp_path / "out", "argos", lines=LINES)
    assert not list(tmp_path.iterdir())
