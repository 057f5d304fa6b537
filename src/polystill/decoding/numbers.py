"""Numbers in a text and in its translation, whatever separates their digits."""

from __future__ import annotations

import re

LEAST_DIGITS = 2
"""Smaller numbers may be written as words."""
MOST_GROUPS = 4
"""Most groups of digits in one number, with blanks between them."""
_SEPARATED = re.compile(r"\d(?:[\d.,'’/:\u00a0\u202f-]*\d)?")
_ONE_NUMBER = re.compile(r"\d{1,3}(?:([.,'’\u00a0\u202f])\d{3})(?:\1\d{3})*(?:[.,]\d+)?|\d+(?:[.,]\d+)?")
_GROUPS = re.compile(r"\d[\d.,'’\s]*")


def split_at_long_numbers(text: str) -> list[str]:
    """Text at even places; at odd ones numbers, dates and the like that have a number of `LEAST_DIGITS` digits."""
    parts, end = [], 0
    for match in _SEPARATED.finditer(text):
        if long_numbers(match[0]):
            parts += [text[end : match.start()], match[0]]
            end = match.end()
    return [*parts, text[end:]]


def long_numbers(text: str) -> set[str]:
    """The digits of each number that has at least `LEAST_DIGITS`: 1250 in "1,250", 2024 and 15 in "2024-03-15"."""
    return {
        number
        for separated in _SEPARATED.findall(text)
        for number in ([digits(separated)] if _ONE_NUMBER.fullmatch(separated) else _parts(separated))
        if len(number) >= LEAST_DIGITS
    }


def _parts(date: str) -> list[str]:
    """The numbers of a date, a time or a version without leading zeros, which another notation leaves out."""
    return [digits(part).lstrip("0") for part in re.split(r"\D+", date)]


def readings(text: str) -> set[str]:
    """The digits of each number of a text. A blank may group digits or separate two numbers: both readings count."""
    found = set()
    for stretch in _GROUPS.findall(text):
        parts = stretch.split()
        for i in range(len(parts)):
            found |= {digits("".join(parts[i:j])) for j in range(i + 1, min(i + MOST_GROUPS, len(parts)) + 1)}
    return found


def digits(number: str) -> str:
    """Its digits alone, as 0 to 9 in every script."""
    return "".join(str(int(character)) for character in number if character.isdecimal())
