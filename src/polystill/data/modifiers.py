"""Change some training pairs as users change text: capitals, typos, emoji, placeholders, several sentences in a line.

Students that are trained on clean sentences alone break on such lines. The names are those of OpusTrainer's modifiers,
which Firefox's training uses. Each epoch changes other pairs: what happens to a row follows from the seed, the number
of the epoch and the row, so a resumed training sees the same text.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from polystill.data.packing import PackedDataset
from polystill.data.tokenizer import Tokenizer
from polystill.languages import is_unspaced, upper
from polystill.placement import LETTER, WORD

Pair = tuple[str, str]
Modifier = Callable[..., Pair | None]
"""Changes a pair by a generator, or returns None where it cannot be changed in this way."""
Languages = Sequence[str | None]
"""Of source and target."""
UNKNOWN: Languages = (None, None)


# --- modifiers ------------------------------------------------------------------------------------------------------


def upper_case(pair: Pair, generator: random.Random, languages: Languages = UNKNOWN) -> Pair | None:
    """A LINE IN CAPITALS on both sides."""
    source, target = (upper(side, language) for side, language in zip(pair, languages, strict=True))
    return source, target


def title_case(pair: Pair, generator: random.Random, languages: Languages = UNKNOWN) -> Pair | None:
    """A Headline on both sides."""
    source, target = (
        " ".join(upper(word[:1], language) + word[1:] for word in side.split(" "))
        for side, language in zip(pair, languages, strict=True)
    )
    return source, target


def typos(pair: Pair, generator: random.Random) -> Pair | None:
    """One word in ten of the source mistyped, at least one; the target stays right."""
    words = pair[0].split(" ")
    long = [i for i, word in enumerate(words) if len(word) > 3 and word.isalpha()]
    if not long:
        return None
    for i in generator.sample(long, min(len(long), 1 + len(words) // 10)):
        words[i] = _mistyped(words[i], generator)
    return " ".join(words), pair[1]


def _mistyped(word: str, generator: random.Random) -> str:
    """Two letters swapped, one left out, or one doubled; the first letter stays."""
    i = generator.randrange(1, len(word) - 1)
    kind = generator.randrange(3)
    if kind == 0:
        return word[:i] + word[i + 1] + word[i] + word[i + 2 :]
    return word[:i] + (word[i + 1 :] if kind == 1 else word[i] + word[i:])


def noise(pair: Pair, generator: random.Random) -> Pair | None:
    """A few made-up words in place of both sides: what is no language is copied."""
    words = []
    for _ in range(generator.randint(1, 5)):
        first, last = generator.choice(_LETTERS)
        words.append("".join(chr(generator.randint(first, last)) for _ in range(generator.randint(2, 6))))
    line = " ".join(words)
    return line, line


_LETTERS = ((0x61, 0x7A), (0x41, 0x5A), (0x30, 0x39), (0xE0, 0xF6), (0x100, 0x17E), (0x3B1, 0x3C9), (0x430, 0x44F))
"""Latin in small letters and capitals, digits, Latin with accents, Greek, Cyrillic."""


def inline_noise(pair: Pair, generator: random.Random) -> Pair | None:
    """One or two emoji before or behind both sides."""
    emoji = "".join(generator.choices(_EMOJI, k=generator.randint(1, 2)))
    gap = generator.choice(("", " "))
    if generator.random() < 0.3:
        return f"{emoji} {pair[0]}", f"{emoji} {pair[1]}"
    return f"{pair[0]}{gap}{emoji}", f"{pair[1]}{gap}{emoji}"


_EMOJI = [chr(code) for first, last in ((0x1F600, 0x1F64F), (0x1F300, 0x1F5FF), (0x1F900, 0x1F9FF), (0x2600, 0x26FF))
          for code in range(first, last + 1)]  # fmt: skip


def tags(pair: Pair, generator: random.Random) -> Pair | None:
    """A placeholder, number, tag, web or mail address on both sides, which is to be copied.

    It takes the place of a word that both sides share, such as a name, or stands at the start or the end.
    """
    tag = generator.choice(_TAGS)(generator)
    shared = sorted({*_words(pair[0])} & {*_words(pair[1])})
    if shared and generator.random() < 0.7:
        word = re.compile(rf"(?<!{LETTER}){re.escape(generator.choice(shared))}(?!{LETTER})")
        source, target = (word.sub(lambda _: tag, side) for side in pair)
        return source, target
    if tag.startswith("<"):
        name = tag.strip("</>")
        return f"<{name}>{pair[0]}</{name}>", f"<{name}>{pair[1]}</{name}>"
    if generator.random() < 0.5:
        return f"{tag} {pair[0]}", f"{tag} {pair[1]}"
    ends = [re.search(r"[.!?…:]*$", side) for side in pair]
    places = [end.start() if end else len(side) for side, end in zip(pair, ends, strict=True)]
    source, target = (f"{side[:at]} {tag}{side[at:]}" for side, at in zip(pair, places, strict=True))
    return source, target


def _words(text: str) -> list[str]:
    return [word for word in WORD.findall(text) if len(word) > 1]


def _name(generator: random.Random, letters: str = "abcdefghijklmnopqrstuvwxyz") -> str:
    return "".join(generator.choices(letters, k=generator.randint(3, 8)))


_TAGS: tuple[Callable[[random.Random], str], ...] = (
    lambda g: g.choice(("%s", "%d", "%i", "%u", "%@", "%n")),
    lambda g: f"%{g.randint(1, 9)}{g.choice(('', '$s', '$d', '$@'))}",
    lambda g: f"{{{g.randint(0, 9)}}}",
    lambda g: f"{{{_name(g)}{g.choice(('', '_' + _name(g)))}}}",
    lambda g: f"{{{{{_name(g)}}}}}",
    lambda g: f"%({_name(g)}){g.choice('sd')}",
    lambda g: f"%{_name(g).upper()}{g.choice(('', '%'))}",
    lambda g: f"${g.choice((_name(g).upper(), '{' + _name(g) + '}', _name(g)))}",
    lambda g: f"<{g.choice(('b', 'i', 'a', 'em', 'strong', 'code', 'span', _name(g)))}>",
    lambda g: (
        f"https://{g.choice(('', 'www.'))}{_name(g)}.{g.choice(('com', 'org', 'net', 'de', 'io'))}"
        f"{g.choice(('', '/' + _name(g), '/' + _name(g) + '?' + _name(g, 'abcde') + '=' + str(g.randint(1, 999))))}"
    ),
    lambda g: f"{_name(g)}.{_name(g)}@{_name(g)}.{g.choice(('com', 'org', 'de'))}",
    lambda g: str(g.randint(10, 10 ** g.randint(2, 7))),
    lambda g: f"{g.randint(1, 28):02d}.{g.randint(1, 12):02d}.{g.randint(1950, 2040)}",
    lambda g: f"{g.randint(1950, 2040)}-{g.randint(1, 12):02d}-{g.randint(1, 28):02d}",
    lambda g: f"{g.randint(0, 23):02d}:{g.randint(0, 59):02d}",
    lambda g: f"{g.randint(1, 99)}.{g.randint(0, 99)}.{g.randint(0, 99)}",
    lambda g: f"--{_name(g)}",
    lambda g: f"{_name(g)}.{g.choice(('txt', 'py', 'html', 'png', 'pdf'))}",
    lambda g: f"/{_name(g)}/{_name(g)}",
)


MERGE = "Merge"
"""Joins a pair with another one to a line of several sentences. It needs both, so the `Augmenter` does it."""
MODIFIERS: dict[str, Modifier] = {
    "UpperCase": upper_case,
    "TitleCase": title_case,
    "Typos": typos,
    "Noise": noise,
    "InlineNoise": inline_noise,
    "Tags": tags,
}
"""By OpusTrainer's names; with `MERGE` those that a recipe may name."""
CAPITALS = ("UpperCase", "TitleCase")
"""Those that need to know the languages."""


