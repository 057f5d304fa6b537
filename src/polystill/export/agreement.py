"""How an export is compared with its source model, and when the difference is more than its precision explains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from polystill.data.tokenizer import Tokenizer
from polystill.decoding.beam import TorchTranslator
from polystill.decoding.contract import Cuts, DecodingOptions
from polystill.errors import UserError
from polystill.models.elastic import ElasticModel

EXACT = 1e-3
"""Most that a token's log-probability may differ in float32, in nats."""
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


def agreement(same: Sequence[bool], differences: Sequence[float]) -> Agreement:
    """From one truth a sentence and one difference a token."""
    mean = math.fsum(differences) / max(len(differences), 1)
    return Agreement(len(same), sum(same) / max(len(same), 1), mean, max(differences, default=0.0))


def judge(found: Agreement, precision: str, out: Path) -> None:
    """Raises:
    UserError: the export translates otherwise than its source, by more than the precision explains.
    """
    if precision == "float32":
        wrong, allowed = not found.largest_difference <= EXACT, f"at most {EXACT} in float32"
    else:
        wrong, allowed = not found.mean_difference <= ROUNDED, f"{ROUNDED} on average in {precision}"
    if wrong:
        raise UserError(
            f"{out}: not written: the exported model does not translate like its source: log-probabilities differ by "
            f"{found.mean_difference:.3g} on average and {found.largest_difference:.3g} at most "
            f"({allowed} is expected), {found.identical:.0%} of {found.sentences} translations are identical"
        )


def greedy_tokens(model: ElasticModel, tokenizer: Tokenizer, lines: Sequence[str]) -> list[list[str]]:
    """The source model's greedy translations, as pieces, of VERIFIED_TOKENS at most."""
    options = DecodingOptions(beam_size=1, max_length=VERIFIED_TOKENS)
    cuts = Cuts()  # not logged: beginnings are enough to compare
    return [found[0].tokens for found in TorchTranslator(model, tokenizer).translate(lines, options, cuts)]


@torch.inference_mode()
def forced_log_probs(model: ElasticModel, source: Sequence[int], target: Sequence[int]) -> list[float]:
    """What the source model gives to each of the target's ids (its end mark, where it has one, among them)."""
    target_in = torch.tensor([[model.pad_id, *target[:-1]]])
    logits = model(torch.tensor([list(source)]), target_in)[0]
    logits[:, model.pad_id] = -math.inf
    return logits.log_softmax(-1).gather(1, torch.tensor(target)[:, None])[:, 0].tolist()
