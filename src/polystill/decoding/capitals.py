"""Translate a line in capitals by way of its small letters.

A model has seen few lines in capitals. It takes them for rare words, repeats itself or loses text. So such a line is
translated in small letters, and its translation is written in capitals.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from polystill.data.languages import base_of
from polystill.decoding.placeholders import split_at_placeholders

FEWEST_LETTERS = 8
"""A shorter line may be an acronym or two, which a model copies."""
_DOTTED_I = ("tr", "az")
"""Languages in which the capital of i is İ, and that of ı is I."""
_SENTENCE = re.compile(r"\w(?:[^.!?]|[.!?](?!\s))*")


def is_in_capitals(line: str) -> bool:
    """Whether a line has several words, at least `FEWEST_LETTERS` capitals, and small letters in placeholders only."""
    text = " ".join(split_at_placeholders(line)[::2])
    return sum(map(str.isupper, text)) >= FEWEST_LETTERS and len(text.split()) > 1 and not any(map(str.islower, text))


def in_small_letters(line: str, language: str | None) -> str:
    """A line in capitals as sentences, which begin with a capital; placeholders stay."""
    return _between_placeholders(
        line, lambda text: _SENTENCE.sub(lambda found: found[0][0] + _lower(found[0][1:], language), text)
    )


def in_capitals(line: str, language: str | None) -> str:
    """A line in capitals by the rules of its language; placeholders stay."""
    return _between_placeholders(line, lambda text: _upper(text, language))


def _between_placeholders(line: str, change: Callable[[str], str]) -> str:
    return "".join(part if i % 2 else change(part) for i, part in enumerate(split_at_placeholders(line)))


def _lower(text: str, language: str | None) -> str:
    return (text.replace("I", "ı").replace("İ", "i") if _has_dotted_i(language) else text).lower()


def _upper(text: str, language: str | None) -> str:
    return (text.replace("i", "İ") if _has_dotted_i(language) else text).upper()


def _has_dotted_i(language: str | None) -> bool:
    return language is not None and base_of(language) in _DOTTED_I
