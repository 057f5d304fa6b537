"""How an export is compared with its source model, and when the difference is more than its precision explains."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from polystill.data.tokenizer import Tokenizer
from polystill.decoding.beam import TorchTranslator
from polystill.decoding.contract import Cuts, DecodingOptions, Hypothesis, Translator
from polystill.errors import UserError
from polystill.models.elastic import ElasticModel

EXACT = 1e-3
"""Most that a token's log-probability may differ in float32, in nats."""
NEAR_TIE = 2 * EXACT
"""Most by which the source model may prefer its own token to the export's, in float32, in nats: where scores differ by
EXACT, two tokens that are closer than this may change places."""
ROUNDED = 0.3
"""Most that it may differ on average in any other precision. A wrong conversion is off by whole nats."""
VERIFIED_TOKENS = 64
"""Tokens of a translation that are looked at."""


class Agreement(NamedTuple):
    """How an export compares with its source, on greedy translations."""

    sentences: int
    identical: float
    """Share of sentences translated with the same tokens."""
    mean_difference: float
    """Mean absolute difference of the log-probabilities that both give to the tokens of one translation."""
    largest_difference: float
    largest_preference: float
    """By how much more the source model likes its own token than the export's, where the two first part; 0 where none
    do."""


def agreement(preferences: Sequence[float | None], differences: Sequence[float]) -> Agreement:
    """From one `preference` a sentence and one difference a token. What is no number counts as infinite."""
    parted = [found for found in preferences if found is not None]
    differences = [value if math.isfinite(value) else math.inf for value in differences]
    return Agreement(
        sentences=len(preferences),
        identical=1 - len(parted) / max(len(preferences), 1),
        mean_difference=math.fsum(differences) / max(len(differences), 1),
        largest_difference=largest(differences),
        largest_preference=largest(parted),
    )


def largest(values: Iterable[float]) -> float:
    """The largest of them, at least 0; infinite where one is no number, which max() would pass over."""
    return max([0.0, *(value if math.isfinite(value) else math.inf for value in values)])


def judge(found: Agreement, precision: str, out: Path) -> None:
    """Raises:
    UserError: the export translates otherwise than its source, by more than the precision explains; or nothing was
        compared.
    """
    if not found.sentences:
        raise UserError(f"{out}: not written: there is no sentence to verify it with")
    if precision == "float32":
        wrong = not (found.largest_difference <= EXACT and found.largest_preference <= NEAR_TIE)
        allowed = f"at most {EXACT} in float32"
    else:
        wrong, allowed = not found.mean_difference <= ROUNDED, f"{ROUNDED} on average in {precision}"
    if wrong:
        raise UserError(
            f"{out}: not written: the exported model does not translate like its source: log-probabilities differ by "
            f"{found.mean_difference:.3g} on average and {found.largest_difference:.3g} at most "
            f"({allowed} is expected), {found.identical:.0%} of {found.sentences} translations are identical, and "
            f"where they part the source prefers its own token by up to {found.largest_preference:.3g}"
        )


def greedy(translator: Translator, lines: Sequence[str]) -> list[Hypothesis]:
    """Greedy translations of VERIFIED_TOKENS at most, with token scores."""
    options = DecodingOptions(beam_size=1, max_length=VERIFIED_TOKENS, token_scores=True)
    cuts = Cuts()  # not logged: beginnings are enough to compare
    return [found[0] for found in translator.translate(lines, options, cuts)]


def greedy_ids(model: ElasticModel, tokenizer: Tokenizer, lines: Sequence[str]) -> list[list[int]]:
    """The source model's greedy translations as ids, with the end mark where it was reached."""
    return ids_of(greedy(TorchTranslator(model, tokenizer), lines), tokenizer)


def ids_of(found: Sequence[Hypothesis], tokenizer: Tokenizer) -> list[list[int]]:
    """Hypotheses with token scores as ids, with the end mark where it was reached."""
    ended = [len(hypothesis.token_scores or []) > len(hypothesis.tokens) for hypothesis in found]
    rows = piece_ids([hypothesis.tokens for hypothesis in found], tokenizer)
    return [[*row, tokenizer.eos_id] if has_ended else row for row, has_ended in zip(rows, ended, strict=True)]


def piece_ids(rows: Sequence[Sequence[str]], tokenizer: Tokenizer) -> list[list[int]]:
    ids = {piece: i for i, piece in enumerate(tokenizer.pieces)}
    return [[ids.get(piece, tokenizer.unk_id) for piece in row] for row in rows]


def preference(model: ElasticModel, source: Sequence[int], ours: Sequence[int], theirs: Sequence[int]) -> float | None:
    """By how much more the source model likes its own token than the export's, in nats, where the two first part.

    After that the two may write different sentences with good reason. None where they do not part; one that was cut
    may be the beginning of the other.
    """
    for i, (own, other) in enumerate(zip(ours, theirs, strict=False)):
        if own != other:
            own_score, other_score = (forced_log_probs(model, source, [*ours[:i], token])[i] for token in (own, other))
            return own_score - other_score
    return None


@torch.inference_mode()
def forced_log_probs(model: ElasticModel, source: Sequence[int], target: Sequence[int]) -> list[float]:
    """What the source model gives to each of the target's ids (its end mark, where it has one, among them)."""
    target_in = torch.tensor([[model.pad_id, *target[:-1]]])
    logits = model(torch.tensor([list(source)]), target_in)[0]
    logits[:, model.pad_id] = -math.inf
    return logits.log_softmax(-1).gather(1, torch.tensor(target)[:, None])[:, 0].tolist()
