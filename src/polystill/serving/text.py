"""Split plain text or HTML into sentences for a translator, and join their translations into the same document.

Plain text keeps everything between sentences as it is. HTML keeps all markup byte for byte, in its order; only text
changes. A paragraph's sentences are translated whole, with the words within inline tags in their context. A tag inside
a sentence goes where the words next to it are found again in the translation, or else to an estimated place.

html.parser of the standard library reads the markup, because it tells where each token stands in the source. A parser
that builds a tree (lxml, BeautifulSoup) writes another document than it has read: with html and body around a
fragment, other quotes and entities, and closing tags that were not there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from html import escape, unescape
from html.parser import HTMLParser
from itertools import groupby, zip_longest
from typing import NamedTuple

from sentencex import segment

from polystill.data.languages import is_unspaced
from polystill.data.normalization import INVISIBLE, is_blank

Fits = Callable[[str], bool]
"""Tells whether the model takes a sentence whole. A longer one would be cut and its rest lost."""

_BLANKS = re.compile(f"([\\s{INVISIBLE}]*)(.*?)([\\s{INVISIBLE}]*)", re.DOTALL)
_PLACES = re.compile(r"[,;:.!?、，；。]\s*|\s+")


class PlainText:
    """A text as a list of sentences, and the blanks and line breaks between them, which stay as they are."""

    def __init__(self, text: str, language: str, fits: Fits, gap: str = "") -> None:
        """Split `text`, written in `language`, into `sentences`, each of which `fits`.

        `gap` separates translations where nothing separates their sentences.
        """
        self._gap = gap
        self.sentences: list[str] = []
        self._between = [""]  # before the first sentence, after it, after the second one, …
        for line in text.splitlines(keepends=True):
            for sentence in sentences_of(line, language, fits):
                before, words, after = split_blanks(sentence)
                self._between[-1] += before
                if words:
                    self.sentences.append(words)
                    self._between.append("")
                self._between[-1] += after

    def join(self, translations: Sequence[str]) -> str:
        """Return the text with each sentence replaced by its translation."""
        assert len(translations) == len(self.sentences)
        text, last = self._between[0], len(translations) - 1
        for number, (translation, after) in enumerate(zip(translations, self._between[1:], strict=True)):
            text += translation + (after or (self._gap if number < last else ""))
        return text


def gap_between(source_language: str, target_language: str) -> str:
    """Return what has to separate two translations whose sentences nothing separates."""
    return " " if is_unspaced(source_language) and not is_unspaced(target_language) else ""


def sentences_of(line: str, language: str, fits: Fits) -> Iterator[str]:
    """Yield a line's sentences with the blanks around them; joined they are the line."""
    for sentence in segment(language, line):
        yield from _fitting(sentence, fits)


def split_blanks(text: str) -> tuple[str, str, str]:
    """Split off the blanks at the beginning and at the end, with the invisible characters among them."""
    if is_blank(text):
        return text, "", ""
    match = _BLANKS.fullmatch(text)
    assert match is not None
    return match[1], match[2], match[3]


