"""What the user's text is like, and validation and test sets drawn from it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from polystill.config import Recipe
from polystill.data.cleaning import CleaningReport
from polystill.data.held_out import HeldOutText
from polystill.data.training_text import TrainingText, clean_training
from polystill.errors import UserError
from polystill.sources.base import SentencePair

FEWEST = 50
"""Usable pairs; from fewer nothing can be held out."""
LARGEST_SET = 1_500
"""Pairs of a drawn set. Sets of this size tell differences of about one BLEU from luck."""


@dataclass(frozen=True)
class Survey:
    """The usable text: cleaned, without duplicates."""

    report: CleaningReport
    text: TrainingText
    words: tuple[float, float]
    """Of a source and a target, on average, between spaces."""
    characters: int
    """Of both sides together."""
    alphabet: int
    """Different characters."""

    @property
    def pairs(self) -> int:
        return len(self.text)

    @property
    def target_words(self) -> float:
        """In languages without spaces two characters count as a word, as in cleaning."""
        return max(self.words[1] * self.pairs, self.characters / 2 / 12)


def survey(recipe: Recipe, scratch: Path, log: Callable[[str], None]) -> Survey:
    """Read and clean the training text of a recipe.

    Raises:
        UserError: whatever is wrong with a corpus, or too little of it can be used.
    """
    report = CleaningReport()
    try:
        text = clean_training(recipe, scratch, report, log)
    except UserError:
        _check_scripts(recipe, report)
        raise
    _check_scripts(recipe, report)
    if len(text) < FEWEST:
        problem = f"{len(text)} of {report.total:,} pairs can be used; at least {FEWEST} are needed to hold some out"
        raise UserError(f"{problem} (dropped: {report.summary()})")
    words, characters, alphabet = [0, 0], 0, set[str]()
    for pair in text.pairs():
        for i, side in enumerate(pair):
            words[i] += len(side.split())
            characters += len(side)
            alphabet.update(side)
    return Survey(report, text, (words[0] / len(text), words[1] / len(text)), characters, len(alphabet))


def _check_scripts(recipe: Recipe, report: CleaningReport) -> None:
    wrong, data = report.dropped["wrong_script"], recipe.data
    if wrong > report.total / 2:
        raise UserError(
            f"{wrong:,} of {report.total:,} pairs are not in the scripts of {data.source_language} and "
            f"{data.target_language}; are --from and --to right, or the files the other way round?"
        )


def size_of_sets(pairs: int) -> int:
    """Pairs of each drawn set: a twentieth of the text."""
    return max(5, min(LARGEST_SET, pairs // 20))


def draw(text: TrainingText, size: int, seed: str, held_out: HeldOutText) -> list[SentencePair]:
    """Draw pairs at random, none of which has a side in `held_out`, and add them to it.

    The list is shorter than `size` if the text repeats itself so much.
    """
    rows = text.rows.tolist()
    random.Random(seed).shuffle(rows)
    drawn: list[SentencePair] = []
    for row in rows:
        _, _, pair = text.store.row(row)
        if pair not in held_out:
            held_out.add(pair)
            drawn.append(pair)
        if len(drawn) == size:
            break
    return drawn
