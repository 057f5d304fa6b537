"""Hugging Face exports, as transformers sees them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from polystill.decoding.translator import DecodingOptions
from polystill.errors import UserError
from polystill.export.card import Record
from polystill.export.driver import export_folder


def test_the_folder_loads_in_transformers_and_translates_alike(counting_student: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    from polystill.decoding.beam import TorchTranslator
    from polystill.models.folder import load_model_with_tokenizer

    info = export_folder(counting_student, tmp_path / "out", "hf")
    assert info["verification"]["largest_difference"] < 1e-4
    model: Any = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    lines = ["one two three", "nine eight seven six", "zero"]
    batch = tokenizer(lines, return_tensors="pt", padding=True)
    generated = model.generate(**batch, num_beams=1, do_sample=False)
    expected = tokenizer.batch_decode(generated, skip_special_tokens=True)
    ours = TorchTranslator(*load_model_with_tokenizer(counting_student)).translate(lines, DecodingOptions(beam_size=1))
    assert [h.text for (h,) in ours] == expected


def test_files_and_card(counting_student: Path, tmp_path: Path) -> None:
    info = export_folder(counting_student, tmp_path / "out", "hf")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("config.json", "generation_config.json", "model.safetensors", "polystill.json", "README.md"),
        *("source.spm", "target.spm", "vocab.json", "tokenizer_config.json"),
    }
    card = (tmp_path / "out" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: transformers\n")
    assert "- en\n- de\n" in card
    assert f"{info['parameters']:,} parameters" in card
    assert json.loads((tmp_path / "out" / "polystill.json").read_text()) == info


@pytest.mark.parametrize(("beam", "penalty"), [(2, 0.5), (1, 1.0)])
def test_the_search_is_the_one_that_was_picked(
    counting_student: Path, tmp_path: Path, beam: int, penalty: float
) -> None:
    record = Record(search=DecodingOptions(beam_size=beam, length_penalty=0.5))
    info = export_folder(counting_student, tmp_path / "out", "hf", record=record)
    settings = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    assert (settings["num_beams"], settings["length_penalty"]) == (beam, penalty)
    assert settings["early_stopping"] is (beam > 1)
    assert (info["beam_size"], info["length_penalty"]) == (beam, 0.5)


def test_settings_with_which_transformers_translates_otherwise_are_noticed(
    counting_student: Path, tmp_path: Path
) -> None:
    student = Path(shutil.copytree(counting_student, tmp_path / "student"))
    path = student / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "repetition_penalty": 9.0}))
    with pytest.raises(UserError, match="where they first differ, the source prefers its own token by up to"):
        export_folder(student, tmp_path / "out", "hf", lines=["five five five", "one one"])
    assert not (tmp_path / "out").exists()


def test_other_logits_than_ours_are_noticed(
    counting_student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import MarianMTModel

    load = MarianMTModel.from_pretrained.__func__

    def load_wrongly(cls: Any, *args: Any, **kwargs: Any) -> Any:
        model = load(cls, *args, **kwargs)
        model.final_logits_bias += 0.1
        return model

    monkeypatch.setattr(MarianMTModel, "from_pretrained", classmethod(load_wrongly))
    with pytest.raises(UserError, match=r"other logits than polystill \(by up to 0\.1"):
        export_folder(counting_student, tmp_path / "out", "hf")
    assert not list(tmp_path.iterdir())
