"""Model cards: what is in them, and that the Hub's library reads them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from polystill.decoding.translator import DecodingOptions
from polystill.export import FORMATS
from polystill.export.card import Record, data_lines, model_card
from polystill.runs import Run
from polystill.runs.results import DeviceRow, QualityRow

INFO: dict[str, Any] = {
    "name": "e2d1",
    "source_language": "en",
    "target_language": "de",
    "architecture": "transformer",
    "encoder_layers": 2,
    "decoder_layers": 1,
    "parameters": 1234567,
    "vocabulary_size": 8000,
    "verification": {"sentences": 16, "identical": 1.0, "mean_difference": 0.0001, "largest_difference": 0.0002},
}
ROW = QualityRow(
    model_id="aio_kd-gold-e2d1",
    model="e2d1",
    method="aio_kd",
    targets="gold",
    seed=3,
    run_id="test-12ab",
    test_set="flickr",
    engine="ctranslate2",
    precision="int8",
    beam=5,
    length_penalty=1.0,
    bleu=36.123,
    bleu_signature="nrefs:1|tok:13a",
    chrf=60.0,
    chrf_signature="nc:6",
    words_per_second=12345.6,
    threads=2,
    hardware="a laptop",
)


@pytest.mark.parametrize("to", FORMATS)
def test_every_format_has_a_card_that_the_hub_reads(to: str) -> None:
    info = {**INFO, "format": to, "quantization": "int8"}
    card = ModelCard(model_card(info, Record([ROW], data=["data: synthetic, pairs 400"]), 2_500_000))
    data: Any = card.data
    assert data.language == ["en", "de"]
    assert "license" not in data.to_dict()
    if to == "ctranslate2":
        assert data.metrics == ["bleu", "chrf"]
        assert data.model_name == "e2d1"
        bleu, chrf = data.eval_results
        assert (bleu.task_type, bleu.dataset_name, bleu.metric_type, bleu.metric_value) == (
            *("translation", "flickr", "bleu"),
            36.12,
        )
        assert (chrf.metric_type, chrf.metric_name) == ("chrf", "chrF (ctranslate2, int8, beam 5)")
    else:
        assert data.eval_results is None and data.to_dict().get("metrics") is None
    for part in (
        *("# e2d1: en → de", "1,234,567 parameters", "2.5 MB", "AIO-KD", "seed: 3", "data: synthetic, pairs 400"),
        *("| flickr | ctranslate2 | int8 | 5 | 36.1 | 60.0 | 12,346 | 2 |", "BLEU: `nrefs:1|tok:13a`", "a laptop"),
        *("## How to use it", "of 16 sentences 100%"),
    ):
        assert part in card.text, part
    assert (f"This package itself ({to}, int8) was not measured" in card.text) == (to != "ctranslate2")
    assert ("### Other forms of the same student" in card.text) == (to != "ctranslate2")
    assert "pip install polystill" not in card.text and "pip install 'polystill" not in card.text
    assert "{" not in card.text.split("## How to use it")[1] or to == "onnx"


BESIDES = [
    replace(ROW, precision="float32", beam=1, bleu=31.1),
    replace(ROW, beam=1, bleu=32.2),
    replace(ROW, shortlist=True, bleu=33.3),
    replace(ROW, length_penalty=0.6, bleu=34.4),
    replace(ROW, engine="torch", precision="float32", bleu=35.5),
    ROW,
]


def _index(card: ModelCard) -> Any:
    """The results of model-index, which huggingface_hub's class sets without declaring them."""
    data: Any = card.data
    return data.eval_results


