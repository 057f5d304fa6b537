"""Plain text for a translator that takes one sentence at a time, and back: nothing between sentences is touched."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from sentencex import segment

from polystill.data.languages import is_unspaced

Fits = Callable[[str], bool]
"""Whether the model takes a sentence whole; a longer one would be cut, and its rest lost."""

_BLANKS = re.compile(r"(\s*)(.*?)(\s*)", re.DOTALL)
_PLACES = re.compile(r"[,;:.!?、，；。]\s*|\s+")


class PlainText:
    """A text as a list of sentences and what stands between them (blanks, line breaks), which is kept as it is."""

    def __init__(self, text: str, language: str, fits: Fits, gap: str = "") -> None:
        """Part `text`, written in `language`, into `sentences`, each of which `fits`.

        `gap` comes between translations where nothing stands between their sentences.
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
        """The text with each of the sentences replaced by its translation."""
        assert len(translations) == len(self.sentences)
        text, last = self._between[0], len(translations) - 1
        for number, (translation, after) in enumerate(zip(translations, self._between[1:], strict=True)):
            text += translation + (after or (self._gap if number < last else ""))
        return text


def gap_between(source_language: str, target_language: str) -> str:
    """What two sentences need between them in translation that the text itself does not have."""
    return " " if is_unspaced(source_language) and not is_unspaced(target_language) else ""


def sentences_of(line: str, language: str, fits: Fits) -> Iterator[str]:
    """The line's sentences with the blanks around them: joined they are the line."""
    for sentence in segment(language, line):
        yield from _fitting(sentence, fits)


def split_blanks(text: str) -> tuple[str, str, str]:
    """Blanks at the beginning, what is between, blanks at the end."""
    match = _BLANKS.fullmatch(text)
    assert match is not None
    return match[1], match[2], match[3]


def _fitting(sentence: str, fits: Fits) -> Iterator[str]:
    """Parts that fit: halved after the comma or blank that is nearest to the middle, or at any character."""
    if len(sentence) < 2 or fits(sentence):
        yield sentence
        return
    middle = len(sentence) / 2
    places = [match.end() for match in _PLACES.finditer(sentence) if 0 < match.end() < len(sentence)]
    at = min(places, key=lambda place: abs(place - middle), default=len(sentence) // 2)
    yield from _fitting(sentence[:at], fits)
    yield from _fitting(sentence[at:], fits)
