"""Marian exports, in Marian."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

from polystill.data.tokenizer import Tokenizer
from polystill.decoding.beam import TorchTranslator
from polystill.decoding.translator import DecodingOptions
from polystill.errors import UserError
from polystill.export.agreement import forced_log_probs
from polystill.export.driver import export_folder
from polystill.export.pymarian import run_pymarian
from polystill.models import marian_npz
from polystill.models.folder import load_model_with_tokenizer
from polystill.models.transformer import Transformer
from polystill.students import Student
from tests.conftest import counting_pairs, train_counting_student
from tests.opus_mt import write_opus_folder
from tools import marian_quality

Translate = Callable[..., list[str]]


def test_marian_translates_like_the_student(
    marian_student: Path, tmp_path: Path, run_marian: Translate, hundred_lines: list[str], translate: Translate
) -> None:
    info = export_folder(marian_student, tmp_path / "out", "marian", lines=hundred_lines)
    assert not (tmp_path / "out" / "decoder-alignment.yml").exists()  # it was trained without
    assert info["verification"]["identical"] == 1
    assert info["verification"]["largest_difference"] < 1e-3
    lines = [*hundred_lines, "", "eins ⁇ 😀", "seven"]
    theirs = run_marian(tmp_path / "out", lines, "--beam-size", "1")
    ours = translate(marian_student, lines)
    different = [(a, b) for a, b in zip(ours, theirs, strict=True) if a != b]
    print(f"{len(different)} of {len(lines)} differ: {different}")
    assert len(different) <= 1
    assert len(set(theirs)) > 50
    assert all(line for line in run_marian(tmp_path / "out", hundred_lines))  # beam 5, as decoder.yml says


def test_marian_aligns_as_the_student_does(
    aligned_student: Path, tmp_path: Path, run_marian: Translate, hundred_lines: list[str]
) -> None:
    """Of each target piece, end mark included, Marian gives the attention to every source piece."""
    export_folder(aligned_student, tmp_path / "out", "marian", lines=hundred_lines)
    theirs = run_marian(tmp_path / "out", hundred_lines, "--beam-size", "1", config="decoder-alignment.yml")
    translator = TorchTranslator(*load_model_with_tokenizer(aligned_student))
    ours = translator.translate(hundred_lines, DecodingOptions(beam_size=1, alignment=True))
    same = total = 0
    for line, (found, *_) in zip(theirs, ours, strict=True):
        text, _, rows = line.partition(" ||| ")
        assert found.alignment is not None
        if text == found.text:
            attention = [[float(share) for share in row.split(",")] for row in rows.split()]
            assert all(sum(row) == pytest.approx(1, abs=1e-3) for row in attention)
            links = [(int(np.argmax(row)), target) for target, row in enumerate(attention)]
            links = [(s, t) for s, t in links if t < len(found.tokens) and s < len(found.alignment.source) - 1]
            same += sorted(links) == sorted(found.alignment.links)
            total += 1
    print(f"{same} of {total} alignments are the same")
    assert total > 95
    assert same >= total - 1


def test_a_wrong_conversion_is_noticed_and_not_written(
    marian_student: Path, tmp_path: Path, with_pymarian: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = marian_npz.arrays_of

    def swapped(model: Transformer) -> object:
        arrays = right(model)
        arrays["encoder_l1_self_Wq"] = np.ascontiguousarray(arrays["encoder_l1_self_Wq"].T)
        return arrays

    monkeypatch.setattr(marian_npz, "arrays_of", swapped)
    with pytest.raises(UserError, match=r"does not translate like its source.*at most 0.001 in float32"):
        export_folder(marian_student, tmp_path / "out", "marian")
    assert not list(tmp_path.iterdir())


def test_marians_own_message_is_passed_on(
    marian_student: Path, tmp_path: Path, with_pymarian: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marian_npz, "arrays_of", lambda model: {"nothing": np.zeros(1)})
    with pytest.raises(UserError, match="pymarian decode: "):
        export_folder(marian_student, tmp_path / "out", "marian")
    assert not list(tmp_path.iterdir())


def test_marian_reads_what_people_type_as_the_student_does(
    marian_student: Path,
    tmp_path: Path,
    run_marian: Translate,
    hundred_lines: list[str],
    typed_lines: Callable[[Path], list[str]],
    translate: Translate,
) -> None:
    export_folder(marian_student, tmp_path / "out", "marian", lines=hundred_lines)
    lines = typed_lines(marian_student)
    theirs = run_marian(tmp_path / "out", lines, "--beam-size", "1")
    rows = zip(lines, translate(marian_student, lines), theirs, strict=True)
    different = [(line, a, b) for line, a, b in rows if not a.startswith(b) and not b.startswith(a)]  # loops are cut
    assert len(different) <= 2, different


def test_marian_makes_characters_of_bytes(
    marian_student: Path, tmp_path: Path, run_marian: Translate, byte_student: Callable[[Path], Path]
) -> None:
    export_folder(byte_student(marian_student), tmp_path / "out", "marian", lines=["one"])
    (line,) = run_marian(tmp_path / "out", ["one two"])
    assert "AAA" in line and "<0x" not in line


def test_a_vocabulary_in_opus_mts_order_is_marians_too(
    tmp_path: Path, run_marian: Translate, hundred_lines: list[str], translate: Translate
) -> None:
    """The end mark is not 0, and unknown pieces are dropped."""
    shape = {"activation": "swish", "positions": "marian", "d_model": 64}
    student = train_counting_student(tmp_path / "student", learning_rate=3e-3, **shape)
    (tmp_path / "opus").mkdir()
    opus = write_opus_folder(student, tmp_path / "opus")
    info = export_folder(opus, tmp_path / "out", "marian", lines=hundred_lines)
    assert info["verification"]["largest_difference"] < 1e-3
    ours = translate(opus, hundred_lines)
    theirs = run_marian(tmp_path / "out", hundred_lines, "--beam-size", "1")
    assert sum(a != b for a, b in zip(ours, theirs, strict=True)) <= 1
    assert not any("⁇" in line for line in theirs)
    assert translate(tmp_path / "out", hundred_lines) == ours
    export_folder(opus, tmp_path / "bergamot", "bergamot", lines=hundred_lines)


# --- models that Marian trained -------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["sentencepiece", "opus-mt"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, pymarian: Path) -> Path:
    """A folder that Marian has left after 20 updates, in the layout of its own or of OPUS-MT's packages.

    OPUS-MT gives Marian text in pieces, and lets it make a vocabulary of them, in an order of its own.
    """
    folder = tmp_path_factory.mktemp("trained")
    pairs = counting_pairs(400, seed=1)
    texts = {"source": [source for source, _ in pairs], "target": [target for _, target in pairs]}
    if request.param == "sentencepiece":
        train_pieces(folder / "vocab.spm", [line for side in texts.values() for line in side])
    else:
        for side, lines in texts.items():
            model = train_pieces(folder / f"{side}.spm", lines)
            texts[side] = [" ".join(model.encode(line, out_type=str)) for line in lines]
    for side, lines in texts.items():
        (folder / f"train.{side}").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    vocabulary = folder / ("vocab.spm" if request.param == "sentencepiece" else "opus.spm-spm.vocab.yml")
    marian_train(pymarian, folder, folder, vocabulary, "--enc-depth 2 --dec-depth 2 --transformer-depth-scaling")
    return folder


def marian_train(pymarian: Path, folder: Path, text: Path, vocabulary: Path, shape: str, updates: int = 20) -> None:
    """Let Marian train a new FOLDER/model.npz on train.source and train.target of the folder `text`."""
    sizes = "--dim-emb 32 --transformer-dim-ffn 64 --transformer-heads 4 --transformer-ffn-activation swish"
    training = f"--mini-batch 64 --learn-rate 0.003 --lr-warmup 5 --after-batches {updates} --cpu-threads 1"
    options = f"--type transformer --tied-embeddings-all --seed 1 --workspace 256 {sizes} {training} {shape}".split()
    files: list[str | Path] = ["--model", folder / "model.npz", "--vocabs", vocabulary, vocabulary]
    files += ["--train-sets", text / "train.source", text / "train.target"]
    command = [pymarian, "train", *files, *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def train_pieces(path: Path, lines: list[str]) -> SentencePieceProcessor:
    with path.open("wb") as file:
        SentencePieceTrainer.train(
            sentence_iterator=iter(lines), model_writer=file, vocab_size=60, hard_vocab_limit=False, bos_id=-1,
            eos_id=0, unk_id=1, minloglevel=2,
        )  # fmt: skip
    return SentencePieceProcessor(model_file=str(path))


def test_a_model_that_marian_trained_scores_as_in_marian(trained: Path, with_pymarian: Path, tmp_path: Path) -> None:
    model, tokenizer = load_model_with_tokenizer(trained)
    assert isinstance(model, Transformer)
    assert (model.config.positions, model.teacher, model.config.activation) == ("marian", Student(2, 2), "swish")
    pairs = [*counting_pairs(30, seed=9), ("three nine", "neun ☃ neun")]  # learnt too little to be right of itself
    ids = [[encode([text])[0] for encode, text in zip(_encoders(tokenizer), pair, strict=True)] for pair in pairs]
    as_marian_takes_it = [_as_written(trained, tokenizer, pair, rows) for pair, rows in zip(pairs, ids, strict=True)]
    for side, lines in zip(("source", "target"), zip(*as_marian_takes_it, strict=True), strict=True):
        (tmp_path / side).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    vocabulary = next(path for name in ("vocab.spm", "opus.spm-spm.vocab.yml") if (path := trained / name).exists())
    files = ["--model", trained / "model.npz", "--vocabs", vocabulary, vocabulary]
    files += ["--train-sets", tmp_path / "source", tmp_path / "target"]
    printed = run_pymarian("score", *files, "--quiet", "--cpu-threads", "1", "--workspace", "256")
    theirs = [float(line) for line in printed.splitlines()]
    ours = [sum(forced_log_probs(model, source, target)) for source, target in ids]
    assert len(theirs) == len(ours)
    assert max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) < 1e-4
    assert len({round(score, 1) for score in theirs}) > 20


def _encoders(tokenizer: Tokenizer) -> tuple[Callable[[list[str]], list[list[int]]], ...]:
    return tokenizer.encode_source, tokenizer.encode_target


def _as_written(folder: Path, tokenizer: Tokenizer, pair: tuple[str, str], rows: list[list[int]]) -> tuple[str, ...]:
    """Plain text, or pieces where the vocabulary is not SentencePiece's."""
    if (folder / "vocab.spm").exists():
        return pair
    return tuple(" ".join(tokenizer.pieces[i] for i in row[:-1]) for row in rows)


