"""Word alignments of translations: which words of a line and of its translation belong together.

Engines give the source piece that each target piece attends to most (`Hypothesis.alignment`). Here these links become
links of words, or of places in the text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from polystill.data.tokenizer import BYTE, SPACE, words_of
from polystill.decoding.translator import Hypothesis, Links
from polystill.placement import Span


def word_links(hypothesis: Hypothesis) -> Links:
    """Links of words, which are what blanks separate, counted from 0; without an alignment there are none.

    Punctuation at a word links the word only if there is nothing else of it.
    """
    if hypothesis.alignment is None:
        return []
    (of_source, source_counts), (of_target, target_counts) = map(
        _words, (hypothesis.alignment.source[:-1], hypothesis.tokens)
    )
    counting = ((s, t) for s, t in hypothesis.alignment.links if source_counts[s] and target_counts[t])
    return sorted({(of_source[s], of_target[t]) for s, t in counting})


def pharaoh(links: Links) -> str:
    """Links in the Pharaoh format, such as "0-0 1-2"."""
    return " ".join(f"{source}-{target}" for source, target in links)


def _words(pieces: Sequence[str]) -> tuple[list[int], list[bool]]:
    """For each piece the number of its word, and whether its links count: see `word_links`."""
    words = words_of(pieces)
    lettered = [bool(BYTE.fullmatch(piece)) or any(map(str.isalnum, piece)) for piece in pieces]
    with_letters = {word for word, has in zip(words, lettered, strict=True) if has}
    return words, [has or word not in with_letters for word, has in zip(words, lettered, strict=True)]


def aligned_spans(line: str, hypothesis: Hypothesis) -> list[Span]:
    """Linked parts of a line and of its translation's text, in the target's order.

    There are none without an alignment, and where pieces do not spell the texts, as with unknown characters.
    """
    if hypothesis.alignment is None:
        return []
    source = piece_spans(line, hypothesis.alignment.source[:-1])
    target = piece_spans(hypothesis.text, hypothesis.tokens)
    if source is None or target is None:
        return []
    return [Span(source[s], target[t]) for s, t in hypothesis.alignment.links]


def piece_spans(text: str, pieces: Sequence[str]) -> list[tuple[int, int]] | None:
    """The start and end of each piece in a text, without the blanks before it; None if the pieces do not spell it.

    One blank of a piece is any number of blanks in the text.
    """
    spans, at = [], 0
    for surface, count in _surfaces(pieces):
        start, spelt = at, surface.lstrip(" ")
        while spelt != surface and start < len(text) and text[start].isspace():
            start += 1
        at = start + len(spelt)
        if text[start:at] != spelt:
            return None
        spans += [(start, at)] * count
    return spans if at == len(text) else None


def _surfaces(pieces: Sequence[str]) -> Iterator[tuple[str, int]]:
    """What pieces spell, and how many pieces do together: bytes make characters only together."""
    spelt, count = b"", 0
    for piece in pieces:
        if BYTE.fullmatch(piece):
            spelt, count = spelt + bytes([int(piece[3:5], 16)]), count + 1
            continue
        if spelt:
            yield spelt.decode(errors="replace"), count
            spelt, count = b"", 0
        yield piece.replace(SPACE, " "), 1
    if spelt:
        yield spelt.decode(errors="replace"), count
