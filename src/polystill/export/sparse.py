"""Export in polystill's own sparse form: a pruned student in as few bytes as it has weights for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polystill.data.tokenizer import Tokenizer
from polystill.errors import UserError, nearest
from polystill.export.agreement import Agreement, agreement, forced_log_probs, greedy_ids, judge, largest, preference
from polystill.export.card import Record, search_of, write_card
from polystill.export.description import check_replaceable, describe_export, lines_to_verify, write_info
from polystill.models.elastic import ElasticModel
from polystill.models.folder import load_model, load_model_with_tokenizer, weights_path, write_sparse_model
from polystill.models.pruning import nonzero_parameters
from polystill.models.sparse import VALUES
from polystill.storage import atomic_folder


def export_sparse(
    student: Path,
    out: Path,
    quantization: str | None = None,
    lines: Sequence[str] | None = None,
    record: Record | None = None,
) -> dict[str, Any]:
    """Write a student's weights without their zeros, as float32 (exact), float16 or int8 with a scale a row.

    The folder is read back, and translates like the student, before it appears.

    Raises:
        UserError: as `export_folder`.
    """
    values = quantization or "float32"
    if values not in VALUES:
        known = list(VALUES)
        raise UserError(f"--quantization {values}: unknown{nearest(values, known)}; --to sparse has {' '.join(known)}")
    check_replaceable(out)
    model, tokenizer = load_model_with_tokenizer(student)
    with atomic_folder(out) as temporary:
        write_sparse_model(temporary, model, tokenizer, values)
        written = load_model(temporary)
        found = verify(model, written, tokenizer, lines_to_verify(model, tokenizer, lines))
        judge(found, values, out)
        difference = _largest_difference(model, written)
        if values == "float32" and difference:
            raise UserError(f"{out}: not written: weights read back differ by up to {difference:.3g}; float32 is exact")
        info = {
            **describe_export(student, model, tokenizer, "sparse"),
            "quantization": values,
            **search_of(record),
            "nonzero_parameters": nonzero_parameters(written),
            "weights_bytes": weights_path(temporary).stat().st_size,
            "verification": {**found._asdict(), "largest_weight_difference": difference},
        }
        write_info(temporary, info)
        write_card(temporary, info, record)
    return info


def verify(model: ElasticModel, written: ElasticModel, tokenizer: Tokenizer, lines: Sequence[str]) -> Agreement:
    """Translate with both, and let both score what the first one wrote."""
    ours, theirs = (greedy_ids(each, tokenizer, lines) for each in (model, written))
    preferences, differences = [], []
    for source, own, other in zip(tokenizer.encode_source(lines), ours, theirs, strict=True):
        scores = (forced_log_probs(each, source, own) for each in (model, written))
        differences += [abs(a - b) for a, b in zip(*scores, strict=True)]
        preferences.append(preference(model, source, own, other))
    return agreement(preferences, differences)


def _largest_difference(model: ElasticModel, written: ElasticModel) -> float:
    """Of a weight to the one that was written."""
    pairs = zip(model.parameters(), written.parameters(), strict=True)
    return largest(float((ours - theirs).abs().max().detach()) for ours, theirs in pairs)
