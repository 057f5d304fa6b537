"""CTranslate2 exports: every quantization, what is in the folder, and that a wrong conversion is noticed."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from ctranslate2.specs.model_spec import ACCEPTED_MODEL_TYPES
from safetensors.torch import load_file, save_file

from polystill.data.shortlist import Shortlist
from polystill.data.tokenizer import Tokenizer
from polystill.decoding.ctranslate2 import CTranslate2Translator, own_search
from polystill.decoding.translator import DecodingOptions
from polystill.errors import UserError
from polystill.evaluation.measure import describe
from polystill.export import ctranslate2 as export
from polystill.export.card import Record
from polystill.export.driver import export_folder
from polystill.training.quantization import rounded
from polystill.translation import search_of

LINES = ["one two three", "nine eight seven six five four", "zero", "five five five", "two four six eight"]


@pytest.mark.parametrize("quantization", [None, *ACCEPTED_MODEL_TYPES])
def test_every_quantization_translates_like_the_student(
    quantization: str | None, counting_student: Path, tmp_path: Path
) -> None:
    info = export_folder(counting_student, tmp_path / "out", "ctranslate2", quantization, LINES)
    assert info["quantization"] == (quantization or "float32")
    verification = info["verification"]
    assert verification["sentences"] == len(LINES)
    assert verification["identical"] >= (1.0 if quantization in (None, "float32") else 0.8)
    found = CTranslate2Translator(tmp_path / "out").translate(LINES, DecodingOptions(beam_size=1))
    assert all(h.text for (h,) in found)


def test_with_a_shortlist_only_its_pieces_are_written(counting_student: Path, tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(counting_student)
    allowed = tokenizer.encode_target(["null eins"])[0]
    own = Shortlist(allowed, {tokenizer.encode_source(["seven"])[0][0]: tokenizer.encode_target(["sieben"])[0]}, 7)
    lines = ["five four", "seven six two"]
    info = export_folder(counting_student, tmp_path / "out", "ctranslate2", lines=lines, shortlist=own)
    assert info["verification"]["identical"] == 1  # of the whole vocabulary's
    assert info["shortlist"] == {"frequent": len(allowed), "sentences": 7, "same_translations": 0, "lines": 2}
    translator = CTranslate2Translator(tmp_path / "out")
    for line, also in (("five four", []), ("seven", ["sieben"])):
        ((found,),) = translator.translate([line], DecodingOptions(beam_size=1, max_length=8))
        pieces = {tokenizer.pieces[i] for i in [*allowed, *(i for row in tokenizer.encode_target(also) for i in row)]}
        assert found.tokens and set(found.tokens) <= pieces
    (tmp_path / "out" / "vmap.txt").unlink()
    with pytest.raises(UserError, match=r"vmap\.txt is missing"):
        CTranslate2Translator(tmp_path / "out")


def test_what_is_never_seen_can_be_copied_piece_by_piece(counting_student: Path, tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(counting_student)
    own = Shortlist([], {piece: [piece] for piece in range(tokenizer.vocabulary_size)}, 1)
    export_folder(counting_student, tmp_path / "out", "ctranslate2", lines=LINES, shortlist=own)
    translator = CTranslate2Translator(tmp_path / "out")
    for line in ("1984", "www.seven.five/x?t=10", "Fenouthexi"):
        (source,) = tokenizer.source_pieces([line])
        ((found,),) = translator.translate([line], DecodingOptions(beam_size=1, max_length=8))
        assert found.tokens and set(found.tokens) <= {*source, "<unk>"}  # CTranslate2 puts it on every list


def test_a_whole_vocabulary_as_shortlist_changes_nothing(counting_student: Path, tmp_path: Path) -> None:
    size = Tokenizer.load(counting_student).vocabulary_size
    info = export_folder(
        counting_student, tmp_path / "out", "ctranslate2", lines=LINES, shortlist=Shortlist(list(range(size)), {}, 1)
    )
    assert info["shortlist"]["same_translations"] == len(LINES)
    whole = tmp_path / "whole"
    export_folder(counting_student, whole, "ctranslate2")
    options = DecodingOptions(beam_size=2, token_scores=True)
    assert CTranslate2Translator(tmp_path / "out").translate(LINES, options) == [
        [
            replace(h, score=pytest.approx(h.score, abs=1e-4), token_scores=pytest.approx(h.token_scores, abs=1e-4))
            for h in row
        ]
        for row in CTranslate2Translator(whole).translate(LINES, options)
    ]


def test_the_folder_is_all_that_a_device_needs(counting_student: Path, tmp_path: Path) -> None:
    out = tmp_path / "models" / "out"
    info = export_folder(counting_student, out, "ctranslate2", "int8")
    read = {"source.spm", "tokenizer_config.json", "model.bin", "config.json", "shared_vocabulary.json"}
    assert {path.name for path in out.iterdir()} == {*read, "polystill.json", "README.md"}
    assert info["files"] == {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in read}
    ours, there = Tokenizer.load(counting_student), Tokenizer.load(out)
    assert (there.pieces, there.sentencepiece_models) == (ours.pieces, ours.sentencepiece_models)
    assert (there.source_language, there.target_language) == ("en", "de")
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    assert json.loads((out / "polystill.json").read_text()) == info
    assert info["source_sha256"] == hashlib.sha256((counting_student / "model.safetensors").read_bytes()).hexdigest()
    expected = {"name": "e2d2", "source_language": "en", "target_language": "de", "max_positions": 48}
    assert expected.items() <= info.items()
    assert {"torch", "ctranslate2", "transformers"} <= info["versions"].keys()


def test_an_earlier_layout_translates_alike(counting_student: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    info = export_folder(counting_student, out, "ctranslate2", "int8")
    earlier = Path(shutil.copytree(out, tmp_path / "earlier"))
    Tokenizer.load(counting_student).save(earlier)
    assert {"target.spm", "vocab.json"} <= {path.name for path in earlier.iterdir()}
    checksum = info.pop("files")["model.bin"]
    (earlier / "polystill.json").write_text(json.dumps({**info, "model_sha256": checksum}))
    options = DecodingOptions(beam_size=2)
    assert CTranslate2Translator(earlier).translate(LINES, options) == CTranslate2Translator(out).translate(
        LINES, options
    )
    assert describe(earlier)["model"] == "e2d2"
    (earlier / "model.bin").write_bytes(b"other weights")
    with pytest.raises(UserError, match=r"earlier: model\.bin is not the file that was exported"):
        describe(earlier)


@pytest.fixture
def student_with_two_models(counting_student: Path, tmp_path: Path) -> Path:
    """Its target's SentencePiece model is not the source's, as OPUS-MT's."""
    from sentencepiece import sentencepiece_model_pb2 as pb

    student = Path(shutil.copytree(counting_student, tmp_path / "student"))
    proto = pb.ModelProto.FromString((student / "target.spm").read_bytes())
    proto.trainer_spec.model_prefix = "the target's own"
    (student / "target.spm").write_bytes(proto.SerializeToString())
    return student


