"""The interface of all translation engines (`Translator`) and of torch models that can be decoded (`Decodable`).

All engines search by CTranslate2's rules, which beam.py spells out, so their outputs can be compared. This module does
not import torch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from polystill.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

_log = logging.getLogger(__name__)
T = TypeVar("T")

LARGEST_BEAM = 1000
"""Memory grows with the beam, and beyond a few dozen translations get worse."""


@dataclass(frozen=True)
class DecodingOptions:
    """The settings of a search.

    Raises:
        UserError: a value is out of range, or n_best is larger than beam_size.
    """

    beam_size: int = 5
    """1 is greedy search."""
    n_best: int = 1
    """Translations wanted of each sentence, best first; at most beam_size."""
    length_penalty: float = 1.0
    """A hypothesis of n tokens, end mark included, scores log p / n ** length_penalty."""
    max_length: int | None = None
    """Most tokens of a translation. The model's positions and the source's length always limit it, too
    (`longest_of_each`)."""
    batch_tokens: int = 1024
    """Most source tokens (padding included) that are translated at once."""
    token_scores: bool = False
    """Also return the log-probability of every token."""
    alignment: bool = False
    """Also return which source token every token attends to."""

    def __post_init__(self) -> None:
        for name in ("beam_size", "n_best", "max_length", "batch_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name} {value}: expected at least 1")
        if self.beam_size > LARGEST_BEAM:
            raise UserError(f"beam_size {self.beam_size}: expected at most {LARGEST_BEAM}")
        if self.n_best > self.beam_size:
            raise UserError(
                f"{self.n_best} translations of each sentence from a beam of {self.beam_size}: a beam finds at most "
                f"its size; make it {self.n_best} at least"
            )


Links = list[tuple[int, int]]
"""Pairs of positions in the source and in the target, in the target's order."""


class Alignment(NamedTuple):
    """Which source piece each target piece of a translation attends to most."""

    source: list[str]
    """The pieces that the engine read, end mark included."""
    links: Links
    """At most one for each target piece; those that attend to the end mark have none."""

    @classmethod
    def of(cls, source: Sequence[str], attention: Sequence[Sequence[float]]) -> Alignment:
        """attention: (T, S), without the target's end mark."""
        links = [(max(range(len(row)), key=row.__getitem__), place) for place, row in enumerate(attention)]
        return cls(list(source), [link for link in links if link[0] < len(source) - 1])


@dataclass(frozen=True)
class Hypothesis:
    """One translation of one sentence."""

    text: str
    tokens: list[str]
    """Pieces without the end mark."""
    score: float
    """Log-probability divided by n ** length_penalty, where n counts the tokens and the end mark."""
    token_scores: list[float] | None = None
    """Natural logarithms, one a token, and one more for the end mark where the translation reached it."""
    alignment: Alignment | None = None
    cut: bool = False
    """It reached its length limit before its end mark."""


Languages = tuple[str | None, str | None]
"""The codes of the source and the target language, as far as a model's folder says them."""
UNLIMITED = 1_000_000
"""`max_source_tokens` of a model without positions."""
EMPTY = Hypothesis("", [], 0.0)
"""The translation of a blank line."""


# --- lines that are too long --------------------------------------------------------------------------------------

CHARACTERS_PER_TOKEN = 64
"""A line's first so many characters are tokenised for each token that the model takes. A piece seldom has more than
16. This bounds the memory that a very long line needs."""
DEFAULT_LENGTH = 512
"""Most tokens of a translation by a model without positions."""


