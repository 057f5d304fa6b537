"""Models as Marian writes them: what is read, and what is refused. tests/consumers reads one that Marian trained."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from polystill.data.tokenizer import Tokenizer
from polystill.errors import UserError
from polystill.models.folder import load_model, load_model_with_tokenizer, read_all_but_weights
from polystill.models.marian_npz import SETTINGS
from polystill.runs.places import Kind, find_start, open_place
from polystill.targets.teachers import fingerprint, kind_of
from polystill.training.frozen import find_teacher

Change = Callable[[dict[str, Any]], Any]


@pytest.fixture
def folder(marian_npz: Path, tmp_path: Path) -> Path:
    """A copy for a test to change."""
    return Path(shutil.copytree(marian_npz, tmp_path / "marian"))


def change(folder: Path, by: Change) -> None:
    """Change the arrays of a model.npz."""
    with np.load(folder / "model.npz") as file:
        arrays = dict(file)
    by(arrays)
    np.savez(folder / "model.npz", **arrays)


def change_settings(folder: Path, **values: Any) -> None:
    def by(arrays: dict[str, Any]) -> None:
        settings = yaml.safe_load(arrays[SETTINGS].tobytes().rstrip(b"\0"))
        settings |= {key.replace("_", "-"): value for key, value in values.items()}
        kept = {key: value for key, value in settings.items() if value is not None}
        arrays[SETTINGS] = np.frombuffer(yaml.safe_dump(kept).encode() + b"\0", np.int8)

    change(folder, by)


def test_a_model_read_back_is_the_same(
    marian_npz: Path, marian_student: Path, make_batch: Callable[..., Any], counting_data: Path
) -> None:
    assert open_place(marian_npz).kind is Kind.MARIAN
    assert find_start(str(marian_npz)) == marian_npz
    (before, own), (after, tokenizer) = (load_model_with_tokenizer(path) for path in (marian_student, marian_npz))
    batch = make_batch(vocabulary_size=before.config.vocabulary_size)
    assert torch.equal(before(batch.source, batch.target_in), after(batch.source, batch.target_in))
    assert before.state_dict().keys() == after.state_dict().keys()
    lines = [*(counting_data / "train.en").read_text().splitlines()[:200], "☃ </s> <pad>", "", ">>deu<< one"]
    assert tokenizer.pieces == own.pieces
    assert tokenizer.encode_source(lines) == own.encode_source(lines)
    assert tokenizer.decode(own.encode_target(lines)) == own.decode(own.encode_target(lines))
    config, _ = read_all_but_weights(marian_npz)
    assert config == after.config
    assert (config.max_positions, before.config.max_positions) == (512, 48)  # Marian has no limit


def test_it_is_a_teacher_of_its_own_weights(folder: Path) -> None:
    assert kind_of(folder) == "polystill"
    before = fingerprint(folder)
    assert find_teacher(str(folder)) == (folder, None)
    change(folder, lambda arrays: arrays.update(Wemb=-arrays["Wemb"]))
    assert fingerprint(folder) != before


def test_what_its_training_leaves_beside_it_is_not_the_teacher(folder: Path) -> None:
    shutil.copy(folder / "vocab.spm", folder / "source.spm")
    shutil.copy(folder / "vocab.spm", folder / "target.spm")
    vocabulary = folder / "a.vocab.yml"
    vocabulary.write_text("</s>: 0")
    before = fingerprint(folder)
    for name in ("model.npz.optimizer.npz", "model.npz.progress.yml", "notes.yml", "corpus.spm"):
        (folder / name).write_text("changes")
    assert fingerprint(folder) == before
    for path in (vocabulary, folder / "target.spm"):
        path.write_text("changes")
        assert fingerprint(folder) != before
        before = fingerprint(folder)


def test_decoder_yml_names_the_files_and_the_longest_sentence(folder: Path) -> None:
    """As after a training: its paths are of another machine, and other models lie beside the best one."""
    for name in ("model.npz.optimizer.npz", "model.npz.best-chrf.npz"):
        shutil.copy(folder / "model.npz", folder / name)
    (folder / "vocab.spm").rename(folder / "vocab.deen.spm")
    with pytest.raises(UserError, match=r"model\.npz, model\.npz\.best-chrf\.npz; name one model under models: in dec"):
        load_model(folder)
    change(folder, lambda arrays: arrays.clear())  # not the one that is meant
    settings = {"models": ["/data/exp/model.npz.best-chrf.npz"], "vocabs": ["/data/vocab.deen.spm"] * 2}
    (folder / "decoder.yml").write_text(yaml.safe_dump({**settings, "max-length": 100}))
    assert load_model(folder).config.max_positions == 100


def test_marians_own_note_beside_a_model_names_the_vocabularies(folder: Path) -> None:
    shutil.copy(folder / "vocab.spm", folder / "another.spm")
    with pytest.raises(
        UserError, match=r"another\.spm, vocab\.spm; expected a SentencePiece.*under vocabs: in decoder"
    ):
        load_model(folder)
    (folder / "model.npz.decoder.yml").write_text(yaml.safe_dump({"vocabs": ["vocab.spm"] * 2}))
    assert load_model(folder).teacher


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("max-length: 0", "max-length is '0'; expected a number of tokens up to 10,000"),
        ("vocabs: vocab.spm", "vocabs: expected a list of files"),
        ("vocabs: [vocab.spm]", "vocabs: vocab.spm; expected a vocabulary for the source and one for the target"),
    ],
)
def test_errors_name_the_settings_that_were_read(folder: Path, settings: str, message: str) -> None:
    (folder / "model.npz.decoder.yml").write_text(settings)
    with pytest.raises(UserError) as caught:
        load_model(folder)
    assert str(caught.value) == f"{folder / 'model.npz.decoder.yml'}: {message}"


def test_files_that_older_marians_wrote_are_read(folder: Path, marian_npz: Path) -> None:
    """They lack settings of later versions, and leave the decoder's sizes to the encoder."""
    later = dict.fromkeys(["transformer_decoder_ffn_depth", "transformer_postprocess_top", "lemma_dim_emb"])
    change_settings(folder, transformer_decoder_dim_ffn=0, **later)
    assert load_model(folder).config == load_model(marian_npz).config


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("type", "s2s"),
        ("type", None),
        ("transformer-preprocess", "n"),
        ("transformer-postprocess", "da"),
        ("transformer-decoder-autoreg", "rnn"),  # SSRU
        ("transformer-decoder-autoreg", "average-attention"),
        ("transformer-ffn-depth", 3),
        ("transformer-decoder-ffn-depth", 1),
        ("transformer-train-position-embeddings", True),
        ("transformer-tied-layers", [1, 1]),
        ("transformer-no-projection", True),
        ("transformer-attention-mask", "alibi"),
        ("tied-embeddings-all", False),
        ("tied-embeddings-all", None),
        ("output-omit-bias", True),
        ("lemma-dim-emb", 8),
        ("right-left", True),
        ("input-types", ["sequence", "alignment"]),
        ("transformer-ffn-activation", "gelu"),
        ("transformer-decoder-dim-ffn", 32),
        ("dim-vocabs", [300, 299]),
        ("dim-emb", "wide"),
        ("enc-depth", None),
    ],
)
def test_what_our_transformer_lacks_is_refused_by_key_and_value(folder: Path, key: str, value: Any) -> None:
    change_settings(folder, **{key: value})
    with pytest.raises(UserError) as caught:
        load_model(folder)
    assert str(caught.value).startswith(f"{folder / 'model.npz'}: {key} is {value!r}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"transformer_heads": 3}, "transformer-heads is 3, which does not divide dim-emb 64"),
        ({"dim_emb": 65, "transformer_heads": 5}, "dim-emb is 65; polystill's Transformer needs an even one"),
    ],
)
def test_a_width_that_heads_cannot_share_is_refused(folder: Path, values: dict[str, int], message: str) -> None:
    change_settings(folder, **values)
    with pytest.raises(UserError) as caught:
        read_all_but_weights(folder)
    assert str(caught.value) == f"{folder / 'model.npz'}: {message}"


