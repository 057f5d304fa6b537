"""Lines as people type and paste them, through `translate`, `serve` and exports as their engines run them.

Every line gets one line, and engines that compute the same give the same text. tests/consumers has the engines that are
installed apart from this package.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import pytest
import tokenizers
from fastapi.testclient import TestClient
from sentencepiece import SentencePieceProcessor
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from polystill.data.normalization import is_blank, on_one_line
from polystill.decoding.beam import TorchTranslator
from polystill.decoding.ctranslate2 import CTranslate2Translator
from polystill.decoding.stream import translate_lines
from polystill.decoding.translator import DecodingOptions, Hypothesis
from polystill.export.driver import export_folder
from polystill.export.onnx_graphs import TransformerSessions
from polystill.models.folder import load_model_with_tokenizer
from polystill.serving.app import Settings, create_app
from polystill.serving.family import open_family
from polystill.serving.requests import Limits
from polystill.serving.text import parts_of, split_blanks
from polystill.translation import open_translator, translate_files
from tests.best import best

LONGEST = 12
"""Tokens of a translation here: the toy student seldom ends what it does not know."""
POSITIONS = 48
"""Of the toy student: longer lines are cut."""
RARE = ("é\u0323 ệ", "각 가\u11a8", "ö\u200b o\u200b\u0308")
"""Lines whose accents tokenizer.json composes, and SentencePiece's normalisation does not."""
OPTIONS = DecodingOptions(beam_size=1, max_length=LONGEST)


@pytest.fixture(scope="module")
def spelling_ctranslate2(spelling_student: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ctranslate2") / "spelling"
    export_folder(spelling_student, folder, "ctranslate2")
    return folder


@pytest.fixture(scope="module")
def lines(odd_lines: list[str]) -> list[str]:
    """Those with text: engines by themselves make something up for a blank line."""
    return [line for line in odd_lines if not is_blank(line)]


@pytest.fixture(scope="module")
def expected(spelling_student: Path, lines: list[str]) -> list[Hypothesis]:
    """What torch writes."""
    translator = TorchTranslator(*load_model_with_tokenizer(spelling_student))
    return [found[0] for found in translator.translate(lines, OPTIONS)]


def test_translate_writes_a_line_for_a_line(spelling_ctranslate2: Path, odd_lines: list[str], tmp_path: Path) -> None:
    source, out = tmp_path / "odd.txt", tmp_path / "out.txt"
    source.write_bytes("".join(f"{line}\n" for line in odd_lines).encode())
    with open_translator(spelling_ctranslate2, None, threads=1) as translator:
        translate_files(translator, [source], out, io.BytesIO(), options=DecodingOptions(beam_size=1))
    lines = out.read_bytes().decode().removesuffix("\n").split("\n")
    assert len(lines) == len(odd_lines)
    assert [i for i, line in enumerate(odd_lines) if is_blank(line)] == [i for i, line in enumerate(lines) if not line]
    assert all(len(line.splitlines()) <= 1 for line in lines)


def test_ctranslate2_writes_what_torch_writes(
    spelling_ctranslate2: Path, lines: list[str], expected: list[Hypothesis]
) -> None:
    translator = CTranslate2Translator(spelling_ctranslate2, threads=1)
    translated = [found[0] for found in translator.translate(lines, OPTIONS)]
    assert [(h.tokens, h.text) for h in translated] == [(h.tokens, h.text) for h in expected]


def test_ctranslate2_by_itself_as_its_card_says(
    spelling_ctranslate2: Path, lines: list[str], expected: list[Hypothesis]
) -> None:
    source = SentencePieceProcessor(model_file=str(spelling_ctranslate2 / "source.spm"))
    translator = ctranslate2.Translator(str(spelling_ctranslate2), intra_threads=1)
    pieces = [[*source.encode(line, out_type=str)[: POSITIONS - 1], "</s>"] for line in lines]
    found = translator.translate_batch(pieces, beam_size=1, max_decoding_length=LONGEST)
    assert_same([source.decode(result.hypotheses[0]) for result in found], expected)


def test_hugging_face_as_its_card_says(
    spelling_student: Path, lines: list[str], expected: list[Hypothesis], tmp_path: Path
) -> None:
    export_folder(spelling_student, tmp_path / "hf", "hf", lines=["one two"])
    tokenizer: Any = AutoTokenizer.from_pretrained(tmp_path / "hf")
    model = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "hf")
    texts = [line if line.startswith(tuple(tokenizer.supported_language_codes)) else f" {line}" for line in lines]
    batch = tokenizer(texts, return_tensors="pt", padding=True, truncation=True, max_length=POSITIONS)
    written = model.generate(**batch, max_new_tokens=LONGEST + 1, max_length=None, num_beams=1)
    assert_same(tokenizer.batch_decode(written, skip_special_tokens=True), expected)


