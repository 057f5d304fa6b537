"""The best checkpoint by what networks say instead of by likelihood: BLEU of greedy translations of the validation set.

Kim & Rush (2016) choose so when they fine-tune on Seq-Inter targets, which lowers BLEU's distance and not perplexity.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from polystill.decoding.beam import TorchTranslator
from polystill.decoding.contract import Cuts, DecodingOptions
from polystill.decoding.metrics import bleu_metric
from polystill.sources.lines import read_lines
from polystill.training.session import Session
from polystill.training.validation import Validation

BATCH_TOKENS = 2048


def with_bleu(result: Validation, session: Session) -> Validation:
    """The same validation with greedy BLEU of every candidate; ranks hold the same weights and all find the same."""
    source, references = (_text(session.run.data / f"validation.{side}.txt") for side in ("source", "target"))
    metric = bleu_metric(session.recipe.data.target_language)
    options = DecodingOptions(beam_size=1, batch_tokens=BATCH_TOKENS, max_length=session.recipe.data.max_tokens)
    was_training = session.model.training
    bleu = {}
    with torch.no_grad():
        for student in session.space.candidates:
            translator = TorchTranslator(session.model, session.tokenizer, student)
            found = translator.translate(source, options, Cuts())
            bleu[student.name] = metric.corpus_score([h[0].text for h in found], [references]).score
    session.model.train(was_training)
    return replace(result, bleu=bleu)


def _text(path: Path) -> list[str]:
    return [line.decode("utf-8") for line in read_lines(path)]