def _fitting(sentence: str, fits: Fits) -> Iterator[str]:
    """Halve a sentence until its parts fit: after the comma or blank nearest to the middle, or at any character."""
    if len(sentence) < 2 or fits(sentence):
        yield sentence
        return
    middle = len(sentence) / 2
    places = [match.end() for match in _PLACES.finditer(sentence) if 0 < match.end() < len(sentence)]
    at = min(places, key=lambda place: abs(place - middle), default=len(sentence) // 2)
    yield from _fitting(sentence[:at], fits)
    yield from _fitting(sentence[at:], fits)


# --- HTML -----------------------------------------------------------------------------------------------------------

_INLINE = (
    "a abbr acronym b bdi bdo big cite data del dfn em font i img ins label mark picture q rp rt ruby s small span "
    "strike strong sub sup time tt u wbr"
)
_KEPT = "canvas code kbd math noscript object samp script select style svg template textarea var"
_VOID_ELEMENTS = "area base br col embed hr img input link meta source track wbr"
INLINE = frozenset(_INLINE.split())
"""Elements that may stand within a sentence. Every other one ends it."""
KEPT = frozenset(_KEPT.split())
"""Elements whose text is not translated."""
_VOID = frozenset(_VOID_ELEMENTS.split())
_MARKED = re.compile(r"<!\[(temp|cdata|ignore|include|rcdata|if|else|endif)(?![-\w.])", re.IGNORECASE)
_FLAT = str.maketrans("\n\r\t\f", "    ")
_SIGNS = " \t.,;:!?¿¡\"'„“”‚‘’«»()[]…–—"


class Markup:
    """An HTML text as a list of sentences, with the markup around and within them."""

    def __init__(self, html: str, language: str, fits: Fits, gap: str = "") -> None:
        """Split `html`, written in `language`, into `sentences` (plain text), each of which `fits`.

        `gap` separates translations where only tags separate their sentences.
        """
        self._gap = gap
        self.sentences: list[str] = []
        self._parts: list[str | _Sentence] = []
        for is_fixed, group in groupby(_tokens(html), lambda token: token.is_fixed):
            run = list(group)
            if is_fixed or all(not token.is_text or is_blank(unescape(token.raw)) for token in run):
                self._parts += [token.raw for token in run]
            else:
                self._add(run, language, fits)

    def _add(self, run: list[_Token], language: str, fits: Fits) -> None:
        """Add a run of text and inline tags."""
        text, tags = "", []
        for token in run:
            if token.is_text:
                text += unescape(token.raw)
            else:
                tags.append((len(text), token.raw))
        start = 0
        for flat in sentences_of(text.translate(_FLAT), language, fits):  # in HTML a line break is a blank
            end = start + len(flat)
            count = len(tags) if end == len(text) else _count_until(end, tags)
            self._add_sentence(text[start:end], [(at - start, tag) for at, tag in tags[:count]])
            tags, start = tags[count:], end

    def _add_sentence(self, raw: str, tags: list[tuple[int, str]]) -> None:
        sentence = _Sentence(*split_blanks(raw), tags)
        if sentence.words:
            sentence.whole = self._ask(" ".join(sentence.words.split()))
            cuts = sorted({at - len(sentence.before) for at, _ in tags})
            cuts = [at for at in cuts if 0 < at < len(sentence.words)]
            for start, end in zip([0, *cuts], [*cuts, len(sentence.words)], strict=True) if cuts else []:
                words = " ".join(sentence.words[start:end].strip(_SIGNS).split())
                sentence.pieces.append(_Piece(start, end, words, self._ask(words) if words else None))
        self._parts.append(sentence)

    def _ask(self, text: str) -> int:
        self.sentences.append(text)
        return len(self.sentences) - 1

    def join(self, translations: Sequence[str]) -> str:
        """Return the HTML with the text of each sentence replaced by its translation."""
        assert len(translations) == len(self.sentences)
        html = ""
        for part, following in zip_longest(self._parts, self._parts[1:]):
            html += part if isinstance(part, str) else part.join(translations)
            if isinstance(part, _Sentence) and isinstance(following, _Sentence) and part.touches(following):
                html += self._gap
        return html


def _count_until(end: int, tags: Sequence[tuple[int, str]]) -> int:
    """Count the tags of a sentence that ends at `end`: those before it, and those that close there."""
    count = sum(at < end for at, _ in tags)
    closing = [i for i, (at, tag) in enumerate(tags) if at == end and tag.startswith("</")]
    return max(count, closing[-1] + 1) if closing else count


class _Piece(NamedTuple):
    """The words between two tags of a sentence: their start, end and text, and the number of their translation."""

    start: int
    end: int
    words: str
    translation: int | None


@dataclass
class _Sentence:
    before: str
    """Blanks before the words."""
    words: str
    after: str
    """Blanks after the words."""
    tags: list[tuple[int, str]]
    """Positions, counted from the start of `before`, and tags."""
    whole: int | None = None
    """The number of the sentence's translation."""
    pieces: list[_Piece] = field(default_factory=list)

    def touches(self, following: _Sentence) -> bool:
        return bool(self.words and following.words) and not self.after and not following.before

    def join(self, translations: Sequence[str]) -> str:
        translation = "" if self.whole is None else translations[self.whole]
        opens, closes = self._places(translation, translations)
        text = self.before + translation + self.after
        markup, done = "", 0
        for at, tag in self.tags:
            place = at
            if at >= len(self.before) + len(self.words):
                place = at - len(self.words) + len(translation)
            elif at > len(self.before):
                inside = closes if tag.startswith("</") else opens
                place = max(done, len(self.before) + inside[at - len(self.before)])
            markup += escape(text[done:place], quote=False) + tag
            done = place
        return markup + escape(text[done:], quote=False)

    def _places(self, translation: str, translations: Sequence[str]) -> tuple[dict[int, int], dict[int, int]]:
        """Map positions inside the words to the translation: for tags that open, and for tags that close."""
        opens: dict[int, int] = {}
        closes: dict[int, int] = {}
        last = 0
        for start, end, words, number in self.pieces:
            translated = translations[number].strip(_SIGNS) if number is not None else ""
            if found := _find(translation, last, words, translated):
                opens[start], last = found
            else:
                opens[start] = len(translation) - len(translation[last:].lstrip())
                last = max(last, _word_end(translation, len(translation) * end // len(self.words)))
            closes[end] = last
        return opens, closes


def _find(translation: str, start: int, *wanted: str) -> tuple[int, int] | None:
    """Return the span of the first wanted text that occurs as whole words from `start` on."""
    for text in filter(None, wanted):
        match = re.compile(rf"(?<!\w){re.escape(text)}(?!\w)", re.IGNORECASE).search(translation, start)
        if match:
            return match.span()
    return None


def _word_end(text: str, at: int) -> int:
    """Return the end of a word that is nearest to the position."""
    ends = [match.end() for match in re.finditer(r"\w+\b|$", text)]
    return min(ends, key=lambda end: abs(end - at))


# --- the parts of a source ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Token:
    raw: str
    is_text: bool = False
    is_fixed: bool = False
    """The token ends a run and stays as it is."""


class _Tokens(HTMLParser):
    """Reads the start and kind of each token. A token is the source from its start to the next one."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.starts: list[tuple[int, bool, bool]] = []
        self._lines = [0]
        self._kept: list[str] = []

    def read(self, html: str) -> list[_Token]:
        # The parser counts only line feeds as line ends.
        self._lines += [match.end() for match in re.finditer("\n", html)]
        self.feed(html)
        self.close()
        starts = self.starts
        if html and (not starts or starts[0][0] > 0):
            starts = [(0, False, True), *starts]
        ends = [*(start for start, _, _ in starts[1:]), len(html)]
        return [_Token(html[start:end], *kind) for (start, *kind), end in zip(starts, ends, strict=False)]

    def _take(self, *, is_text: bool = False, is_fixed: bool = False) -> None:
        line, column = self.getpos()
        is_kept = bool(self._kept)
        self.starts.append((self._lines[line - 1] + column, is_text and not is_kept, is_fixed or is_kept))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        classes = (values.get("class") or "").split()
        if self._kept:
            if tag == self._kept[0] and tag not in _VOID:  # the same element within itself
                self._kept.append(tag)
        elif tag in KEPT or values.get("translate") == "no" or "notranslate" in classes:
            if tag not in _VOID:
                self._kept.append(tag)
            self._take(is_fixed=True)
            return
        self._take(is_fixed=tag not in INLINE)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._take(is_fixed=tag not in INLINE)

    def handle_endtag(self, tag: str) -> None:
        self._take(is_fixed=tag not in INLINE)
        if self._kept and tag == self._kept[-1]:
            self._kept.pop()

    def handle_data(self, data: str) -> None:
        self._take(is_text=True)

    handle_entityref = handle_charref = handle_data  # type: ignore[assignment]

    def handle_comment(self, data: str) -> None:
        self._take()

    def handle_decl(self, decl: str) -> None:
        self._take(is_fixed=True)

    handle_pi = unknown_decl = handle_decl  # type: ignore[assignment]

    def parse_html_declaration(self, i: int) -> int:
        """Python 3.11's parser raises an AssertionError at a marked section with an unknown name."""
        if self.rawdata.startswith("<![", i) and not _MARKED.match(self.rawdata, i):
            return self.parse_bogus_comment(i)  # as HTML defines it
        return super().parse_html_declaration(i)


def _tokens(html: str) -> Iterator[_Token]:
    """Yield all tokens in order. In preformatted text a line break is a token that ends a run."""
    preformatted = 0
    for token in _Tokens().read(html):
        if match := re.match(r"<(/?)pre\b", token.raw, re.IGNORECASE):
            preformatted = max(0, preformatted + (-1 if match[1] else 1))
        if token.is_text and preformatted:
            lines = re.split(r"(\r?\n)", token.raw)
            yield from (replace(token, raw=raw, is_fixed=i % 2 == 1) for i, raw in enumerate(lines) if raw)
        else:
            yield token
