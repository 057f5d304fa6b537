"""Our Transformer against transformers.MarianMTModel: equal logits for every student, both ways; OPUS-MT's layout."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, MarianConfig, MarianMTModel

from polystill.config import TokenizerSettings
from polystill.data.tokenizer import train_tokenizer
from polystill.errors import UserError
from polystill.models.folder import load_model, load_model_with_tokenizer, save_family, save_student
from polystill.models.supernets import Supernets
from polystill.models.transformer import POSITIONS
from polystill.students import Student, StudentSpace, in_ranges

PUBLISHED = [Student(e, d) for e in range(2, 7) for d in range(2, e + 1)]
ENGLISH = ["zero one two three four", "five six seven eight nine"]
GERMAN = ["null eins zwei drei vier", "fünf sechs sieben acht neun"]


def _lines(counting_data: Path, *sides: str) -> list[str]:
    return [line for side in sides for line in (counting_data / f"train.{side}").read_text().splitlines()]


def _marian_logits(model: Any, batch: Any, pad_id: int) -> torch.Tensor:
    mask = (batch.source != pad_id).long()
    with torch.no_grad():
        return model(input_ids=batch.source, attention_mask=mask, decoder_input_ids=batch.target_in).logits


@pytest.mark.parametrize("activation", ["relu", "swish", "gelu"])
def test_logits_of_every_student_equal_marians(make_model: Any, make_batch: Any, activation: str) -> None:
    model, batch = make_model(layers=6, activation=activation), make_batch()
    for student in PUBLISHED:
        network, architecture = model.network(student), model.architecture
        files = architecture.config_files(network.config)
        marian = MarianMTModel(MarianConfig(**files["config.json"])).eval()
        tensors = architecture.to_folder(network.state(), network.config)
        loading = marian.load_state_dict(tensors, strict=False)
        assert not loading.unexpected_keys
        marian.tie_weights()
        theirs = _marian_logits(marian, batch, model.pad_id)
        ours = model(batch.source, batch.target_in, student)
        assert (theirs - ours).abs().max().item() < 1e-5, student


def test_a_folder_saved_by_transformers_loads(make_batch: Any, tmp_path: Path) -> None:
    torch.manual_seed(2)
    config = MarianConfig(
        vocab_size=40, d_model=16, encoder_layers=3, decoder_layers=2, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=24, decoder_ffn_dim=24, activation_function="swish",
        max_position_embeddings=64, scale_embedding=True, pad_token_id=39, eos_token_id=0, decoder_start_token_id=39,
    )  # fmt: skip
    marian = MarianMTModel(config).eval()
    with torch.no_grad():
        marian.final_logits_bias.normal_()
        marian.final_logits_bias[0, 39] = 0  # `<pad>`'s, as Marian leaves it
    marian.save_pretrained(tmp_path)
    model, batch = load_model(tmp_path), make_batch()
    assert model.teacher == Student(3, 2)
    ours = model(batch.source, batch.target_in)
    assert (_marian_logits(marian, batch, 39) - ours).abs().max().item() < 1e-5


@pytest.mark.parametrize("positions", POSITIONS)
def test_an_extracted_student_loads_with_the_auto_classes(
    positions: str, make_model: Any, counting_data: Path, tmp_path: Path
) -> None:
    settings = TokenizerSettings(vocabulary_size=40, byte_fallback=False)
    tokenizer = train_tokenizer(_lines(counting_data, "en", "de"), settings, "en", "de")
    model = make_model(layers=3, positions=positions)
    space = StudentSpace.from_list([model.teacher], in_ranges(model.teacher, (1, 3), (1, 3)))
    save_family(tmp_path / "family", Supernets(model), tokenizer, space, {})
    save_student(tmp_path / "family", Student(2, 1), tmp_path / "student")
    marian, loading = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "student", output_loading_info=True)
    assert not loading["missing_keys"] and not loading["unexpected_keys"]
    assert (marian.config.encoder_layers, marian.config.decoder_layers) == (2, 1)
    auto = AutoTokenizer.from_pretrained(tmp_path / "student")
    ids = auto(ENGLISH, return_tensors="pt", padding=True)
    rows = [[i for i in row if i != tokenizer.pad_id] for row in ids.input_ids.tolist()]
    assert rows == tokenizer.encode_source(ENGLISH)
    target = torch.tensor([[tokenizer.pad_id, 5, 6], [tokenizer.pad_id, 7, 8]])
    with torch.no_grad():
        theirs = marian(**ids, decoder_input_ids=target).logits
    ours = model(ids.input_ids, target, Student(2, 1))
    assert (theirs - ours).abs().max().item() < 1e-5
    assert torch.equal(load_model(tmp_path / "student").positions, model.positions)
    generated = marian.generate(**ids, max_new_tokens=10)
    assert not (generated[:, 1:] == tokenizer.pad_id).all()


def test_positions_that_the_configuration_does_not_tell_of_are_refused(make_model: Any, tmp_path: Path) -> None:
    model = make_model(positions="marian")
    files = model.architecture.config_files(replace(model.config, positions="huggingface"))
    marian = MarianMTModel(MarianConfig(**files["config.json"]))
    tensors = model.architecture.to_folder(model.state_dict(), model.config)
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    marian.config.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="other positions than the sinusoids of its configuration"):
        load_model(tmp_path)


def test_opus_mts_layout_loads_as_a_teacher(make_batch: Any, counting_data: Path, tmp_path: Path) -> None:
    """A folder as OPUS-MT publishes it: two SentencePiece models, and a joint vocab.json in an order of its own.

    Built here, because no hub can be reached from the tests; real OPUS-MT folders are untested.
    """
    settings = TokenizerSettings(vocabulary_size=24, byte_fallback=False)
    sides = [train_tokenizer(_lines(counting_data, side), settings, "en", "de") for side in ("en", "de")]
    for name, side in zip(("source", "target"), sides, strict=True):
        side.save(tmp_path / name)
        (tmp_path / f"{name}.spm").write_bytes((tmp_path / name / "source.spm").read_bytes())
    pieces = sorted({piece for side in sides for piece in side.pieces} - {"</s>", "<unk>", "<pad>"}, reverse=True)
    vocabulary = {piece: i for i, piece in enumerate(["</s>", "<unk>", *pieces, "<pad>"])}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    settings_of_tokenizer = {"source_lang": "eng", "target_lang": "deu", "tokenizer_class": "MarianTokenizer"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings_of_tokenizer), encoding="utf-8")
    size = len(vocabulary)
    config = MarianConfig(
        vocab_size=size, d_model=16, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=24, decoder_ffn_dim=24, activation_function="swish",
        max_position_embeddings=64, scale_embedding=True, pad_token_id=size - 1, eos_token_id=0,
        decoder_start_token_id=size - 1,
    )  # fmt: skip
    marian = MarianMTModel(config).eval()
    marian.save_pretrained(tmp_path)
    model, tokenizer = load_model_with_tokenizer(tmp_path)
    auto = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.encode_source(ENGLISH) == auto(ENGLISH).input_ids
    assert tokenizer.encode_target(GERMAN) == auto(text_target=GERMAN).input_ids
    batch = make_batch(vocabulary_size=size)
    assert (_marian_logits(marian, batch, size - 1) - model(batch.source, batch.target_in)).abs().max().item() < 1e-5
