"""Differences in corpus BLEU and chrF against the luck of the test sentences and of the training.

S: sentences of a test set; K: counts that a metric keeps of a sentence; B: resamples, or trials.

An *arm* is one side of a comparison: by training (seed) the outputs whose scores are averaged, one for a single
student, several for a family. All resampling is seeded with sacreBLEU's seed, so results repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from polystill.decoding.metrics import bleu_metric

if TYPE_CHECKING:
    from sacrebleu import BLEU, CHRF

RESAMPLES = 10_000
"""Of the sentences, for an interval."""
TRIALS = 10_000
"""Of the approximate randomisation, for a p-value."""
SEED = 12345
"""sacreBLEU's."""
LIMITS = (0.025, 0.975)
"""An interval holds what lies between these quantiles: 95 %, two-sided."""
MARGIN = 0.3
"""In BLEU and in chrF: a system that is surely less than this behind another one is as good as it."""
METRICS = ("bleu", "chrf")

Floats = NDArray[np.float64]
Counts = Floats
"""Counts by sentence, [S, K]."""
Arm = Sequence[Sequence[Counts]]
"""By training, by output."""

_PIECE = 2**21
"""Entries of a matrix of draws that are in memory at a time."""


# --- corpus scores ----------------------------------------------------------------------------------------------------


class CorpusMetric:
    """BLEU or chrF2 on one set of references, for many sums of the same sentences' counts at once."""

    def __init__(self, metric: BLEU | CHRF, compute: Callable[[Floats], Floats]) -> None:
        """`metric` holds the references; `compute` makes scores [...] of summed counts [..., K]."""
        self._metric, self.scores = metric, compute

    @property
    def signature(self) -> str:
        """sacreBLEU's, with the seed, the trials of the randomisation and the resamples of the bootstrap."""
        signature = self._metric.get_signature()
        for key, value in (("seed", SEED), ("ar", TRIALS), ("bs", RESAMPLES)):
            signature.update(key, value)
        return signature.format()

    def counts(self, translations: Sequence[str]) -> Counts:
        """What the metric counts of each translation and its reference."""
        return np.array(self._metric._extract_corpus_statistics(list(translations), None), dtype=np.float64)


def corpus_metrics(
    references: Sequence[str], target_language: str = "", *, lowercase: bool = False, names: Sequence[str] = METRICS
) -> dict[str, CorpusMetric]:
    """The metrics of `decoding.metrics.corpus_scores` with these references, and with `lowercase` also `bleu_lc`."""
    from sacrebleu import CHRF

    all_references = [list(references)]
    metrics: dict[str, CorpusMetric] = {}
    if "bleu" in names:
        metrics["bleu"] = CorpusMetric(bleu_metric(target_language, references=all_references), bleu_of)
        if lowercase:
            cased_down = bleu_metric(target_language, lowercase=True, references=all_references)
            metrics["bleu_lc"] = CorpusMetric(cased_down, bleu_of)
    if "chrf" in names:
        metrics["chrf"] = CorpusMetric(CHRF(references=all_references), chrf_of)
    return metrics


def bleu_of(sums: Floats) -> Floats:
    """BLEU with exponential smoothing, [...], of the lengths of output and reference, matches and totals [..., 10]."""
    length, reference_length = sums[..., 0], sums[..., 1]
    matches, totals = sums[..., 2:6], sums[..., 6:10]
    smoothed = np.where(matches > 0, matches, 0.5 ** np.cumsum(matches == 0, axis=-1))
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_log = np.log(smoothed / totals).mean(axis=-1)
        scores = 100 * np.exp(np.minimum(0, 1 - reference_length / length) + mean_log)
    return np.where((totals > 0).all(axis=-1) & (matches > 0).any(axis=-1), scores, 0.0)


def chrf_of(sums: Floats) -> Floats:
    """chrF2, [...], of the counts of output, reference and matches for each of 6 orders, [..., 18]."""
    outputs, references, matches = (sums[..., i::3] for i in range(3))
    counted = (outputs > 0) & (references > 0)
    orders = np.maximum(1, counted.sum(axis=-1))
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(counted, matches / outputs, 0).sum(axis=-1) / orders
        recall = np.where(counted, matches / references, 0).sum(axis=-1) / orders
        scores = 100 * 5 * precision * recall / (4 * precision + recall)
    return np.where(precision + recall > 0, scores, 0.0)


# --- resampling -------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=8)
def _drawn(sentences: int, rows: int, piece: int) -> NDArray[np.uint8]:
    generator = np.random.default_rng([SEED, piece])
    drawn = (generator.integers(sentences, size=sentences) for _ in range(rows))
    return np.stack([np.bincount(each, minlength=sentences).astype(np.uint8) for each in drawn])


