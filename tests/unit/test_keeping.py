"""What small models break on is kept: placeholders, tags, addresses, emoji and long numbers; and lines in capitals."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from polystill.decoding.keeping import (
    in_capitals,
    in_small_letters,
    is_in_capitals,
    keep_placeholders,
    long_numbers,
    placeholders,
    readings,
    split_at_long_numbers,
    split_at_placeholders,
)
from polystill.decoding.stream import translate_lines
from polystill.decoding.translator import EMPTY, Cuts, DecodingOptions, Hypothesis
from polystill.placement import Translation
from polystill.translation import translate_texts
from tests.best import best


class Shouter:
    """Translates into capitals and ends a line as a sentence, so it keeps {NAME} and loses {name}."""

    max_source_tokens = 64
    languages = ("en", "de")

    def __init__(self) -> None:
        self.lines: list[str] = []

    def translate(
        self, lines: Sequence[str], options: DecodingOptions, cuts: Cuts | None = None
    ) -> list[list[Hypothesis]]:
        self.lines += lines
        return [
            [Hypothesis(line.upper().rstrip(".") + ".", [line], -1.0)] if line.strip() else [EMPTY] for line in lines
        ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Open %s in %1$s, %2$d of %.2f%%", ["%s", "%1$s", "%2$d", "%.2f"]),
        ("Hello %(name)s, {name}, {0}, {{user}}", ["%(name)s", "{name}", "{0}", "{{user}}"]),
        ("%PRODUCTNAME on %PATH% has %1 and %n files", ["%PRODUCTNAME", "%PATH%", "%1", "%n"]),
        ("cd $HOME, ${dir}, $(pwd) --all", ["$HOME", "${dir}", "$(pwd)", "--all"]),
        ('Press <b>OK</b><br/> <a href="x">', ["<b>", "</b>", "<br/>", '<a href="x">']),
        ("Tom &amp; Jerry &#8211; &nbsp;", ["&amp;", "&#8211;", "&nbsp;"]),
        ("Get example.com/a/b.tar.gz, or e.g. this and/or that.", ["example.com/a/b.tar.gz"]),
        ("See https://a.org/b?c=d&e=f. Or www.a.org, me@a.org!", ["https://a.org/b?c=d&e=f", "www.a.org", "me@a.org"]),
        ("Nice 🙂🎉 and 👩‍🚀, ❤️!", ["🙂🎉", "👩‍🚀", "❤️"]),
        ("100 % sure, 50% of it; a < b and b > c; Tom & Jerry; $5; well-known -- or not", []),
        ("In 1984, at 12:30, 3 {dogs ran} away.", []),
    ],
)  # fmt: skip
def test_what_is_a_placeholder(text: str, expected: list[str]) -> None:
    assert placeholders(text) == expected


def test_what_a_model_loses_is_put_back() -> None:
    lines = ["Delete {name} now", "DELETE {NAME} now", "  %s: 3 files ", "🙂", "no placeholder", "", "<b>a</b> b."]
    out = best(translate_lines(Shouter(), lines, DecodingOptions()))
    assert out == [
        "DELETE {name} NOW",
        "DELETE {NAME} NOW.",
        "  %s: 3 FILES ",
        "🙂.",
        "NO PLACEHOLDER.",
        "",
        "<b>A</b> B.",
    ]


def test_only_lines_that_lost_one_cost_more() -> None:
    shouter = Shouter()
    list(translate_lines(shouter, ["Keep {THIS}", "lose {this} and {this}", "plain"], DecodingOptions()))
    assert shouter.lines == ["Keep {THIS}", "lose {this} and {this}", "plain", "lose", "and"]


def test_one_too_many_is_as_bad_as_none() -> None:
    (hypotheses,) = keep_placeholders(
        Shouter(), ["use %d dogs"], [[Hypothesis("%d %d Hunde", [], 0.0)]], DecodingOptions()
    )
    assert [h.text for h in hypotheses] == ["USE %d DOGS"]


def test_an_invented_placeholder_is_as_bad_as_a_lost_one() -> None:
    lists = [[Hypothesis("%d Hunde in %s", [], 0.0)]]
    assert [h.text for h in keep_placeholders(Shouter(), ["use %d dogs"], lists, DecodingOptions())[0]] == [
        "USE %d DOGS"
    ]


def test_hypotheses_that_keep_all_stay_as_they_are() -> None:
    lists = [[Hypothesis("Hund", ["Hund"], -1.0), Hypothesis("Hund %s", ["Hund", "%s"], -2.0)]]
    assert keep_placeholders(Shouter(), ["dog %s"], lists, DecodingOptions()) == [[lists[0][1]]]


class Looping:
    """Loses placeholders, and does not find the end of lines with "loop"."""

    max_source_tokens = 64
    languages = ("en", "de")

    def translate(
        self, lines: Sequence[str], options: DecodingOptions, cuts: Cuts | None = None
    ) -> list[list[Hypothesis]]:
        return [[Hypothesis("x", [], -1.0, cut="loop" in line and "%s" not in line)] for line in lines]


def test_a_translation_with_a_piece_that_was_cut_is_not_whole() -> None:
    assert translate_texts(Looping(), ["a loop in %s", "nothing in %s"], DecodingOptions()) == [
        None,
        Translation("x %s"),
    ]


def test_blanks_in_placeholders_stay_in_documents() -> None:
    text = "Press <a  href='x'>here</a>  now"
    assert translate_texts(Shouter(), [text], DecodingOptions()) == [Translation("PRESS <a  href='x'>HERE</a>  NOW")]


def test_files_and_documents_keep_them_alike() -> None:
    (hypotheses,) = translate_lines(Shouter(), ["copy %s"], DecodingOptions())
    assert hypotheses[0].text == "COPY %s" and hypotheses[0].score == -1.0
    assert translate_texts(Shouter(), ["copy %s\nand {this}"], DecodingOptions()) == [
        Translation("COPY %s\nAND {this}")
    ]


# --- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("In 1984, 42 more and 7 less", {"1984", "42"}),
        ("1,250 or 1.250 or 1\u202f250 dogs", {"1250"}),
        ("12,345,678.90", {"1234567890"}),
        ("3.75 %", {"375"}),
        ("2024-03-15, 15.03.2024 and 3/15/2024", {"2024", "15"}),
        ("at 9:05 on 1/2/03", set()),
        ("version 10.4.2 of 192.168.0.1", {"10", "192", "168"}),
        ("٣٤٥ كلب", {"345"}),
        ("no number", set()),
    ],
)
def test_long_numbers(text: str, expected: set[str]) -> None:
    assert long_numbers(text) == expected


def test_digits_may_be_grouped_otherwise() -> None:
    for text in ("1.250 Hunde", "1 250 Hunde", "1250 Hunde", "im Jahr 1990 1.250 Hunde"):
        assert "1250" in readings(text), text
    assert "1250" not in readings("12 Hunde, 50 Katzen")


@pytest.mark.parametrize(
    ("line", "translation", "is_kept"),
    [
        ("On 15.03.2024 we met", "Am 15.03.2024 trafen wir uns", True),
        ("On 2024-03-15 we met", "Am 15.3.2024 trafen wir uns", True),
        ("On 2024-03-15 we met", "Am 15. März 2024 trafen wir uns", True),
        ("Version 10.4.2 of 192.168.0.1.", "Version 10.4.2 von 192.168.0.1.", True),
        ("At 10:05", "Um 10.05 Uhr", True),
        ("On 15.03.2024 we met", "Am 15.04.2024 trafen wir uns", False),
        ("Version 10.4.2", "Version 10.4.3", False),
        ("It costs 12.50.", "Es kostet 12,50.", True),
        ("It costs 12.50.", "Es kostet 50,12.", False),
        ("Agent 007 met us", "Agent 7 traf uns", False),
        ("Call 0171", "Ruf 171 an", False),
        ("Have 10 000 dogs", "Habe 10 0 Hunde", False),
    ],
)
def test_dates_and_versions_are_no_single_number(line: str, translation: str, is_kept: bool) -> None:
    lists = [[Hypothesis(translation, [], -1.0)]]
    assert (keep_placeholders(Shouter(), [line], lists, DecodingOptions()) == lists) == is_kept


@pytest.mark.parametrize(
    ("line", "translation", "is_kept"),
    [
        ("It has 10 000 dogs", "Es hat 10000 Hunde", True),
        ("It has 10 000 dogs", "Es hat 10.000 Hunde", True),
        ("It has 10 000 dogs", "Es hat 10 000 Hunde", True),
        ("It cost 1 234 567,50 euros.", "Es kostete 1,234,567.50 Euro.", True),
        ("In 1999 it had 2 500 cats and 10 000 dogs.", "10.000 Hunde und 2 500 Katzen hatte es 1999.", True),
        ("In 2024 300 dogs", "In 2024 300 Hunde", True),
        ("In 2024 300 dogs", "In 2024300 Hunde", False),
        ("It has 10 000 dogs", "Es hat 1000 Hunde", False),
        ("It has 10 000 dogs and 3 cats", "Es hat 10.000 Hunde und 4 Katzen", False),
        ("It has 10 00 dogs", "Es hat 1000 Hunde", False),
        ("It has 10 000 0000 dogs", "Es hat 100000000 Hunde", False),
    ],
)
def test_a_blank_may_group_digits(line: str, translation: str, is_kept: bool) -> None:
    lists = [[Hypothesis(translation, [], -1.0)]]
    assert (keep_placeholders(Shouter(), [line], lists, DecodingOptions()) == lists) == is_kept


def test_text_is_split_at_long_numbers() -> None:
    assert split_at_long_numbers("From 2024-03-15, 4 dogs; 1,250.") == [
        "From ",
        "2024-03-15",
        ", 4 dogs; ",
        "1,250",
        ".",
    ]
    assert split_at_long_numbers("4 dogs") == ["4 dogs"]


class Forgetful:
    """Repeats a line with every number of four digits as 9999, but "3.75" as Germans write it."""

    max_source_tokens = 64
    languages = ("en", "de")

    def translate(
        self, lines: Sequence[str], options: DecodingOptions, cuts: Cuts | None = None
    ) -> list[list[Hypothesis]]:
        return [[Hypothesis(line.replace("1984", "9999").replace("3.75", "3,75"), [], -1.0)] for line in lines]


def test_numbers_that_a_model_changes_are_put_back() -> None:
    lines = ["In 1984 it cost 3.75 {unit}.", "It cost 3.75.", "1984"]
    out = best(translate_lines(Forgetful(), lines, DecodingOptions()))
    assert out == ["In 1984 it cost 3.75 {unit}.", "It cost 3,75.", "1984"]


def test_numbers_may_change_in_languages_that_count_in_ten_thousands() -> None:
    chinese = Forgetful()
    chinese.languages = ("en", "zh")
    lists = [[Hypothesis("赚了100亿美元", [], -1.0)]]
    assert keep_placeholders(chinese, ["earned $10 billion"], lists, DecodingOptions()) == lists
    (repaired,) = keep_placeholders(chinese, ["in 1984 {unit}"], [[Hypothesis("", [], -1.0)]], DecodingOptions())
    assert [h.text for h in repaired] == ["in 9999 {unit}"]


# --- capitals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("THE OLD DOG RUNS.", True),
        ("PRESS %s AT https://example.org/page NOW", True),
        ("ПРИВЕТ, МИР", True),
        ("USB HTTP", False),  # acronyms
        ("README", False),
        ("INSTALLATIONSANLEITUNG", False),  # one word, which may be a name
        ("The USB DRIVE IS FULL", False),
        ("12 345 678", False),
        ("漢字かな交じり文 のような文章", False),
        ("유엔 UNESCO WIPO 회의", False),
        ("", False),
    ],
)
def test_lines_in_capitals(line: str, expected: bool) -> None:
    assert is_in_capitals(line) == expected


@pytest.mark.parametrize(
    ("line", "language", "expected"),
    [
        ("THE OLD DOG RUNS. IT BARKS!", "en", "The old dog runs. It barks!"),
        ("SEE %PRODUCTNAME, {Name} OR WWW.EXAMPLE.ORG", "en", "See %PRODUCTNAME, {Name} Or www.example.org"),
        ("VERSION 2.5 OF IT", "en", "Version 2.5 of it"),
        ("IŞIK VE İSTANBUL", "tr", "Işık ve istanbul"),
        ("IŞIK", "tr-Latn-TR", "Işık"),
    ],
)
def test_small_letters(line: str, language: str, expected: str) -> None:
    assert in_small_letters(line, language) == expected


def test_capitals_follow_the_language() -> None:
    assert in_capitals("Die Straße ist kalt: {name}.", "de") == "DIE STRASSE IST KALT: {name}."
    assert in_capitals("bir ışık", "tr") == "BİR IŞIK"
    assert in_capitals("bir", None) == "BIR"
    assert in_capitals("Ο σκύλος τρέχει: {name}, ΐ", "el") == "Ο ΣΚΥΛΟΣ ΤΡΕΧΕΙ: {name}, Ϊ"


def test_a_long_run_of_zeros_takes_no_long_time() -> None:
    """Quadratic, it took minutes."""
    assert split_at_placeholders("%" + "0" * 100_000 + " %05d")[1::2] == ["%05d"]


class Parrot:
    """Repeats a line, and breaks on capitals as a small model does."""

    max_source_tokens = 64
    languages = ("en", "de")

    def translate(
        self, lines: Sequence[str], options: DecodingOptions, cuts: Cuts | None = None
    ) -> list[list[Hypothesis]]:
        texts = ("DIE DIE DIE DIE" if line.isupper() else line for line in lines)
        return [[Hypothesis(text, [], -1.0)] if text.strip() else [EMPTY] for text in texts]


def test_a_model_never_sees_a_line_in_capitals() -> None:
    lines = ["THE OLD DOG RUNS TO %s.", "The old dog", "", "USB"]
    expected = ["THE OLD DOG RUNS TO %s.", "The old dog", "", "DIE DIE DIE DIE"]
    n_best = translate_lines(Parrot(), lines, DecodingOptions())
    assert [hypotheses[0].text for hypotheses in n_best] == expected
    assert translate_texts(Parrot(), lines, DecodingOptions()) == [Translation(text) for text in expected]
