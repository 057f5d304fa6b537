"""serving.text: sentences out of plain text and HTML and back; everything between them, and all markup, is kept."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import unescape

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polystill.placement import Translation
from polystill.serving.text import Markup, PlainText, gap_between


def join(document: PlainText | Markup, translations: Sequence[str]) -> str:
    return document.join([Translation(text) for text in translations])


def fits(sentence: str) -> bool:
    return len(sentence) <= 40


def test_sentences_are_told_apart_and_abbreviations_kept() -> None:
    text = PlainText("Dr. Smith sleeps. It costs 3.5 dollars! Really?", "en", fits)
    assert text.sentences == ["Dr. Smith sleeps.", "It costs 3.5 dollars!", "Really?"]


def test_line_breaks_and_blanks_stay() -> None:
    text = PlainText("One.  Two.\r\n\r\n\t- three\n\n", "en", fits)
    assert text.sentences == ["One.", "Two.", "- three"]
    assert join(text, ["Eins.", "Zwei.", "- drei"]) == "Eins.  Zwei.\r\n\r\n\t- drei\n\n"


@pytest.mark.parametrize("between", ["\u200b ", " \u200b", "\ufeff ", " \u00ad\u2060 "])
def test_invisible_characters_do_not_swallow_the_blank_between_sentences(between: str) -> None:
    text = PlainText(f"One.{between}Two.", "en", fits)
    assert text.sentences == ["One.", "Two."]
    assert join(text, ["Eins.", "Zwei."]) == f"Eins.{between}Zwei."
    markup = Markup(f"<p>One.{between}Two.</p>", "en", fits)
    assert markup.sentences == ["One.", "Two."]
    assert join(markup, ["Eins.", "Zwei."]) == f"<p>Eins.{between}Zwei.</p>"


def test_empty_and_blank_texts_have_no_sentence() -> None:
    for blank in ("", " ", "\n\n \t\n", "\u200b", "\ufeff\n\u00ad "):
        text = PlainText(blank, "en", fits)
        assert text.sentences == []
        assert join(text, []) == blank


def test_what_does_not_fit_is_parted_and_not_lost() -> None:
    long = "one two three, four five six seven eight nine ten eleven twelve " * 3
    text = PlainText(long, "en", fits)
    assert all(map(fits, text.sentences))
    assert join(text, text.sentences) == long
    assert PlainText("x" * 100, "en", fits).sentences == ["x" * 25] * 4


def test_what_is_longer_than_any_word_stays_as_it_is() -> None:
    data, address = "x" * 5000, "https://example.org/" + "ab,c/" * 20
    for text in (data, address, ",".join(["one"] * 300)):
        assert PlainText(text, "en", fits).sentences == []
    around = PlainText(f"Look at {address} now. {data}", "en", fits)
    assert around.sentences == ["Look at", "now."]
    assert join(around, ["Schau", "an."]) == f"Schau {address} an. {data}"
    chinese = "狗跑了" * 50
    assert len(PlainText(chinese, "zh", fits).sentences) > 1
    assert join(PlainText(f"看{data}。", "zh", fits), ["!", "?"]) == f"!{data}?"
    assert translated(f"<p>a <b>{data[:50]}<i>{data[50:]}</i></b> b</p>") == (
        f"<p>A <b>{data[:50]}<i>{data[50:]}</i></b> B</p>"
    )


def test_sentences_get_the_blank_that_their_own_language_does_not_write() -> None:
    text = PlainText("你好。再见。\n谢谢。", "zh", fits, gap_between("zh", "en"))
    assert join(text, ["Hello.", "Goodbye.", "Thanks."]) == "Hello. Goodbye.\nThanks."
    assert [gap_between(*pair) for pair in (("zh", "ja"), ("en", "zh"), ("en", "de"), ("th", "en"))] == [
        "",
        "",
        "",
        " ",
    ]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(st.sampled_from("ab .!?\n\r\u2028 ,中。é😀"), max_size=120))
def test_joined_without_a_change_it_is_the_text(text: str) -> None:
    parted = PlainText(text, "en", fits)
    assert join(parted, parted.sentences) == text
    assert all(sentence == sentence.strip() and fits(sentence) for sentence in parted.sentences)


# --- HTML -----------------------------------------------------------------------------------------------------------


GERMAN = {
    "The dog runs fast.": "Der Hund läuft schnell.",
    "The": "Der",
    "dog": "Hund.",
    "runs fast": "Es läuft.",
    "Call 555 & wait": "Warten & 555 wählen",
    "One.": "Eins.",
    "Two.": "Zwei.",
}


def fits_html(sentence: str) -> bool:
    return len(sentence) < 200


def translated(html: str) -> str:
    markup = Markup(html, "en", fits_html)
    return join(markup, [GERMAN.get(sentence, sentence.upper()) for sentence in markup.sentences])


def test_html_sentences_get_the_blank_that_their_own_language_does_not_write() -> None:
    markup = Markup("<p><b>你好。</b>再见。</p><p>谢谢。</p>", "zh", fits, " ")
    english = {"你好。": "Hello.", "再见。": "Goodbye.", "谢谢。": "Thanks."}
    told = [english.get(sentence, "") for sentence in markup.sentences]
    assert join(markup, told) == "<p><b>Hello.</b> Goodbye.</p><p>Thanks.</p>"


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<p class='x'>The <b>dog</b> runs fast.</p>", "<p class='x'>Der <b>Hund</b> läuft schnell.</p>"),
        ("<b>One. Two.</b>", "<b>Eins. Zwei.</b>"),
        ("<p>One. <i>Two.</i></p>", "<p>Eins. <i>Zwei.</i></p>"),
        ("Call <a href=#>555</a> &amp; wait", "Warten &amp; <a href=#>555</a> wählen"),
        ("<p>a<br>b</p>", "<p>A<br>B</p>"),
        ("a &lt;b&gt; c", "A &lt;B&gt; C"),
        ("<ul>\n <li>x</li>\n <li>y</li>\n</ul>", "<ul>\n <li>X</li>\n <li>Y</li>\n</ul>"),
        ("<pre>a b\n\nc</pre>", "<pre>A B\n\nC</pre>"),
        ("<p>a\nb</p>", "<p>A B</p>"),
        ("<IMG SRC=x ALT='a'>go", "<IMG SRC=x ALT='a'>GO"),
        ("no tags", "NO TAGS"),
        ("", ""),
    ],
)
def test_text_is_translated_and_tags_are_kept(html: str, expected: str) -> None:
    assert translated(html) == expected


@pytest.mark.parametrize(
    "html",
    [
        "<script>if (a < b) { x = '<p>no</p>' }</script>",
        "<style>p { color: red }</style>",
        "<code>rm <b>x</b></code>",
        '<p translate="no">keep <b>me</b></p>',
        '<div class="a notranslate">keep <div>me</div> too</div>',
        "<!-- a comment --><!DOCTYPE html><?pi x?>",
        "<!--[if IE]> <![x[ --><![if !IE]><![endif]><![x[ y> <![1><![CDATA[ <b>one</b> ]]>",
        "<svg><text>a</text></svg>",
        "<p> \n </p>&nbsp;",
    ],
)
def test_what_is_no_text_stays(html: str) -> None:
    assert Markup(html, "en", fits_html).sentences == []
    assert translated(html) == html


@pytest.mark.parametrize("section", ["<![x[", "<![1", "<![", "<![if", "<![CDATA[", "<![-->", "<![\u00e9>"])
def test_marked_sections_of_any_name_and_without_an_end_are_read(section: str) -> None:
    html = f"<p>a</p>{section}<p>b</p>"
    assert translated(html).startswith("<p>A</p>")
    assert translated(f"{section}").count("<") <= 1


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("A do<b>g</b>s runs.", "A <b>DOGS</b> RUNS."),
        ("do<b>g</b>s", "<b>DOGS</b>"),
        ("<b>do</b>gs run", "<b>DOGS</b> RUN"),
        ("do<b>gs run</b> on", "<b>DOGS RUN</b> ON"),
        ("a d<b><i>o</i></b>g b", "A <b><i>DOG</i></b> B"),
        ("a d<b>o</b>g<i>s</i> b", "A D<b>O</b>G<i>S</i> B"),  # each needs a part of the word
        ("a <b>d</b><i>ogs run</i> b", "A <b>D</b><i>OGS RUN</i> B"),
        ("The do<b>g</b> runs fast.", "Der <b>Hund</b> läuft schnell."),
        ("d<a id=x></a>og runs", "<a id=x></a>DOG RUNS"),
        ("do<wbr>gs run", "<wbr>DOGS RUN"),
    ],
)
def test_a_tag_within_a_word_leaves_no_empty_element(html: str, expected: str) -> None:
    assert translated(html) == expected


def test_an_element_takes_a_word_where_the_words_are_not_found_again() -> None:
    markup = Markup("The <b>dog</b> <i>runs</i> <u>fast</u> today.", "en", fits_html)
    html = join(markup, ["Eins zwei drei vier fünf.", *("?" for _ in markup.sentences[1:])])
    assert not re.search(r"<(\w)>\s*</\1>", html), html


def test_every_character_of_a_script_without_blanks_may_have_a_tag() -> None:
    html = "<p>狗<b>跑</b>了，<i>猫</i>睡了。</p>"
    markup = Markup(html, "zh", fits_html)
    assert join(markup, markup.sentences) == html


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=300)
@given(st.lists(st.sampled_from(["<b>x</b>", "<i>yz</i>", "<u>v w</u>", "a", "bc", " ", ". "]), max_size=8))
def test_no_element_loses_its_text(pieces: list[str]) -> None:
    html = translated("".join(pieces))
    assert not re.search(r"<(\w)>\s*</\1>", html), html


def test_after_what_is_kept_text_is_translated_again() -> None:
    assert translated("<code>x</code> go <p translate=no>x</p> on") == "<code>x</code> GO <p translate=no>x</p> ON"


def test_a_sentence_is_asked_for_whole_and_each_part_alone() -> None:
    assert Markup("The <b>dog</b> runs fast.", "en", fits_html).sentences == [
        "The dog runs fast.",
        "The",
        "dog",
        "runs fast",
    ]
    assert Markup("<b>The dog runs fast.</b>", "en", fits_html).sentences == ["The dog runs fast."]


def tags(html: str) -> list[str]:
    return re.findall(r"</?[a-z]+>|<!--x-->", html)


PIECES = ["<p>", "</p>", "<b>", "</b>", "<i>", "</i>", "<br>", "<img>", "<!--x-->", "<pre>", "</pre>", "<code>"]
PIECES += ["</code>", "Go on. ", "and ", " then", "&amp;", "\n", " ", "é", "1"]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(PIECES), max_size=12), st.sampled_from([str, str.upper, lambda s: "", lambda s: s * 3]))
def test_whatever_the_translation_is_no_tag_is_lost_or_moved_past_another(pieces: list[str], change: object) -> None:
    html = "".join(pieces)
    markup = Markup(html, "en", fits_html)
    assert callable(change)
    out = join(markup, [change(sentence) for sentence in markup.sentences])
    assert tags(out) == tags(html)
    same = join(markup, markup.sentences)
    assert text_of(same) == text_of(html)


def text_of(html: str) -> str:
    """What a reader sees, blanks aside."""
    return "".join(unescape(re.sub(r"</?[a-z]+>|<!--x-->", "", html)).split())


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(st.sampled_from("<>&;/!-=\"'ab #x1?[]"), max_size=60))
def test_broken_markup_does_no_harm(html: str) -> None:
    markup = Markup(html, "en", fits_html)
    out = join(markup, markup.sentences)
    assert sorted(re.sub(r"\s", "", unescape(out))) == sorted(re.sub(r"\s", "", unescape(html)))
