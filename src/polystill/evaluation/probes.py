"""Lines that are unlike a test set's and that people give to a translator all the same.

Made from the run's own test source, so that they are of its language and domain, and from fixed text of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle

SENTENCES = 20
"""Of the test set, evenly spread, that most kinds are made from."""
LONG_LINES, LONG_SENTENCES = 4, 60
"""Lines of so many sentences one after another: beyond what most models have positions for."""
UNPUNCTUATED_SENTENCES = 6


@dataclass(frozen=True)
class Probe:
    kind: str
    source: str
    copy: str = ""
    """What a translation has to hold as well; "" where there is no such thing."""


KINDS = {
    "capitals": "test sentences in capitals",
    "one word": "single words of the test set",
    "long": f"{LONG_SENTENCES} test sentences on one line",
    "unpunctuated": f"{UNPUNCTUATED_SENTENCES} test sentences on one line, in small letters and without punctuation",
    "numbers": "test sentences with a number before their end",
    "dates": "the same with a date",
    "URLs": "the same with a URL or an e-mail address",
    "emoji": "the same with an emoji",
    "empty": "lines without a word, whose translation is empty",
    "odd": "punctuation only, markup, control characters, other scripts, a word of 3,000 letters",
}

_NUMBERS = ("7", "42", "1984", "1,250", "3.75", "16,384", "0.5", "2026", "99", "12,345,678")
_DATES = ("2024-03-15", "15.03.2024", "3/15/2024", "31.12.1999", "2026-01-02", "7.5.2031", "11/22/63", "1.1.2000")
_URLS = (
    *("https://example.org", "http://example.com/a/page.html#part", "www.example.net", "name@example.org"),
    *("https://example.org/search?q=one&lang=two", "first.last@mail.example.com", "example.com/path/to/file.tar.gz"),
)
_EMOJI = ("🙂", "🚀", "👍", "🎉", "🐶", "❤️", "👩‍🚀", "🇪🇺", "☕", "😂")
_EMPTY = ("", " ", "\t", "\u00a0\u2003 ")
_ODD = (
    *("?!?!", "...", "-", "A", "!!!!!!!!!!!!!!!!!!!!", "x" * 3000),
    *("<b>bold</b> &amp; <script>alert(1)</script>", '{"key": [1, 2, null]}', "a\u200bb\u00adc", "\x01\x07\x1b[0m"),
    *("漢字 кириллица العربية ελληνικά", "\u202eabc\u202c", "Z̸̢̛a̵͔̓l̷̰̈g̵̱̈́o̴̤͝", "\ufffd\ufffd\ufffd", "a" + "\u0301" * 50),
)


def make_probes(test_source: Sequence[str]) -> list[Probe]:
    """All kinds, in the order of KINDS; the same test source gives the same probes. It has at least one sentence."""
    lines = [line.strip() for line in test_source if line.strip()]
    assert lines
    sentences = [lines[len(lines) * i // SENTENCES] for i in range(min(SENTENCES, len(lines)))]
    return [
        *(Probe("capitals", sentence.upper()) for sentence in sentences),
        *(Probe("one word", word) for word in _words(sentences)),
        *(Probe("long", line) for line in _joined(lines, LONG_LINES, LONG_SENTENCES)),
        *(Probe("unpunctuated", _plain(line)) for line in _joined(sentences, LONG_LINES, UNPUNCTUATED_SENTENCES)),
        *_with("numbers", sentences, _NUMBERS),
        *_with("dates", sentences, _DATES),
        *_with("URLs", sentences, _URLS),
        *_with("emoji", sentences, _EMOJI),
        *(Probe("empty", line) for line in _EMPTY),
        *(Probe("odd", line) for line in _ODD),
    ]


def _words(sentences: Sequence[str]) -> list[str]:
    """A word of each sentence, the longest that is not among them yet."""
    found: dict[str, None] = {}
    for sentence in sentences:
        new = [word for word in re.findall(r"[^\W\d_]+", sentence) if word not in found]
        if new:
            found[max(new, key=len)] = None
    return list(found)


def _joined(sentences: Sequence[str], lines: int, each: int) -> Iterator[str]:
    """Lines of so many sentences, which begin anew where they run out."""
    endless = cycle(sentences)
    for _ in range(lines):
        yield " ".join(next(endless) for _ in range(each))


def _plain(line: str) -> str:
    return " ".join(re.sub(r"[^\w\s]|_", " ", line).split()).lower()


_END = re.compile(r"[\s.!?。！？…]*$")


def _with(kind: str, sentences: Sequence[str], things: Sequence[str]) -> Iterator[Probe]:
    """Each of the things twice, before the end of a sentence."""
    endless = cycle(sentences)
    for thing in (*things, *things):
        sentence = next(endless)
        end = _END.search(sentence)
        assert end is not None  # it matches nothing at the very end
        mark = end[0].strip()
        yield Probe(kind, f"{sentence[: end.start()]} {thing}{f' {mark}' if mark else ''}", thing)


# --- what came out ------------------------------------------------------------------------------------------------


MOST_GROUPS = 4
"""Groups of digits that blanks part within a number."""


def is_copied(probe: Probe, translation: str) -> bool:
    """Whether what was to be copied is there: digits of a number however they are grouped, of a date in any order."""
    if probe.kind == "numbers":
        return _digits(probe.copy) in _numbers(translation)
    if probe.kind == "dates":
        return {int(n) for n in re.findall(r"\d+", probe.copy)} <= {int(n) for n in re.findall(r"\d+", translation)}
    return probe.copy in translation


def _numbers(text: str) -> set[str]:
    """The digits of each number in a text. Blanks may group a number's digits or part two numbers: both are there."""
    found = set()
    for stretch in re.findall(r"\d[\d.,'’\s]*", text):
        parts = stretch.split()
        for i in range(len(parts)):
            found |= {_digits("".join(parts[i:j])) for j in range(i + 1, min(i + MOST_GROUPS, len(parts)) + 1)}
    return found


def _digits(number: str) -> str:
    return re.sub(r"\D", "", number)


def has_words(line: str) -> bool:
    return any(character.isalnum() for character in line)