def test_onnx_with_nothing_but_its_own_files(
    spelling_student: Path, lines: list[str], expected: list[Hypothesis], tmp_path: Path
) -> None:
    folder = tmp_path / "onnx"
    export_folder(spelling_student, folder, "onnx", lines=["one two"])
    tokenizer: Any = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    pad, eos = tokenizer.token_to_id("<pad>"), tokenizer.token_to_id("</s>")
    sessions = TransformerSessions(folder)
    texts, alike = [], [line for line in lines if not line.startswith(RARE)]
    for line in alike:
        ids, row = tokenizer.encode(line).ids, [pad]
        ids = [*ids[:-1][: POSITIONS - 1], eos]
        while row[-1] != eos and len(row) <= LONGEST:
            logits = sessions.logits(ids, row)[-1]
            logits[[pad, eos] if len(row) == 1 else pad] = -np.inf
            row.append(int(logits.argmax()))
        texts.append(tokenizer.decode(row))
    assert_same(texts, [h for h, line in zip(expected, lines, strict=True) if line in alike])


def test_argos_cuts_and_joins_with_its_one_model(spelling_student: Path, odd_lines: list[str], tmp_path: Path) -> None:
    """Its 8-bit weights may translate otherwise; what goes in and comes out is the same."""
    export_folder(spelling_student, tmp_path / "argos", "argos", lines=["one two"])
    (package,) = (tmp_path / "argos").glob("*.argosmodel")
    with zipfile.ZipFile(package) as archive:
        processor = SentencePieceProcessor(model_proto=archive.read(f"{package.stem}/sentencepiece.model"))
    tokenizer = load_model_with_tokenizer(spelling_student)[1]
    rows = [processor.encode(line, out_type=str) for line in odd_lines]
    assert [[*row, "</s>"] for row in rows] == tokenizer.source_pieces(odd_lines)
    assert [processor.decode_pieces(row) for row in rows] == tokenizer.decode_pieces(rows)


def assert_same(texts: Sequence[str], expected: Sequence[Hypothesis]) -> None:
    """Engines differ in what they make of bytes that are no UTF-8: U+FFFD for each, or for all of them."""
    assert len(texts) == len(expected)
    shown = [" ".join(on_one_line(text).replace("\ufffd", "").split()) for text in texts]
    assert shown == [" ".join(h.text.replace("\ufffd", "").split()) for h in expected]


def test_serve_answers_each_line_as_translate_writes_it(spelling_ctranslate2: Path, odd_lines: list[str]) -> None:
    """A line of one sentence that the model takes whole is translated alike; every other one has an answer."""
    with (
        open_family(spelling_ctranslate2, None, engine=None, precision="default", beam=1, threads=1) as family,
        TestClient(create_app(family, Settings(Limits())), base_url="http://localhost") as client,
    ):
        engine = family.students[0].engine
        written = best(translate_lines(engine, odd_lines, DecodingOptions(beam_size=1)))
        whole = 0
        for line, expected in zip(odd_lines, written, strict=True):
            answer = client.post("/translate", json={"q": line, "source": "en", "target": "de"})
            assert answer.status_code == 200, (line, answer.text)
            text = answer.json()["translatedText"]
            assert is_blank(text) == is_blank(line), line
            if (
                not is_blank(line)
                and len(line.splitlines()) == 1
                and list(parts_of(line, "en", family.students[0].fits)) == [(line, False)]
            ):
                whole += 1
                assert split_blanks(text)[1] == split_blanks(expected)[1], line
    assert whole > len(odd_lines) / 2
