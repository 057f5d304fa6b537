"""An exported CTranslate2 folder: which student of which run, in which precision, with a shortlist or not; its size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from polystill.decoding.ctranslate2 import MODEL, check_files, read_info
from polystill.errors import UserError

_NAMED = ("name", "source_sha256", "quantization")


def describe(folder: Path) -> dict[str, Any]:
    """`model`, `precision`, `source_sha256` and `size_bytes` of an export; where it is so, `shortlist` and `model_id`.

    `source_sha256` is that of the student's weights, so it tells students of one name from different runs apart. Of a
    folder that something else than polystill made, only `size_bytes`.

    Raises:
        UserError: no CTranslate2 model is there, or a file is not the one that was exported.
    """
    check_model(folder)
    info = read_info(folder)
    check_files(folder, info, weights=True)
    size = {"size_bytes": folder_bytes(folder)}
    if any(key not in info for key in _NAMED):
        return size
    known = {"model": info["name"], "precision": info["quantization"], "source_sha256": info["source_sha256"], **size}
    known |= {"shortlist": True} if "shortlist" in info else {}
    trained = [info[key] for key in ("method", "targets") if key in info]
    return {**known, "model_id": "-".join([*trained, info["name"]])} if len(trained) == 2 else known


def check_model(folder: Path) -> None:
    """Raises:
    UserError: there is no such folder, or no CTranslate2 model in it.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: {'a file' if folder.exists() else 'no such folder'}; expected a CTranslate2 folder")
    if not (folder / MODEL).is_file():
        inside = sorted(path.parent.name for path in folder.glob(f"*/{MODEL}"))
        hint = f"; there are some inside: {' '.join(inside)}" if inside else ""
        raise UserError(f"{folder}: no CTranslate2 model here ({MODEL} is missing){hint}")


def folder_bytes(folder: Path) -> int:
    """Of the files of a model's folder; what lies in folders below is not part of the model."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
