"""Lines encoded word by word have the ids that SentencePiece gives the whole lines."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pytest
from sentencepiece import sentencepiece_model_pb2 as pb

from polystill.config import TokenizerSettings
from polystill.data import words
from polystill.data.normalization import normalization_rules
from polystill.data.tokenizer import Tokenizer, train_tokenizer
from polystill.data.words import WordEncoder, longest_exact_line

GENERATOR = random.Random(11)
SYLLABLES = [
    "a",
    "aa",
    "ab",
    "ba",
    "en",
    "er",
    "sch",
    "ß",
    "ü",
    "tion",
    "..",
    "=",
    "==",
    "1",
    "00",
    "犬",
    "の",
    "и",
    "ж",
]
WORDS = ["".join(GENERATOR.choices(SYLLABLES, k=GENERATOR.randint(1, 6))) for _ in range(900)]
LINES = [" ".join(GENERATOR.choices(WORDS, k=GENERATOR.randint(1, 12))) for _ in range(3_000)]
ODD = [
    *(
        "",
        " ",
        "  a  b ",
        "\t",
        "a\tb",
        "a \xad b",
        "\u2028",
        "a\xa0b",
        "▁",
        "a▁b",
        "▁ a",
        "e\u0301 o\u0308",
        "\ufffd a",
    ),
    *(">>deu<< a", ">>xxx<< a", "a >>deu<< b", ">>", "</s> <pad> <unk>", "<0x41> a", "😀 a", "a 😀😀", "Σας", "ﬁ m² ½"),
    *(
        "a" * 63,
        "a" * 64,
        "a" * 65,
        "ab " * 3_000,
        "aaa " * 400,
        "a" * 9_000,
        "한국",
        "하\u1161",
        "\u1112\u1161\u11ab",
        "¨a ¨",
    ),
]


def trained(**settings: Any) -> Tokenizer:
    size = 480 if settings.get("byte_fallback", True) else 230  # The bytes are 256 of them.
    return train_tokenizer(LINES, TokenizerSettings(vocabulary_size=size, **settings), "en", "de")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return trained()


def encoder(tokenizer: Tokenizer, dtype: type[np.integer[Any]] = np.uint16) -> WordEncoder:
    model = tokenizer.sentencepiece_models[0]
    return WordEncoder(tokenizer.encode_source, model, tokenizer.unk_id, tokenizer.eos_id, dtype)


def odd_lines() -> list[str]:
    """Every character within, before and after a word, and odd words between others."""
    characters = [chr(code) for code in (*range(1, 0xD800), *range(0xE000, 0x10000), *range(0x1F300, 0x1F700))]
    lines = [f"a{c}b {c} {c}ab ba{c}" for c in characters]
    lines += [" ".join(GENERATOR.choices([*WORDS, *ODD], k=4)) for _ in range(3_000)]
    return [*ODD, *LINES, *lines]


@pytest.mark.parametrize("byte_fallback", [True, False])
@pytest.mark.parametrize("form", ["nfc", "nfkc"])
def test_odd_lines_have_the_ids_of_whole_lines(form: Literal["nfc", "nfkc"], byte_fallback: bool) -> None:
    tokenizer, lines = trained(normalization=form, byte_fallback=byte_fallback), odd_lines()
    assert encoder(tokenizer)(pa.array(lines)).to_pylist() == tokenizer.encode_source(lines)


def test_words_that_can_be_cut_in_equally_good_ways(tokenizer: Tokenizer) -> None:
    """Their pieces would depend on the rounding of sums, and so on what stands before them."""
    lines = [f"{LINES[i]} {'a' * (i % 50)} {'=' * (i % 40)} {'.' * (i % 30)}" for i in range(len(LINES))]
    assert encoder(tokenizer)(pa.array(lines)).to_pylist() == tokenizer.encode_source(lines)


def test_few_lines_need_to_be_encoded_whole(tokenizer: Tokenizer) -> None:
    given: list[str] = []

    def encode(lines: Sequence[str]) -> list[list[int]]:
        given.extend(lines)
        return tokenizer.encode_source(lines)

    model = tokenizer.sentencepiece_models[0]
    by_words = WordEncoder(encode, model, tokenizer.unk_id, tokenizer.eos_id, np.uint16)
    by_words(pa.array([*LINES, ">>deu<< a", "ab " * 3_000]))
    assert [line for line in given if " " in line] == [">>deu<< a", "ab " * 3_000]


def test_words_that_are_not_kept_have_the_same_ids(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "_MOST_WORDS", 20)
    encode = encoder(tokenizer, np.int32)
    for start in range(0, 300, 50):
        lines = LINES[start : start + 50]
        assert encode(pa.array(lines)).to_pylist() == tokenizer.encode_source(lines)
    assert encode(pa.array(LINES)).type == pa.list_(pa.int32())


@pytest.mark.parametrize("change", ["score", "piece", "type", "name", "spaces"])
def test_other_models_encode_whole_lines(tokenizer: Tokenizer, change: str) -> None:
    model = tokenizer.sentencepiece_models[0]
    assert longest_exact_line(model) > 256
    proto: Any = pb.ModelProto.FromString(model)
    if change == "score":
        proto.pieces[300].score += 2.0**-11
    elif change == "piece":
        proto.pieces[300].piece = "a▁b"
    elif change == "type":
        proto.pieces[300].type = pb.ModelProto.SentencePiece.USER_DEFINED
    elif change == "name":
        proto.normalizer_spec.name = "nmt_nfkc"
    else:
        proto.normalizer_spec.remove_extra_whitespaces = False
    other = proto.SerializeToString()
    assert longest_exact_line(other) == 0
    vocabulary = {piece: i for i, piece in enumerate([*(piece.piece for piece in proto.pieces), "<pad>"])}
    changed = Tokenizer(other, other, vocabulary, {})
    assert encoder(changed)(pa.array(LINES)).to_pylist() == changed.encode_source(LINES)


@pytest.mark.parametrize("form", ["nfc", "nfkc"])
def test_no_rule_of_normalisation_joins_words(form: Literal["nfc", "nfkc"]) -> None:
    assert not any(" " in old for old in normalization_rules(form, ("en", "ko")))
