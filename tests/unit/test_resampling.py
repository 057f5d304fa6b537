"""Intervals and p-values: sacreBLEU's scores and p-values, and errors as rare as promised where nothing differs."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from polystill.decoding.metrics import bleu_metric
from polystill.evaluation.resampling import (
    LIMITS,
    MARGIN,
    Counts,
    Difference,
    TrainingNoise,
    corpus_metrics,
    difference,
    draws,
    mean_score,
    randomisation_p,
    resampled_scores,
    training_noise,
)

WORDS = [f"word{i}" for i in range(50)]


def spoiled(references: list[str], share: float, generator: random.Random) -> list[str]:
    return [" ".join(w if generator.random() > share else "x" for w in line.split()) for line in references]


def corpus(sentences: int, seed: int = 1) -> tuple[list[str], random.Random]:
    generator = random.Random(seed)
    return [" ".join(generator.choices(WORDS, k=generator.randint(1, 20))) for _ in range(sentences)], generator


def library_metrics(references: list[str], language: str) -> dict[str, Any]:
    from sacrebleu import CHRF

    settings: dict[str, Any] = {"references": [references]}
    lowercase = bleu_metric(language, lowercase=True, **settings)
    return {"bleu": bleu_metric(language, **settings), "bleu_lc": lowercase, "chrf": CHRF(**settings)}


# --- scores -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["de", "zh", "ja"])
def test_scores_are_sacrebleus(language: str) -> None:
    references, generator = corpus(40)
    pinyin = ["一只狗跑得很快。", "Ein Hund, sagt Anna!", ""]
    systems = [
        *(spoiled(references, share, generator) + pinyin for share in (0.0, 0.1, 0.5, 0.9)),
        [""] * 43,
        ["x"] * 43,
        ["Word1 word2 Y z"] * 43,  # some orders without a match
        *([line.split()[0] if line else "a b" for line in references + pinyin],),  # too short for all orders
    ]
    references += pinyin
    metrics = corpus_metrics(references, language, lowercase=True)
    for name, library in library_metrics(references, language).items():
        for lines in systems:
            expected = library.corpus_score(lines, None).score
            assert mean_score(metrics[name], [[metrics[name].counts(lines)]]) == pytest.approx(expected, abs=1e-9), name


def test_every_resample_is_scored_as_a_corpus() -> None:
    """Resamples are scored all at once: each is what sacreBLEU says of a corpus with those sentences."""
    references, generator = corpus(30)
    lines = spoiled(references, 0.3, generator)
    for name, metric in corpus_metrics(references).items():
        library = library_metrics(references, "")[name]
        counts = metric.counts(lines)
        scores = resampled_scores(metric, counts[:, None], resamples=20)[:, 0]
        drawn = np.concatenate(list(draws(30, 20)))
        for weights, score in zip(drawn, scores, strict=True):
            chosen = [i for i, n in enumerate(weights) for _ in range(int(n))]
            texts = [lines[i] for i in chosen], [[references[i] for i in chosen]]
            assert library.corpus_score(*texts).score == pytest.approx(score)


# --- p-values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shares", [(0.3, 0.25), (0.3, 0.3), (0.3, 0.1)])
def test_p_values_are_sacrebleus(shares: tuple[float, float]) -> None:
    from sacrebleu.significance import PairedTest

    references, generator = corpus(100)
    first, second = (spoiled(references, share, generator) for share in shares)
    library = library_metrics(references, "")
    for name, metric in corpus_metrics(references).items():
        test = PairedTest([("a", first), ("b", second)], {"m": library[name]}, None, test_type="ar", n_samples=2500)
        results = test()[1]
        (expected,) = (scores[1] for title, scores in results.items() if title != "System")
        p = randomisation_p(metric, [[metric.counts(first)]], [[metric.counts(second)]], trials=2500)
        assert p == expected.p_value  # type: ignore[union-attr]


def test_one_other_sentence_is_no_significant_difference() -> None:
    """All trials differ as much as what was observed. sacreBLEU counts none of them: p would be 1 / (trials + 1)."""
    references, _ = corpus(50)
    second = [*references[:-1], "x"]
    for metric in corpus_metrics(references).values():
        first, other = [[metric.counts(references)]], [[metric.counts(second)]]
        assert randomisation_p(metric, first, other, trials=100) == 1
        assert randomisation_p(metric, first, first, trials=100) == 1


# --- no difference is called one no more often than promised ----------------------------------------------------------

VARIANTS, SENTENCES = 6, 400


@pytest.fixture(scope="module")
def variants() -> dict[str, Counts]:
    """By metric: the counts of better and worse translations of the same sentences, [S, variants, K]."""
    references, generator = corpus(SENTENCES, seed=7)
    texts = [spoiled(references, 0.15 + 0.1 * i, generator) for i in range(VARIANTS)]
    return {
        name: np.stack([metric.counts(lines) for lines in texts], axis=1)
        for name, metric in corpus_metrics(references).items()
    }


def output(counts: Counts, sentences: Any, skill: float, generator: np.random.Generator) -> Counts:
    """One system's translations of these sentences: the more skill, the more often the better ones."""
    chances = np.exp(-skill * np.arange(VARIANTS))
    choices = generator.choice(VARIANTS, size=len(sentences), p=chances / chances.sum())
    return counts[sentences, choices]


