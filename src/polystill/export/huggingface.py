"""Export as a Hugging Face folder: the student as extracted, with a model card, checked in transformers itself."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from polystill.data.tokenizer import Tokenizer
from polystill.decoding.contract import DecodingOptions
from polystill.errors import UserError
from polystill.export.agreement import Agreement, agreement, forced_log_probs, greedy_ids, judge, largest, preference
from polystill.export.card import Record, search_of, write_card
from polystill.export.description import check_replaceable, describe_export, lines_to_verify, write_info
from polystill.models.elastic import ElasticModel
from polystill.models.folder import WEIGHTS, load_transformer_with_tokenizer
from polystill.storage import atomic_folder

GENERATION = "generation_config.json"
LARGEST_DIFFERENCE = 1e-3
"""Most that a logit of MarianMTModel may differ from ours."""


def export_huggingface(
    student: Path, out: Path, lines: Sequence[str] | None = None, record: Record | None = None
) -> dict[str, Any]:
    """Copy a student's Marian folder to `out`, with README.md and polystill.json.

    Raises:
        UserError: as `export_folder`.
    """
    check_replaceable(out)
    model, tokenizer = load_transformer_with_tokenizer(student, "Hugging Face's transformers")
    with atomic_folder(out) as temporary:
        for name in ("config.json", GENERATION, WEIGHTS):
            if (student / name).is_file():
                shutil.copyfile(student / name, temporary / name)
        if record is not None and (temporary / GENERATION).is_file():
            _set_search(temporary / GENERATION, record.search)
        tokenizer.save(temporary)
        found, difference = verify(model, tokenizer, temporary, lines_to_verify(model, tokenizer, lines))
        if not difference <= LARGEST_DIFFERENCE:
            raise UserError(
                f"{out}: not written: transformers computes other logits than polystill (by up to {difference:.3g})"
            )
        judge(found, "float32", out)
        info = {**describe_export(student, model, tokenizer, "hf"), **search_of(record)}
        info["verification"] = {**found._asdict(), "largest_logit_difference": difference}
        write_info(temporary, info)
        write_card(temporary, info, record)
    return info


def _set_search(path: Path, search: DecodingOptions) -> None:
    values = json.loads(path.read_text(encoding="utf-8"))
    beam = search.beam_size > 1
    penalty = search.length_penalty if beam else 1.0  # of no use without one, and transformers would say so
    values |= {"num_beams": search.beam_size, "length_penalty": penalty, "early_stopping": beam}
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


# --- verification -------------------------------------------------------------------------------------------------


@torch.inference_mode()
def verify(model: ElasticModel, tokenizer: Tokenizer, folder: Path, lines: Sequence[str]) -> tuple[Agreement, float]:
    """Let MarianMTModel translate, and score what we wrote; with the largest difference between a logit and ours, which
    is infinite if the token ids differ."""
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    theirs = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    their_tokenizer = AutoTokenizer.from_pretrained(folder)
    preferences, differences, of_logits = [], [], []
    for line, ids, own in zip(lines, tokenizer.encode_source(lines), greedy_ids(model, tokenizer, lines), strict=True):
        source, target = torch.tensor([ids]), torch.tensor(own)
        target_in = torch.tensor([[model.pad_id, *own[:-1]]])
        logits = theirs(input_ids=source, decoder_input_ids=target_in).logits
        of_logits.append(float((model(source, target_in) - logits).abs().max()))
        if their_tokenizer(line).input_ids != ids:
            of_logits.append(math.inf)
        logits[..., model.pad_id] = -math.inf
        scores = logits[0].log_softmax(-1).gather(1, target[:, None])[:, 0].tolist()
        differences += [abs(a - b) for a, b in zip(forced_log_probs(model, ids, own), scores, strict=True)]
        preferences.append(preference(model, ids, own, _generate(theirs, source, len(own))))
    return agreement(preferences, differences), largest(of_logits)


def _generate(theirs: Any, source: Tensor, most: int) -> list[int]:
    """MarianMTModel's greedy translation, of that many tokens at most, with the end mark where it was reached."""
    greedily = {"num_beams": 1, "do_sample": False, "length_penalty": 1.0, "early_stopping": False}
    no_limits = {"max_length": None, "forced_eos_token_id": None}
    found: list[int] = theirs.generate(source, max_new_tokens=most, **greedily, **no_limits)[0].tolist()
    return found[1:]
