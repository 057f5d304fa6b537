"""Translate lines as users write them, and keep what small models break on: placeholders, long numbers, capitals.

A model mostly copies placeholders, tags, addresses, emoji and numbers. Where a translation lacks one, or has a
placeholder too many, the text between them is translated piece by piece and joined with the source's own. So none is
ever lost, at the price of context within such a line.

A model has seen few lines in capitals. It takes them for rare words, repeats itself or loses text. So such a line is
translated in small letters, and its translation is written in capitals.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from polystill.decoding.translator import Cuts, DecodingOptions, Hypothesis, Translator
from polystill.languages import base_of, lower, upper


def translate_block(
    translator: Translator, lines: Sequence[str], options: DecodingOptions, cuts: Cuts
) -> list[list[Hypothesis]]:
    """Translate lines as users write them: as `Translator.translate`, and what small models break on is kept.

    Lines in capitals are translated by way of small letters. Hypotheses that lack a placeholder or a long number of
    their line are left out; a line's first one always has all of them.
    """
    source_language, target_language = translator.languages
    capitals = [is_in_capitals(line) for line in lines]
    lines = [in_small_letters(line, source_language) if c else line for line, c in zip(lines, capitals, strict=True)]
    lists = keep_placeholders(translator, lines, translator.translate(lines, options, cuts), options)
    return [
        [replace(h, text=in_capitals(h.text, target_language)) for h in hypotheses] if c else hypotheses
        for hypotheses, c in zip(lists, capitals, strict=True)
    ]


# --- placeholders ---------------------------------------------------------------------------------------------------

_EMOJI = "\U0001f000-\U0001faff\u2600-\u27bf\u2b1b\u2b1c\u2b50\u2b55"
_PATTERNS = (
    r"</?[A-Za-z][\w:.-]*(?:\s[^<>]*)?/?>",  # tags of HTML and XML
    r"&(?:\#\d+|\#x[0-9A-Fa-f]+|[A-Za-z]\w*);",  # their entities
    r"(?:https?|ftp)://[^\s<>\"]*[\w/=&\#+-]|www\.[^\s<>\"]*[\w/=&\#+-]",  # web addresses
    r"(?<![\w.-])(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}/[^\s<>\"]*[\w/=&\#+-]",  # the same without http:, but with a path
    r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+",  # mail addresses
    r"%\(\w+\)[a-zA-Z]",  # Python: %(name)s
    r"%(?:\d+\$)?[-+\#0]*+\d*(?:\.\d+)?(?:hh?|ll?|[jztLq])?[sdiufFeEgGxXocn@](?![A-Za-z])",  # printf: %s, %1$s, %.2f
    r"%L?\d{1,2}(?![\d.,])|%[A-Z][A-Z0-9_]+%?",  # Qt: %1; LibreOffice and Windows: %PRODUCTNAME, %PATH%
    r"\{\{[^{}]*\}\}|\{[^{}\s]*\}",  # ICU, Python and Mustache: {name}, {0}, {{name}}
    r"\$\{[^{}]*\}|\$\(\w+\)|\$[A-Za-z_]\w*",  # shells and Make: $VAR, ${var}
    r"(?<![\w-])--[A-Za-z][\w-]*",  # options of commands
    rf"[{_EMOJI}][{_EMOJI}\u200d\ufe0f\u20e3\U000e0020-\U000e007f]*",
)
_PLACEHOLDER = re.compile(f"({'|'.join(_PATTERNS)})")
_END_MARK = re.compile(r"[.!?。！？]$")


def placeholders(text: str) -> list[str]:
    """All of a text, in order: %s, {name}, $VAR, %PRODUCTNAME, tags, entities, web and mail addresses, emoji."""
    return _PLACEHOLDER.findall(text)


def split_at_placeholders(text: str) -> list[str]:
    """Text at even places, placeholders at odd ones."""
    return _PLACEHOLDER.split(text)


def keep_placeholders(
    translator: Translator, lines: Sequence[str], lists: Sequence[list[Hypothesis]], options: DecodingOptions
) -> list[list[Hypothesis]]:
    """The lines' translations, each with its line's long numbers, and with every placeholder as often as the line.

    Of several hypotheses those are left out that lack one. Where all do, the first is replaced by a translation of the
    pieces between the placeholders; its tokens and score stay those of the model's own, and there is no alignment.
    """
    kept, lost = list(lists), []
    numbers = _writes_digits_alike(translator.languages[1])
    for i, (line, hypotheses) in enumerate(zip(lines, lists, strict=True)):
        wanted, between = Counter(placeholders(line)), _between(line)
        if (wanted or (numbers and long_numbers(between))) and hypotheses:
            same = [h for h in hypotheses if Counter(placeholders(h.text)) == wanted]
            kept[i] = [h for h in same if not numbers or _keeps_numbers(h.text, between)]
            lost += [i] * (not kept[i])
    pieces = [_pieces(lines[i], numbers) for i in lost]
    for i, (text, cut) in zip(lost, _by_pieces(translator, pieces, options), strict=True):
        kept[i] = [replace(lists[i][0], text=text, alignment=None, cut=cut)]
    return kept


def _between(line: str) -> str:
    """A line without its placeholders."""
    return " ".join(split_at_placeholders(line)[::2])


def _by_pieces(
    translator: Translator, pieces: Sequence[Sequence[str]], options: DecodingOptions
) -> Iterator[tuple[str, bool]]:
    """Each line with those of its pieces translated that have a letter and are no placeholder or number.

    With it comes whether the translation of a piece was cut.
    """
    texts = list(dict.fromkeys(piece.strip() for parts in pieces for piece in parts[::2] if _has_letters(piece)))
    if not texts:
        yield from (("".join(parts), False) for parts in pieces)
        return
    once = replace(options, n_best=1, token_scores=False, alignment=False)
    translated = dict(zip(texts, translator.translate(texts, once, Cuts()), strict=True))
    for parts in pieces:
        found = [translated[p.strip()] if i % 2 == 0 and _has_letters(p) else None for i, p in enumerate(parts)]
        text = "".join(p if h is None else _in_place(p, h) for p, h in zip(parts, found, strict=True))
        yield text, any(h[0].cut for h in found if h)


def _pieces(line: str, numbers: bool) -> list[str]:
    """Text at even places, placeholders at odd ones, and so are long numbers if these are kept, too."""
    parts = split_at_placeholders(line)
    if not numbers:
        return parts
    return [piece for i, part in enumerate(parts) for piece in ([part] if i % 2 else split_at_long_numbers(part))]


def _has_letters(text: str) -> bool:
    return any(character.isalpha() for character in text)


def _in_place(piece: str, hypotheses: Sequence[Hypothesis]) -> str:
    """A piece's translation with the blanks around the piece, and without an end mark that the piece does not have."""
    text = hypotheses[0].text.strip() if hypotheses else ""
    words = piece.strip()
    if not _END_MARK.search(words):
        text = _END_MARK.sub("", text)
    before, after = piece[: len(piece) - len(piece.lstrip())], piece[len(piece.rstrip()) :]
    return f"{before}{text}{after}"


