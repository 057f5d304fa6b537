"""Reproducible choices: Zipf-like weighted picks from one stream of random numbers.

Only `random.Random.random` is used: its sequence is the same in every Python version.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Sequence
from itertools import accumulate
from random import Random
from typing import Generic, TypeVar

T = TypeVar("T")

ZIPF_EXPONENT = 0.9
ZIPF_OFFSET = 3


def zipf_weight(rank: int) -> int:
    """The weight of the entry at this rank, from 0 on; an integer, so that sums are exact everywhere."""
    weight: float = 1_000_000 / (rank + ZIPF_OFFSET) ** ZIPF_EXPONENT
    return round(weight)


class Weighted(Generic[T]):
    """Items with weights; by default the earlier in the list, the more frequent."""

    __slots__ = ("_cumulative", "_total", "items")

    def __init__(self, items: Iterable[T], weights: Sequence[int] | None = None) -> None:
        self.items = list(items)
        weights = weights or [zipf_weight(rank) for rank in range(len(self.items))]
        assert len(weights) == len(self.items)
        self._cumulative = list(accumulate(weights))
        self._total = self._cumulative[-1] if self.items else 0

    def __bool__(self) -> bool:
        return bool(self.items)

    def at(self, fraction: float) -> T:
        """The item at this fraction, in [0, 1), of the total weight."""
        return self.items[bisect(self._cumulative, fraction * self._total)]


class Dice:
    """The one source of randomness of a corpus."""

    __slots__ = ("random",)

    def __init__(self, seed: str) -> None:
        self.random = Random(seed).random

    def chance(self, probability: float) -> bool:
        return self.random() < probability

    def pick(self, choices: Weighted[T]) -> T:
        return choices.at(self.random())

    def among(self, choices: Sequence[T]) -> T:
        """Each of them equally often."""
        return choices[int(self.random() * len(choices))]

    def between(self, low: int, high: int) -> int:
        """A whole number, both ends included."""
        return low + int(self.random() * (high - low + 1))
