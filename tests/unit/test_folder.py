"""Family and student folders: what is in them, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from polystill.config import TokenizerSettings
from polystill.data.tokenizer import Tokenizer, train_tokenizer
from polystill.errors import UserError
from polystill.models.folder import (
    load_model,
    load_model_with_tokenizer,
    parameter_count,
    save_family,
    save_student,
    weights_path,
    write_sparse_model,
)
from polystill.models.supernets import Supernets
from polystill.models.transformer import Transformer
from polystill.runs.family import family_space, read_family
from polystill.students import Student, StudentSpace, in_ranges


@pytest.fixture(scope="module")
def tokenizer(counting_data: Path) -> Tokenizer:
    lines = [line for side in ("en", "de") for line in (counting_data / f"train.{side}").read_text().splitlines()]
    return train_tokenizer(lines, TokenizerSettings(vocabulary_size=40, byte_fallback=False), "en", "de")


@pytest.fixture
def family(make_model: Any, tokenizer: Tokenizer, tmp_path: Path) -> tuple[Path, Transformer]:
    model = make_model(layers=3)
    space = StudentSpace.from_list([model.teacher], in_ranges(model.teacher, (1, 3), (1, 3)))
    save_family(tmp_path / "family", Supernets(model), tokenizer, space, {"seed": 1})
    return tmp_path / "family", model


def _edit(path: Path, **changes: Any) -> None:
    values = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))


def test_round_trip(family: tuple[Path, Transformer], make_batch: Any) -> None:
    folder, model = family
    loaded, tokenizer = load_model_with_tokenizer(folder)
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    assert tokenizer.vocabulary_size == 40
    assert not loaded.training
    assert read_family(folder)["seed"] == 1
    assert [str(s) for s in family_space(folder).candidates] == ["e1d1", "e2d1", "e2d2", "e3d1", "e3d2", "e3d3"]
    assert parameter_count(folder) == sum(p.numel() for p in model.parameters())


def test_an_extracted_student_has_its_own_layers_only(
    family: tuple[Path, Transformer], make_batch: Any, tmp_path: Path
) -> None:
    folder, model = family
    student, batch = Student(2, 1), make_batch()
    save_student(folder, student, tmp_path / "student")
    loaded, _ = load_model_with_tokenizer(tmp_path / "student")
    assert loaded.teacher == student
    torch.testing.assert_close(
        loaded(batch.source, batch.target_in), model(batch.source, batch.target_in, student), atol=1e-6, rtol=1e-6
    )
    names = load_file(tmp_path / "student" / "model.safetensors")
    assert any("encoder.layers.1." in name for name in names)
    assert not any("encoder.layers.2." in name or "decoder.layers.1." in name for name in names)
    assert parameter_count(tmp_path / "student") < parameter_count(folder)


def test_a_student_outside_the_space_lists_the_space(family: tuple[Path, Transformer], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="e1d3 is not in this family; it has: e1d1 e2d1 e2d2"):
        save_student(family[0], Student(1, 3), tmp_path / "student")
    assert not (tmp_path / "student").exists()


def test_opus_mt_leftovers_are_accepted(family: tuple[Path, Transformer], make_batch: Any) -> None:
    """Older folders store the tied embeddings and the sinusoids again, and half precision."""
    folder, model = family
    state = load_file(folder / "model.safetensors")
    state = {name: tensor.half() for name, tensor in state.items()}
    for name in ("model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight", "lm_head.weight"):
        state[name] = state["model.shared.weight"].clone()
    state["model.encoder.embed_positions.weight"] = model.positions.clone()
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    loaded, batch = load_model(folder), make_batch()
    assert loaded.embedding.dtype == torch.float32
    torch.testing.assert_close(
        loaded(batch.source, batch.target_in), model(batch.source, batch.target_in), atol=0.05, rtol=0.05
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "bart"}, "model_type is 'bart', expected 'marian'"),
        ({"vocab_size": None}, "key 'vocab_size' is missing"),
        ({"vocab_size": 50, "decoder_vocab_size": 50}, "has shape \\[40, 16\\], but config.json says \\[50, 16\\]"),
        ({"decoder_layers": 4}, "parameter 'model.decoder.layers.3.self_attn.q_proj.weight' is missing"),
        ({"encoder_layers": 2}, "unknown parameter 'model.encoder.layers.2"),
        ({"scale_embedding": False}, "scale_embedding is False; polystill's Transformer needs True"),
        ({"decoder_ffn_dim": 64}, "decoder_ffn_dim is 64; polystill's Transformer needs 32"),
        ({"activation_function": "tanh"}, "activation_function 'tanh'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_folder_that_does_not_fit(family: tuple[Path, Transformer], changes: dict[str, Any], message: str) -> None:
    _edit(family[0] / "config.json", **changes)
    with pytest.raises(UserError, match=message):
        load_model(family[0])


def test_a_vocabulary_of_another_size(family: tuple[Path, Transformer]) -> None:
    vocabulary = json.loads((family[0] / "vocab.json").read_text())
    vocabulary["extra"] = 39
    vocabulary["<pad>"] = 40
    (family[0] / "vocab.json").write_text(json.dumps(vocabulary))
    with pytest.raises(UserError, match=r"vocab.json has 41 entries, but config.json says vocab_size 40"):
        load_model_with_tokenizer(family[0])


@pytest.mark.parametrize("sparse", [False, True])
def test_a_flipped_bit_in_the_weights_is_noticed(
    family: tuple[Path, Transformer], tmp_path: Path, sparse: bool
) -> None:
    folder = family[0]
    if sparse:
        model, tokenizer = load_model_with_tokenizer(folder)
        (folder / "model.safetensors").unlink()
        write_sparse_model(folder, model, tokenizer)
    path = weights_path(folder)
    content = path.read_bytes()
    load_model(folder)
    for position in range(len(content) // 2, len(content), len(content) // 20):
        damaged = bytearray(content)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=f"{path}: damaged, its checksum is not that of its weights"):
            load_model(folder)


def test_weights_of_other_programs_have_no_checksum(family: tuple[Path, Transformer]) -> None:
    path = family[0] / "model.safetensors"
    before = load_model(family[0]).state_dict()
    save_file(load_file(path), path, metadata={"format": "pt"})
    after = load_model(family[0]).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_missing_and_damaged_files(family: tuple[Path, Transformer], tmp_path: Path) -> None:
    folder = family[0]
    with pytest.raises(UserError, match="no such folder"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no family here"):
        read_family(tmp_path)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match="not a readable safetensors file"):
        load_model(folder)
    weights.unlink()
    with pytest.raises(UserError, match=r"model.safetensors: no such file$"):
        load_model(folder)
    (folder / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(UserError, match="never unpickles"):
        load_model(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config.json: not readable as JSON"):
        load_model(folder)


def test_a_pad_row_that_fine_tuning_moved_is_taken_as_zero(
    family: tuple[Path, Transformer], caplog: pytest.LogCaptureFixture
) -> None:
    folder, _ = family
    state = load_file(folder / "model.safetensors")
    state["model.shared.weight"][39] = 0.5
    state["final_logits_bias"][0, 39] = -3.0
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    model = load_model(folder)
    assert model.embedding[39].abs().max() == 0 and model.output_bias[39] == 0
    assert "<pad> are not zero" in caplog.text