# --- long numbers ---------------------------------------------------------------------------------------------------

LEAST_DIGITS = 2
"""Smaller numbers may be written as words."""
_IN_MYRIADS = ("ja", "ko", "zh")
"""Languages that count in ten thousands: "10 billion" is 100億, so right numbers have other digits."""
MOST_GROUPS = 4
"""Most groups of digits in one number, with blanks between them."""
_SEPARATED = re.compile(r"\d(?:[\d.,'’/:\u00a0\u202f-]*\d)?")
_ONE_NUMBER = re.compile(r"\d{1,3}(?:([.,'’\u00a0\u202f])\d{3})(?:\1\d{3})*(?:[.,]\d+)?|\d+(?:[.,]\d+)?")
_GROUPED = re.compile(r"(?<![\d.,'’/:-])(?<!\d )\d{1,3}(?: \d{3})+(?![\d'’/:-]| \d|[.,]\d+[.,]\d)")
"""Three digits each after a plain blank, which most often are one number."""
_GROUPS = re.compile(r"\d[\d.,'’\s]*")


def _writes_digits_alike(target_language: str | None) -> bool:
    return target_language is None or base_of(target_language) not in _IN_MYRIADS


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
        for number in ([digits(separated)] if _ONE_NUMBER.fullmatch(separated) else _numbers_of(separated))
        if len(number) >= LEAST_DIGITS
    }


def _keeps_numbers(translation: str, text: str) -> bool:
    """Whether a translation has all long numbers of a text, where "10 000" may be two of them or one.

    It is one only if both texts have the same digits in all.
    """
    if has_numbers(translation, split_at_long_numbers(text)[1::2]):
        return True
    joined = _GROUPED.sub(lambda match: match[0].replace(" ", ""), text)
    same_digits = sorted(digits(text)) == sorted(digits(_between(translation)))
    return joined != text and same_digits and has_numbers(translation, split_at_long_numbers(joined)[1::2])


def has_numbers(translation: str, numbers: Sequence[str]) -> bool:
    """Whether a translation has the digits of each number, and of a date all numbers, in any notation and order."""
    found = readings(translation)
    dates = [sorted(_numbers_of(separated)) for separated in _SEPARATED.findall(translation)]
    return all(
        long_numbers(number) <= found or (_is_date(number) and sorted(_numbers_of(number)) in dates)
        for number in numbers
    )


def _is_date(number: str) -> bool:
    """Whether its parts may be those of a date, a time or a version; two may be a day and a month, or a time."""
    parts = _numbers_of(number)
    return len(parts) > 2 or (len(parts) == 2 and all(int(part or 0) <= 31 for part in parts))


def _numbers_of(date: str) -> list[str]:
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


# --- capitals -------------------------------------------------------------------------------------------------------

FEWEST_LETTERS = 8
"""A shorter line may be an acronym or two, which a model copies."""
_SENTENCE = re.compile(r"\w(?:[^.!?]|[.!?](?!\s))*")


def is_in_capitals(line: str) -> bool:
    """Whether a line has several words and at least `FEWEST_LETTERS` letters, all of them capitals but for those in
    placeholders. Letters of a script without case are no capitals."""
    text = _between(line)
    letters = [character for character in text if character.isalpha()]
    return len(letters) >= FEWEST_LETTERS and len(text.split()) > 1 and all(map(str.isupper, letters))


def in_small_letters(line: str, language: str | None) -> str:
    """A line in capitals as sentences, which begin with a capital; placeholders stay."""
    return _between_placeholders(
        line, lambda text: _SENTENCE.sub(lambda found: found[0][0] + lower(found[0][1:], language), text)
    )


def in_capitals(line: str, language: str | None) -> str:
    """A line in capitals by the rules of its language; placeholders stay."""
    return _between_placeholders(line, lambda text: upper(text, language))


def _between_placeholders(line: str, change: Callable[[str], str]) -> str:
    return "".join(part if i % 2 else change(part) for i, part in enumerate(split_at_placeholders(line)))
