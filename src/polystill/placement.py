"""Place the inline tags of a text (HTML's, XLIFF's codes) in its translation by word alignments.

An element goes around the translation of its words, wherever that stands, so elements may change places. Where their
translation is scattered, it takes the longest run of them: an element stays one. Other tags (`<br>`, comments, tags
whose partner is in another sentence) go between the words with the fewest links that cross. Elements stay nested, and
every tag is written once.

Offsets count characters: those of tags from the start of the text's words, places from the translation's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple
from unicodedata import category

_UNSPACED = (
    "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
)
"""Letters of scripts without spaces between words; each of them is taken for a word."""
MARKS = "".join(sign for sign in map(chr, range(0x300, 0x1F000)) if category(sign)[0] == "M") + "\u200c\u200d"
"""Signs that are a part of the letter before them, such as vowels of Devanagari, and joiners; `\\w` lacks them."""
LETTER = rf"(?:[^\W{_UNSPACED}]|[{MARKS}])"
WORD = re.compile(rf"[{_UNSPACED}][{MARKS}]*|{LETTER}+")


class Span(NamedTuple):
    """A part of a text and the part of its translation that it is linked with: start and end, in characters."""

    source: tuple[int, int]
    target: tuple[int, int]

    def moved(self, in_source: int, in_target: int) -> Span:
        """The same parts, where so many characters stand before both."""
        (start, end), (first, last) = self
        return Span((start + in_source, end + in_source), (first + in_target, last + in_target))


class Translation(NamedTuple):
    """A text's translation, and which parts of both belong together, where the model aligns words."""

    text: str
    spans: tuple[Span, ...] = ()


class Tag(NamedTuple):
    """A tag before the character `at` of a text."""

    at: int
    markup: str
    opens: str = ""
    """What it begins. A tag that closes the same ends it; without one it stands by itself."""
    closes: str = ""


class _Word(NamedTuple):
    """A word of the translation, and the middles of the parts of the text that it is linked with."""

    start: int
    end: int
    linked: list[float]


@dataclass
class _Node:
    """An element, or a single tag without an end."""

    opening: Tag
    closing: Tag | None = None
    children: list[_Node] = field(default_factory=list)


def placed_tags(words: str, translation: str, spans: Sequence[Span], tags: Sequence[Tag]) -> list[tuple[int, str]]:
    """The tags with their places, which ascend, in the order in which they are written.

    Places before the translation, or behind it, are those of tags at the same distance from the words.
    """
    linked = [_Word(*match.span(), _linked(match.span(), spans)) for match in WORD.finditer(translation)]
    placement = _Placement(words, translation, linked)
    ends = min([0, *(tag.at for tag in tags)]), len(translation) + max([0, *(tag.at - len(words) for tag in tags)])
    placed = list(placement.placed(_nested(tags), *ends))
    # An element within another one may take in a sign behind that one's end.
    return list(zip(accumulate((place for place, _ in placed), max), (markup for _, markup in placed), strict=True))


def out_of_words(words: str, tags: Sequence[Tag]) -> tuple[list[Tag], list[tuple[int, int]]]:
    """Move tags out of words, whose translation has no such place: those that open to the start, others to the end.

    Where an element opens after another has closed, as in `<b>d</b>og`, both need a part of the word. Their tags stay
    where they are. Returns the tags, and the start and end of each such word.
    """
    moved, divided = list(tags), []
    for word in WORD.finditer(words):
        inside = [i for i, tag in enumerate(tags) if word.start() < tag.at < word.end()]
        closes = [bool(tags[i].closes) and not _is_empty(tags, i) for i in inside]
        if closes != sorted(closes):
            divided.append(word.span())
            continue
        for i, is_closing in zip(inside, closes, strict=True):
            moved[i] = tags[i]._replace(at=word.end() if is_closing else word.start())
    return moved, divided


def _is_empty(tags: Sequence[Tag], closing: int) -> bool:
    """Whether the tag before a closing one opens the same element at the same place."""
    before, tag = tags[max(0, closing - 1)], tags[closing]
    return before.at == tag.at and before.opens == tag.closes


def _linked(target: tuple[int, int], spans: Sequence[Span]) -> list[float]:
    start, end = target
    return [sum(s.source) / 2 for s in spans if s.target[0] < end and s.target[1] > start and s.source[0] < s.source[1]]