# --- rows of token ids ----------------------------------------------------------------------------------------------

_SAMPLE = 200
"""Rows by which the change of lengths is estimated, of each modifier."""
_UNCHANGED = -1

Rows = tuple[list[np.ndarray], list[np.ndarray]]
"""Token ids of source and target of each row."""


class Augmenter:
    """Modifies shares of a packed data set's rows, anew in every epoch."""

    def __init__(
        self,
        dataset: PackedDataset,
        tokenizer: Tokenizer,
        shares: Mapping[str, float],
        max_tokens: int,
        seed: int,
        trained_on: np.ndarray | None = None,
    ) -> None:
        """shares: of the rows that each modifier changes, at most 1 together. A row is changed by one modifier.

        trained_on: the only rows (n,) that others are merged with; all by default.
        """
        self._dataset, self._tokenizer, self._max_tokens, self._seed = dataset, tokenizer, max_tokens, seed
        self._trained_on = trained_on
        self._names = sorted(name for name, share in shares.items() if share > 0)
        self._bounds = np.cumsum([shares[name] for name in self._names])
        self._gaps = tuple(
            "" if language is not None and is_unspaced(language) else " " for language in tokenizer.languages
        )
        self._epoch, self._of_epoch = -1, (np.empty(0), np.empty(0))
        self._growth = {name: self._estimated_growth(name) for name in self._names if name != MERGE}

    def rows(self, rows: np.ndarray, epoch: int) -> Rows:
        """These rows in an epoch.

        A row stays as it is where its modifier does not apply, where a changed side has more than `max_tokens` tokens,
        or where the vocabulary lacks a character of it.
        """
        drawn, partners = self._drawn(epoch)
        sources, targets = (list(side) for side in self._dataset.rows(rows))
        changed = [i for i, row in enumerate(rows.tolist()) if drawn[row] != _UNCHANGED]
        pairs = {
            i: self._modified(self._names[drawn[rows[i]]], int(rows[i]), int(partners[rows[i]]), epoch) for i in changed
        }
        for i, ids in self._encoded({i: pair for i, pair in pairs.items() if pair is not None}).items():
            sources[i], targets[i] = ids
        return sources, targets

    def lengths(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The expected numbers of tokens (N,) of source and target in an epoch, by which batches are made."""
        drawn, partners = self._drawn(epoch)
        sides = []
        for side, lengths in enumerate((self._dataset.source_lengths, self._dataset.target_lengths)):
            expected = lengths.copy()
            for number, name in enumerate(self._names):
                of_name = np.flatnonzero(drawn == number)
                if name == MERGE:
                    grown = lengths[of_name] + lengths[partners[of_name]] - 1
                else:
                    slope, offset = self._growth[name][side]
                    grown = np.rint(slope * lengths[of_name] + offset).astype(lengths.dtype)
                expected[of_name] = np.where(grown > self._max_tokens, lengths[of_name], np.maximum(grown, 2))
            sides.append(expected)
        return sides[0], sides[1]

    def _drawn(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """For each row the number of its modifier, or _UNCHANGED, and the row that it would be merged with."""
        if epoch != self._epoch:
            self._epoch, self._of_epoch = epoch, self._draw(epoch)
        return self._of_epoch

    def _draw(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        generator = np.random.default_rng([self._seed, epoch, 2])
        count = len(self._dataset)
        drawn = np.searchsorted(self._bounds, generator.random(count, dtype=np.float32), side="right").astype(np.int8)
        drawn[drawn == len(self._names)] = _UNCHANGED
        if self._trained_on is None:
            return drawn, generator.integers(count, size=count, dtype=np.int32)
        return drawn, self._trained_on[generator.integers(len(self._trained_on), size=count)]

    def _modified(self, name: str, row: int, partner: int, epoch: int) -> Pair | None:
        if name != MERGE:
            languages = {"languages": self._tokenizer.languages} if name in CAPITALS else {}
            generator = random.Random(f"modifiers-{self._seed}-{epoch}-{row}")
            return MODIFIERS[name](self._text(row), generator, **languages)
        source, target = (
            gap.join(sides) for gap, *sides in zip(self._gaps, self._text(row), self._text(partner), strict=True)
        )
        return source, target

    def _text(self, row: int) -> Pair:
        (source,), (target,) = self._dataset.rows(np.array([row]))
        texts = self._tokenizer.decode([source.tolist(), target.tolist()])
        return texts[0], texts[1]

    def _encoded(self, pairs: Mapping[int, Pair]) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """Token ids of those pairs that fit."""
        encoded = zip(
            pairs,
            self._tokenizer.encode_source([source for source, _ in pairs.values()]),
            self._tokenizer.encode_target([target for _, target in pairs.values()]),
            strict=True,
        )
        return {
            i: (np.array(source), np.array(target))
            for i, source, target in encoded
            if all(1 < len(ids) <= self._max_tokens and self._tokenizer.unk_id not in ids for ids in (source, target))
        }

    def _estimated_growth(self, name: str) -> list[tuple[float, float]]:
        """For each side a line (slope, offset) from a row's length to its length when it is modified."""
        generator = np.random.default_rng([self._seed, 3])
        rows = generator.integers(len(self._dataset), size=_SAMPLE)
        pairs = {i: pair for i, row in enumerate(rows.tolist()) if (pair := self._modified(name, row, row, 0))}
        encoded = self._encoded(pairs)
        before = [side[rows[list(encoded)]] for side in (self._dataset.source_lengths, self._dataset.target_lengths)]
        after = [[len(ids[side]) for ids in encoded.values()] for side in (0, 1)]
        return [_line(x, np.array(y)) for x, y in zip(before, after, strict=True)]


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """The least-squares line through points; through one length only, the mean change."""
    if len(x) == 0:
        return 1.0, 0.0
    if len(np.unique(x)) < 3:
        return 1.0, float(np.mean(y - x))
    slope, offset = np.polyfit(x, y, 1)
    return float(slope), float(offset)
