"""Tags of a sentence at places in its translation, by alignments."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polystill.placement import Span, Tag, Translation, placed_tags
from polystill.serving.text import Markup


def spans(source: str, target: str, links: str) -> tuple[Span, ...]:
    """Links of words, such as "0-1", as spans; a word has its signs with it."""
    sides = [[match.span() for match in re.finditer(r"\S+", text)] for text in (source, target)]
    pairs = [link.split("-") for link in links.split()]
    return tuple(Span(sides[0][int(s)], sides[1][int(t)]) for s, t in pairs)


def placed(html: str, translation: str, links: str) -> str:
    markup = Markup(html, "en", lambda sentence: True, aligned=True)
    (sentence,) = markup.sentences
    return markup.join([Translation(translation, spans(sentence, translation, links))])


@pytest.mark.parametrize(
    ("html", "translation", "links", "expected"),
    [
        # Words that change places take their elements with them.
        (
            "<i>Peter</i> has seen <b>the ship</b> today.",
            "Heute hat Peter das Schiff gesehen.",
            "0-2 1-1 2-5 3-3 4-4 5-0",
            "Heute hat <i>Peter</i> <b>das Schiff</b> gesehen.",
        ),
        ("I <b>read</b> a <i>book</i>.", "Ein Buch las ich.", "0-3 1-2 2-0 3-1", "Ein <i>Buch</i> <b>las</b> ich."),
        # Of scattered words the longest run.
        (
            "It <b>began</b> at five.",
            "Es fing um fünf an.",
            "0-0 1-1 1-4 2-2 3-3",
            "Es <b>fing</b> um fünf an.",
        ),
        # Elements in elements, around everything, and with signs.
        (
            "<p>He saw <a href='x'>the <b>black</b> dog.</a></p>",
            "Er sah den schwarzen Hund.",
            "0-0 1-1 2-2 3-3 4-4",
            "<p>Er sah <a href='x'>den <b>schwarzen</b> Hund.</a></p>",
        ),
        ("<b>He  saw\nit</b>", "Er sah es", "0-0 1-1 2-2", "<b>Er sah es</b>"),
        ("Say <q>“yes”</q>, please.", "Bitte „ja“ sagen.", "0-2 1-1 2-0", "Bitte <q>„ja“</q> sagen."),
        # A tag without an end stands where the fewest links cross.
        ("One <wbr>two three.", "Eins zwei drei.", "0-0 1-1 2-2", "Eins <wbr>zwei drei."),
        ("He <!--x-->ran away.", "Er lief weg.", "0-0 1-1 2-2", "Er <!--x-->lief weg."),
        ("that ends</b> here", "das endet hier", "0-0 1-1 2-2", "das endet</b> hier"),
        # An element without links is put at its share of the text, and one without words stays between.
        ("a <b>b</b> c", "x y z", "0-0 2-2", "x <b>y</b> z"),
        ("a <b></b>c d", "x z y", "0-0 1-2 2-1", "x <b></b>z y"),
        # Vowels that stand beside a letter, points, joiners, and marks in scripts without spaces are parts of words.
        ("<b>Hindi</b> language", "हिन्दी भाषा", "0-0 1-1", "<b>हिन्दी</b> भाषा"),
        ("<b>Tamil</b> here", "தமிழ் இங்கே", "0-0 1-1", "<b>தமிழ்</b> இங்கே"),
        ("<b>peace</b> now", "שָׁלוֹם עַכְשָׁו", "0-0 1-1", "<b>שָׁלוֹם</b> עַכְשָׁו"),
        ("I <b>want</b>", "من می\u200cخواهم", "0-0 1-1", "من <b>می\u200cخواهم</b>"),
    ],
)
def test_elements_follow_their_words(html: str, translation: str, links: str, expected: str) -> None:
    assert placed(html, translation, links) == expected


def test_places_ascend_also_where_an_inner_element_takes_in_a_sign() -> None:
    tags = [Tag(4, "<i>", opens="i"), Tag(4, "<b>", opens="b"), Tag(6, "</b>", closes="b"), Tag(7, "</i>", closes="i")]
    links = [Span((4, 5), (5, 6)), Span((6, 7), (5, 6))]
    assert placed_tags("go (a b) c", "los (x) y", links, tags) == [(5, "<i>"), (5, "<b>"), (7, "</b>"), (7, "</i>")]


def test_thousands_of_elements_may_be_nested() -> None:
    opening, closing = "<b><i>" * 2000, "</i></b>" * 2000
    html = f"He saw {opening}the dog{closing} today"
    expected = f"Heute sah er {opening}den Hund{closing}"
    assert placed(html, "Heute sah er den Hund", "0-2 1-1 2-3 3-4 4-0") == expected


def test_parts_are_asked_for_only_without_alignments() -> None:
    html = "The <b>dog</b> runs."
    assert Markup(html, "en", lambda sentence: True, aligned=True).sentences == ["The dog runs."]
    assert len(Markup(html, "en", lambda sentence: True).sentences) > 1


PIECES = ["<b>", "</b>", "<i>", "</i>", "<br>", "<!--x-->", "go ", "and ", "then", " ", "é.", "1"]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.sampled_from(PIECES), max_size=14),
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)), max_size=12),
    st.sampled_from(["Eins zwei drei vier fünf.", "x", ""]),
)
def test_no_tag_and_no_text_is_lost_and_elements_stay_nested(
    pieces: list[str], links: list[tuple[int, int]], translation: str
) -> None:
    html = "".join(pieces)
    markup = Markup(html, "en", lambda sentence: True, aligned=True)
    told = []
    for sentence in markup.sentences:
        counts = len(sentence.split()), len(translation.split())
        inside = [(s, t) for s, t in links if s < counts[0] and t < counts[1]]
        told.append(Translation(translation, spans(sentence, translation, " ".join(f"{s}-{t}" for s, t in inside))))
    out = markup.join(told)
    pattern = r"</?[a-z]+>|<!--x-->"
    assert sorted(re.findall(pattern, out)) == sorted(re.findall(pattern, html))
    assert "".join(re.sub(pattern, "", out).split()) == "".join((translation * len(told)).split())
    assert misnested(out) <= misnested(html)


def misnested(html: str) -> int:
    """End tags without a start before them, and start tags without an end."""
    open_tags: list[str] = []
    wrong = 0
    for slash, name in re.findall(r"<(/?)([bi])>", html):
        if not slash:
            open_tags.append(name)
        elif name in open_tags:
            while open_tags.pop() != name:
                wrong += 1
        else:
            wrong += 1
    return wrong + len(open_tags)