def test_two_sentencepiece_models_are_both_kept(student_with_two_models: Path, tmp_path: Path) -> None:
    export_folder(student_with_two_models, tmp_path / "out", "ctranslate2", lines=LINES)
    assert not (tmp_path / "out" / "vocab.json").exists()
    found, expected = Tokenizer.load(tmp_path / "out"), Tokenizer.load(student_with_two_models)
    assert found.sentencepiece_models == expected.sentencepiece_models
    (tmp_path / "out" / "target.spm").unlink()
    with pytest.raises(UserError, match=r"out: target\.spm is missing, which polystill\.json names"):
        CTranslate2Translator(tmp_path / "out")


@pytest.mark.parametrize(("student", "models"), [("counting_student", 1), ("student_with_two_models", 2)])
def test_the_cards_code_translates_like_the_package(
    student: str, models: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    out, record = tmp_path / "out", Record(search=DecodingOptions(beam_size=3))
    export_folder(request.getfixturevalue(student), out, "ctranslate2", "int8", LINES, record)
    code = (out / "README.md").read_text().split("```python\n")[1].split("```")[0]
    assert [f"{side}.spm" in code for side in ("source", "target")] == [True, models == 2]
    code = code.replace("path/of/this/folder", str(out)).replace("A sentence.", LINES[0])
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    ((found,),) = CTranslate2Translator(out).translate([LINES[0]], record.search)
    assert (done.stdout, found.text != "") == (f"{found.text}\n", True), done.stderr


def test_the_search_is_the_one_that_was_picked(counting_student: Path, tmp_path: Path) -> None:
    record = Record(search=DecodingOptions(beam_size=2, length_penalty=0.5))
    export_folder(counting_student, tmp_path / "out", "ctranslate2", record=record)
    assert own_search(tmp_path / "out") == DecodingOptions(beam_size=2, length_penalty=0.5)
    assert search_of(tmp_path / "out") == own_search(tmp_path / "out")
    assert "translate_batch([pieces], beam_size=2, length_penalty=0.5)" in (tmp_path / "out" / "README.md").read_text()
    export_folder(counting_student, tmp_path / "plain", "ctranslate2")
    assert own_search(tmp_path / "plain") == own_search(tmp_path) == DecodingOptions()


def test_an_earlier_export_is_replaced(counting_student: Path, tmp_path: Path) -> None:
    export_folder(counting_student, tmp_path / "out", "ctranslate2", "float32")
    before = (tmp_path / "out" / "model.bin").stat().st_size
    export_folder(counting_student, tmp_path / "out", "ctranslate2", "int8")
    assert (tmp_path / "out" / "model.bin").stat().st_size < before / 2


def test_unknown_quantization_lists_the_known(counting_student: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--quantization int4.*--to ctranslate2 has int8 int8_float32 .* float32"):
        export_folder(counting_student, tmp_path / "out", "ctranslate2", "int4")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("quantization", ["float32", "int8"])
def test_a_wrong_conversion_is_noticed_and_not_written(
    quantization: str, counting_student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ctranslate2.converters import TransformersConverter

    load = TransformersConverter._load

    def load_wrongly(self: Any) -> Any:
        spec = load(self)
        spec.decoder.scale_embeddings = 1.0
        return spec

    monkeypatch.setattr(TransformersConverter, "_load", load_wrongly)
    with pytest.raises(UserError, match=r"does not translate like its source.*% of 5 translations are identical"):
        export_folder(counting_student, tmp_path / "out", "ctranslate2", quantization, LINES)
    assert not list(tmp_path.iterdir())


def test_int8_weights_are_rounded_to_seven_bits(
    counting_student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np

    weights: dict[str, Any] = {}
    quantize = export._quantize

    def look(spec: Any, precision: str) -> None:
        before = {n: v.numpy().copy() for n, v in spec.variables().items() if hasattr(v, "numpy")}
        quantize(spec, precision)
        after = {n: v.numpy() for n, v in spec.variables().items() if hasattr(v, "numpy")}
        weights.update({n: (before, after) for n in after if after[n].dtype == np.int8 and f"{n}_scale" in after})

    monkeypatch.setattr(export, "_quantize", look)
    export_folder(counting_student, tmp_path / "out", "ctranslate2", "int8")
    assert len(weights) > 10
    for name, (before, after) in weights.items():
        assert np.abs(after[name]).max() == 63
        found = after[name] / after[f"{name}_scale"][:, None]
        as_trained = rounded(torch.from_numpy(before[name])).numpy()
        assert np.isclose(found, as_trained, rtol=1e-5, atol=1e-7).mean() > 0.999  # but for halves, rounded up or down


def test_made_up_lines_verify_where_none_are_given(counting_student: Path, tmp_path: Path) -> None:
    info = export_folder(counting_student, tmp_path / "out", "ctranslate2")
    assert info["verification"]["sentences"] == 16
    assert info["verification"]["largest_difference"] <= 1e-3


def test_verifying_with_the_beginnings_of_translations_is_no_warning(
    counting_student: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    student = Path(shutil.copytree(counting_student, tmp_path / "student"))
    weights = load_file(student / "model.safetensors")
    weights["final_logits_bias"][0, 0] = -100.0  # it never ends
    save_file(weights, student / "model.safetensors", {"format": "pt"})
    export_folder(student, tmp_path / "out", "ctranslate2")
    assert caplog.messages == []
