from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polystill.config import Cleaning
from polystill.data.cleaning import REASONS, Cleaner, CleaningReport, Repetition, clean, mark_duplicates, most_repeats
from polystill.data.repair import repaired, without_entities, without_mojibake
from polystill.errors import UserError
from polystill.languages import ScriptShare, count_words, is_unspaced, scripts_of
from polystill.sources.base import RawPair, Unreadable

Side = str | Unreadable


def reason(source: Side, target: Side, languages: tuple[str, str] = ("en", "de"), **settings) -> str | None:
    return Cleaner(Cleaning(**settings), languages).reason(source, target)


WORDS = "one two three four five six seven eight"


@pytest.mark.parametrize(
    ("source", "target", "settings", "expected"),
    [
        ("The dog sleeps.", "Der Hund schläft.", {}, None),
        (Unreadable.INVALID_UTF8, "x", {}, "invalid_utf8"),
        ("x", Unreadable.NUL_BYTE, {}, "nul_byte"),
        (Unreadable.BROKEN_ROW, Unreadable.BROKEN_ROW, {}, "broken_row"),
        ("", "x", {}, "empty"),
        ("x", "", {}, "empty"),
        ("x", "\u200b", {}, "empty"),
        ("\ufeff\u00ad \u2060", "x", {}, "empty"),
        ("a b", "c d e", {"min_words": 3}, "too_short"),
        ("a b f", "c d e", {"min_words": 3}, None),
        (WORDS, "c d e f g h i j", {"max_words": 7}, "too_long"),
        (WORDS, "c d e f g h i j", {"max_words": 8}, None),
        (WORDS, "c d", {"max_ratio": 3.9}, "ratio"),
        (WORDS, "c d", {"max_ratio": 4}, None),
        ("c d", WORDS, {"max_ratio": 3.9}, "ratio"),
        ("a b c d f g h", "e", {"max_ratio": 2}, None),  # Below eight words the ratio says nothing.
        ("a b c d f g h i", "e", {"max_ratio": 2}, "ratio"),
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
def test_reasons(source: Side, target: Side, settings: dict, expected: str | None) -> None:
    assert reason(source, target, **settings) == expected
    assert expected is None or expected in REASONS


def test_switched_off_only_what_cannot_be_trained_on_goes() -> None:
    assert reason(Unreadable.NUL_BYTE, "x", enabled=False) == "nul_byte"
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
        ("ru", "Это Linux, так", 2 / 3),
        ("ja", "HasUnoInterfaces 関数", 0.5),
        ("de", "我昨天在花园里看见了 ja", 1 / 6),
        ("de", "A\u0308pfel und O\u0308l", 1.0),
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
def test_share_of_words_in_the_languages_script(language: str, text: str, share: float) -> None:
    assert ScriptShare(language)(text) == pytest.approx(share)


def test_least_share_is_inclusive() -> None:
    assert reason("x", "aaa ббб", min_script_share=0.5) is None
    assert reason("x", "aaa ббб", min_script_share=0.51) == "wrong_script"


def test_an_unknown_language_is_not_checked() -> None:
    assert scripts_of("xx") == [] and not ScriptShare("xx").known
    assert reason("что угодно", "Der Hund", ("xx", "de")) is None
    assert reason("что угодно", "собака", ("xx", "de")) == "wrong_script"


def test_the_declaration_of_human_rights_in_many_scripts_is_kept() -> None:
    """Article 1 in each language beside each other one, once and twice; against five times, the ratio tells."""
    rows = (Path(__file__).parents[1] / "texts" / "article-1.tsv").read_text(encoding="utf-8").splitlines()
    article = dict(row.split("\t") for row in rows)
    assert len(article) == 17 and len({scripts_of(language)[0] for language in article}) == 15
    for languages in product(article, repeat=2):
        source, target = (article[language] for language in languages)
        if source != target:
            assert reason(source, target, languages, max_ratio=2) is None, languages
            assert reason(f"{source} {source}", f"{target} {target}", languages, max_ratio=2) is None, languages
            assert reason(" ".join([source] * 5), target, languages, max_ratio=2, max_words=300) == "ratio", languages


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        ("one two-three, four .", 4),
        ("...", 1),
        ("HasUnoInterfaces 関数", 2),
        ("HasUnoInterfaces関数", 2),
        ("LibreOfficeのBASIC関数。", 4),
        ("我爱你们。", 2),
        ("2024年", 2),
        ("。", 1),
        ("ที่", 1),
        ("โรงเรียน school", 3),
        ("የሰው፡ልጅ፡ሁሉ", 3),
        ("개가 자고 있다", 3),
        ("कुत्ता सोता है", 3),
    ],
)
def test_words_are_counted_by_script(text: str, words: int) -> None:
    assert count_words(text) == words