@pytest.mark.parametrize(
    ("about", "search", "bleu"),
    [
        ({"quantization": "int8"}, DecodingOptions(), 36.12),
        ({"quantization": "int8", "shortlist": {}}, DecodingOptions(), 33.3),
        ({"quantization": "int8"}, DecodingOptions(length_penalty=0.6), 34.4),
        ({"quantization": "int8"}, DecodingOptions(beam_size=1), 32.2),
        ({"quantization": "float32"}, DecodingOptions(beam_size=1), 31.1),
        ({"quantization": "float32", "format": "sparse"}, DecodingOptions(), 35.5),
    ],
)
def test_the_packages_own_figures_come_first_and_are_the_only_ones_in_the_index(
    about: dict[str, Any], search: DecodingOptions, bleu: float
) -> None:
    said = {"frequent": 50, "sentences": 28995, "same_translations": 15, "lines": 16}
    info = {**INFO, "format": "ctranslate2", **about, **({"shortlist": said} if "shortlist" in about else {})}
    card = ModelCard(model_card(info, Record(BESIDES, search=search), 1))
    assert [result.metric_value for result in _index(card)] == [bleu, 60.0]
    own, others = card.text.split("### Other forms of the same student")
    rows = [[line for line in part.split("\n") if line.startswith("| flickr")] for part in (own, others)]
    assert [len(part) for part in rows] == [1, 5]
    assert f" {bleu:.1f} |" in rows[0][0] and f" {bleu:.1f} |" not in "".join(rows[1])
    assert "was not measured" not in card.text


@pytest.mark.parametrize(
    ("about", "form"),
    [
        ({"format": "ctranslate2", "quantization": "int16", "beam_size": 5}, "ctranslate2, int16, beam 5"),
        ({"format": "argos", "quantization": "int8"}, "argos, int8"),
        ({"format": "sparse", "quantization": "float16", "beam_size": 5}, "sparse, float16, beam 5"),
        ({"format": "hf", "beam_size": 5}, "hf, beam 5"),
    ],
)
def test_a_form_that_was_not_measured_has_no_figures_in_the_index(about: dict[str, Any], form: str) -> None:
    card = ModelCard(model_card({**INFO, **about}, Record(BESIDES), 1))
    assert _index(card) is None
    before, others = card.text.split("### Other forms of the same student")
    assert f"This package itself ({form}) was not measured" in before and "| flickr" not in before
    assert others.count("| flickr") == len(BESIDES)


@pytest.mark.parametrize("length_penalty", [1.0, 0.6])
def test_on_devices_the_packages_own_figures_come_first(length_penalty: float) -> None:
    rows = [
        DeviceRow(device="board", hardware="an ARM", model="e2d1", engine="ctranslate2", threads=threads, **variant)
        for threads, variant in (
            (1, {"precision": "float32", "beam": 1}),
            (2, {"precision": "int8", "beam": 1}),
            (3, {"precision": "int8", "beam": 5}),
        )
    ]
    record = Record(devices=rows, search=DecodingOptions(length_penalty=length_penalty))
    text = model_card({**INFO, "format": "ctranslate2", "quantization": "int8"}, record, 1)
    shown = [line for line in text.split("\n") if line.startswith("| board")]
    assert shown == ["| board | int8 | 5 | 3 |", "| board | float32 | 1 | 1 |", "| board | int8 | 1 | 2 |"]
    assert "length penalty" not in text


def test_what_is_not_known_is_left_out() -> None:
    bare = {key: value for key, value in INFO.items() if "language" not in key and key != "verification"}
    text = model_card({**bare, "format": "hf"}, Record(), 1)
    for absent in ("metrics", "model-index", "language:", "## Measured", "## Training", "None"):
        assert absent not in text


def test_an_lstm_is_called_one() -> None:
    text = model_card({**INFO, "architecture": "lstm", "format": "sparse"}, Record(), 1)
    assert "An LSTM" in text and "- lstm" in text
    assert "Transformer" not in text and "- marian" not in text
    assert "--to FORMAT` with `onnx`." in text  # no other engine has LSTMs


def test_a_pruned_student_says_how_many_weights_are_left() -> None:
    info = {**INFO, "format": "sparse"}
    assert "parameters (7 of them not zero), a" in model_card({**info, "nonzero_parameters": 7}, Record(), 1)
    assert "not zero" not in model_card({**info, "nonzero_parameters": INFO["parameters"]}, Record(), 1)


def test_an_unmeasured_student_has_its_familys_method() -> None:
    text = model_card({**INFO, "format": "hf"}, Record(family={"method": "nll", "targets": "beam", "seed": 2}), 1)
    assert "- method: maximum likelihood\n- targets: beam; seed: 2\n" in text


