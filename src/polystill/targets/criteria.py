"""Score a sentence's candidates, so that the best can be chosen: by the reference, by each other, or from outside.

`Nearness` is Seq-Inter's (Kim & Rush 2016, section 3.3): sim(candidate, reference).

`MinimumBayesRisk` needs no reference. A candidate's score is its expected utility, with the other candidates in the
reference's place (Kumar & Byrne 2004; Eikema & Aziz 2020, with the n-best list for the samples):

    score(c) = 1/N · Σ sim(c, c') over the N candidates c'

`GivenScores` are a quality estimation's, read from a file or from a command.
"""

from __future__ import annotations

import math
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

from polystill.data.normalization import on_one_line
from polystill.decoding.metrics import bleu_metric
from polystill.errors import UserError
from polystill.sources.lines import read_lines
from polystill.targets.store import Entry, TargetSet, shortened
from polystill.targets.teachers import fingerprint

Measure = Literal["bleu", "chrf"]
By = Literal["bleu", "chrf", "mbr-bleu", "mbr-chrf"]
Similarity = Callable[[str, str], float]


def similarity(measure: Measure, target_language: str) -> tuple[Similarity, str]:
    """Return sim(candidate, reference), smoothed sentence BLEU or chrF, and its sacreBLEU signature."""
    from sacrebleu import CHRF

    metric: Any = bleu_metric(target_language, effective_order=True) if measure == "bleu" else CHRF()

    def score(candidate: str, reference: str) -> float:
        return float(metric.sentence_score(candidate, [reference]).score)

    score("a", "a")  # a metric has no signature before its first call
    return score, metric.get_signature().format()


class Criterion(ABC):
    """Scores the candidates of every entry, once each and in the order of the targets."""

    name: str
    about: dict[str, Any]
    """What decides the scores, for the plan."""
    by_reference = False
    """Whether sentences with the same source differ in their scores."""

    @abstractmethod
    def scores(self, entry: Entry, reference: str | None) -> list[float]:
        """Return each candidate's score; the highest is the best. `reference` is None unless `by_reference`."""


class Nearness(Criterion):
    """The similarity to the sentence's reference."""

    by_reference = True

    def __init__(self, measure: Measure, target_language: str) -> None:
        self.name = measure
        self._similar, signature = similarity(measure, target_language)
        self.about = {"by": measure, "signature": signature}

    def scores(self, entry: Entry, reference: str | None) -> list[float]:
        assert reference is not None
        return [self._similar(candidate.text, reference) for candidate in entry.hypotheses]


class MinimumBayesRisk(Criterion):
    """The mean similarity to all candidates of the sentence."""

    def __init__(self, measure: Measure, target_language: str) -> None:
        self.name = f"mbr-{measure}"
        similar, signature = similarity(measure, target_language)
        self.about = {"by": self.name, "signature": signature}
        self._utilities = pairwise_chrf if measure == "chrf" else lambda texts: pairwise(texts, similar)

    def scores(self, entry: Entry, reference: str | None) -> list[float]:
        utilities = self._utilities([candidate.text for candidate in entry.hypotheses])
        return [math.fsum(row) / len(row) for row in utilities]


def pairwise(texts: Sequence[str], similar: Similarity) -> list[list[float]]:
    """Return sim(a, b) for every text a (rows) and b (columns)."""
    return [[similar(a, b) for b in texts] for a in texts]


def pairwise_chrf(texts: Sequence[str]) -> list[list[float]]:
    """Return what `pairwise` does with sacreBLEU's chrF, about 15 times as fast."""
    import fastchrf

    (matrix,) = fastchrf.pairwise_chrf([list(texts)], [list(texts)])
    return matrix


# --- scores from outside ------------------------------------------------------------------------------------------