def _nested(tags: Sequence[Tag]) -> list[_Node]:
    """The tags as a tree."""
    stack = [_Node(Tag(0, ""))]
    for tag in tags:
        if tag.closes and any(node.opening.opens == tag.closes for node in reversed(stack)):
            while stack[-1].opening.opens != tag.closes:
                _leave_open(stack)  # its end is elsewhere
            stack.pop().closing = tag
        else:
            node = _Node(tag)
            stack[-1].children.append(node)
            if tag.opens:
                stack.append(node)
    while len(stack) > 1:
        _leave_open(stack)
    return stack[0].children


def _leave_open(stack: list[_Node]) -> None:
    node = stack.pop()
    stack[-1].children += node.children
    node.children = []


_Step = tuple[int, str] | Iterator["_Step"]
"""A tag and its place, or the steps of a level further in."""


class _Placement:
    def __init__(self, words: str, translation: str, linked: Sequence[_Word]) -> None:
        self._words, self._translation, self._linked = words, translation, linked

    def placed(self, nodes: Sequence[_Node], low: int, high: int) -> Iterator[tuple[int, str]]:
        """Tags in order, between two places."""
        levels = [self._level(nodes, low, high)]
        while levels:  # no recursion: a text may nest thousands of elements
            for step in levels[-1]:
                if not isinstance(step, tuple):
                    levels.append(step)
                    break
                yield step
            else:
                levels.pop()

    def _level(self, nodes: Sequence[_Node], low: int, high: int) -> Iterator[_Step]:
        """The tags of elements side by side, and between an element's two tags the level within it."""
        intervals = [(*self._interval(node, low, high), node) for node in nodes]
        done = low
        for start, end, node in sorted(intervals, key=lambda interval: interval[0]):
            start = max(start, done)
            done = max(end, start)
            yield start, node.opening.markup
            if node.closing is not None:
                yield self._level(node.children, start, done)
                yield done, node.closing.markup

    def _interval(self, node: _Node, low: int, high: int) -> tuple[int, int]:
        length, start = len(self._words), node.opening.at
        within = [word for word in self._linked if low <= word.start and word.end <= high]
        if node.closing is not None:
            end = node.closing.at
            if start <= 0 and end >= length:  # around the whole text
                return max(low, start), min(high, len(self._translation) + end - length)
            if any(map(str.isalnum, self._words[max(0, start) : end])):
                return self._around(max(0, start), min(length, end), within, low)
        at = self._between(node.opening, within, low, high)
        return at, at

    def _around(self, start: int, end: int, within: Sequence[_Word], low: int) -> tuple[int, int]:
        """The longest run of words whose links are between two places of the text."""
        best: list[_Word] = []
        run: list[_Word] = []
        for word in within:
            inside = sum(start <= middle < end for middle in word.linked)
            if word.linked and 2 * inside >= len(word.linked):
                run.append(word)
                best = max(best, run, key=len)
            elif word.linked:
                run = []
        if not best and within:  # nothing is linked: the word at the same share of the text
            share = (start + end) / 2 / len(self._words) * len(self._translation)
            best = [min(within, key=lambda word: abs((word.start + word.end) / 2 - share))]
        if not best:
            return low, low
        return self._with_signs(start, end, best[0].start, best[-1].end)

    def _with_signs(self, start: int, end: int, first: int, last: int) -> tuple[int, int]:
        """Take in the signs at the words if the element has such, too."""
        text = self._translation
        while first > 0 and not is_of_word(self._words[start]) and _is_sign(text[first - 1]):
            first -= 1
        while last < len(text) and not is_of_word(self._words[end - 1]) and _is_sign(text[last]):
            last += 1
        return first, last

    def _between(self, tag: Tag, within: Sequence[_Word], low: int, high: int) -> int:
        """The place of a single tag: where the fewest links lead across it."""
        length, at = len(self._words), tag.at
        if at <= 0:
            return max(low, at)
        if at >= length:
            return min(high, len(self._translation) + at - length)
        crossing = sum(middle < at for word in within for middle in word.linked)  # in front of all words
        places = []
        for word in within:
            behind = crossing + sum(1 if middle >= at else -1 for middle in word.linked)
            places.append((behind, word.end) if tag.closes else (crossing, word.start))
            crossing = behind
        return min(places, default=(0, low), key=lambda place: place[0])[1]


def is_of_word(character: str) -> bool:
    """Whether it is a letter, a digit, or a mark of a letter."""
    return character.isalnum() or character in MARKS


def _is_sign(character: str) -> bool:
    return not is_of_word(character) and not character.isspace()
