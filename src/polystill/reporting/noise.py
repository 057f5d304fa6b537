"""Which differences are noise: paired bootstrap over the stored translations, only of the pairs that a report shows."""

from __future__ import annotations

from collections.abc import Sequence

from polystill.evaluation.significance import compare
from polystill.reporting.points import Point

LEVEL = 0.05
SAMPLES = 1000
NOISE = f"noise (paired bootstrap of {SAMPLES} samples, p ≥ {LEVEL:g})"


class Noise:
    """Compares points of one test set in BLEU, each pair once."""

    def __init__(self, references: Sequence[str] | None, target_language: str) -> None:
        self._references, self._language = references, target_language
        self._p_values: dict[tuple[int, int], float] = {}

    def is_noise(self, one: Point, other: Point) -> bool:
        """Whether the difference may be luck; False where translations are missing to say so."""
        return self.is_noise_at(self.p_value(one, other))

    @staticmethod
    def is_noise_at(p_value: float) -> bool:
        return p_value >= LEVEL

    def p_value(self, one: Point, other: Point) -> float:
        """Of the difference; 0 where translations are missing."""
        return self.p_values(one, [other]).get(0, 0.0)

    def p_values(self, one: Point, others: Sequence[Point]) -> dict[int, float]:
        """By place in `others`; those without translations are not in it."""
        unknown = {i: other for i, other in enumerate(others) if self._key(one, other) not in self._p_values}
        lines = {i: other.family.translations(other.row) for i, other in unknown.items()}
        systems = {str(i): texts for i, texts in lines.items() if texts is not None}
        baseline = one.family.translations(one.row)
        if self._references is not None and baseline is not None and systems:
            rows = compare(
                {"one": baseline, **systems},
                self._references,
                target_language=self._language,
                samples=SAMPLES,
                metrics=("bleu",),
            )
            found = {row["system"]: row["p_value"] for row in rows if "p_value" in row}
            self._p_values |= {self._key(one, unknown[int(name)]): p for name, p in found.items()}
        keys = {i: self._key(one, other) for i, other in enumerate(others)}
        return {i: self._p_values[key] for i, key in keys.items() if key in self._p_values}

    @staticmethod
    def _key(one: Point, other: Point) -> tuple[int, int]:
        return id(one.row), id(other.row)
