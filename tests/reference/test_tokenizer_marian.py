"""A tokenizer's folder gives transformers' MarianTokenizer the same ids, on both sides, whatever the input."""

import io
import json
import random
from pathlib import Path

import pytest

from polystill.config import TokenizerSettings
from polystill.data.tokenizer import Tokenizer, keep_unknown_codes, train_tokenizer

transformers = pytest.importorskip("transformers")

GENERATOR = random.Random(1)
WORDS = ["".join(GENERATOR.choices("abcdefghinorstuzäöüß", k=GENERATOR.randint(2, 7))) for _ in range(80)]
LINES = [" ".join(GENERATOR.choices(WORDS, k=1 + i % 9)) for i in range(500)]
MARKS = {"</s>", "<unk>", "<pad>"}


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(LINES, TokenizerSettings(vocabulary_size=100, byte_fallback=False), "en", "de").save(folder)
    return folder


@pytest.fixture(scope="module")
def with_bytes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("with-bytes")
    train_tokenizer(LINES, TokenizerSettings(vocabulary_size=350), "en", "de").save(folder)
    return folder


@pytest.fixture(scope="module")
def opus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

    folder = tmp_path_factory.mktemp("opus")
    pieces: set[str] = set()
    for name, lines in (("source.spm", LINES[:200]), ("target.spm", [line.upper() for line in LINES])):
        model = io.BytesIO()
        SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=model, vocab_size=60, minloglevel=2)
        (folder / name).write_bytes(model.getvalue())
        processor = SentencePieceProcessor(model_proto=model.getvalue())
        pieces |= {processor.id_to_piece(i) for i in range(3, 60)}
    order = ["</s>", "<unk>", *sorted(pieces, reverse=True), ">>deu<<", "<pad>"]
    (folder / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(order)}))
    # As OPUS-MT's folders: the class is known from here; `split_special_tokens` is not set, so no literal marks below.
    config = {"tokenizer_class": "MarianTokenizer", "source_lang": "en"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("name", ["MarianTokenizer", "AutoTokenizer"])
@pytest.mark.parametrize("layout", ["ours", "with_bytes", "opus"])
def test_ids_are_identical(name: str, layout: str, odd_lines: list[str], request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(layout)
    typed = [line for line in odd_lines if layout != "opus" or not any(mark in line for mark in MARKS)]
    theirs = getattr(transformers, name).from_pretrained(folder)
    keep_unknown_codes(theirs)
    mine = Tokenizer.load(folder)
    assert type(theirs).__name__ == "MarianTokenizer"
    assert (theirs.eos_token_id, theirs.unk_token_id, theirs.pad_token_id) == (mine.eos_id, mine.unk_id, mine.pad_id)
    assert len(theirs) == mine.vocabulary_size
    for line in [*LINES, *typed]:
        assert theirs(line)["input_ids"] == mine.encode_source([line])[0], line
        assert theirs(text_target=line)["input_ids"] == mine.encode_target([line])[0], line
    assert theirs(LINES)["input_ids"] == mine.encode_source(LINES)


@pytest.mark.parametrize("layout", ["ours", "with_bytes", "opus"])
def test_what_is_no_language_code_needs_a_blank_before_it_in_marian_tokenizer(
    layout: str, request: pytest.FixtureRequest
) -> None:
    """By itself it loses such a text; the model card of an export therefore puts a blank before it."""
    folder = request.getfixturevalue(layout)
    theirs, mine = transformers.MarianTokenizer.from_pretrained(folder), Tokenizer.load(folder)
    line = f">>{LINES[9]}<<"
    assert theirs(line)["input_ids"] == [mine.unk_id, mine.eos_id]
    assert theirs(f" {line}")["input_ids"] == mine.encode_source([line])[0] != [mine.unk_id, mine.eos_id]


@pytest.mark.parametrize("layout", ["ours", "with_bytes", "opus"])
def test_decoding_is_identical(layout: str, odd_lines: list[str], request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(layout)
    theirs = transformers.MarianTokenizer.from_pretrained(folder)
    mine = Tokenizer.load(folder)
    rows = mine.encode_target([*LINES, *(line.upper() for line in LINES), *odd_lines])
    rows += [[*rows[0][:-1], mine.unk_id, *rows[1]], [mine.pad_id, mine.unk_id, mine.eos_id]]
    assert theirs.batch_decode(rows, skip_special_tokens=True) == mine.decode(rows)
