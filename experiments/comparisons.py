"""Comparisons of a study's outputs, as data that is enough to compute them again.

An output is the translations of the test set by one model with one search, named "seq-kd e2d2 beam 5" (row, model, beam
size). STUDY/translations.jsonl.xz holds their texts, STUDY/significance.json the comparisons with their results.
"""

from __future__ import annotations

import hashlib
import json
import lzma
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from polystill.errors import UserError
from polystill.evaluation.resampling import (
    Counts,
    Difference,
    TrainingNoise,
    corpus_metrics,
    difference,
    mean_score,
    training_noise,
)
from polystill.storage import write_atomic

SIGNIFICANCE, TRANSLATIONS = "significance.json", "translations.jsonl.xz"
Training = tuple[str, ...]
"""The outputs whose scores are averaged."""
Trainings = tuple[Training, ...]
"""Of one recipe, by seed."""
Differences = dict[str, Difference]
"""By metric."""


def output_name(row: str, model: str, beam: int) -> str:
    return f"{row} {model} beam {beam}"


@dataclass(frozen=True)
class Side:
    """One side of a comparison."""

    trainings: Trainings
    seeds: tuple[Trainings, ...] = ()
    """Recipes like this one that were trained with several seeds: their scores tell how much one training varies."""
    independent: int = 1
    """A training of this side is the mean of so many that `seeds` has as single ones."""


@dataclass(frozen=True)
class Comparison:
    """The second side against the first one."""

    first: Side
    second: Side
    paired: bool = False
    """Both sides are the same trainings, such as greedily and with beam search: only their differences vary."""

    def names(self) -> list[str]:
        """All outputs that it needs."""
        sides = [trainings for side in (self.first, self.second) for trainings in (side.trainings, *side.seeds)]
        return list(dict.fromkeys(name for trainings in sides for training in trainings for name in training))

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Comparison:
        def side(part: dict[str, Any]) -> Side:
            seeds = tuple(_trainings(each) for each in part["seeds"])
            return Side(_trainings(part["trainings"]), seeds, part["independent"])

        return cls(side(values["first"]), side(values["second"]), values["paired"])


def _trainings(values: Sequence[Sequence[str]]) -> Trainings:
    return tuple(tuple(training) for training in values)


class Texts:
    """Outputs of one test set; what the metrics count of each is counted once."""

    def __init__(self, references: Sequence[str], language: str, read: Callable[[str], Sequence[str]]) -> None:
        """`read` gives the lines of an output."""
        self.references, self.language, self._read = list(references), language, read
        self._metrics = corpus_metrics(references, language)
        self._counts: dict[tuple[str, str], Counts] = {}
        self._digests: dict[str, str] = {}

    def lines(self, output: str) -> list[str]:
        """Raises:
        UserError: they are not as many as the references.
        """
        lines = list(self._read(output))
        if len(lines) != len(self.references):
            raise UserError(f"{output}: {len(lines)} translations, but there are {len(self.references)} references")
        return lines

    def scores(self, output: str) -> dict[str, float]:
        """By metric."""
        return {name: self._score(name, (output,)) for name in self._metrics}

    def compare(self, comparison: Comparison) -> Differences:
        """The difference in each metric, with its interval over sentences and, where seeds tell, trainings."""
        return {name: self._difference(name, comparison) for name in self._metrics}

    def _difference(self, name: str, comparison: Comparison) -> Difference:
        first, second = (self._arm(name, side.trainings) for side in (comparison.first, comparison.second))
        return difference(self._metrics[name], first, second, self._noise(name, comparison))

    def _noise(self, name: str, comparison: Comparison) -> tuple[TrainingNoise | None, TrainingNoise | None]:
        first, second = comparison.first, comparison.second
        if comparison.paired:
            pairs = zip(first.seeds, second.seeds, strict=True)
            gaps = [
                [self._score(name, b) - self._score(name, a) for a, b in zip(before, after, strict=True)]
                for before, after in pairs
            ]
            return None, training_noise(gaps)
        return self._noise_of(name, first), self._noise_of(name, second)

    def _noise_of(self, name: str, side: Side) -> TrainingNoise | None:
        noise = training_noise([self._score(name, training) for training in trainings] for trainings in side.seeds)
        if noise is None:
            return None
        return TrainingNoise(noise.deviation / side.independent**0.5, noise.freedom)

    def _score(self, name: str, training: Training) -> float:
        return mean_score(self._metrics[name], self._arm(name, (training,)))

    def _arm(self, name: str, trainings: Trainings) -> list[list[Counts]]:
        return [[self._count(name, output) for output in training] for training in trainings]

    def _count(self, name: str, output: str) -> Counts:
        if (name, output) not in self._counts:
            self._counts[name, output] = self._metrics[name].counts(self.lines(output))
        return self._counts[name, output]

    def sha256(self, comparison: Comparison) -> str:
        """Of all texts that a comparison depends on."""
        texts = [self.language, self.references, [self._digest(name) for name in comparison.names()]]
        return hashlib.sha256(json.dumps(texts, ensure_ascii=False).encode()).hexdigest()

    def _digest(self, output: str) -> str:
        if output not in self._digests:
            self._digests[output] = hashlib.sha256("\n".join(self.lines(output)).encode()).hexdigest()
        return self._digests[output]


