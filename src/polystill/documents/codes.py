"""Inline codes (tags, placeholders) within a text: taken out before it is translated, and put back afterwards.

A code goes where the word next to it is found again in the translation, or else to the word boundary that is nearest to
its share of the text. Codes keep their order, so elements stay well-formed, and none is lost.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

_WORD = re.compile(r"\S+")


class Code(NamedTuple):
    """Markup that stands before the character `offset` of a text."""

    offset: int
    markup: str


def without_codes(parts: Iterable[tuple[str, str]]) -> tuple[str, list[Code]]:
    """Split parts of (text, the markup after it) into the text as a whole and its codes."""
    text, codes = "", []
    for words, markup in parts:
        text += words
        if markup:
            codes.append(Code(len(text), markup))
    return text, codes


def with_codes(text: str, codes: Sequence[Code], escape: Callable[[str], str]) -> str:
    """The text, escaped, with the codes at their offsets, which ascend."""
    markup, done = "", 0
    for code in codes:
        markup += escape(text[done : code.offset]) + code.markup
        done = code.offset
    return markup + escape(text[done:])


def placed(codes: Sequence[Code], source: str, translation: str) -> list[Code]:
    """The codes of a source text at places in its translation."""
    words = list(_WORD.finditer(translation))
    starts, ends = [word.start() for word in words], [word.end() for word in words]
    if len(words) < 2:  # no spaces between words
        starts = ends = list(range(len(translation) + 1))
    moved: list[Code] = []
    least = 0
    for code in codes:
        least = _place(code.offset, source, translation, starts, ends, least)
        moved.append(Code(least, code.markup))
    return moved


def _place(offset: int, source: str, translation: str, starts: Sequence[int], ends: Sequence[int], least: int) -> int:
    if not source[:offset].strip():
        return least
    if not source[offset:].strip():
        return len(translation)
    before_word = source[offset - 1].isspace() or (not source[offset].isspace() and not source[offset - 1].isalnum())
    boundaries = [place for place in (starts if before_word else ends) if place >= least]
    if not boundaries:
        return len(translation)
    known = _same_word(offset, source, translation, before_word)
    if known is not None and known >= least:
        return known
    share = offset / len(source) * len(translation)
    return min(boundaries, key=lambda place: abs(place - share))


def _same_word(offset: int, source: str, translation: str, before_word: bool) -> int | None:
    """Where the word next to the code stands in the translation, if it stands there once, unchanged."""
    match = re.match(r"\w{2,}", source[offset:]) if before_word else re.search(r"\w{2,}$", source[:offset])
    if match is None:
        return None
    found = list(re.finditer(rf"\b{re.escape(match[0])}\b", translation))
    if len(found) != 1:
        return None
    return found[0].start() if before_word else found[0].end()