@pytest.mark.parametrize(
    ("by", "message"),
    [
        (lambda arrays: arrays.pop(SETTINGS), "special:model.yml is missing; is this a Marian model"),
        (lambda arrays: arrays.update({SETTINGS: np.array([1], np.int8)}), "special:model.yml is not YAML"),
        (lambda arrays: arrays.pop("encoder_l2_ffn_W1"), "parameter 'encoder_l2_ffn_W1' is missing"),
        (lambda arrays: arrays.update(Wpos=np.zeros(3, np.float32)), "unknown parameter 'Wpos'"),
        (lambda arrays: arrays.update(Wemb=arrays["Wemb"][:, :9]), r"'Wemb' has shape \(300, 9\), but .* \(300, 64\)"),
        (
            lambda arrays: arrays.update(decoder_l1_self_bq=np.zeros((1, 64), np.int8)),
            "'decoder_l1_self_bq' is int8; polystill reads Marian's models in floats",
        ),
        (lambda arrays: arrays.update(Wemb=np.array([{}, 1], object)), "not a readable npz.*allow_pickle=False"),
        (lambda arrays: arrays.update({SETTINGS: np.array([{}], object)}), "not a readable npz.*allow_pickle=False"),
    ],
)
def test_other_content_is_refused(folder: Path, by: Change, message: str) -> None:
    change(folder, by)
    with pytest.raises(UserError, match=message):
        load_model(folder)


