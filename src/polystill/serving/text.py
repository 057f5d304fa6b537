"""Split plain text or HTML into sentences for a translator, and join their translations into the same document.

Plain text keeps everything between sentences as it is. HTML keeps all markup byte for byte, in its order; only text
changes. A paragraph's sentences are translated whole, with the words within inline tags in their context. An element
inside a sentence goes around the words that are aligned with its own (see `placement`). Where the model has no
alignments, a tag goes where the words next to it are found again in the translation, or else to an estimated place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape, unescape
from itertools import groupby, pairwise, zip_longest
from typing import NamedTuple

from sentencex import segment

from polystill.data.normalization import INVISIBLE, is_blank
from polystill.languages import is_unspaced
from polystill.placement import LETTER, WORD, Tag, Translation, out_of_words, placed_tags
from polystill.serving.html import Token, read_tag, read_tokens

Fits = Callable[[str], bool]
"""Tells whether the model takes a sentence whole. A longer one would be cut and its rest lost."""

LONGEST_WORD = 100
_BLANKS = re.compile(f"[\\s{INVISIBLE}]+")
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
            for part, is_kept in parts_of(line, language, fits):
                before, words, after = ("", "", part) if is_kept else split_blanks(part)
                self._between[-1] += before
                if words:
                    self.sentences.append(words)
                    self._between.append("")
                self._between[-1] += after

    def join(self, translations: Sequence[Translation]) -> str:
        """Return the text with each sentence replaced by its translation."""
        assert len(translations) == len(self.sentences)
        text, last = self._between[0], len(translations) - 1
        for number, (translation, after) in enumerate(zip(translations, self._between[1:], strict=True)):
            text += translation.text + (after or (self._gap if number < last else ""))
        return text


def gap_between(source_language: str, target_language: str) -> str:
    """Return what has to separate two translations whose sentences nothing separates."""
    return " " if is_unspaced(source_language) and not is_unspaced(target_language) else ""


def parts_of(line: str, language: str, fits: Fits) -> Iterator[tuple[str, bool]]:
    """Yield a line's sentences with the blanks around them, and what stays as it is; joined they are the line.

    What stays is no language: more than LONGEST_WORD characters without a blank, such as an address or encoded data.
    Of a language that is written without blanks, only ASCII counts.
    """
    letter = "[!-~]" if is_unspaced(language) else r"\S"
    for i, part in enumerate(re.split(f"({letter}{{{LONGEST_WORD + 1},}})", line)):
        if i % 2:
            yield part, True
        elif part:
            yield from (
                (fitting, False) for sentence in segment(language, part) for fitting in _fitting(sentence, fits)
            )


def split_blanks(text: str) -> tuple[str, str, str]:
    """Split off the blanks at the beginning and at the end, with the invisible characters among them."""
    if is_blank(text):
        return text, "", ""
    start, end = _first_blanks(text), len(text) - _first_blanks(text[::-1])
    return text[:start], text[start:end], text[end:]


def _first_blanks(text: str) -> int:
    found = _BLANKS.match(text)
    return found.end() if found else 0


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

_FLAT = str.maketrans("\n\r\t\f", "    ")
_SIGNS = " \t.,;:!?¿¡\"'„“”‚‘’«»()[]…–—"


class Markup:
    """An HTML text as a list of sentences, with the markup around and within them."""

    def __init__(self, html: str, language: str, fits: Fits, gap: str = "", *, aligned: bool = False) -> None:
        """Split `html`, written in `language`, into `sentences` (plain text), each of which `fits`.

        `gap` separates translations where only tags separate their sentences. `aligned` says that translations come
        with alignments; otherwise the parts between tags are asked for, too, to be found again.
        """
        self._gap, self._aligned = gap, aligned
        self.sentences: list[str] = []
        self._parts: list[str | _Sentence] = []
        for is_fixed, group in groupby(read_tokens(html), lambda token: token.is_fixed):
            run = list(group)
            if is_fixed or all(not token.is_text or is_blank(unescape(token.raw)) for token in run):
                self._parts += [token.raw for token in run]
            else:
                self._add(run, language, fits)

    def _add(self, run: list[Token], language: str, fits: Fits) -> None:
        """Add a run of text and inline tags."""
        text, tags = "", []
        for token in run:
            if token.is_text:
                text += unescape(token.raw)
            else:
                tags.append(read_tag(len(text), token.raw))
        start = 0
        for flat, is_kept in parts_of(text.translate(_FLAT), language, fits):  # in HTML a line break is a blank
            end = start + len(flat)
            count = len(tags) if end == len(text) else _count_until(end, tags)
            self._add_sentence(text[start:end], [tag._replace(at=tag.at - start) for tag in tags[:count]], is_kept)
            tags, start = tags[count:], end

    def _add_sentence(self, raw: str, tags: list[Tag], is_kept: bool) -> None:
        before, words, after = ("", "", raw) if is_kept else split_blanks(raw)
        tags, divided = out_of_words(words, [tag._replace(at=tag.at - len(before)) for tag in tags])
        sentence = _Sentence(before, words, after, tags, divided)
        if words:
            sentence.whole = self._ask(" ".join(words.split()))
            cuts = {tag.at for tag in tags}.union(*divided).difference(*(range(a + 1, b) for a, b in divided))
            bounds = [0, *sorted(cut for cut in cuts if 0 < cut < len(words)), len(words)]
            for start, end in pairwise(bounds) if len(bounds) > 2 or divided else ():
                text = " ".join(words[start:end].strip(_SIGNS).split())
                number = self._ask(text) if text and not self._aligned else None
                sentence.pieces.append(_Piece(start, end, text, number))
        self._parts.append(sentence)

    def _ask(self, text: str) -> int:
        self.sentences.append(text)
        return len(self.sentences) - 1

    def join(self, translations: Sequence[Translation]) -> str:
        """Return the HTML with the text of each sentence replaced by its translation."""
        assert len(translations) == len(self.sentences)
        html = ""
        for part, following in zip_longest(self._parts, self._parts[1:]):
            html += part if isinstance(part, str) else part.join(translations)
            if isinstance(part, _Sentence) and isinstance(following, _Sentence) and part.touches(following):
                html += self._gap
        return html


def _count_until(end: int, tags: Sequence[Tag]) -> int:
    """Count the tags of a sentence that ends at `end`: those before it, and those that close there."""
    count = sum(tag.at < end for tag in tags)
    closing = [i for i, tag in enumerate(tags) if tag.at == end and tag.closes]
    return max(count, closing[-1] + 1) if closing else count


class _Piece(NamedTuple):
    """The words between two places of a sentence: their start, end and text, and the number of their translation."""

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
    tags: list[Tag]
    """Their positions are counted from the start of the words."""
    divided: list[tuple[int, int]]
    """Start and end of those words that have tags inside."""
    whole: int | None = None
    """The number of the sentence's translation."""
    pieces: list[_Piece] = field(default_factory=list)

    def touches(self, following: _Sentence) -> bool:
        return bool(self.words and following.words) and not self.after and not following.before

    def join(self, translations: Sequence[Translation]) -> str:
        translation, spans = Translation("") if self.whole is None else translations[self.whole]
        if spans and not self.divided:
            flat = [tag._replace(at=_flat_offset(self.words, tag.at)) for tag in self.tags]
            tags = placed_tags(" ".join(self.words.split()), translation, spans, flat)
        else:
            tags = self._placed_by_pieces(translation, translations)
        text = self.before + translation + self.after
        markup, done = "", 0
        for at, tag in tags:
            place = max(done, len(self.before) + at)
            markup += escape(text[done:place], quote=False) + tag
            done = place
        return markup + escape(text[done:], quote=False)

    def _placed_by_pieces(self, translation: str, translations: Sequence[Translation]) -> list[tuple[int, str]]:
        opens, closes = self._places(translation, translations)
        tags = []
        for tag in self.tags:
            at = tag.at
            if at <= 0:
                place = at
            elif at >= len(self.words):
                place = at - len(self.words) + len(translation)
            else:
                place = (closes if tag.closes else opens)[at]
            tags.append((place, tag.markup))
        return tags

    def _places(self, translation: str, translations: Sequence[Translation]) -> tuple[dict[int, int], dict[int, int]]:
        """Map positions inside the words to the translation: for tags that open, and for tags that close."""
        opens: dict[int, int] = {}
        closes: dict[int, int] = {}
        last = 0
        for start, end, words, number in self.pieces:
            translated = translations[number].text.strip(_SIGNS) if number is not None else ""
            opens[start] = len(translation) - len(translation[last:].lstrip())
            if found := _find(translation, last, words, translated):
                opens[start], last = found
            elif words:
                last = _word_end(translation, opens[start], len(translation) * end // len(self.words))
            closes[end] = last
        for start, end in self.divided:
            inside = sorted({tag.at for tag in self.tags if start < tag.at < end})
            shares = _shares(closes[end] - opens[start], [(at - start) / (end - start) for at in inside])
            places = {at: opens[start] + share for at, share in zip(inside, shares, strict=True)}
            opens, closes = opens | places, closes | places
        return opens, closes


def _flat_offset(words: str, at: int) -> int:
    """An offset in words whose blanks are joined to one each."""
    if at <= 0:
        return at
    if at >= len(words):
        return at - len(words) + len(" ".join(words.split()))
    before = words[:at]
    return len(" ".join(before.split())) + before[-1].isspace()


def _shares(length: int, shares: Sequence[float]) -> list[int]:
    """Divide a length at these shares of it, so that no part is empty as long as there is enough for all."""
    left = len(shares)
    return [
        max(0, min(length, max(i + 1, min(length - left + i, round(length * share))))) for i, share in enumerate(shares)
    ]


def _find(translation: str, start: int, *wanted: str) -> tuple[int, int] | None:
    """Return the span of the first wanted text that occurs as whole words from `start` on."""
    for text in filter(None, wanted):
        match = re.compile(rf"(?<!{LETTER}){re.escape(text)}(?!{LETTER})", re.IGNORECASE).search(translation, start)
        if match:
            return match.span()
    return None


def _word_end(text: str, start: int, at: int) -> int:
    """Return the end of that word after `start` whose end is nearest to `at`, or the end of the text without words."""
    ends = [match.end() for match in WORD.finditer(text, start)]
    return min(ends, key=lambda end: abs(end - at), default=max(start, len(text)))