@dataclass
class Cuts:
    """Counts lines that were cut: longer than the model takes, or with a translation that reached its length limit."""

    lines: int = 0
    sources: list[int] = field(default_factory=list)
    """Numbers of the lines, counted from 0, that were cut before they were translated."""
    translations: int = 0
    """The number of lines with a translation that was cut."""
    most_source_tokens: int = 0
    limits_reached: set[int] = field(default_factory=set)
    """The length limits of those translations, in tokens."""

    def log(self) -> None:
        """Log a warning for each kind of cut that happened."""
        if self.sources:
            message = "%d of %d lines are longer than the model's %d tokens and were cut"
            _log.warning(message, len(self.sources), self.lines, self.most_source_tokens)
        if self.translations:
            least, most = min(self.limits_reached), max(self.limits_reached)
            tokens = f"{most}" if least == most else f"{least} to {most}"
            message = "%d of %d translations had not ended after %s tokens, the most allowed, and were cut there"
            _log.warning(message, self.translations, self.lines, tokens)

    def fit_sources(
        self, lines: Sequence[str], encode: Callable[[Sequence[str]], Sequence[Sequence[T]]], limit: int
    ) -> list[list[T]]:
        """Return each line's tokens, cut to `limit` with the end mark last, and count the lines that were cut."""
        most_characters = limit * CHARACTERS_PER_TOKEN
        sources = encode([line[:most_characters] for line in lines])
        for number, (source, line) in enumerate(zip(sources, lines, strict=True), start=self.lines):
            if len(source) > limit or len(line) > most_characters:
                self.sources.append(number)
        self.lines += len(lines)
        self.most_source_tokens = limit
        return [list(s) if len(s) <= limit else [*s[: limit - 1], s[-1]] for s in sources]

    def count_translations(self, results: Sequence[Sequence[Hypothesis]], limits: Sequence[int]) -> None:
        """Count the lines with a translation that was cut at the line's limit."""
        cut = [limit for n_best, limit in zip(results, limits, strict=True) if any(h.cut for h in n_best)]
        self.translations += len(cut)
        self.limits_reached.update(cut)


@contextmanager
def counted_cuts(cuts: Cuts | None = None) -> Iterator[Cuts]:
    """Yield the caller's `Cuts`, or a new one that is logged at the end."""
    if cuts is not None:
        yield cuts
        return
    cuts = Cuts()
    yield cuts
    cuts.log()


LENGTH_FACTOR = 3
"""A translation has at most this many times the tokens of its source, as in Marian. Without a limit, one sentence in a
thousand that loops to the last position can cost a point of BLEU (docs/earlier.md) and much time."""
LENGTH_STEP = 16
"""The source's length is first rounded up to a multiple of this. A single word may need many tokens, and lines of
similar length can then be translated together."""


def longest_of_any(options: DecodingOptions, positions: int) -> int:
    """Return the most tokens of any translation by a model with that many positions (or UNLIMITED)."""
    if options.max_length is None:
        return positions if positions < UNLIMITED else DEFAULT_LENGTH
    return min(options.max_length, positions)


def longest_of_each(options: DecodingOptions, positions: int, sources: Sequence[Sequence[object]]) -> list[int]:
    """Return the most tokens of each source's translation; the sources include their end marks."""
    most = longest_of_any(options, positions)
    return [min(most, LENGTH_FACTOR * LENGTH_STEP * -(-len(source) // LENGTH_STEP)) for source in sources]


def by_limit(numbers: Iterable[int], limits: Sequence[int]) -> list[tuple[int, list[int]]]:
    """Group numbers of lines by their length limit, the largest limit first."""
    groups: dict[int, list[int]] = {}
    for number in numbers:
        groups.setdefault(limits[number], []).append(number)
    return sorted(groups.items(), reverse=True)


# --- engines and models -------------------------------------------------------------------------------------------


class Translator(Protocol):
    """An engine with a model loaded."""

    max_source_tokens: int
    """Longer source lines are cut to this many tokens, end mark included."""

    @property
    def languages(self) -> Languages: ...

    def translate(
        self, lines: Sequence[str], options: DecodingOptions, cuts: Cuts | None = None
    ) -> list[list[Hypothesis]]:
        """Translate lines and return each line's n-best list, in order; a blank line's is `[EMPTY]`.

        A list is shorter than n_best if the search finds fewer hypotheses. Lines that had to be cut are counted in
        `cuts`, or logged if that is None.
        """
        ...


class State(Protocol):
    """A model's state between decoding steps, for R = B * beam_size rows; row = sentence * beam_size + beam."""

    def reorder(self, rows: Tensor) -> None:
        """Continue row i from the old row rows[i] (R,); rows stay within their sentence."""
        ...

    def keep(self, sentences: Tensor) -> None:
        """Drop all sentences but these (B',), ascending."""
        ...


class Decodable(Protocol):
    """A torch model that beam.py can decode.

    A model with a limit also has `max_positions`, the most steps and source tokens that it can take.
    """

    @property
    def pad_id(self) -> int: ...

    @property
    def eos_id(self) -> int: ...

    def start(self, source: Tensor, student: Any = None, beam_size: int = 1) -> Any:
        """Encode source (B, S), int64, padded with pad_id; returns a `State` of B * beam_size rows."""
        ...

    def step(self, state: Any, tokens: Tensor) -> Tensor:
        """Feed one token a row (R,), pad_id the first time; returns float32 logits (R, V), a fresh tensor."""
        ...
