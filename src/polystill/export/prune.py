"""Magnitude pruning of a model's folder in one shot, without retraining (`training.pruning` retrains).

The result is in the sparse form of `models.sparse`: exact, and as small as its remaining weights allow. It is a model's
folder like any other: to translate with, to export, and to start training from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from polystill.decoding.ctranslate2 import read_info
from polystill.errors import UserError
from polystill.export.driver import describe_export
from polystill.export.format import write_info
from polystill.models.folder import load_model_with_tokenizer, weights_path, write_sparse_model
from polystill.models.pruning import MatrixCount, Scope, check_sparsity, counts, nonzero_parameters, prune
from polystill.runs.family import FAMILY, family_space, read_family, supernet_folder
from polystill.runs.places import Kind, find_folder, open_place
from polystill.storage import atomic_folder, need_new_folder, write_json


@dataclass(frozen=True)
class PrunedFolder:
    """The result of pruning a folder; bytes are those of the weights' files."""

    matrices: list[MatrixCount]
    parameters: int
    nonzero_parameters: int
    bytes_before: int
    bytes_after: int


def prune_folder(folder: Path, out: Path, sparsity: float, scope: Scope) -> PrunedFolder:
    """Prune a student's or a family's folder (or a run's family) into a new folder; a family stays a family.

    Raises:
        UserError: sparsity is not in [0, 1), `out` holds something, or `folder` no model or a rounded one.
    """
    check_sparsity(sparsity, "--sparsity")
    need_new_folder(out)
    folder = find_folder(folder)
    _check_exact(folder)
    is_family = open_place(folder).kind is Kind.FAMILY
    names = [members.largest.supernet for members in family_space(folder).supernets] if is_family else [""]
    with atomic_folder(out) as temporary:
        pruned = [_prune(supernet_folder(folder, name), temporary / name, sparsity, scope) for name in names]
        whole = PrunedFolder(
            matrices=[
                replace(row, name=f"{name}-{row.name}" if name else row.name)
                for name, one in zip(names, pruned, strict=True)
                for row in one.matrices
            ],
            parameters=sum(one.parameters for one in pruned),
            nonzero_parameters=sum(one.nonzero_parameters for one in pruned),
            bytes_before=sum(one.bytes_before for one in pruned),
            bytes_after=sum(one.bytes_after for one in pruned),
        )
        if is_family:
            write_json(temporary / FAMILY, {**read_family(folder), "sparsity": _sparsity(whole.matrices)})
    return whole


def _prune(folder: Path, out: Path, sparsity: float, scope: Scope) -> PrunedFolder:
    """Prune one model's folder into `out`, which is made if it is missing."""
    model, tokenizer = load_model_with_tokenizer(folder)
    prune(model, sparsity, scope)
    rows = counts(model)
    out.mkdir(exist_ok=True)
    write_sparse_model(out, model, tokenizer)
    info = {
        **describe_export(folder, model, tokenizer, "sparse"),
        "quantization": "float32",
        "nonzero_parameters": nonzero_parameters(model),
        "weights_bytes": weights_path(out).stat().st_size,
        "pruning": {"sparsity": _sparsity(rows), "scope": scope},
    }
    write_info(out, info)
    return PrunedFolder(
        matrices=rows,
        parameters=info["parameters"],
        nonzero_parameters=info["nonzero_parameters"],
        bytes_before=weights_path(folder).stat().st_size,
        bytes_after=info["weights_bytes"],
    )


def _sparsity(rows: Sequence[MatrixCount]) -> float:
    return round(1 - sum(row.nonzero for row in rows) / sum(row.weights for row in rows), 6)


def _check_exact(folder: Path) -> None:
    """Raises UserError where weights were rounded: what is pruned of them would be a larger float32 file."""
    quantization = read_info(folder).get("quantization", "float32")
    if quantization != "float32":
        raise UserError(
            f"{folder}: its weights are {quantization}; prune the folder that they were made of, and then export that "
            f"(--to sparse --quantization {quantization})"
        )
