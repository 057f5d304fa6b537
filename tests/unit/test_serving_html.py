"""serving.html: tokens byte for byte, and which text stands where it is translated, as a browser sees it."""

from __future__ import annotations

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polystill.serving.html import read_tokens


def translated(html: str) -> list[str]:
    """The texts to be translated."""
    return [token.raw for token in read_tokens(html) if token.is_text and not token.is_fixed and token.raw.strip()]


NO = "class=notranslate"


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ('<ul><li class="notranslate">API<li>A dog runs.</ul><p>Go.', "A dog runs.|Go."),
        (f"<p {NO}>x<p>a<div>b</div>", "a|b"),
        (f"<p {NO}>x<div>a</div>b", "a|b"),
        (f"<p {NO}>x<b>y</b></p>a", "a"),
        (f"<dl><dt {NO}>x<dd>a<dt>b</dl>", "a|b"),
        (f"<table><tr><td {NO}>x<td>a<tr><th {NO}>x<th>b</table>c", "a|b|c"),
        (f"<table><caption {NO}>x<thead><tr><td>a<tbody {NO}><tr><td>x<tfoot><tr><td>b</table>c", "a|b|c"),
        (f"<select><option {NO}>x<option>y</select>a", "a"),
        (f"<div {NO}>x<p>y</div>a", "a"),
        (f"<div {NO}>x<div>y</div>z</div>a", "a"),
        (f"<span {NO}>x</p>y</span>a", "a"),  # a stray end tag
        (f"a<br {NO}>b<img {NO}>c<hr translate=no>d", "a|b|c|d"),
        (f"<ruby>a<rt {NO}>x<rt>b</ruby>c", "a|b|c"),
        ('<div translate="no">x<p translate="yes">a<b>b</b></p>y</div>c', "a|b|c"),
        ("<div translate=no>x<p translate>a</p><p translate=''>b</p><p translate=maybe>y</p></div>c", "a|b|c"),
        (f"<div {NO}>x<p translate=YES>a<i translate=No>y</i></p></div>", "a"),
        ("<code>x<span translate=yes>a</span></code>b<var translate=yes>c</var>", "a|b|c"),
        ("<script translate=yes>x</script><style translate=yes>y</style>a", "a"),
        (f"<td {NO}>x</td><td>a</td>", "a"),  # parts of a table, without it
        (f"<tr><td {NO}>x</td><td>a</td></tr>", "a"),
        (f"<li {NO}>x<li>a", "a"),
        (f"<!DOCTYPE html><html><head><title>a</title></head><body {NO}>x<p translate=yes>b</p></body></html>", "a|b"),
        ("<html translate=no><body>x</body></html>", ""),
        ("<svg><text>x</text></svg>a<math><mi>x</mi></math>b", "a|b"),
        ("<template><p>x</p></template>a", "a"),
        ("<p>a &amp; b</p>", "a &amp; b"),
        ("", ""),
    ],
)
def test_elements_end_where_html_ends_them(html: str, expected: str) -> None:
    assert "|".join(translated(html)) == expected


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<p>a &# b <b>c</b>", "a &# b |c"),  # a broken entity
        ("<p>&#65a<b>c</b> &#x; &", "&#65a|c| &#x; &"),
        ("a<!-- x <b>y</b>", "a"),  # the end of a comment, a tag or a declaration is missing
        ("a<![CDATA[ x <b>y</b>", "a"),
        ("<p>a<b class='x>y", "a"),
        ("a</p", "a"),
        ("<b>a</b><script>x", "a"),
        ("a <", "a |<"),
        ("1 < 2 <b>c</b>", "1 |<| 2 |c"),
    ],
)
def test_broken_markup_is_not_taken_for_text(html: str, expected: str) -> None:
    assert "|".join(translated(html)) == expected


PIECES = ["<p>", "</p>", "<li>", "<td>", "<table>", "</table>", "<tr>", "<b>", "</b>", "<div translate=no>", "</div>"]
PIECES += ["<svg>", "</svg>", "<select>", "<option>", "<textarea>", "<title>", "<br>", "<!--", "-->", "<x", ">", "<"]
PIECES += [
    "a ",
    "é",
    "&amp;",
    "&",
    "\ue0001\ue001",
    "\n",
    "\r\n",
    "\0",
    '"',
    "<![CDATA[",
    "]]>",
    "<script>",
    "</script>",
]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=300)
@given(st.lists(st.sampled_from(PIECES), max_size=20))
def test_joined_the_tokens_are_the_source(pieces: list[str]) -> None:
    html = "".join(pieces)
    assert "".join(token.raw for token in read_tokens(html)) == html


@pytest.mark.parametrize(
    "piece", ["<b>", "<p><b i={}>", "<a>", "<div>", "<table>", "<li translate=no>x", "<svg>", "<x{}>"]
)
def test_hostile_nesting_is_read_at_once(piece: str) -> None:
    html = ""
    while len(html) < 20_000:
        html += piece.format(len(html)) + "a"
    start = time.process_time()
    assert "".join(token.raw for token in read_tokens(html)) == html
    assert time.process_time() - start < 10  # an endless loop, or time that grows with the square
