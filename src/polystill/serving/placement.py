"""Place the inline tags of a sentence in its translation by word alignments.

An element goes around the translation of its words, wherever that stands, so elements may change places. Where their
translation is scattered, it takes the longest run of them: an element stays one. Other tags (`<br>`, comments, tags
whose partner is in another sentence) go between the words with the fewest links that cross. Elements stay nested, and
every tag is written once.

Offsets count characters: those of tags from the start of the sentence's words, places from the translation's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from polystill.decoding.alignment import Span

_NAME = re.compile(r"<(/?)([A-Za-z][^\s/>]*)")
_EMPTY = frozenset(("br", "img", "wbr", "input"))


class _Word(NamedTuple):
    """A word of the translation, and the middles of the parts of the sentence that it is linked with."""

    start: int
    end: int
    linked: list[float]


@dataclass
class _Node:
    """An element, or a single tag without an end."""

    start: int
    opening: str
    end: int | None = None
    closing: str = ""
    children: list[_Node] = field(default_factory=list)


def placed_tags(
    words: str, translation: str, spans: Sequence[Span], tags: Sequence[tuple[int, str]], word: re.Pattern[str]
) -> list[tuple[int, str]]:
    """The tags with their places, which ascend, in the order in which they are written.

    Places before the translation, or behind it, are those of tags at the same distance from the words. `word` matches
    the words of the translation.
    """
    linked = [_Word(*match.span(), _linked(match.span(), spans)) for match in word.finditer(translation)]
    placement = _Placement(words, translation, linked)
    ends = min([0, *(at for at, _ in tags)]), len(translation) + max([0, *(at - len(words) for at, _ in tags)])
    return list(placement.placed(_nested(tags), *ends))


def _linked(target: tuple[int, int], spans: Sequence[Span]) -> list[float]:
    start, end = target
    return [sum(s.source) / 2 for s in spans if s.target[0] < end and s.target[1] > start and s.source[0] < s.source[1]]


def _nested(tags: Sequence[tuple[int, str]]) -> list[_Node]:
    """The tags as a tree."""
    stack = [_Node(0, "")]
    for at, tag in tags:
        match = _NAME.match(tag)
        name = match[2].lower() if match else ""
        names = [_NAME.match(node.opening)[2].lower() for node in stack[1:]]  # type: ignore[index]
        if match and match[1] and name in names:
            while True:  # what is still open within the element has its end elsewhere
                node = stack.pop()
                if _NAME.match(node.opening)[2].lower() == name:  # type: ignore[index]
                    node.end, node.closing = at, tag
                    break
                stack[-1].children += node.children
                node.children = []
        else:
            node = _Node(at, tag)
            stack[-1].children.append(node)
            if match and not match[1] and name not in _EMPTY and not tag.endswith("/>"):
                stack.append(node)
    while len(stack) > 1:
        node = stack.pop()
        stack[-1].children += node.children
        node.children = []
    return stack[0].children


class _Placement:
    def __init__(self, words: str, translation: str, linked: Sequence[_Word]) -> None:
        self._words, self._translation, self._linked = words, translation, linked

    def placed(self, nodes: Sequence[_Node], low: int, high: int) -> Iterator[tuple[int, str]]:
        """Tags in order, between two places."""
        intervals = [(*self._interval(node, low, high), node) for node in nodes]
        done = low
        for start, end, node in sorted(intervals, key=lambda interval: interval[0]):
            start = max(start, done)
            done = max(end, start)
            yield start, node.opening
            if node.end is not None:
                yield from self.placed(node.children, start, done)
                yield done, node.closing

    def _interval(self, node: _Node, low: int, high: int) -> tuple[int, int]:
        length = len(self._words)
        if node.end is not None and node.start <= 0 and node.end >= length:  # around the whole sentence
            return max(low, node.start), min(high, len(self._translation) + node.end - length)
        within = [word for word in self._linked if low <= word.start and word.end <= high]
        if node.end is not None and any(map(str.isalnum, self._words[max(0, node.start) : node.end])):
            return self._around(max(0, node.start), min(length, node.end), within, low)
        at = self._between(node, within, low, high)
        return at, at

    def _around(self, start: int, end: int, within: Sequence[_Word], low: int) -> tuple[int, int]:
        """The longest run of words whose links are between two places of the sentence."""
        best: list[_Word] = []
        run: list[_Word] = []
        for word in within:
            inside = sum(start <= middle < end for middle in word.linked)
            if word.linked and 2 * inside >= len(word.linked):
                run = [*run, word]
                best = max(best, run, key=len)
            elif word.linked:
                run = []
        if not best and within:  # nothing is linked: the word at the same share of the sentence
            share = (start + end) / 2 / len(self._words) * len(self._translation)
            best = [min(within, key=lambda word: abs((word.start + word.end) / 2 - share))]
        if not best:
            return low, low
        return self._with_signs(start, end, best[0].start, best[-1].end)

    def _with_signs(self, start: int, end: int, first: int, last: int) -> tuple[int, int]:
        """Take in the signs at the words if the element has such, too."""
        text = self._translation
        while first > 0 and not self._words[start].isalnum() and _is_sign(text[first - 1]):
            first -= 1
        while last < len(text) and not self._words[end - 1].isalnum() and _is_sign(text[last]):
            last += 1
        return first, last

    def _between(self, node: _Node, within: Sequence[_Word], low: int, high: int) -> int:
        """The place of a single tag: where the fewest links lead across it."""
        length, at = len(self._words), node.start
        if at <= 0:
            return max(low, at)
        if at >= length:
            return min(high, len(self._translation) + at - length)
        closes = node.opening.startswith("</")
        places = [word.end if closes else word.start for word in within]
        after = [[middle >= at for middle in word.linked] for word in within]
        crossing = [
            sum(map(sum, after[: i + closes])) + sum(len(each) - sum(each) for each in after[i + closes :])
            for i in range(len(within))
        ]
        return min(zip(crossing, places, strict=True), default=(0, low), key=lambda pair: pair[0])[1]


def _is_sign(character: str) -> bool:
    return not character.isalnum() and not character.isspace()
