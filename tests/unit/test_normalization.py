"""The normalisation of text, as rules and in the SentencePiece models that are trained with them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

import pytest
from sentencepiece import SentencePieceNormalizer

from polystill.config import TokenizerSettings
from polystill.data.normalization import Form, is_blank, normalization_rules, on_one_line
from polystill.data.tokenizer import train_tokenizer

Normalizers = dict[str, Callable[[str], str]]


@pytest.fixture(scope="module")
def normalizers() -> Normalizers:
    """SentencePiece's own, from trained models: by form, and "ko" for the written form of Korean."""
    found = {}
    forms: dict[str, tuple[Form, str]] = {"nfc": ("nfc", "de"), "nfkc": ("nfkc", "de"), "ko": ("nfc", "ko")}
    for name, (form, language) in forms.items():
        settings = TokenizerSettings(vocabulary_size=35, byte_fallback=False, normalization=form)
        tokenizer = train_tokenizer(
            ["the quick brown fox jumps over a lazy dog", "every good boy does fine"] * 9, settings, "en", language
        )
        found[name] = _normalizer(tokenizer.sentencepiece_models[0])
    return found


def _normalizer(model: bytes) -> Callable[[str], str]:
    normalizer = SentencePieceNormalizer(model_proto=model)

    def normalize(text: str) -> str:
        marked: str = normalizer.normalize(text)
        return marked.removeprefix("▁").replace("▁", " ")

    return normalize


@pytest.mark.parametrize(
    "text",
    [
        *(
            "m² and 5½ of H₂O",
            "我喜欢吃饭，你呢？（真的！）",
            "５，０００％",
            "ｶﾞｷﾞ ガギ",
            "ﬁne… ① ㎏ 1º nª",
            "“one” – two",
        ),
        *(
            "می‌خواهم",
            "ශ්‍රී ලංකාව",
            "ন্‌য",
            "👩‍🚀 👨‍👩‍👧 🏳️‍🌈 ❤️",
            "العربية ١٢٣؟",
            "עִבְרִית",
            "ภาษาไทย",
            "한국어",
            "Việt Nam",
            "བོད་སྐད།",
        ),
    ],
)
def test_text_stays_as_it_is_written(normalizers: Normalizers, text: str) -> None:
    written = unicodedata.normalize("NFC", text)
    assert normalizers["nfc"](written) == written
    assert normalizers["nfc"](text) == written


@pytest.mark.parametrize("form", ["nfc", "nfkc"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mar\u00adtin promis\u00ades", "Martin promises"),
        ("on\u200be t\u2060w\ufeffo\u200e", "one two"),
        ("one.\u200b Two", "one. Two"),
        ("one\u200b \u200btwo", "one two"),
        ("\ufeff\u200b one \u200b", "one"),
        ("one\x07\x1b two", "one two"),
        ("one\u00a0two\u2009three\u3000four\tfive\u2028six▁seven", "one two three four five six seven"),
        ("Auf\u200clage o\u200dne слово\u200c", "Auflage one слово"),
        ("e\u0301 \u1ec7 e\u0323\u0302 e\u0302\u0323 \u1eb9\u0302 \u212b", "é ệ ệ ệ ệ Å"),
    ],
)
def test_blanks_accents_and_invisible_characters(normalizers: Normalizers, form: str, text: str, expected: str) -> None:
    assert normalizers[form](text) == expected


def test_nfkc_folds(normalizers: Normalizers) -> None:
    text = "m² 5½ ，！（） ﬁ ＡＢＣ １ ｶﾞ ㎏ 𝐁"
    assert normalizers["nfkc"](text) == "m2 51⁄2 ,!() fi ABC 1 ガ kg B"


def test_korean_syllables_are_composed_where_korean_is_written(
    normalizers: Normalizers,
) -> None:
    jamo = unicodedata.normalize("NFD", "한국어 각")
    assert normalizers["ko"](f"{jamo} 가\u11a8") == "한국어 각 각"
    assert len(normalization_rules("nfc", ("en", "kor_Hang"))) > 5 * len(normalization_rules("nfc", ("en", "de")))


@pytest.mark.parametrize("form", ["nfc", "nfkc"])
def test_rules_lead_to_text_that_they_leave_alone(form: Form) -> None:
    rules = normalization_rules(form, ("en", "ko"))
    assert all(old != new for old, new in rules.items())
    longest = max(map(len, rules))
    for new in set(rules.values()):
        parts = {new[i : i + n] for n in range(1, longest + 1) for i in range(len(new) - n + 1)}
        assert not parts & rules.keys(), new


@pytest.mark.parametrize("text", ["", " ", "\t\u00a0\u2003", "\u200b", "\u00ad\u2060\ufeff", "\x01", "\u2028"])
def test_text_that_shows_nothing_is_blank(text: str) -> None:
    assert is_blank(text)
    assert not is_blank(f"{text}.{text}")


def test_control_characters_and_line_ends_become_spaces() -> None:
    ends = "a\nb\rc\x85d\u2028e\u2029f\0g\tä"
    assert on_one_line(ends) == "a b c d e f g ä"
    assert len(re.findall(" ", on_one_line("".join(map(chr, range(0x20)))))) == 32
