"""Comparison of an export with the model that it was made from, and how far they may differ in each precision.

Shapes: T target positions, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from polystill.data.tokenizer import Tokenizer
from polystill.decoding.translator import Cuts, DecodingOptions, Hypothesis, Translator
from polystill.errors import UserError
from polystill.export.format import Export, Verified
from polystill.models.elastic import ElasticModel

EXACT = 1e-3
"""The most that a token's log-probability may differ in float32, in nats."""
NEAR_TIE = 2 * EXACT
"""The most by which the source model may prefer its own token to the export's, in float32, in nats: if scores differ by
EXACT, two tokens that are closer than this may change places."""
ROUNDED = 0.3
"""The most that they may differ on average in any other precision. A wrong conversion is off by whole nats."""
VERIFIED_TOKENS = 64
"""The number of tokens of each translation that are compared."""


class Agreement(NamedTuple):
    """Comparison of an export with its source model, on greedy translations."""

    sentences: int
    identical: float
    """Share of sentences translated with the same tokens."""
    mean_difference: float
    """Mean absolute difference of the log-probabilities that both give to the tokens of one translation."""
    largest_difference: float
    largest_preference: float
    """The most by which the source model prefers its own token to the export's, at the first token that differs; 0 if
    all translations are the same."""


def agreement(preferences: Sequence[float | None], differences: Sequence[float]) -> Agreement:
    """Sum up one `preference` for each sentence and one difference for each token. NaN counts as infinite."""
    parted = [value for value in preferences if value is not None]
    differences = [value if math.isfinite(value) else math.inf for value in differences]
    return Agreement(
        sentences=len(preferences),
        identical=1 - len(parted) / max(len(preferences), 1),
        mean_difference=math.fsum(differences) / max(len(differences), 1),
        largest_difference=largest(differences),
        largest_preference=largest(parted),
    )


def largest(values: Iterable[float]) -> float:
    """The largest value, at least 0; infinite if one is NaN, which max() would pass over."""
    return max([0.0, *(value if math.isfinite(value) else math.inf for value in values)])


def compare(export: Export, verified: Verified) -> Agreement:
    """Compare what an export does with what its source model does, and refuse it if that is something else.

    Raises:
        UserError: as `judge`.
    """
    rows = zip(export.sources, export.targets, verified.translations, strict=True)
    result = agreement([preference(export.model, *row) for row in rows], verified.differences)
    judge(result, export.precision, export.out)
    return result


def judge(result: Agreement, precision: str, out: Path) -> None:
    """Refuse an export that translates differently from its source model.

    Raises:
        UserError: the difference is more than the precision explains, or nothing was compared.
    """
    if not result.sentences:
        raise UserError(f"{out}: not written: there is no sentence to verify it with")
    if precision == "float32":
        wrong = not (result.largest_difference <= EXACT and result.largest_preference <= NEAR_TIE)
        allowed = f"at most {EXACT} in float32"
    else:
        wrong, allowed = not result.mean_difference <= ROUNDED, f"{ROUNDED} on average in {precision}"
    if wrong:
        raise UserError(
            f"{out}: not written: the exported model does not translate like its source: log-probabilities differ by "
            f"{result.mean_difference:.3g} on average and {result.largest_difference:.3g} at most "
            f"({allowed} is expected), {result.identical:.0%} of {result.sentences} translations are identical, and "
            f"where they first differ, the source prefers its own token by up to {result.largest_preference:.3g}"
        )


def greedy(translator: Translator, lines: Sequence[str]) -> list[Hypothesis]:
    """Greedy translations of at most VERIFIED_TOKENS tokens, with token scores."""
    options = DecodingOptions(beam_size=1, max_length=VERIFIED_TOKENS, token_scores=True)
    cuts = Cuts()  # not logged: beginnings are enough to compare
    return [hypotheses[0] for hypotheses in translator.translate(lines, options, cuts)]


def ids_of(hypotheses: Sequence[Hypothesis], tokenizer: Tokenizer) -> list[list[int]]:
    """Hypotheses with token scores as ids, with the end mark if it was reached."""
    rows = piece_ids([hypothesis.tokens for hypothesis in hypotheses], tokenizer)
    for row, hypothesis in zip(rows, hypotheses, strict=True):
        if len(hypothesis.token_scores or []) > len(hypothesis.tokens):
            row.append(tokenizer.eos_id)
    return rows


def piece_ids(rows: Sequence[Sequence[str]], tokenizer: Tokenizer) -> list[list[int]]:
    """The ids of pieces; that of `<unk>` for unknown ones."""
    ids = {piece: i for i, piece in enumerate(tokenizer.pieces)}
    return [[ids.get(piece, tokenizer.unk_id) for piece in row] for row in rows]


def preference(model: ElasticModel, source: Sequence[int], ours: Sequence[int], theirs: Sequence[int]) -> float | None:
    """By how much the source model prefers its own token to the export's, in nats, at the first token that differs.

    After that token the two may rightly write different sentences. None if no token differs; a translation that was cut
    may be the beginning of the other.
    """
    for i, tokens in enumerate(zip(ours, theirs, strict=False)):
        if tokens[0] != tokens[1]:
            our_score, their_score = (forced_log_probs(model, source, [*ours[:i], token])[i] for token in tokens)
            return our_score - their_score
    return None


@torch.inference_mode()
def forced_log_probs(model: ElasticModel, source: Sequence[int], target: Sequence[int]) -> list[float]:
    """The source model's log-probability of each of the target's ids, of the end mark too if it is among them."""
    target_in = torch.tensor([[model.pad_id, *target[:-1]]])
    return log_probs(model(torch.tensor([list(source)]), target_in)[0], target, model.pad_id)


@torch.inference_mode()
def log_probs(logits_TV: Tensor, target: Sequence[int], pad_id: int) -> list[float]:
    """The log-probability of each of the target's ids; sets the logits of `<pad>`, which is never written, to -inf."""
    logits_TV[:, pad_id] = -math.inf
    return logits_TV.log_softmax(-1).gather(1, torch.tensor(target)[:, None])[:, 0].tolist()


def score_differences(ours: Iterable[float], theirs: Iterable[float], strict: bool = True) -> list[float]:
    """Absolute differences of two translations' log-probabilities, token by token."""
    return [abs(a - b) for a, b in zip(ours, theirs, strict=strict)]
