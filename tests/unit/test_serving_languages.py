"""serving.languages: which codes ask for the language that is served, and how it is shown."""

from __future__ import annotations

import pytest
from sentencex import segment

from polystill.serving.languages import asks_for, base_code, full_name, standard_code


@pytest.mark.parametrize(
    ("served", "taken", "refused"),
    [
        ("en", "en EN en-US en_GB eng eng_Latn en-Latn-US", "de enm english x en-Cyrl nothing-at-all"),
        ("deu_Latn", "de DE de-AT deu ger deu_Latn", "nl gsw nds"),
        ("zh-Hans", "zh zh-CN zh-Hans cmn zho_Hans zh_SG", "zh-TW zh-Hant zt yue ja"),
        ("zho_Hant", "zh-TW zh-HK zh-Hant zt", "zh zh-CN zh-Hans"),
        ("pt-BR", "pt pt-PT pb por", "es gl"),
        ("nb", "nb nob no nor nb-NO", "nn da sv"),
        ("sr-Latn", "sr-Latn", "sr sr-Cyrl hr bs"),
        ("ko", "ko ko-KR kor kor_Hang", "ja"),
        ("counting", "counting COUNTING", "count"),
    ],
)
def test_language_and_script_count_and_the_region_does_not(served: str, taken: str, refused: str) -> None:
    assert {code: asks_for(code, served) for code in taken.split()} == dict.fromkeys(taken.split(), True)
    assert {code: asks_for(code, served) for code in refused.split()} == dict.fromkeys(refused.split(), False)


@pytest.mark.parametrize("code", ["", "-", "_", "en-", "a" * 200, "en--US", "é", "x-", "1", "en-x", "i-klingon", "\0"])
def test_what_is_no_code_is_not_served(code: str) -> None:
    assert not asks_for(code, "de")


def test_what_is_shown() -> None:
    shown = {
        "eng_Latn": "en",
        "zho_Hans": "zh-Hans",
        "zh": "zh",
        "pt-BR": "pt-BR",
        "counting": "counting",
        "sr-Latn": "sr-Latn",
    }
    assert {code: standard_code(code) for code in shown} == shown
    names = {"de": "German", "deu_Latn": "German", "zh-Hans": "Chinese (simplified)", "pt-BR": "Portuguese (BR)"}
    assert {code: full_name(code) for code in names} == names


def test_the_sentence_splitter_knows_the_base_code() -> None:
    text = "Am 3. Mai kam z. B. Dr. Weiß. Er ging."
    assert base_code("deu_Latn") == "de"
    assert list(segment(base_code("deu_Latn"), text)) == list(segment("de", text)) != list(segment("deu_Latn", text))
