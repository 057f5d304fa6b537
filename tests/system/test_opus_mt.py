"""A folder in OPUS-MT's layout starts a family, which is trained, translates and is exported."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, MarianTokenizer

from polystill.data.tokenizer import Tokenizer
from polystill.decoding.beam import TorchTranslator
from polystill.decoding.ctranslate2 import CTranslate2Translator
from polystill.decoding.translator import DecodingOptions
from polystill.export.driver import export_folder
from polystill.models.folder import load_model_with_tokenizer
from tests.conftest import train_counting_student
from tests.opus_mt import write_opus_folder

from .conftest import Polystill

LINES = ["one two three", "nine", "four four six seven zero", "eight ☃ one", "zero one two three four five six"]
MOST = 12


@pytest.fixture(scope="module")
def opus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    student = train_counting_student(tmp_path_factory.mktemp("swish"), activation="swish")
    return write_opus_folder(student, tmp_path_factory.mktemp("opus-mt-tc-big-en-de"))


def of_transformers(folder: Path) -> list[str]:
    """Its greedy translations, by its own tokenizer."""
    model: Any = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = []
    for line in LINES:
        batch = tokenizer([line], return_tensors="pt")
        greedy = {"num_beams": 1, "do_sample": False, "length_penalty": 1.0, "early_stopping": False}
        pad = [[model.config.pad_token_id]]
        more = {"forced_eos_token_id": None, "max_length": None, "max_new_tokens": MOST, "min_length": 2}
        row = model.generate(**batch, **greedy, **more, bad_words_ids=pad)[0]
        found.append(tokenizer.decode(row, skip_special_tokens=True))
    return found


def test_it_translates_as_in_transformers_and_drops_unknown_pieces(opus: Path, tmp_path: Path) -> None:
    model, tokenizer = load_model_with_tokenizer(opus)
    assert (tokenizer.eos_id, tokenizer.unk_id) != (0, 1)
    options = DecodingOptions(beam_size=1, max_length=MOST, token_scores=True)
    ours = [found for (found,) in TorchTranslator(model, tokenizer).translate(LINES, options)]
    assert [found.text for found in ours] == of_transformers(opus)
    assert [found.tokens.count("<unk>") for found in ours] == [0, 0, 1, 0, 0]
    assert ours[2].text == "null sechs vier vier"
    assert not any("⁇" in found.text or "<unk>" in found.text for found in ours)
    export_folder(opus, tmp_path / "ctranslate2", "ctranslate2")
    theirs = CTranslate2Translator(tmp_path / "ctranslate2", threads=1).translate(LINES, options)
    assert [found.text for (found,) in theirs] == [found.text for found in ours]


def test_its_ids_and_texts_are_those_of_marian_tokenizer(opus: Path, counting_data: Path) -> None:
    ours, theirs = Tokenizer.load(opus), MarianTokenizer.from_pretrained(opus)
    english, german = ((counting_data / f"test.{side}").read_text().splitlines() for side in ("en", "de"))
    english = [*english, *LINES, "", "eins"]
    assert ours.encode_source(english) == theirs(english).input_ids
    assert ours.encode_target(german) == theirs(text_target=german).input_ids
    rows = [random.Random(i).choices(range(ours.vocabulary_size - 1), k=9) for i in range(50)]  # of either side
    rows = [[i for i in row if i != ours.eos_id] for row in rows]
    assert [text.strip() for text in theirs.batch_decode(rows, skip_special_tokens=True)] == ours.decode(rows)


def test_a_family_starts_from_it_and_is_shipped(
    opus: Path, polystill: Polystill, counting_data: Path, tmp_path: Path
) -> None:
    text = {"train": "train", "validation": "validation", "test": "test"}
    kinds = {key: f"{{kind: text, source: {name}.en, target: {name}.de}}" for key, name in text.items()}
    (tmp_path / "recipe.yaml").write_text(
        f"""
name: from-opus-mt
data:
  folder: {counting_data}
  source_language: en
  target_language: de
  train: [{kinds["train"]}]
  validation: {kinds["validation"]}
  test: {{counting: {kinds["test"]}}}
  max_tokens: 32
model: {{start: {opus}, positions: marian}}
students: {{encoder: [1, 2], decoder: [1, 2]}}
training: {{batch_tokens: 512, learning_rate: 2.0e-3, warmup: 2, validate_every: 6, checkpoint_every: 6, threads: 1}}
stages: [{{name: distillation, updates: 6}}]
evaluation: {{beams: [1], students: [e1d1]}}
"""
    )
    run = tmp_path / "run"
    polystill("run", tmp_path / "recipe.yaml", "--out", run).ok()
    eos, pad = (json.loads((opus / "vocab.json").read_text())[mark] for mark in ("</s>", "<pad>"))
    config = json.loads((run / "family" / "config.json").read_text())
    assert (config["eos_token_id"], config["pad_token_id"], config["activation_function"]) == (eos, pad, "swish")
    rows = json.loads((run / "results.json").read_text())["rows"]
    assert {row["model"] for row in rows} == {"e1d1"}
    for to in ("hf", "ctranslate2", "onnx"):
        polystill("export", run, "e2d2", "--to", to, "--out", tmp_path / to).ok()
    stdin = "".join(f"{line}\n" for line in LINES)
    places: list[list[str | Path]] = [[run, "--student", "e2d2"], [tmp_path / "hf"], [tmp_path / "ctranslate2"]]
    found = [polystill("translate", *place, "--beam", "1", stdin=stdin).ok().stdout for place in places]
    assert found[0].count("\n") == len(LINES)
    assert "⁇" not in found[0]
    assert found == found[:1] * 3
    again = ["--set", f"model={{start: {run}}}", "--set", "stages=[{name: more, updates: 2}]"]
    polystill("run", tmp_path / "recipe.yaml", "--out", tmp_path / "again", *again).ok()
