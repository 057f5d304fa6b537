"""Export in polystill's own sparse form: a pruned student in as few bytes as it has weights for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from polystill.errors import UserError, nearest
from polystill.export.card import Record, write_card
from polystill.export.description import check_replaceable, describe, write_info
from polystill.models.elastic import ElasticModel
from polystill.models.folder import load_model, load_model_with_tokenizer, weights_path, write_sparse_model
from polystill.models.pruning import nonzero_parameters
from polystill.models.sparse import VALUES
from polystill.storage import atomic_folder


def export_sparse(
    student: Path, out: Path, quantization: str | None = None, record: Record | None = None
) -> dict[str, Any]:
    """Write a student's weights without their zeros, as float32 (exact), float16 or int8 with a scale a row.

    The folder is read back before it appears.

    Raises:
        UserError: as `export_student`.
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
        difference = _largest_difference(model, written)
        assert values != "float32" or difference == 0
        info = {
            **describe(student, model, tokenizer, "sparse"),
            "quantization": values,
            "nonzero_parameters": nonzero_parameters(written),
            "weights_bytes": weights_path(temporary).stat().st_size,
            "verification": {"largest_difference": difference},
        }
        write_info(temporary, info)
        write_card(temporary, info, record)
    return info


def _largest_difference(model: ElasticModel, written: ElasticModel) -> float:
    """Of a weight to the one that was written."""
    pairs = zip(model.parameters(), written.parameters(), strict=True)
    return max(float((ours - theirs).abs().max().detach()) for ours, theirs in pairs)
