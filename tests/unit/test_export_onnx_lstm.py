"""ONNX exports of LSTMs, in onnxruntime: the graphs, and the code that the model card gives."""

from __future__ import annotations

import contextlib
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from polystill.decoding.beam import TorchTranslator
from polystill.decoding.translator import DecodingOptions
from polystill.errors import UserError
from polystill.export.driver import export_folder
from polystill.export.onnx_graphs import MEMORY, STATE
from polystill.export.onnx_graphs import LstmSessions as Sessions
from polystill.models.folder import load_model_with_tokenizer, save_family, save_student
from polystill.models.lstm import Lstm
from polystill.models.supernets import Supernets
from polystill.students import Student, StudentSpace

LINES = ["one two three", "nine eight seven six five four", "zero", "five five five", "two four six eight"]


@pytest.fixture(scope="module")
def exported(counting_lstm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("onnx") / "out"
    info = export_folder(counting_lstm, out, "onnx", lines=LINES)
    assert info["verification"]["identical"] == 1
    assert info["verification"]["largest_difference"] < 1e-4
    assert (info["architecture"], info["format"]) == ("lstm", "onnx")
    return out


def test_the_folder_says_what_it_is(exported: Path) -> None:
    names = {str(path.relative_to(exported)) for path in exported.rglob("*") if path.is_file()}
    assert names >= {"onnx/encoder_model.onnx", "onnx/decoder_model.onnx", "tokenizer.json", "polystill.json"}
    assert json.loads((exported / "config.json").read_text())["model_type"] == "polystill-lstm"
    assert "transformers.js" not in (exported / "README.md").read_text()


def test_a_padded_batch_with_beams_equals_our_steps(exported: Path, counting_lstm: Path) -> None:
    """In no order of lengths, and with three rows a sentence."""
    (model, tokenizer), sessions = load_model_with_tokenizer(counting_lstm), Sessions(exported)
    rows = tokenizer.encode_source(LINES)
    longest = max(map(len, rows))
    source = np.array([row + [tokenizer.pad_id] * (longest - len(row)) for row in rows])
    mask = (source != tokenizer.pad_id).astype(np.int64)
    assert mask.sum(1).tolist() != sorted(mask.sum(1), reverse=True)
    encoded = sessions.encoder.run([*STATE, *MEMORY], {"input_ids": source, "attention_mask": mask})
    given = dict(zip((*STATE, *MEMORY), encoded, strict=True))
    given |= {name: given[name].repeat(3, axis=given[name].ndim - 2) for name in STATE}
    state = model.start(torch.from_numpy(source), beam_size=3)
    generator = np.random.default_rng(1)
    for _ in range(4):
        tokens = generator.integers(tokenizer.vocabulary_size, size=3 * len(LINES))
        logits, *following = sessions.decoder.run(
            ["logits", *(f"next_{name}" for name in STATE)],
            {**given, "input_ids": tokens, "encoder_attention_mask": mask},
        )
        given |= dict(zip(STATE, following, strict=True))
        assert np.abs(logits - model.step(state, torch.from_numpy(tokens)).numpy()).max() < 1e-4


def test_step_by_step_equals_all_at_once(exported: Path, counting_lstm: Path) -> None:
    model = load_model_with_tokenizer(counting_lstm)[0]
    source, target_in = [5, 6, 7, 0], [model.pad_id, 3, 4, 5, 6, 7]
    with torch.no_grad():
        expected = model(torch.tensor([source]), torch.tensor([target_in]))[0].numpy()
    assert np.abs(Sessions(exported).logits(source, target_in) - expected).max() < 1e-4


def test_the_cards_own_code_translates_a_hundred_lines_alike(
    exported: Path, counting_lstm: Path, counting_data: Path
) -> None:
    lines = (counting_data / "train.en").read_text().splitlines()[:100]
    (code,) = re.findall(r"```python\n(.*?)```", (exported / "README.md").read_text(), re.DOTALL)
    names: dict[str, object] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(code.replace("path/of/this/folder", str(exported)), names)
    theirs = [names["translate"](line) for line in lines]  # type: ignore[operator]
    translator = TorchTranslator(*load_model_with_tokenizer(counting_lstm))
    assert theirs == [found[0].text for found in translator.translate(lines, DecodingOptions(beam_size=1))]
    assert len(set(theirs)) > 50


@pytest.mark.parametrize("student", ["e1d2", "e2d1"])
def test_depths_that_differ(
    student: str, counting_lstm: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model, tokenizer = load_model_with_tokenizer(counting_lstm)
    members = [Student.parse(name) for name in ("e1d2", "e2d1", "e2d2")]
    save_family(tmp_path / "family", Supernets(model), tokenizer, StudentSpace.from_list([model.teacher], members), {})
    save_student(tmp_path / "family", Student.parse(student), tmp_path / "student")
    info = export_folder(tmp_path / "student", tmp_path / "out", "onnx", lines=LINES)
    assert info["verification"]["identical"] == 1
    assert capfd.readouterr().err == ""


def test_a_wrong_graph_is_noticed_and_not_written(
    counting_lstm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Lstm.step_tensors
    monkeypatch.setattr(
        Lstm, "step_tensors", lambda self, tokens, mask, hidden, *rest: right(self, tokens, mask, 2 * hidden, *rest)
    )
    with pytest.raises(UserError, match="does not translate like its source"):
        export_folder(counting_lstm, tmp_path / "out", "onnx", lines=LINES)
    assert not list(tmp_path.iterdir())
