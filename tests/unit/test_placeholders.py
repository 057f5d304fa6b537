"""Placeholders, tags, addresses and emoji come out of a translation as they went in."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from polystill.decoding.placeholders import keep_placeholders, placeholders
from polystill.decoding.stream import translate_lines, translate_n_best
from polystill.decoding.translator import EMPTY, Cuts, DecodingOptions, Hypothesis
from polystill.translation import translate_texts


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
    out = list(translate_lines(Shouter(), lines, DecodingOptions()))
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


def test_hypotheses_that_keep_all_stay_as_they_are() -> None:
    lists = [[Hypothesis("Hund", ["Hund"], -1.0), Hypothesis("Hund %s", ["Hund", "%s"], -2.0)]]
    assert keep_placeholders(Shouter(), ["dog %s"], lists, DecodingOptions()) == [[lists[0][1]]]


def test_files_and_documents_keep_them_alike() -> None:
    (hypotheses,) = translate_n_best(Shouter(), ["copy %s"], DecodingOptions())
    assert hypotheses[0].text == "COPY %s" and hypotheses[0].score == -1.0
    assert translate_texts(Shouter(), ["copy %s\nand {this}"], DecodingOptions()) == ["COPY %s\nAND {this}"]
