"""p(mode) and perplexity of a model, by forced decoding (Kim & Rush 2016, section 5).

p(mode) is the mean over sentences of p(y|x), where y is the model's own output: the share of its probability mass on
what it says. It is far higher for a model distilled on a teacher's translations, and so greedy search then finds what
beam search finds. Perplexity is that of the references, per token. Both are of the model's own distribution: without
label smoothing, and `<pad>` has no probability, as in decoding.

Shapes: B sentences, S source positions, T target positions, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from polystill.data.batching import SCORED_BATCH_TOKENS, padded

LARGEST_LOGITS = 2**25
"""Most logits (B * T * V) of one batch: 128 MiB."""

Ids = Sequence[int]


def p_mode(model: Any, sources: Sequence[Ids], outputs: Sequence[Ids | None]) -> float:
    """The mean of p(output | source), from 0 to 1, over at least one sentence.

    sources: token ids with end marks. outputs: the model's own translations, with end marks, or None for one that was
    cut before its end mark: it is no sentence and has probability 0.
    """
    whole = [(source, output) for source, output in zip(sources, outputs, strict=True) if output is not None]
    scores = log_probabilities(model, [source for source, _ in whole], [output for _, output in whole])
    return math.fsum(math.exp(math.fsum(row)) for row in scores) / len(sources)


def perplexity(model: Any, sources: Sequence[Ids], references: Sequence[Ids]) -> float:
    """exp of the mean negative log-likelihood per reference token (and end mark, where the ids have one)."""
    scores = [score for row in log_probabilities(model, sources, references) for score in row]
    return math.exp(-math.fsum(scores) / len(scores))


@torch.inference_mode()
def log_probabilities(model: Any, sources: Sequence[Ids], targets: Sequence[Ids]) -> list[list[float]]:
    """Natural logarithms of p(token | source, tokens before it) for every token of every target.

    model: called as model(source, target_in), it returns logits (B, T, V); it has pad_id and output_bias (V,). Neither
    side may be empty or longer than the model's positions.
    """
    assert len(sources) == len(targets) and not model.training
    device = next(model.parameters()).device
    scores: list[list[float]] = [[]] * len(targets)
    for numbers in _batches(sources, targets, len(model.output_bias)):
        source = torch.from_numpy(padded([sources[i] for i in numbers], model.pad_id)).to(device)
        target = torch.from_numpy(padded([targets[i] for i in numbers], model.pad_id)).to(device)
        target_in = torch.cat([torch.full_like(target[:, :1], model.pad_id), target[:, :-1]], 1)
        pad = torch.tensor(model.pad_id, device=device)
        logits = model(source, target_in).float().index_fill(2, pad, -math.inf)
        at_target = logits.gather(2, target[..., None])[..., 0]
        log_p = (at_target - logits.logsumexp(2)).cpu().double()
        for row, i in enumerate(numbers):
            scores[i] = log_p[row, : len(targets[i])].tolist()
    return scores


def _batches(sources: Sequence[Ids], targets: Sequence[Ids], vocabulary_size: int) -> Iterator[list[int]]:
    """Numbers of the pairs, the longest first."""
    most = max(1, min(SCORED_BATCH_TOKENS, LARGEST_LOGITS // vocabulary_size))
    lengths = [max(len(source), len(target)) for source, target in zip(sources, targets, strict=True)]
    left = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    while left:
        rows = max(1, most // lengths[left[0]])
        yield left[:rows]
        left = left[rows:]
