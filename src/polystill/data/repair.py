"""Mend text that a program on its way has garbled: HTML entities, and UTF-8 that was read as another encoding."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from html import unescape
from html.entities import html5

_ENTITY = re.compile(r"&(?:#(?:\d{1,7}|[xX][0-9a-fA-F]{1,6})|[A-Za-z][A-Za-z0-9]{1,31});")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def without_entities(text: str) -> str:
    """The text with its HTML entities as characters, once: `&amp;lt;` becomes `&lt;`.

    What HTML would only guess at stays: names that HTML lacks, and those without a semicolon, as in "AT&T" or a URL's
    "?a=1&copy=2". A control character, such as the line feed of `&#10;`, becomes a blank.
    """
    return _ENTITY.sub(_character, text) if "&" in text else text


def _character(entity: re.Match[str]) -> str:
    name = entity[0]
    if name[1] != "#" and name[1:] not in html5:
        return name
    character = unescape(name)
    return name if character in ("", "\ufffd") else _CONTROL.sub(" ", character)


def without_mojibake(text: str) -> str:
    """The text as it was before its UTF-8 was read as another encoding, such as Windows-1252: `Ã¼` becomes `ü`."""
    if text.isascii() or not _maybe_mojibake().search(text):
        return text
    import ftfy

    fixed = ftfy.fix_encoding(text)
    return text if fixed == text else _CONTROL.sub(" ", fixed)


ENTITY_LIKE = "&[#A-Za-z]"
"""Matches all text that `without_entities` changes, and some more, in Python and in RE2."""


@cache
def mojibake_patterns() -> tuple[str, str]:
    """Both match all text that `without_mojibake` changes; for pyarrow's regular expressions (RE2).

    The second is what ftfy asks first (`ftfy.badness.is_bad`), with wider classes for `\\s` and `\\w`, which mean
    ASCII in RE2.
    """
    from ftfy.badness import BADNESS_RE

    verbose = re.compile(r"(\[[^\]]*\])|#.*|[ \n]+")  # keeps brackets, removes comments and blanks
    bad = verbose.sub(lambda part: part[1] or "", BADNESS_RE.pattern)
    bad = bad.replace(r"\s", "[^!-~]").replace(r"\w", r"[^ -/:-@\[-^`{-~]")
    return _pairs_of_characters(), bad


_ENCODINGS = (
    *("latin-1", "windows-1252", "windows-1250", "windows-1251", "windows-1253", "windows-1254", "windows-1257"),
    *("iso-8859-2", "mac-roman", "cp437"),
)
"""Those that ftfy knows."""


@cache
def _maybe_mojibake() -> re.Pattern[str]:
    """Matches what UTF-8's two first bytes of a character may have become: one line of text in thousands.

    It takes a tenth of the time that ftfy takes to say no.
    """
    firsts, seconds = zip(*_first_two_bytes(), strict=True)
    return re.compile(f"(?=[{''.join(firsts)}][{''.join(seconds)}])(?:{_pairs_of_characters()})")


def _pairs_of_characters() -> str:
    return "|".join(f"[{first}][{second}]" for first, second in _first_two_bytes())


def _first_two_bytes() -> list[tuple[str, str]]:
    """What UTF-8's first and second byte of a character are read as in each encoding."""
    return [(_characters(name, range(0xC2, 0xF5)), _characters(name, range(0x80, 0xC0))) for name in _ENCODINGS]


def _characters(encoding: str, values: range) -> str:
    """The characters that bytes of these values are read as; where an encoding has none, those of Latin-1."""
    read = (bytes([value]).decode(encoding, "ignore") or chr(value) for value in values)
    return "".join(map(re.escape, read))


REPAIRS: dict[str, tuple[str, Callable[[str], str]]] = {
    "html_entities": ("HTML entities are replaced by their characters", without_entities),
    "mojibake": ("UTF-8 that was read as another encoding is read as UTF-8 again", without_mojibake),
}
"""What is mended, in this order: what it means, and how a side's text is mended."""


def repaired(text: str) -> str:
    """The text after all repairs."""
    for _, repair in REPAIRS.values():
        text = repair(text)
    return text