@pytest.mark.parametrize(
    ("source", "target", "language", "expected"),
    [
        ("HasUnoInterfaces function", "HasUnoInterfaces 関数", "ja", None),
        ("_File", "ファイル(~F)", "ja", None),
        ("Adobe Photoshop CS6 files", "Adobe Photoshop CS6 ファイル", "ja", None),
        ("com.sun.star.uno.XInterface is missing", "com.sun.star.uno.XInterface がありません", "ja", None),
        ("Open LibreOffice Writer", "Откройте LibreOffice Writer", "ru", None),
        ("%PRODUCTNAME cannot open $(FILE)", "%PRODUCTNAME ne peut ouvrir $(FILE)", "fr", None),
        ("Undo", "វិញ​ធ្វើ​ធ្វើ​ធ្វើ", "km", None),
        ("Notification", "Ein kurzer Hinweis für alle Leute hier", "de", None),
        ("Click the button", "Click this button", "ja", "wrong_script"),
        ("The dog sleeps here", "Der Hund schläft 犬", "ja", "wrong_script"),
    ],
)
def test_terms_of_both_sides_and_short_lines_are_kept(
    source: str, target: str, language: str, expected: str | None
) -> None:
    assert reason(source, target, ("en", language)) == expected
    assert reason(target, source, (language, "en")) == expected


def test_a_long_word_is_one_in_any_language() -> None:
    assert reason("a b", "犬" + "x" * 101, ("en", "ja")) == "long_word"
    assert reason("a b", "犬" * 101, ("en", "xx"), max_ratio=100) is None


def test_languages_without_spaces_are_measured_by_their_letters() -> None:
    assert all(map(is_unspaced, ["zh-Hant", "zh", "zho", "zho_Hans", "yue_Hant", "jpn_Jpan", "tha", "khm_Khmr"]))
    assert not any(map(is_unspaced, ["de", "deu", "deu_Latn", "kor_Hang", "vie_Latn"]))
    chinese = "我昨天在花园里看见了一只很大的狗和两只小猫"  # 21 characters, about ten words
    english = "Yesterday I saw a very large dog and two small cats in the garden"
    assert reason(english, chinese, ("en", "zh")) is None
    assert reason(english, chinese, ("en", "xx")) is None
    assert reason(english, chinese * 15, ("en", "zh"), max_ratio=100) == "too_long"
    assert reason(english, chinese * 6, ("en", "zh"), max_ratio=100) is None  # One "word" of 126 characters.


def test_the_report_counts_everything_and_shows_the_first() -> None:
    pairs: list[RawPair] = [(f"  dog {i} ", f"\tHund {i}\r") for i in range(4)]
    pairs += [("", "x")] * 5 + [(Unreadable.INVALID_UTF8, "y" * 300), ("z", "z")]
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


# --- unreadable lines -------------------------------------------------------------------------------------------------


def read(rows: list[RawPair], most: float) -> tuple[CleaningReport, str | None]:
    report = CleaningReport()
    kept = list(clean(rows, Cleaner(Cleaning(), ("en", "de")), report, "a.en"))
    assert len(kept) == report.kept
    return report, report.check_readable("a.en", len(rows), most, "some.key")


def rows_with(damage: dict[int, Unreadable], count: int) -> list[RawPair]:
    return [(damage.get(i, f"dog {i}"), f"Hund {i}") for i in range(1, count + 1)]


def test_a_few_unreadable_lines_are_dropped_counted_and_named() -> None:
    damage = {7: Unreadable.NUL_BYTE, **dict.fromkeys((900, 17, 1500, 1700), Unreadable.BROKEN_ROW)}
    report, warning = read(rows_with(damage, 4500), 0.001)
    assert warning == (
        "warning: a.en: 5 of 4,500 lines cannot be read: nul_byte 1 (line 7), broken_row 4 (lines 17, 900, 1,500, …)"
    )
    assert (report.total, report.kept, report.summary()) == (4500, 4495, "nul_byte 1, broken_row 4")
    assert report.check_readable("b.en", 10, 0) is None  # the next corpus has none