@pytest.mark.parametrize("name", ["bleu", "chrf"])
def test_two_equal_systems_rarely_differ(variants: dict[str, Counts], name: str) -> None:
    """Pairs of systems of one skill on test sets of their own: of 1,000 pairs at most 6 % are called different."""
    metric, generator = corpus_metrics(["x"])[name], np.random.default_rng(1)
    called = []
    for _ in range(4):  # of 4,000, which are seldom far from what the method does in the long run
        tests = [generator.integers(SENTENCES, size=SENTENCES) for _ in range(1000)]
        first, second = (
            np.stack([output(variants[name], sentences, 0.3, generator) for sentences in tests], axis=1)
            for _ in range(2)
        )
        spread = resampled_scores(metric, second, 500) - resampled_scores(metric, first, 500)
        low, high = np.quantile(spread, LIMITS, axis=0)
        called += [Difference(0.0, 0.0, *limits).better is not None for limits in zip(low, high, strict=True)]
    assert 0.04 < np.mean(called) <= 0.06


@pytest.mark.parametrize("trainings", [1, 3])
def test_two_equal_recipes_rarely_differ(variants: dict[str, Counts], trainings: int) -> None:
    """Recipes whose trainings vary in skill, as much as sentences do; two further recipes tell how much."""
    metric, generator = corpus_metrics(["x"])["bleu"], np.random.default_rng(2)

    def recipe(sentences: Any, number: int) -> list[list[Counts]]:
        skills = generator.normal(0.3, 0.15, size=number)
        return [[output(variants["bleu"], sentences, skill, generator)] for skill in skills]

    def scores(arm: list[list[Counts]]) -> list[float]:
        return [mean_score(metric, [training]) for training in arm]

    called = sentences_only = 0
    for _ in range(1000):
        sentences = generator.integers(SENTENCES, size=150)
        arms = [recipe(sentences, trainings) for _ in range(2)]
        others = [recipe(sentences, 3) for _ in range(2)]
        noise = training_noise([scores(arm) for arm in (*arms, *others)])
        called += difference(metric, arms[0], arms[1], (noise, noise), resamples=200, trials=1).better is not None
        sentences_only += difference(metric, arms[0], arms[1], resamples=200, trials=1).better is not None
    assert called <= 60
    assert sentences_only > 150  # which is why trainings count


# --- trainings --------------------------------------------------------------------------------------------------------


def test_noise_of_trainings_is_pooled_within_recipes() -> None:
    noise = training_noise([[10.0, 12.0], [30.0, 31.0, 32.0], [50.0]])
    assert noise is not None and noise.freedom == 3
    assert noise.deviation == pytest.approx(((2 + 2) / 3) ** 0.5)
    assert training_noise([[1.0], [2.0]]) is None


def test_without_luck_of_sentences_it_is_a_t_interval() -> None:
    """All sentences are alike, so that resampling changes nothing: what is left are two means of three trainings."""
    references = ["a b c d e f"] * 50
    metric = corpus_metrics(references)["bleu"]
    arms = [[[metric.counts([line] * 50)] for line in lines] for lines in (["a b c d x f"] * 3, ["a b c d e x"] * 3)]
    noise = TrainingNoise(0.5, 60)
    found = difference(metric, arms[0], arms[1], (noise, noise))
    half = 2.0 * 0.5 * (2 / 3) ** 0.5  # t of 60 degrees of freedom: 2.00
    assert found.high - found.value == pytest.approx(half, rel=0.05)
    assert found.value - found.low == pytest.approx(half, rel=0.05)
    assert found.p is None


def test_members_are_averaged_on_the_same_sentences() -> None:
    references, generator = corpus(60)
    metric = corpus_metrics(references)["chrf"]
    members = [[metric.counts(spoiled(references, share, generator)) for share in (0.2, 0.3)] for _ in range(2)]
    found = difference(metric, [members[0]], [members[1]], resamples=200, trials=50)
    means = [np.mean([mean_score(metric, [[one]]) for one in arm]) for arm in members]
    assert (found.first, found.second) == pytest.approx(tuple(means))
    assert found.low < found.value < found.high and found.p is not None
    assert difference(metric, [members[0]], [members[1]], resamples=200, trials=50) == found


@pytest.mark.parametrize(
    ("low", "high", "better", "as_good", "verdict"),
    [
        (0.1, 0.5, True, True, "better"),
        (-0.5, -0.1, False, None, "worse"),
        (-1.5, -0.4, False, False, "worse"),
        (-0.2, 0.5, None, True, "as good"),
        (-0.4, 0.5, None, None, "not clear"),
        (0.0, 0.0, None, True, "as good"),
    ],
)
def test_verdicts_follow_from_the_interval(
    low: float, high: float, better: bool | None, as_good: bool | None, verdict: str
) -> None:
    assert MARGIN == 0.3
    found = Difference(30.0, 30.0 + (low + high) / 2, low, high)
    assert (found.better, found.as_good, found.verdict) == (better, as_good, verdict)
