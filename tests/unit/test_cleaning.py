import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polystill.config import Cleaning
from polystill.data.cleaning import REASONS, Cleaner, CleaningReport, Repetition, clean, mark_duplicates, most_repeats
from polystill.data.languages import ScriptShare, is_unspaced, scripts_of
from polystill.sources.base import RawPair


def reason(source: str | None, target: str | None, languages: tuple[str, str] = ("en", "de"), **settings) -> str | None:
    return Cleaner(Cleaning(**settings), languages).reason(source, target)


WORDS = "one two three four five six seven eight"


@pytest.mark.parametrize(
    ("source", "target", "settings", "expected"),
    [
        ("The dog sleeps.", "Der Hund schläft.", {}, None),
        (None, "x", {}, "invalid_utf8"),
        ("x", None, {}, "invalid_utf8"),
        ("", "x", {}, "empty"),
        ("x", "", {}, "empty"),
        ("a b", "c d e", {"min_words": 3}, "too_short"),
        ("a b f", "c d e", {"min_words": 3}, None),
        (WORDS, "c d e f g h i j", {"max_words": 7}, "too_long"),
        (WORDS, "c d e f g h i j", {"max_words": 8}, None),
        (WORDS, "c d", {"max_ratio": 3.9}, "ratio"),
        (WORDS, "c d", {"max_ratio": 4}, None),
        ("c d", WORDS, {"max_ratio": 3.9}, "ratio"),
        ("a b c d", "e", {"max_ratio": 2}, None),  # Below five words the ratio says nothing.
        ("a b c d f", "e", {"max_ratio": 2}, "ratio"),
        ("a " + "x" * 101, "b c", {}, "long_word"),
        ("a " + "x" * 100, "b c", {}, None),
        ("b c", "a " + "x" * 101, {}, "long_word"),
        ("Berlin", "Berlin", {}, "identical"),
        ("Berlin", "Berlin", {"drop_identical": False}, None),
        ("Berlin", "berlin", {}, None),
        ("The dog", "Собака спит", {}, "wrong_script"),
        ("Собака спит", "Der Hund", {}, "wrong_script"),
        ("The dog", "Собака спит", {"min_script_share": 0}, None),
        ("12 345", "12.345 €", {}, None),
    ],
)
def test_reasons(source: str | None, target: str | None, settings: dict, expected: str | None) -> None:
    assert reason(source, target, **settings) == expected
    assert expected is None or expected in REASONS


def test_switched_off_only_what_cannot_be_trained_on_goes() -> None:
    assert reason(None, "x", enabled=False) == "invalid_utf8"
    assert reason("", "x", enabled=False) == "empty"
    assert reason(WORDS * 99, "x" * 999, enabled=False) is None


@pytest.mark.parametrize(
    ("language", "text", "share"),
    [
        ("de", "Größe, 3 Äpfel – „ja“!", 1.0),
        ("de", "", 1.0),
        ("de", "123 ☺", 1.0),
        ("de", "да", 0.0),
        ("de", "aaa ббб", 0.5),
        ("ru", "The dog", 0.0),
        ("ru", "Это Linux, так", 6 / 11),
        ("el", "Ο σκύλος ἔχει", 1.0),
        ("ar", "الكلب ينام", 1.0),
        ("he", "הכלב ישן", 1.0),
        ("hi", "कुत्ता सोता है", 1.0),
        ("th", "สุนัขนอน", 1.0),
        ("zh", "狗在睡觉。", 1.0),
        ("zh", "いぬ", 0.0),
        ("ja", "犬が寝ているカタカナ", 1.0),
        ("ko", "개가 자고 있다", 1.0),
        ("sr-Latn", "Pas spava", 1.0),
        ("sr", "Пас спава", 1.0),
        ("vi", "Con chó đang ngủ", 1.0),
        ("xx", "что угодно 犬", 1.0),
        ("deu_Latn", "Привет", 0.0),
        ("xxx_Cyrl", "Привет", 1.0),
        ("srp_Latn", "Пас спава", 0.0),
        ("zho_Hans", "我爱你", 1.0),
        ("jpn_Jpan", "犬が寝ている", 1.0),
        ("rus", "Hallo", 0.0),
    ],
)
def test_share_of_letters_in_the_languages_script(language: str, text: str, share: float) -> None:
    assert ScriptShare(language)(text) == pytest.approx(share)


