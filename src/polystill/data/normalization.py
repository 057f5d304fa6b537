"""The one normalisation of text, which is compiled into every SentencePiece model that is trained here.

Whatever engine reads the model normalises as training did. Text keeps its written form: `m²`, `5½`, `，` and `…` stay.

- Canonical equivalents get one spelling (NFC): `e` with a combining accent is `é`. The form "nfkc" folds compatible
  characters, too: `ﬁ` to `fi`, and `m²` to `m2`.
- Every kind of blank becomes a space. Control characters and invisible ones disappear.
- Joiners (ZWJ, ZWNJ) disappear after a Latin, Greek or Cyrillic letter, where they only matter in print. Elsewhere they
  stay: Persian and Indic scripts are spelt with them, and emoji are put together by them.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import permutations
from typing import Literal

from polystill.languages import scripts_of

Form = Literal["nfc", "nfkc"]

BLANKS = "\t\n\v\f\r\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u2581\u3000\ufffd"
"""Characters, for use in a regular expression's brackets, that become a space. U+2581 is SentencePiece's own mark of a
space, and U+FFFD stands where text was lost already."""
INVISIBLE = (
    "\x01-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff"
    "\ufff9-\ufffb"
)
"""Characters that are removed: controls, soft hyphens, zero-width spaces, marks of direction, byte order marks."""
JOINERS = "\u200c\u200d"
PLAIN_LETTERS = "A-Za-zÀ-ÖØ-öø-ſΆ-ώЀ-џ"
"""Letters after which joiners are removed."""

_BLANK = re.compile(f"[\\s\0{BLANKS}{INVISIBLE}]*")
_LINE_OF_CONTROLS = {i: " " for i in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)}
_HALFWIDTH_KANA, _HALFWIDTH_MARKS = "\uff66-\uff9d", "\uff9e\uff9f"
_SYLLABLES = range(0xAC00, 0xD7A4)


def is_blank(text: str) -> bool:
    """Whether the text shows nothing: it has blanks, controls and invisible characters only."""
    return _BLANK.fullmatch(text) is not None


def on_one_line(text: str) -> str:
    """Turn the control characters and line ends of a text into spaces."""
    return text.translate(_LINE_OF_CONTROLS)


@cache
def rules_tsv(form: Form, languages: tuple[str, ...]) -> str:
    """The normalisation as SentencePiece reads it: code points, a tab, the code points that replace them."""
    rules = normalization_rules(form, languages)
    return "".join(f"{_hexadecimal(old)}\t{_hexadecimal(new)}\n" for old, new in sorted(rules.items()))


def normalization_rules(form: Form, languages: Sequence[str]) -> dict[str, str]:
    """What becomes of characters and sequences, of which the longest comes first; everything else stays as it is.

    Korean syllables are composed from jamo only if one of the languages is written in them: these are nine tenths of
    all rules, 140 kB in a model.
    """
    rules: dict[str, str] = {}
    for character in _characters():
        rules |= dict.fromkeys(_spellings(character), character)
    if any("Hangul" in scripts_of(language) for language in languages):
        for syllable in map(chr, _SYLLABLES):
            rules |= dict.fromkeys(_syllable_spellings(syllable), syllable)
    rules |= {letter + joiner: letter for letter in _members(PLAIN_LETTERS) for joiner in JOINERS}
    # A rule's result must be normalised itself.
    kind: Literal["NFC", "NFKC"] = "NFC" if form == "nfc" else "NFKC"
    rules = {old: unicodedata.normalize(kind, new) for old, new in rules.items()}
    for character in _characters():
        if (new := unicodedata.normalize(kind, character)) != character:
            rules[character] = new
    if form == "nfkc":
        pairs = (kana + mark for kana in _members(_HALFWIDTH_KANA) for mark in _members(_HALFWIDTH_MARKS))
        rules |= {pair: new for pair in pairs if len(new := unicodedata.normalize(kind, pair)) == 1}
    rules |= dict.fromkeys(_members(BLANKS), " ") | dict.fromkeys(_members(INVISIBLE), "")
    return rules


def _characters() -> Iterator[str]:
    """All characters but ASCII, surrogates and those without a meaning."""
    for code in range(0x80, sys.maxunicode + 1):
        if unicodedata.category(character := chr(code)) not in ("Cn", "Co", "Cs"):
            yield character


def _spellings(character: str) -> Iterator[str]:
    """The sequences, other than the character, that NFC composes to it: in any order of its marks, partly composed."""
    if ord(character) in _SYLLABLES:
        return
    decomposed = unicodedata.normalize("NFD", character)
    base, marks = decomposed[0], decomposed[1:]
    if not marks or unicodedata.normalize("NFC", character) != character:
        return
    for order in permutations(marks):
        for composed in range(len(order)):
            spelling = unicodedata.normalize("NFC", "".join((base, *order[:composed]))) + "".join(order[composed:])
            if unicodedata.normalize("NFC", spelling) == character:
                yield spelling


def _syllable_spellings(syllable: str) -> Iterator[str]:
    """A Korean syllable as two or three jamo, and as a shorter syllable with its last consonant."""
    jamo = unicodedata.normalize("NFD", syllable)
    yield jamo
    if len(jamo) == 3:
        yield unicodedata.normalize("NFC", jamo[:2]) + jamo[2]


def _members(brackets: str) -> Iterator[str]:
    """The characters that a regular expression's brackets match."""
    for first, last in re.findall("(.)(?:-(.))?", brackets, re.DOTALL):
        yield from map(chr, range(ord(first), ord(last or first) + 1))


def _hexadecimal(text: str) -> str:
    return " ".join(f"{ord(character):X}" for character in text)
