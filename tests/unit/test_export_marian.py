"""Marian exports without Marian: what is refused, names and shapes. tests/consumers runs them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from polystill.decoding.translator import DecodingOptions
from polystill.errors import UserError
from polystill.export import FORMATS, pymarian
from polystill.export.driver import export_folder
from polystill.export.marian import decoder_settings
from polystill.models.folder import load_model_with_tokenizer
from polystill.models.marian_npz import arrays_of
from polystill.models.transformer import Transformer


@pytest.mark.parametrize("to", ["marian", "bergamot"])
def test_without_pymarian_the_message_says_how_to_get_it(
    to: str, marian_student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.delenv("POLYSTILL_PYMARIAN", raising=False)
    with pytest.raises(UserError, match=r"pip install pymarian.*POLYSTILL_PYMARIAN="):
        export_folder(marian_student, tmp_path / "out", to)
    monkeypatch.setenv("POLYSTILL_PYMARIAN", str(tmp_path / "nothing"))
    with pytest.raises(UserError, match=r"POLYSTILL_PYMARIAN=.*nothing: no such program"):
        export_folder(marian_student, tmp_path / "out", to)
    assert not (tmp_path / "out").exists()


def test_a_marian_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "pymarian"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("POLYSTILL_PYMARIAN", str(program))
    monkeypatch.setattr(pymarian, "LONGEST_RUN", 0.2)
    with pytest.raises(UserError, match=r"pymarian decode: not done after 0\.2 seconds"):
        pymarian.run_pymarian("decode")


def test_pieces_with_other_line_ends_are_read_as_marian_prints_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A vocabulary that another program has made may have such pieces."""
    program = tmp_path / "pymarian"
    program.write_text(
        "#!/bin/sh\nprintf '\u2581a\u2028 \u2581b\u00a0c ||| WordScores= -0.5 -1 -2\\n'\n", encoding="utf-8"
    )
    program.chmod(0o755)
    monkeypatch.setenv("POLYSTILL_PYMARIAN", str(program))
    (scored,) = pymarian.decode_with_scores(tmp_path / "model.npz", [tmp_path / "vocab.spm"], ["a b"])
    assert scored == (["\u2581a\u2028", "\u2581b\u00a0c"], [-0.5, -1.0, -2.0])


def test_other_positions_than_marians_are_refused(counting_student: Path) -> None:
    with pytest.raises(UserError, match=r"other sinusoidal positions.*model\.positions: marian"):
        FORMATS["marian"].check(*load_model_with_tokenizer(counting_student), counting_student)


def test_gelu_is_refused(marian_student: Path) -> None:
    model, tokenizer = load_model_with_tokenizer(marian_student)
    with pytest.raises(UserError, match="gelu"):
        FORMATS["marian"].check(model.with_settings(activation="gelu"), tokenizer, marian_student)


def test_the_search_is_the_one_that_was_picked(marian_student: Path) -> None:
    model, _ = load_model_with_tokenizer(marian_student)
    assert isinstance(model, Transformer)
    search = DecodingOptions(beam_size=2, length_penalty=0.5)
    settings = yaml.safe_load(decoder_settings(model, ["vocab.spm"] * 2, search))
    assert (settings["beam-size"], settings["normalize"]) == (2, 0.5)


def test_names_shapes_and_settings(marian_student: Path) -> None:
    model, _ = load_model_with_tokenizer(marian_student)
    assert isinstance(model, Transformer)
    arrays = arrays_of(model)
    settings = yaml.safe_load(arrays.pop("special:model.yml").tobytes().rstrip(b"\0"))
    assert {"type": "transformer", "enc-depth": 2, "dec-depth": 2, "dim-vocabs": [300, 300]}.items() <= settings.items()
    assert arrays["Wemb"].shape == (300, 64)
    assert arrays["decoder_ff_logit_out_b"].shape == (1, 300)
    assert arrays["encoder_l2_ffn_W1"].shape == (64, 64)
    expected = model.decoder_layers(2)[1].cross_attention.query.weight.detach().numpy().T
    assert np.array_equal(arrays["decoder_l2_context_Wq"], expected)
    assert len(arrays) == 2 + 2 * 16 + 2 * 26
    assert all(array.dtype == np.float32 and array.flags.c_contiguous for array in arrays.values())