def test_least_share_is_inclusive() -> None:
    assert reason("x", "aaa ббб", min_script_share=0.5) is None
    assert reason("x", "aaa ббб", min_script_share=0.51) == "wrong_script"


def test_an_unknown_language_is_not_checked() -> None:
    assert scripts_of("xx") == [] and not ScriptShare("xx").known
    assert reason("что угодно", "Der Hund", ("xx", "de")) is None
    assert reason("что угодно", "собака", ("xx", "de")) == "wrong_script"


def test_languages_without_spaces_are_measured_in_characters() -> None:
    assert all(map(is_unspaced, ["zh-Hant", "zh", "zho", "zho_Hans", "yue_Hant", "jpn_Jpan", "tha", "khm_Khmr"]))
    assert not any(map(is_unspaced, ["de", "deu", "deu_Latn", "kor_Hang", "vie_Latn"]))
    chinese = "我昨天在花园里看见了一只很大的狗和两只小猫"  # 21 characters, about ten words
    english = "Yesterday I saw a very large dog and two small cats in the garden"
    assert reason(english, chinese, ("en", "zh")) is None
    assert reason(english, chinese, ("en", "xx")) == "ratio"
    assert reason(english, chinese * 15, ("en", "zh"), max_ratio=100) == "too_long"
    assert reason(english, chinese * 6, ("en", "zh"), max_ratio=100) is None  # One "word" of 126 characters.


def test_the_report_counts_everything_and_shows_the_first() -> None:
    pairs: list[RawPair] = [(f"  dog {i} ", f"\tHund {i}\r") for i in range(4)]
    pairs += [("", "x")] * 5 + [(None, "y" * 300), ("z", "z")]
    report = CleaningReport()
    cleaner = Cleaner(Cleaning(), ("en", "de"))
    kept = list(clean(pairs, cleaner, report, "a.en"))
    assert kept == [(i + 1, (f"dog {i}", f"Hund {i}")) for i in range(4)]
    list(clean([("x", "")], cleaner, report, "b.en"))
    assert report.total == 12 and report.kept == 4
    found = {name: count for name, count in report.dropped.items() if count}
    assert found == {"empty": 6, "invalid_utf8": 1, "identical": 1}
    assert report.summary() == "invalid_utf8 1, empty 6, identical 1"
    content = report.as_dict()
    assert content["kept"] + sum(content["dropped"].values()) == content["total"]
    assert [example["line"] for example in content["examples"]["empty"]] == [5, 6, 7]
    assert content["examples"]["invalid_utf8"] == [{"corpus": "a.en", "line": 10, "source": None, "target": "y" * 100}]


@given(st.lists(st.one_of(st.integers(0, 5), st.integers(0, 2**64 - 1)), max_size=60))
def test_all_but_the_first_of_equals_are_duplicates(hashes: list[int]) -> None:
    marked = mark_duplicates(np.array(hashes, dtype=np.uint64))
    assert marked.tolist() == [value in hashes[:i] for i, value in enumerate(hashes)]


# --- repetitions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "most"), [("", 0), ("a", 1), ("a b", 1), ("a a", 2), ("x a b a b a b y", 3), ("a b c a b", 1)]
)
def test_most_repeats(words: str, most: int) -> None:
    assert most_repeats(words.split()) == most


@pytest.mark.parametrize(
    ("source", "hypothesis", "loops"),
    [
        ("a b c d", "der Hund der Hund der Hund der Hund", True),
        ("a b c", "der Hund der Hund der Hund", False),
        ("no no no no", "nein nein nein nein", False),
        ("It rains.", "Es regnetetetetetetetetetetet.", True),
        ("", "", False),
    ],
)
def test_loops(source: str, hypothesis: str, loops: bool) -> None:
    assert Repetition(("en", "de")).is_looping(source, hypothesis) == loops
