"""Keep placeholders, tags, addresses, emoji and long numbers in translations: what a model loses is put back.

A model mostly copies them. Where a translation lacks one, or has a placeholder too many, the text between them is
translated piece by piece and joined with the source's own. So none is ever lost, at the price of context within such a
line.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from polystill.decoding.numbers import long_numbers, readings, split_at_long_numbers
from polystill.decoding.translator import Cuts, DecodingOptions, Hypothesis, Translator

_EMOJI = "\U0001f000-\U0001faff\u2600-\u27bf\u2b1b\u2b1c\u2b50\u2b55"
_PATTERNS = (
    r"</?[A-Za-z][\w:.-]*(?:\s[^<>]*)?/?>",  # tags of HTML and XML
    r"&(?:\#\d+|\#x[0-9A-Fa-f]+|[A-Za-z]\w*);",  # their entities
    r"(?:https?|ftp)://[^\s<>\"]*[\w/=&\#+-]|www\.[^\s<>\"]*[\w/=&\#+-]",  # web addresses
    r"(?<![\w.-])(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}/[^\s<>\"]*[\w/=&\#+-]",  # the same without http:, but with a path
    r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+",  # mail addresses
    r"%\(\w+\)[a-zA-Z]",  # Python: %(name)s
    r"%(?:\d+\$)?[-+\#0]*\d*(?:\.\d+)?(?:hh?|ll?|[jztLq])?[sdiufFeEgGxXocn@](?![A-Za-z])",  # printf: %s, %1$s, %.2f
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
    pieces between the placeholders; its tokens and score stay those of the model's own,
    and there is no alignment.
    """
    kept = list(lists)
    lost = []
    for i, (line, hypotheses) in enumerate(zip(lines, lists, strict=True)):
        wanted, numbers = Counter(placeholders(line)), _long_numbers(line)
        if (wanted or numbers) and hypotheses:
            kept[i] = [h for h in hypotheses if _has_all(h.text, wanted) and numbers <= readings(h.text)]
            lost += [i] * (not kept[i])
    for i, text in zip(lost, _by_pieces(translator, [lines[i] for i in lost], options), strict=True):
        kept[i] = [replace(lists[i][0], text=text, alignment=None)]
    return kept


def _has_all(text: str, wanted: Mapping[str, int]) -> bool:
    has = Counter(placeholders(text))
    return all(has[placeholder] == count for placeholder, count in wanted.items())


def _long_numbers(line: str) -> set[str]:
    return long_numbers(" ".join(split_at_placeholders(line)[::2]))


def _by_pieces(translator: Translator, lines: Sequence[str], options: DecodingOptions) -> Iterator[str]:
    """Each line with the text between its placeholders and long numbers translated; text without a letter stays."""
    pieces = [_pieces(line) for line in lines]
    texts = list(dict.fromkeys(piece.strip() for parts in pieces for piece in parts[::2] if _has_letters(piece)))
    if not texts:
        yield from lines
        return
    once = replace(options, n_best=1, token_scores=False, alignment=False)
    translated = dict(zip(texts, translator.translate(texts, once, Cuts()), strict=True))
    for parts in pieces:
        yield "".join(
            _in_place(part, translated[part.strip()]) if i % 2 == 0 and _has_letters(part) else part
            for i, part in enumerate(parts)
        )


def _pieces(line: str) -> list[str]:
    """Text at even places, placeholders and long numbers at odd ones."""
    parts = split_at_placeholders(line)
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