# --- files ------------------------------------------------------------------------------------------------------------


class Known:
    """STUDY/significance.json: comparisons with their results; computed once for the same texts."""

    def __init__(self, folder: Path, compute: bool) -> None:
        """Without `compute`, comparisons that are not known yet have no results."""
        self._path, self._compute = folder / SIGNIFICANCE, compute
        self._known: dict[tuple[Comparison, str], Differences] = {}
        self._used: dict[tuple[Comparison, str], Differences] = {}
        for comparison, sha256, differences in read_significance(self._path) if self._path.is_file() else ():
            self._known[comparison, sha256] = differences

    def differences(self, texts: Texts, comparison: Comparison) -> Differences:
        """Empty where they may not be computed."""
        key = (comparison, texts.sha256(comparison))
        if key not in self._known:
            if not self._compute:
                return {}
            self._known[key] = texts.compare(comparison)
        self._used[key] = self._known[key]
        return self._used[key]

    def write(self) -> None:
        """Write what was asked for, without what is out of date."""
        content = [
            {
                **asdict(comparison),
                "sha256": sha256,
                "differences": {name: asdict(found) for name, found in differences.items()},
            }
            for (comparison, sha256), differences in self._used.items()
        ]
        write_atomic(self._path, json.dumps({"format": 1, "comparisons": content}, indent=1) + "\n")


def read_significance(path: Path) -> list[tuple[Comparison, str, Differences]]:
    """The comparisons of a significance.json, the checksums of their texts, and their results.

    Raises:
        UserError: the file is damaged.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["comparisons"]
        return [
            (
                Comparison.from_json(entry),
                entry["sha256"],
                {name: Difference(**found) for name, found in entry["differences"].items()},
            )
            for entry in entries
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: damaged ({error}); remove it, and it is computed again") from None


def write_translations(path: Path, texts: Texts, outputs: Sequence[str]) -> None:
    """One JSON array a line, xz-compressed: first "reference" and the outputs' names, then sentence by sentence.

    Translations of one sentence stand side by side, which makes the file small.
    """
    columns = [texts.references, *(texts.lines(name) for name in outputs)]
    rows = [["reference", *outputs], *(list(row) for row in zip(*columns, strict=True))]
    content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_atomic(path, lzma.compress(content.encode(), preset=9 | lzma.PRESET_EXTREME))


def read_translations(path: Path, language: str) -> Texts:
    """Raises:
    UserError: the file is damaged.
    """
    try:
        with lzma.open(path, "rt", encoding="utf-8", newline="\n") as file:
            names, *rows = (json.loads(line) for line in file)
        columns = dict(zip(names, zip(*rows, strict=True), strict=True))
        references = columns.pop("reference")
    except (OSError, EOFError, lzma.LZMAError, ValueError, KeyError) as error:
        raise UserError(f"{path}: damaged ({error}); restore it from a copy") from None
    return Texts(references, language, columns.__getitem__)
