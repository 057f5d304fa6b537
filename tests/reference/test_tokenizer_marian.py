"""A tokenizer's folder gives transformers' MarianTokenizer the same ids, on both sides, whatever the input."""

import io
import json
import random
from pathlib import Path

import pytest

from polystill.config import TokenizerSettings
from polystill.data.tokenizer import Tokenizer, train_tokenizer

transformers = pytest.importorskip("transformers")

GENERATOR = random.Random(1)
WORDS = ["".join(GENERATOR.choices("abcdefghinorstuzäöüß", k=GENERATOR.randint(2, 7))) for _ in range(80)]
LINES = [" ".join(GENERATOR.choices(WORDS, k=1 + i % 9)) for i in range(500)]
ODD = [
    "",
    " ",
    "  two  spaces ",
    "a\ttab",
    "emoji 😀😀 and 🏳️‍🌈",
    "</s>",
    "a </s> b",
    "<unk> <pad>",
    ">>deu<< the dog",
    ">>xyz<<the dog",
    "▁the",
    "ﬁne … ½ ＡＢＣ",
    "e\u0301 é",
    "a\u2028b\u00a0c\u200bd",
    "你好 мир",
    "x" * 300,
]


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(LINES, TokenizerSettings(vocabulary_size=100, byte_fallback=False), "en", "de").save(folder)
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
@pytest.mark.parametrize("layout", ["ours", "opus"])
def test_ids_are_identical(name: str, layout: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(layout)
    lines = LINES + [line for line in ODD if layout == "ours" or not {"</s>", "<unk>", "<pad>"} & set(line.split())]
    theirs = getattr(transformers, name).from_pretrained(folder)
    mine = Tokenizer.load(folder)
    assert type(theirs).__name__ == "MarianTokenizer"
    assert (theirs.eos_token_id, theirs.unk_token_id, theirs.pad_token_id) == (mine.eos_id, mine.unk_id, mine.pad_id)
    assert len(theirs) == mine.vocabulary_size
    for line in lines:
        assert theirs(line)["input_ids"] == mine.encode_source([line])[0], line
        assert theirs(text_target=line)["input_ids"] == mine.encode_target([line])[0], line
    assert theirs(lines)["input_ids"] == mine.encode_source(lines)


@pytest.mark.parametrize("layout", ["ours", "opus"])
def test_decoding_is_identical(layout: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(layout)
    theirs = transformers.MarianTokenizer.from_pretrained(folder)
    mine = Tokenizer.load(folder)
    rows = mine.encode_target([line.upper() for line in LINES] if layout == "opus" else LINES)
    assert theirs.batch_decode(rows, skip_special_tokens=True) == mine.decode(rows)