def test_it_goes_back_to_marian_and_to_other_engines(
    trained: Path, with_pymarian: Path, hundred_lines: list[str], tmp_path: Path
) -> None:
    for to in ("ctranslate2", "marian"):
        info = export_folder(trained, tmp_path / to, to, lines=hundred_lines)
        assert info["verification"]["largest_difference"] < 1e-3
    if (trained / "vocab.spm").exists():
        with np.load(trained / "model.npz") as before, np.load(tmp_path / "marian" / "model.npz") as after:
            assert set(before) == set(after)
            assert all(np.array_equal(before[name], after[name]) for name in after if name != marian_npz.SETTINGS)
    before, after = (load_model_with_tokenizer(path) for path in (trained, tmp_path / "marian"))
    assert all(torch.equal(a, b) for a, b in zip(before[0].parameters(), after[0].parameters(), strict=True))
    assert before[1].encode_source(hundred_lines) == after[1].encode_source(hundred_lines)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (
            "--enc-depth 1 --dec-depth 1 --transformer-decoder-autoreg rnn --dec-cell ssru",  # Firefox's students
            "transformer-decoder-autoreg is 'rnn'; polystill's Transformer needs 'self-attention'",
        ),
        (
            "--enc-depth 1 --dec-depth 1 --transformer-preprocess n --transformer-postprocess da",
            "transformer-preprocess is 'n'; polystill's Transformer needs ''",
        ),
    ],
)
def test_what_marian_trains_and_we_lack_is_refused(
    trained: Path, pymarian: Path, shape: str, message: str, tmp_path: Path
) -> None:
    """Marian itself writes these settings."""
    if not (trained / "vocab.spm").exists():
        pytest.skip("one layout is enough")
    shutil.copy(trained / "vocab.spm", tmp_path)
    marian_train(pymarian, tmp_path, trained, tmp_path / "vocab.spm", shape, updates=1)
    with pytest.raises(UserError, match=message):
        load_model_with_tokenizer(tmp_path)


def test_marian_trains_a_runs_teacher(small_run: Path, with_pymarian: Path, tmp_path: Path) -> None:
    settings = ["--set", "training.validate_every=5", "--set", "training.warmup=20"]
    arguments = [str(small_run), "--marian", str(with_pymarian), "--minutes", "0.5", *settings]
    marian_quality.main([*arguments, "--json", str(tmp_path / "figures.json")])
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["training"]["updates"] > 10
    scores = {(row["system"], row["test_set"], row["beam"]): row["bleu"] for row in figures["rows"]}
    for test_set in ("counting", "validation"):
        assert {key[2] for key in scores if key[:2] == ("Marian", test_set)} == {1, 5}
        assert scores["Marian", test_set, 1] > scores["e2d2", test_set, 1]  # which has had a dozen updates
