"""ONNX exports of Transformers, in onnxruntime. tests/consumers runs them in JavaScript."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from polystill.config import TokenizerSettings
from polystill.data.tokenizer import Tokenizer, train_tokenizer
from polystill.errors import UserError
from polystill.export import onnx_graphs
from polystill.export.driver import export_folder
from polystill.export.onnx import fast_tokenizer
from polystill.export.onnx_graphs import TransformerSessions as Sessions
from polystill.models.folder import load_model, load_model_with_tokenizer
from polystill.models.layers import attend

LINES = ["one two three", "nine eight seven six five four", "zero", "five five five", "two four six eight"]


@pytest.fixture(scope="module")
def exported(counting_student: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("onnx") / "out"
    info = export_folder(counting_student, out, "onnx", lines=LINES)
    assert info["verification"]["identical"] == 1
    assert info["verification"]["largest_difference"] < 1e-4
    assert info["versions"].keys() >= {"onnx", "onnxruntime"}
    return out


def test_the_layout_is_that_of_transformers_js(exported: Path) -> None:
    names = {str(path.relative_to(exported)) for path in exported.rglob("*") if path.is_file()}
    assert names >= {
        *("onnx/encoder_model.onnx", "onnx/decoder_model_merged.onnx", "tokenizer.json", "tokenizer_config.json"),
        *("config.json", "generation_config.json", "polystill.json"),
    }
    assert json.loads((exported / "config.json").read_text())["model_type"] == "marian"
    sessions = Sessions(exported)
    assert {given.name for given in sessions.encoder.get_inputs()} == {"input_ids", "attention_mask"}
    past = {given.name: given.shape for given in sessions.decoder.get_inputs() if given.name.startswith("past")}
    assert past["past_key_values.1.encoder.key"] == ["batch_size", 4, "past_encoder_sequence_length", 8]
    assert len(past) == 8


def test_a_padded_batch_at_once_equals_our_logits(exported: Path, counting_student: Path) -> None:
    model, tokenizer = load_model_with_tokenizer(counting_student)
    rows = tokenizer.encode_source(LINES)
    longest = max(map(len, rows))
    source = np.array([row + [tokenizer.pad_id] * (longest - len(row)) for row in rows])
    target_in = np.array([[tokenizer.pad_id, 5, 9, 2]] * len(rows))
    mask = (source != tokenizer.pad_id).astype(np.int64)
    sessions = Sessions(exported)
    memory = sessions.encoder.run(None, {"input_ids": source, "attention_mask": mask})[0]
    feeds = {"input_ids": target_in, "encoder_attention_mask": mask, "encoder_hidden_states": memory}
    for given in sessions.decoder.get_inputs():
        if given.name.startswith("past"):
            feeds[given.name] = np.zeros((len(rows), given.shape[1], 0, given.shape[3]), np.float32)
    logits = sessions.decoder.run(None, feeds)[0]
    with torch.no_grad():
        expected = model(torch.from_numpy(source), torch.from_numpy(target_in)).numpy()
    assert np.abs(logits - expected).max() < 1e-4


def test_step_by_step_equals_all_at_once(exported: Path, counting_student: Path) -> None:
    model = load_model(counting_student)
    source, target_in = [5, 6, 7, 0], [model.pad_id, 3, 4, 5, 6, 7]
    with torch.no_grad():
        expected = model(torch.tensor([source]), torch.tensor([target_in]))[0].numpy()
    assert np.abs(Sessions(exported).logits(source, target_in) - expected).max() < 1e-4


def test_a_loop_may_go_on_for_as_long_as_the_pipeline_lets_it(exported: Path, counting_student: Path) -> None:
    target_in = ([5, 6, 7] * onnx_graphs.PIPELINE_TOKENS)[: onnx_graphs.PIPELINE_TOKENS]
    assert len(target_in) > load_model(counting_student).max_positions
    assert np.isfinite(Sessions(exported).logits([5, 6, 0], target_in)).all()


RARE = ("é\u0323 ệ", "각 가\u11a8", "ö\u200b o\u200b\u0308")
"""Lines whose accents SentencePiece's normalisation leaves as they are, where tokenizer.json composes them."""


def without_bytes() -> Tokenizer:
    return train_tokenizer(LINES * 3, TokenizerSettings(vocabulary_size=24, byte_fallback=False), "en", "de")


@pytest.mark.parametrize("has_bytes", [True, False])
def test_tokenizer_json_gives_the_same_ids_and_texts(
    has_bytes: bool, spelling_student: Path, odd_lines: list[str]
) -> None:
    tokenizer = load_model_with_tokenizer(spelling_student)[1] if has_bytes else without_bytes()
    fast = fast_tokenizer(tokenizer)
    lines = [*LINES, *(line for line in odd_lines if not line.startswith(RARE))]
    if not has_bytes:  # unknown signs and letters next to each other are one `<unk>`, but two where a mark was cut
        lines = [line for line in lines if not re.search("<(/s|unk|pad|0x..)>", line)]
    rows = tokenizer.encode_source(lines)
    assert [fast.encode(line).ids for line in lines] == rows
    assert [fast.decode(row).strip() for row in rows] == tokenizer.decode(rows)


def test_marks_that_are_typed_are_text_and_marks_that_are_written_vanish(spelling_student: Path) -> None:
    tokenizer = load_model_with_tokenizer(spelling_student)[1]
    fast = fast_tokenizer(tokenizer)
    for mark in ("</s>", "<unk>", "<pad>", "<0x41>", "</s></s>", "one</s>", "<pad>one"):
        ids = fast.encode(mark).ids
        assert not {tokenizer.eos_id, tokenizer.unk_id, tokenizer.pad_id} & set(ids[:-1])
        assert fast.decode(ids) == mark
    one = fast.encode("one").ids[:-1]
    for skips in (True, False):
        row = [tokenizer.pad_id, *one, tokenizer.unk_id, tokenizer.eos_id]
        assert fast.decode(row, skip_special_tokens=skips) == "one"


def test_a_wrong_graph_is_noticed_and_not_written(
    counting_student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_graphs, "attend", lambda query, *rest: attend(2 * query, *rest))
    with pytest.raises(UserError, match="does not translate like its source"):
        export_folder(counting_student, tmp_path / "out", "onnx", lines=LINES)
    assert not list(tmp_path.iterdir())


def test_a_wrong_end_mark_is_noticed(counting_student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right, eos_id = Sessions.logits, load_model(counting_student).eos_id

    def never_ending(self: Sessions, source: list[int], target_in: list[int]) -> np.ndarray:
        found = right(self, source, target_in)
        found[-1, eos_id] -= 5
        return found

    monkeypatch.setattr(Sessions, "logits", never_ending)
    with pytest.raises(UserError, match="does not translate like its source"):
        export_folder(counting_student, tmp_path / "out", "onnx", lines=LINES)


def test_without_onnxruntime_the_message_says_how_to_get_it(
    counting_student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polystill.environment.extras.find_spec", lambda name: None if name == "onnxruntime" else name)
    with pytest.raises(UserError, match=r"needs onnxruntime.*pip install .*\[onnx\]"):
        export_folder(counting_student, tmp_path / "out", "onnx")