def test_every_figure_says_how_it_was_obtained() -> None:
    row = replace(ROW, comet=0.81234, comet_signature="wmt22-comet-da, unbabel-comet 2.2", length_penalty=0.6)
    info = {**INFO, "format": "ctranslate2", "quantization": "int8"}
    search = DecodingOptions(length_penalty=0.6)
    text = model_card(info, Record([row, replace(row, test_set="news")], search=search), 1)
    assert "- COMET: `wmt22-comet-da, unbabel-comet 2.2`" in text
    assert "| beam | length penalty | BLEU |" in text and "| 5 | 0.6 | 36.1 |" in text
    assert "name: COMET (ctranslate2, int8, beam 5, length penalty 0.6)" in text
    assert "name: BLEU (ctranslate2, int8, beam 5, length penalty 0.6)" in text
    assert "length penalty" not in model_card({**INFO, "format": "hf"}, Record([replace(row, length_penalty=1.0)]), 1)


def test_the_other_formats_are_named() -> None:
    text = model_card({**INFO, "format": "hf"}, Record(), 1)
    others = "`ctranslate2`, `argos`, `onnx`, `marian`, `bergamot`, `sparse`"
    assert f"`polystill export RUN e2d1 --to FORMAT` with {others}." in text


def test_columns_that_no_row_has_are_left_out() -> None:
    row = replace(ROW, words_per_second=None, chrf=None, chrf_signature="")
    text = model_card({**INFO, "format": "hf"}, Record([row, replace(row, beam=1, comet=0.81234)]), 1)
    assert "words/s" not in text
    assert "| flickr | ctranslate2 | int8 | 5 | 36.1 |  | 2 |" in text
    assert "| flickr | ctranslate2 | int8 | 1 | 36.1 | 0.812 | 2 |" in text


@pytest.mark.parametrize(("to", "file"), [("ctranslate2", "`vmap.txt`"), ("bergamot", "`lex.*.bin`")])
def test_a_shortlist_is_named_with_what_it_changes(to: str, file: str) -> None:
    said = {"frequent": 50, "sentences": 28995, "same_translations": 15, "lines": 16}
    card = model_card({**INFO, "format": to, "shortlist": said}, Record(), 1)
    assert f"with the shortlist ({file}" in card
    assert "learnt from 28,995 sentences, 15 of 16 translations stay as they are" in card
    assert "shortlist" not in model_card({**INFO, "format": to}, Record(), 1)


def test_a_card_says_what_the_network_was_trained_with() -> None:
    alone, together = (
        model_card({**INFO, "format": "hf"}, Record(family={"method": method, "candidates": candidates}), 1)
        for method, candidates in (("nll", ["e2d1"]), ("aio_kd", ["e1d1", "e2d1", "e2d2"]))
    )
    assert "- one of the 3 students of a family that one run trained" in together
    assert "family" not in alone


def test_sources_pairs_vocabulary_and_held_out_sets(small_run: Path, tmp_path: Path) -> None:
    settings = Run.open(small_run).recipe.data
    data = Path(shutil.copytree(small_run / "data", tmp_path / "data"))
    report = json.loads((data / "cleaning.json").read_text())
    kept, total = (f"{report[key]:,}" for key in ("kept", "total"))
    assert (total, kept != total) == ("1,500", True)
    source = "data: kind text, source train.en, target train.de"
    vocabulary = "vocabulary: 45 pieces (SentencePiece, unigram), one model for both languages"
    assert data_lines(settings, data) == [
        source,
        f"training pairs: {kept} of {total}, the others dropped by cleaning",
        vocabulary,
        "validation: 60 sentences; test set counting: 60 sentences",
    ]
    (data / "cleaning.json").write_text(json.dumps({**report, "kept": 1500}))
    assert "training pairs: 1,500, of which cleaning dropped none" in data_lines(settings, data)
    (data / "cleaning.json").unlink()
    (data / "validation.source.txt").unlink()
    shutil.rmtree(data / "test")
    assert data_lines(settings, data) == [source, vocabulary]
    assert data_lines(settings, tmp_path / "nowhere") == [source]