def test_half_floats_are_read(folder: Path, marian_npz: Path) -> None:
    change(folder, lambda arrays: arrays.update(Wemb=arrays["Wemb"].astype(np.float16)))
    halves, whole = load_model(folder).embedding, load_model(marian_npz).embedding
    assert halves.dtype == torch.float32
    assert 0 < (halves - whole).abs().max() < 1e-2


def test_nothing_is_unpickled(folder: Path, marian_npz: Path, tmp_path: Path) -> None:
    class Code:
        def __reduce__(self) -> Any:
            return (tmp_path / "was-here").touch, ()

    code = np.array([Code()], object)
    for name in ("Wemb", SETTINGS):
        change(folder, lambda arrays, name=name: arrays.update({name: code}))  # type: ignore[misc]
        with pytest.raises(UserError, match=r"not a readable npz file \(Object arrays cannot be loaded"):
            load_model(folder)
        (folder / "model.npz").write_bytes((marian_npz / "model.npz").read_bytes())
    with zipfile.ZipFile(folder / "model.npz", "w") as archive:  # not even an array
        archive.writestr(f"{SETTINGS}.npy", code.dumps())
    with pytest.raises(UserError, match="not a readable npz file"):
        load_model(folder)
    assert not (tmp_path / "was-here").exists()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_file_is_refused(folder: Path, share: float) -> None:
    content = (folder / "model.npz").read_bytes()
    (folder / "model.npz").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match=r"model\.npz: not a readable npz file .*; copy it again"):
        load_model(folder)


def test_a_changed_byte_is_an_error_and_not_another_model(folder: Path, marian_npz: Path) -> None:
    """Wherever it is: but for bytes that only readers of other kinds look at, as dates in the archive."""
    content, whole = (marian_npz / "model.npz").read_bytes(), load_model(marian_npz).state_dict()
    places = np.random.default_rng(3).integers(0, len(content), 30).tolist()
    places += [*range(0, 200, 11), *range(len(content) - 400, len(content), 13)]  # the first header, the directory
    refused = 0
    for at in places:
        damaged = bytearray(content)
        damaged[at] ^= 0x41
        (folder / "model.npz").write_bytes(damaged)
        try:
            state = load_model(folder).state_dict()
        except UserError as error:
            assert "\n" not in str(error)
            refused += 1
        else:
            assert all(torch.equal(whole[name], state[name]) for name in whole), at
    assert refused >= 30


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "vocab.spm").unlink(), "no vocabulary; expected a SentencePiece model"),
        (lambda f: (f / "vocab.spm").write_bytes(b"no"), "vocab.spm: not a SentencePiece model"),
        (lambda f: (f / "decoder.yml").write_text("vocabs: [a.spm, a.spm]"), "a.spm: missing"),
        (lambda f: (f / "decoder.yml").write_text("vocabs: [a.spm, a.spm, b.spm]"), "expected a vocabulary for the so"),
        (lambda f: (f / "decoder.yml").write_text("vocabs: vocab.spm"), "vocabs: expected a list of files"),
        (lambda f: (f / "decoder.yml").write_text("models: [model.npz, b.npz]"), "model.npz, b.npz: an ensemble"),
        (lambda f: (f / "decoder.yml").write_text("models: [model.bin]"), "model.bin: polystill reads Marian's .npz"),
        (lambda f: (f / "model.npz").unlink() or (f / "decoder.yml").write_text("beam-size: 6"), "no model; name one"),
        (lambda f: (f / "decoder.yml").touch(), "decoder.yml: expected Marian's settings"),
        (lambda f: (f / "decoder.yml").write_text("models: [other.npz]"), "other.npz: missing; decoder.yml names it"),
        (lambda f: (f / "decoder.yml").write_text("max-length: 0"), "max-length is '0'.*up to 10,000"),
        (lambda f: (f / "decoder.yml").write_text("a: [\n"), "decoder.yml: not valid YAML at line 2"),
        (lambda f: (f / "decoder.yml").write_text("[1]"), "decoder.yml: expected Marian's settings"),
        (lambda f: (f / "decoder.yml").write_bytes(b"\xff"), r"decoder.yml: cannot be read \(not UTF-8"),
        (lambda f: (f / "decoder.yml").write_text("vocabs: [v.fsv, v.fsv]") and (f / "v.fsv").touch(), "are v.fsv, v"),
        (lambda f: (f / "x.vocab.yml").write_text("a: 0"), "source.spm: missing; x.vocab.yml holds ids of the pieces"),
    ],
)
def test_a_folder_that_lacks_a_file_is_refused(folder: Path, damage: Callable[[Path], Any], message: str) -> None:
    damage(folder)
    with pytest.raises(UserError, match=message) as caught:
        load_model_with_tokenizer(folder)
    assert "\n" not in str(caught.value)