class GivenScores(Criterion):
    """Scores that are read: a line for each candidate of each entry, in the order of the targets.

    A line is a number, or source, tab, translation, tab, number; the texts are those of `pairs_of`.
    """

    def __init__(self, name: str, about: dict[str, Any], lines: Iterator[bytes]) -> None:
        self.name, self.about = name, {"by": "scores", **about}
        self._lines = enumerate(lines, start=1)
        self._number = 0

    def scores(self, entry: Entry, reference: str | None) -> list[float]:
        return [self._next(pair) for pair in pairs_of(entry)]

    def _next(self, pair: tuple[str, str]) -> float:
        self._number, line = next(self._lines, (self._number + 1, None))
        where = f"{self.name}: line {self._number}"
        if line is None:
            raise UserError(f"{where}: missing; expected a score for every candidate: here of {shortened(pair[1])}")
        *given, number = line.decode("utf-8", "replace").rstrip("\r\n").split("\t")
        if given and tuple(given) != pair:
            shown, expected = (" ⇥ ".join(map(shortened, texts)) for texts in (given, pair))
            raise UserError(f"{where}: the score of {shown}; expected that of {expected}")
        with suppress(ValueError):
            if math.isfinite(score := float(number)):
                return score
        raise UserError(f"{where}: {shortened(number)} is not a score; expected a number")

    def __enter__(self) -> GivenScores:
        return self

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        """Raise UserError where there are more scores than candidates."""
        if failed is None and next(self._lines, None) is not None:
            raise UserError(f"{self.name}: more lines than the {self._number:,} candidates")


def pairs_of(entry: Entry) -> list[tuple[str, str]]:
    """Return (source, candidate) of all candidates, with spaces for tabs and all that a program may end lines at."""
    source = on_one_line(entry.source)
    return [(source, on_one_line(candidate.text)) for candidate in entry.hypotheses]


def run_scorer(command: str, targets: TargetSet, folder: Path) -> Path:
    """Give a shell command a line `source⇥candidate` for each candidate, and return the file of what it printed.

    Raises:
        UserError: it ends with an error.
    """
    pairs, scores = folder / "pairs.tsv", folder / "scores.tsv"
    with pairs.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines("\t".join(pair) + "\n" for entry in targets.entries() for pair in pairs_of(entry))
    with pairs.open("rb") as stdin, scores.open("wb") as stdout:
        status = subprocess.run(command, shell=True, stdin=stdin, stdout=stdout).returncode
    if status:
        raise UserError(f"--scorer {command!r}: ended with exit status {status}; its message is above")
    return scores


@contextmanager
def open_criterion(
    targets: TargetSet, by: By | None, scores: Path | None = None, scorer: str | None = None
) -> Iterator[Criterion]:
    """Open what candidates are chosen by: at most one of a measure (BLEU by default), a file of scores and a command.

    Raises:
        UserError: more than one is given, the file cannot be read, the targets have no references to be near to, or
            the command fails.
    """
    if sum(given is not None for given in (by, scores, scorer)) > 1:
        raise UserError("give one of --by, --scores and --scorer")
    if scores is not None:
        if not scores.is_file():
            what = "no file; it is read twice, so write the scores into one" if scores.exists() else "no such file"
            raise UserError(f"--scores {scores}: {what}")
        with GivenScores(f"--scores {scores}", {"sha256": fingerprint(scores)}, read_lines(scores)) as given:
            yield given
    elif scorer is not None:
        with TemporaryDirectory(prefix="polystill-") as folder:
            lines = read_lines(run_scorer(scorer, targets, Path(folder)))
            with GivenScores(f"--scorer {scorer!r}", {"command": scorer}, lines) as given:
                yield given
    else:
        yield _by_measure(by or "bleu", targets)


def _by_measure(by: By, targets: TargetSet) -> Criterion:
    kind, measure = (MinimumBayesRisk if by.startswith("mbr-") else Nearness), by.removeprefix("mbr-")
    if kind is Nearness and targets.source["kind"] != "corpus":
        raise UserError(
            f"{targets.folder}: was generated from text without references, so there is nothing to compare with; "
            "choose with --by mbr-chrf, which needs none"
        )
    assert measure in get_args(Measure)
    return kind(measure, targets.languages[1])  # type: ignore[arg-type]