@pytest.mark.parametrize(
    ("count", "lines", "most", "fails"),
    [(1, 5, 0.001, False), (2, 5, 0.001, True), (5, 4500, 0.001, False), (6, 5000, 0.001, True), (1, 9000, 0, True)],
)
def test_many_unreadable_lines_are_refused(count: int, lines: int, most: float, fails: bool) -> None:
    rows = rows_with(dict.fromkeys(range(2, 2 + count), Unreadable.INVALID_UTF8), lines)
    if not fails:
        assert read(rows, most)[1]
        return
    with pytest.raises(UserError) as caught:
        read(rows, most)
    message = str(caught.value)
    assert message.startswith(f"a.en: {count:,} of {lines:,} lines cannot be read: invalid_utf8 {count} (line")
    assert message.endswith(f"; mend the file, or raise some.key ({most:g})")


# --- repairs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hi &quot;you&quot; &amp;amp; me", 'Hi "you" &amp; me'),
        ("&lt;b&gt;&#252;&#xFC;&Uuml;&nbsp;x&hellip;", "<b>üüÜ\xa0x…"),
        ("AT&T; a&b &copy=2 &amp ?x=1&reg=2", "AT&T; a&b &copy=2 &amp ?x=1&reg=2"),
        ("a&#10;b&#9;c&NewLine;d", "a b c d"),
        ("&#0;&#xD800;&#x1FFFFF;&nosuchname;", "&#0;&#xD800;&#x1FFFFF;&nosuchname;"),
        ("plain & simple; text", "plain & simple; text"),
    ],
)
def test_html_entities_are_unescaped_once(text: str, expected: str) -> None:
    assert without_entities(text) == expected


ARTICLE = [row.split("\t")[1] for row in (Path(__file__).parents[1] / "texts/article-1.tsv").open(encoding="utf-8")]


@pytest.mark.parametrize("encoding", ["latin-1", "mac-roman"])
def test_mojibake_of_every_script_is_mended(encoding: str) -> None:
    """mac-roman's of Russian is the one that could be either."""
    garbled = {text: text.encode().decode(encoding) for text in map(str.strip, ARTICLE) if not text.isascii()}
    mended = [text for text, wrong in garbled.items() if without_mojibake(wrong) == text]
    assert len(garbled) == 16 and len(mended) >= 15


@pytest.mark.parametrize(
    ("garbled", "text"),
    [
        ("FuÃŸball fÃ¼r alle", "Fußball für alle"),
        ("naÃ¯ve cafÃ© â€“ â€¦ â‚¬5", "naïve café – … €5"),
        ("ÃƒÂ¼ber", "über"),
        ("РџСЂРёРІРµС‚", "Привет"),
    ],
)
def test_mojibake_is_mended(garbled: str, text: str) -> None:
    assert without_mojibake(garbled) == text


@pytest.mark.parametrize(
    "text", ["CAFÉ»\tgut", *map(str.strip, ARTICLE), "Ã", "É “São Tomé” – ação", "Ä–Ö, ±5 °C · №1", "SÃO PAULO"]
)
def test_text_that_is_whole_is_not_mended(text: str) -> None:
    assert repaired(text) == text


def test_repairs_are_made_and_counted_before_a_pair_is_judged() -> None:
    pairs: list[RawPair] = [
        ("Hi &quot;you&quot; &amp;amp; me", 'Hallo "du" & ich'),
        ("a &amp; b", "FuÃŸ &amp; Ball"),
        ("&nbsp;", "leer"),
        ("plain", "schlicht"),
    ]
    report = CleaningReport()
    kept = [pair for _, pair in clean(pairs, Cleaner(Cleaning(), ("en", "de")), report, "a.en")]
    assert kept == [('Hi "you" &amp; me', 'Hallo "du" & ich'), ("a & b", "Fuß & Ball"), ("plain", "schlicht")]
    assert report.repairs() == "html_entities 3, mojibake 1" and report.summary() == "empty 1"
    content = report.as_dict()
    assert content["repaired"] == {"html_entities": 3, "mojibake": 1}
    assert set(content["repaired"]) < set(content["meaning"])
    assert content["examples"]["mojibake"] == [{"corpus": "a.en", "line": 2, "source": "a & b", "target": "Fuß & Ball"}]
    off = CleaningReport()
    assert [pair for _, pair in clean(pairs, Cleaner(Cleaning(enabled=False), ("en", "de")), off, "a.en")] == pairs


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