def draws(sentences: int, resamples: int) -> Iterator[Floats]:
    """How often each resample draws each sentence, with replacement, [B, S], in pieces; the same for all outputs."""
    rows = max(1, _PIECE // sentences)
    for piece, start in enumerate(range(0, resamples, rows)):
        yield _drawn(sentences, min(rows, resamples - start), piece).astype(np.float64)


def _swaps(sentences: int, trials: int) -> Iterator[Floats]:
    """Which sentences each trial leaves where they are, [B, S], in pieces: 0 or 1, as sacreBLEU draws them."""
    generator = np.random.default_rng(SEED)
    rows = max(32, _PIECE // sentences // 32 * 32)  # NumPy draws 32 truth values at once
    for start in range(0, trials, rows):
        size = (min(rows, trials - start), sentences)
        yield generator.integers(2, size=size, dtype=np.bool_).astype(np.float64)


def _means(metric: CorpusMetric, sums: Floats) -> Floats:
    """The mean score over outputs, [B], of their summed counts [B, outputs, K]."""
    return metric.scores(sums).mean(axis=1)


def _stacked(outputs: Iterable[Counts]) -> Floats:
    """[S, outputs, K]"""
    return np.stack(list(outputs), axis=1)


def _weighted(weights: Floats, stacked: Floats) -> Floats:
    sentences, outputs, size = stacked.shape
    return (weights @ stacked.reshape(sentences, -1)).reshape(len(weights), outputs, size)


def _of_arm(arm: Arm) -> Floats:
    return _stacked(output for training in arm for output in training)


def mean_score(metric: CorpusMetric, arm: Arm) -> float:
    """The score of an arm: the mean over all its trainings' outputs."""
    return float(_means(metric, _of_arm(arm).sum(axis=0, keepdims=True))[0])


def resampled_scores(metric: CorpusMetric, outputs: Floats, resamples: int = RESAMPLES) -> Floats:
    """The score of each output [S, outputs, K] on each resample of the sentences, [B, outputs] (Koehn 2004).

    A resample draws the same sentences for all outputs.
    """
    weights = draws(len(outputs), resamples)
    return np.concatenate([metric.scores(_weighted(each, outputs)) for each in weights])


def randomisation_p(metric: CorpusMetric, first: Arm, second: Arm, trials: int = TRIALS) -> float:
    """The two-sided p-value of a difference by approximate randomisation over sentences (Riezler & Maxwell 2005).

    Each trial exchanges the two arms' outputs in about half of the sentences. The trials are sacreBLEU's (`ar`). Unlike
    there, one whose difference is exactly the observed one counts as well (Noreen 1989): without it, systems that
    differ in a single sentence would differ significantly. Both arms have as many outputs.
    """
    one, other = _of_arm(first), _of_arm(second)
    assert one.shape == other.shape
    total = one.sum(axis=0) + other.sum(axis=0)
    observed = abs(mean_score(metric, first) - mean_score(metric, second))
    larger = 0
    for kept in _swaps(len(one), trials):
        sums = other.sum(axis=0) + _weighted(kept, one - other)  # [B, outputs, K]
        found = np.abs(_means(metric, sums) - _means(metric, total - sums))
        larger += int((found >= observed - 1e-9).sum())
    return (larger + 1) / (trials + 1)


# --- training noise ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainingNoise:
    """How much the score of one training varies with its seed."""

    deviation: float
    """Standard deviation."""
    freedom: int
    """Degrees of freedom that it was estimated with, at least one."""


def training_noise(groups: Iterable[Sequence[float]]) -> TrainingNoise | None:
    """The pooled standard deviation within groups of scores. A group has those of one recipe with several seeds.

    None where no group has two.
    """
    squares, freedom = 0.0, 0
    for scores in groups:
        squares += float(np.var(scores)) * len(scores)
        freedom += len(scores) - 1
    return TrainingNoise((squares / freedom) ** 0.5, freedom) if freedom else None


def _luck_of_training(noise: TrainingNoise | None, trainings: int, resamples: int, stream: int) -> Floats:
    """A deviation of an arm's mean for each resample, [B]: Student's t, since `noise` is an estimate itself."""
    if noise is None:
        return np.zeros(resamples)
    deviates = np.random.default_rng([SEED + 1, stream]).standard_t(noise.freedom, size=resamples)
    return noise.deviation / trainings**0.5 * deviates


# --- differences ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """The second arm's score minus the first one's, with its two-sided 95 % interval."""

    first: float
    second: float
    low: float
    high: float
    p: float | None = None
    """Of approximate randomisation over sentences, where each arm is one training."""

    @property
    def value(self) -> float:
        return self.second - self.first

    @property
    def better(self) -> bool | None:
        """Whether the second arm is better. None where the interval leaves both open."""
        return True if self.low > 0 else False if self.high < 0 else None

    @property
    def as_good(self) -> bool | None:
        """Whether the second arm is less than MARGIN behind. None where the interval leaves both open."""
        return True if self.low > -MARGIN else False if self.high < -MARGIN else None

    @property
    def verdict(self) -> str:
        """ "better", "worse", "as good" or "not clear"."""
        if self.better is not None:
            return "better" if self.better else "worse"
        return "as good" if self.as_good else "not clear"


def difference(
    metric: CorpusMetric,
    first: Arm,
    second: Arm,
    noise: tuple[TrainingNoise | None, TrainingNoise | None] = (None, None),
    *,
    resamples: int = RESAMPLES,
    trials: int = TRIALS,
) -> Difference:
    """The difference of two arms, and its interval over sentences and trainings.

    A hierarchical bootstrap, by percentiles. Each resample draws the sentences with replacement, the same for both arms
    and all trainings (Koehn 2004). To the difference of the arms' scores on them it adds the luck of the training: for
    each arm a deviate of Student's t, with the degrees of freedom of the arm's `noise`, times its standard deviation
    over the root of the arm's number of trainings. Two or three trainings are too few to be resampled themselves, so
    this level is parametric (Davison & Hinkley 1997, chapters 2 and 3). Without noise of training it is Koehn's paired
    bootstrap; without noise of sentences, a t interval of the two means.

    Without `noise` the interval says nothing of other trainings than these.
    """
    one, other = (resampled_scores(metric, _of_arm(arm), resamples).mean(axis=1) for arm in (first, second))
    spread = other - one
    for stream, (arm, of_arm) in enumerate(zip((first, second), noise, strict=True)):
        spread = spread + _luck_of_training(of_arm, len(arm), resamples, stream)
    low, high = (float(limit) for limit in np.quantile(spread, LIMITS))
    alone = len(first) == len(second) == 1 and len(first[0]) == len(second[0])
    p = randomisation_p(metric, first, second, trials) if alone else None
    return Difference(mean_score(metric, first), mean_score(metric, second), low, high, p)
