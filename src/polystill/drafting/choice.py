"""Sizes and lengths of a training by the size of its text: rules of thumb, each with where it comes from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from polystill.config import TokenizerSettings
from polystill.data.tokenizer import train_tokenizer
from polystill.errors import UserError


class Shape(NamedTuple):
    """A teacher and its family. The smallest is that of recipes/quickstart.yaml; the others are presets."""

    model: dict[str, Any]
    students: dict[str, Any]
    learning_rate: float
    below_words: float
    """Text with fewer target words than this takes this shape."""


SHAPES = (
    Shape(
        {"encoder_layers": 3, "decoder_layers": 3, "d_model": 128, "ffn_dim": 256, "heads": 4},
        {"encoder": [1, 3], "decoder": [1, 3], "rule": "decoder<=encoder"},
        3e-3,
        100_000,
    ),
    Shape({"preset": "tiny"}, {"encoder": [2, 6], "decoder": [1, 2], "rule": "any"}, 1e-3, 20e6),
    Shape({"preset": "base-memory"}, {"encoder": [2, 6], "decoder": [1, 4], "rule": "any"}, 7e-4, 200e6),
    Shape({"preset": "base"}, {"encoder": [2, 6], "decoder": [1, 2], "rule": "any"}, 5e-4, float("inf")),
)

# Vocabulary: the least characters of text, both sides together, for that many pieces, of which 256 are bytes.
_VOCABULARIES = {
    **{32_000: 600e6, 16_000: 60e6, 8_000: 12e6, 4_000: 3e6, 2_000: 1e6},
    **{1_000: 200e3, 700: 50e3, 450: 9e3, 350: 3e3, 300: 0},
}
_BATCH_TOKENS = {8192: 50e6, 4096: 20e6, 2048: 5e6, 1024: 0}
_EPOCHS = {3: 200e6, 5: 50e6, 10: 20e6, 20: 5e6, 30: 600e3, 40: 0}
_FEWEST_UPDATES, _MOST_UPDATES = 1_000, 200_000
_FEWEST_LIMITED = 20
"""Updates where the time is limited."""
STAGES = {"smallest": 0.25, "largest": 0.25, "distillation": 0.4, "mutual": 0.1}
"""Shares of the updates (docs/aio-kd.md)."""
_MOST_VALIDATIONS, _FEWEST_VALIDATIONS = 20, 2
_VALIDATIONS_SHARE = 0.2
"""Of a limited time, at most."""
_SMALL_TEXT = 1e6
"""Characters of a text on which vocabularies are quickly tried."""
FEWEST_EPOCHS = 3
"""A shape that a limit of time gives fewer epochs than this is too large for it."""


@dataclass(frozen=True)
class Choice:
    """All that `polystill init` chooses, but for the text."""

    vocabulary: int
    character_coverage: float | None
    shape: Shape
    dropout: float
    batch_tokens: int
    epochs: float
    updates: int = _FEWEST_UPDATES
    """Of all stages together."""
    validations: int = _MOST_VALIDATIONS
    """Beside the one at the end of each stage."""

    @property
    def stage_updates(self) -> dict[str, int]:
        """The updates of each of `STAGES`."""
        updates = {name: max(1, round(self.updates * share)) for name, share in STAGES.items()}
        return {**updates, "distillation": updates["distillation"] + self.updates - sum(updates.values())}

    @property
    def validate_every(self) -> int:
        return max(1, self.updates // self.validations)

    @property
    def warmup(self) -> int:
        return max(1, min(4_000, self.updates // 10))

    def with_epochs(self, batches: float) -> Choice:
        """The same with as many updates as its epochs need, of so many batches each."""
        updates = min(_MOST_UPDATES, max(_FEWEST_UPDATES, round(self.epochs * batches)))
        return replace(self, updates=updates, epochs=updates / batches)

    def seconds(self, update: float, validation: float) -> float:
        """What the training takes at so many seconds an update, on average, and a validation."""
        return self.updates * update + (self.validations + len(STAGES)) * validation

    def within(self, seconds: float, update: float, validation: float, batches: float) -> Choice:
        """The same with as many updates and validations as these seconds have room for, or a least number of each."""
        possible = int(_VALIDATIONS_SHARE * seconds / validation) - len(STAGES)
        fewer = replace(self, validations=max(_FEWEST_VALIDATIONS, min(self.validations, possible)))
        updates = int((seconds - fewer.seconds(0, validation)) / update)
        updates = max(_FEWEST_LIMITED, min(self.updates, updates))
        return replace(fewer, updates=updates, epochs=updates / batches)


def choose(words: float, characters: int, alphabet: int) -> Choice:
    """What suits a text of so many target words, and characters on both sides, of an alphabet of so many."""
    coverage = None if alphabet <= 2_000 else 0.9995  # the rare ones of thousands of signs would take the vocabulary
    fitting = [size for size in _VOCABULARIES if size >= 256 + 1.5 * alphabet] or [32_000]
    vocabulary = max(_by_size(_VOCABULARIES, characters), min(fitting))
    shape = next(shape for shape in SHAPES if words < shape.below_words)
    dropout = 0.3 if words < 100e3 else 0.2 if words < 600e3 else 0.1
    return Choice(vocabulary, coverage, shape, dropout, _by_size(_BATCH_TOKENS, words), _by_size(_EPOCHS, words))


def _by_size(table: dict[int, float], size: float) -> int:
    return next(value for value, least in table.items() if size >= least)


def with_vocabulary_that_fits(choice: Choice, lines: Iterable[str], characters: int) -> Choice:
    """The same with a vocabulary that SentencePiece can learn from the text; matters for a small one.

    Raises:
        UserError: there is none.
    """
    if characters >= _SMALL_TEXT:
        return choice
    text = list(lines)
    for size in [size for size in _VOCABULARIES if size <= choice.vocabulary]:
        settings = TokenizerSettings(vocabulary_size=size, character_coverage=choice.character_coverage)
        try:
            train_tokenizer(text, settings, "en", "de")
        except UserError as error:
            problem = error
        else:
            return replace(choice, vocabulary=size)
    raise problem


def smaller_shape(choice: Choice) -> Choice | None:
    """The same with the next smaller shape; None for the smallest."""
    place = SHAPES.index(choice.shape)
    return replace(choice, shape=SHAPES[place - 1]) if place else None
