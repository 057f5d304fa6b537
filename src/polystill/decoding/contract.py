"""What every translation engine takes and gives, and what a torch model offers to be decoded. No torch here.

All engines search alike, by CTranslate2's rules (beam.py spells them out), so that their outputs can be compared.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from polystill.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

_log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class DecodingOptions:
    """How to search.

    Raises:
        UserError: a value is out of range, or n_best is larger than beam_size.
    """

    beam_size: int = 5
    """1 is greedy search."""
    n_best: int = 1
    """Translations wanted of each sentence, best first; at most beam_size."""
    length_penalty: float = 1.0
    """A hypothesis of n tokens, end mark included, scores log p / n ** length_penalty."""
    max_length: int = 256
    """Most tokens of a translation; the model's number of positions limits it further."""
    batch_tokens: int = 1024
    """Most source tokens (padding included) that are translated at once."""
    token_scores: bool = False
    """Also return the log-probability of every token."""

    def __post_init__(self) -> None:
        for name in ("beam_size", "n_best", "max_length", "batch_tokens"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} {getattr(self, name)}: expected at least 1")
        if self.n_best > self.beam_size:
            raise UserError(f"n_best {self.n_best} is larger than beam_size {self.beam_size}: a beam finds no more")


@dataclass(frozen=True)
class Hypothesis:
    """One translation of one sentence."""

    text: str
    tokens: list[str]
    """Pieces, end mark left out."""
    score: float
    """Log-probability divided by n ** length_penalty, where n counts the tokens and the end mark."""
    token_scores: list[float] | None = None
    """Natural logarithms, one a token, and one more for the end mark where the translation reached it."""


UNLIMITED = 1_000_000
"""max_source_tokens of a model without positions."""
EMPTY = Hypothesis("", [], 0.0)
"""The translation of a line without a word."""


def cut_sources(sources: Sequence[Sequence[T]], limit: int) -> list[list[T]]:
    """Keep the first tokens and the end mark of sources that are longer than `limit`; logs how many there were."""
    too_long = sum(len(source) > limit for source in sources)
    if too_long:
        _log.warning("%d of %d lines are longer than the model's %d tokens and were cut", too_long, len(sources), limit)
    return [list(s) if len(s) <= limit else [*s[: limit - 1], s[-1]] for s in sources]


class Translator(Protocol):
    """An engine with a model loaded."""

    max_source_tokens: int
    """Longer source lines are cut to this many tokens, end mark included."""

    def translate(self, lines: Sequence[str], options: DecodingOptions) -> list[list[Hypothesis]]:
        """Translate lines: for each, in order, its n-best list (a blank line has just `EMPTY`; a search that ends with
        fewer hypotheses returns what it has). Lines that had to be cut are counted in a logged warning."""
        ...


class State(Protocol):
    """What decoding carries from step to step, for R = B * beam_size rows; row = sentence * beam_size + beam."""

    def reorder(self, rows: Tensor) -> None:
        """Continue row i from the old row rows[i] (R,); rows stay within their sentence."""
        ...

    def keep(self, sentences: Tensor) -> None:
        """Drop all sentences but these (B',), ascending."""
        ...


class Decodable(Protocol):
    """A torch model that beam.py can decode.

    `max_positions`, where a model has it, is the most steps (and source tokens) that it can take.
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
