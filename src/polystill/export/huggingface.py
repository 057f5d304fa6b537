"""Export as a Hugging Face folder: the student as extracted, with a model card, checked in transformers itself."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from polystill.data.tokenizer import Tokenizer
from polystill.errors import UserError
from polystill.export.card import Record, write_card
from polystill.export.description import check_replaceable, describe, lines_to_verify, write_info
from polystill.models.elastic import ElasticModel
from polystill.models.folder import WEIGHTS, load_transformer_with_tokenizer
from polystill.storage import atomic_folder

LARGEST_DIFFERENCE = 1e-3
"""Most that a logit of MarianMTModel may differ from ours."""


def export_huggingface(
    student: Path, out: Path, lines: Sequence[str] | None = None, record: Record | None = None
) -> dict[str, Any]:
    """Copy a student's Marian folder to `out`, with README.md and polystill.json.

    Raises:
        UserError: as `export_student`.
    """
    check_replaceable(out)
    model, tokenizer = load_transformer_with_tokenizer(student, "Hugging Face's transformers")
    with atomic_folder(out) as temporary:
        for name in ("config.json", "generation_config.json", WEIGHTS):
            if (student / name).is_file():
                shutil.copyfile(student / name, temporary / name)
        tokenizer.save(temporary)
        difference = verify(model, tokenizer, temporary, lines_to_verify(tokenizer, lines))
        if not difference <= LARGEST_DIFFERENCE:
            raise UserError(
                f"{out}: not written: transformers computes other logits than polystill (by up to {difference:.3g})"
            )
        info = {**describe(student, model, tokenizer, "hf"), "verification": {"largest_difference": difference}}
        write_info(temporary, info)
        write_card(temporary, info, record)
    return info


@torch.inference_mode()
def verify(model: ElasticModel, tokenizer: Tokenizer, folder: Path, lines: Sequence[str]) -> float:
    """The largest difference between a logit of MarianMTModel and ours; infinite if the token ids differ."""
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    theirs = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    their_tokenizer = AutoTokenizer.from_pretrained(folder)
    largest = 0.0
    for line, ids in zip(lines, tokenizer.encode_source(lines), strict=True):
        if their_tokenizer(line).input_ids != ids:
            return float("inf")
        source = torch.tensor([ids[: model.max_positions]])
        target_in = torch.cat([torch.tensor([[model.pad_id]]), source[:, :-1]], 1)
        expected = theirs(input_ids=source, decoder_input_ids=target_in).logits
        largest = max(largest, float((model(source, target_in) - expected).abs().max()))
    return largest