# --- OPUS-MT's layout -----------------------------------------------------------------------------------------------


@pytest.fixture
def opus(folder: Path, marian_student: Path) -> Path:
    """A vocabulary in an order of its own beside two SentencePiece models, its end mark in the midst of it."""
    order = np.random.default_rng(5).permutation(300)
    tokenizer = Tokenizer.load(marian_student)
    change(
        folder, lambda arrays: arrays.update(Wemb=arrays["Wemb"][order], decoder_ff_logit_out_b=_bias(arrays, order))
    )
    for name in ("source.spm", "target.spm"):
        (folder / name).write_bytes((folder / "vocab.spm").read_bytes())
    (folder / "vocab.spm").unlink()
    rows = [f'"{tokenizer.pieces[old]}": {new}\n' for new, old in enumerate(order)]
    (folder / "opus.spm32k-spm32k.vocab.yml").write_text("".join(rows), encoding="utf-8")
    settings = {"models": ["model.npz"], "vocabs": ["opus.spm32k-spm32k.vocab.yml"] * 2}
    (folder / "decoder.yml").write_text(yaml.safe_dump(settings))
    return folder


def _bias(arrays: dict[str, Any], order: Any) -> Any:
    return arrays["decoder_ff_logit_out_b"][:, order]


def test_opus_mts_own_layout_is_read(opus: Path, marian_student: Path) -> None:
    (before, own), (after, tokenizer) = (load_model_with_tokenizer(path) for path in (marian_student, opus))
    assert (tokenizer.eos_id, tokenizer.pad_id) == (tokenizer.pieces.index("</s>"), 300)
    assert tokenizer.eos_id not in (0, 1, 299)
    assert after.eos_id == tokenizer.eos_id
    lines = ["one two three", "nine ☃"]
    pieces = own.source_pieces(lines)
    assert tokenizer.source_pieces(lines) == pieces
    for line, row in zip(lines, pieces, strict=True):
        ids = [torch.tensor([[t.pieces.index(p) for p in row]]) for t in (own, tokenizer)]
        start = [torch.full((1, 1), 300)] * 2
        logits = [m(i, s)[0, -1] for m, i, s in zip((before, after), ids, start, strict=True)]
        moved = logits[0][[own.pieces.index(piece) for piece in tokenizer.pieces]]
        assert torch.allclose(moved, logits[1], atol=1e-5), line


def test_words_that_yaml_takes_for_values_are_pieces(opus: Path) -> None:
    path = opus / "opus.spm32k-spm32k.vocab.yml"
    rows = path.read_text(encoding="utf-8").splitlines()
    names = ["no", "null", "1", "2.5", "=", "<<", "~", "2020-01-01"]
    changed = [n for n, row in enumerate(rows) if "0x" in row][: len(names)]  # bytes, which no test sentence has
    for number, name in zip(changed, names, strict=True):
        rows[number] = f"{name}: {number}"
    path.write_text("\n".join(rows), encoding="utf-8")
    tokenizer = Tokenizer.load(opus)
    assert [tokenizer.pieces[number] for number in changed] == names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n- b\n", "expected lines of PIECE: ID"),
        ('"</s>": zero\n', "expected lines of PIECE: ID"),
        ('"</s>": 0\n"<unk>": 2\n', "3 pieces must have the ids 0 to 2, each once"),
        ('"</s>": 0\na: 1\n', "<unk> is missing"),
        ('"</s>": 0\n"<unk>": 1\n"<pad>": 2\n', "<pad> is among the pieces"),
        ('"</s>": 0\n"<unk>": 1\n', r"dim-vocabs is \[300, 300\], but the vocabulary beside it has 2 pieces"),
        ('"</s>: 0\n', "not valid YAML at line"),
    ],
)
def test_a_damaged_vocabulary_is_refused(opus: Path, text: str, message: str) -> None:
    (opus / "opus.spm32k-spm32k.vocab.yml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        load_model_with_tokenizer(opus)


def test_vocabularies_of_two_sides_are_refused(folder: Path, counting_student: Path) -> None:
    (folder / "vocab.spm").rename(folder / "source.spm")
    shutil.copy(counting_student / "target.spm", folder / "target.spm")
    with pytest.raises(UserError, match=r"source\.spm and target\.spm have different pieces; polystill needs one"):
        load_model(folder)
