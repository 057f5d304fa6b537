"""What every export shares: polystill.json, which says what it was made of, and the care not to overwrite."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from polystill.data.tokenizer import Tokenizer
from polystill.decoding.ctranslate2 import INFO, read_info
from polystill.errors import UserError
from polystill.models.elastic import ElasticModel
from polystill.models.folder import parameter_count, weights_path
from polystill.storage import sha256

VERIFIED_LINES = 16
"""Sentences that an export is verified with."""


def check_replaceable(out: Path) -> None:
    """Allow a new folder, an empty one, or an earlier export.

    Raises:
        UserError: `out` is a file, or a folder with other content.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise UserError(f"{out}: is a file; give a folder to export to")
    if any(out.iterdir()) and not (out / INFO).is_file():
        raise UserError(f"{out}: not empty and no earlier export ({INFO} is missing); give a new folder")


def describe_export(student: Path, model: ElasticModel, tokenizer: Tokenizer, to: str) -> dict[str, Any]:
    """The part of polystill.json that does not depend on the format."""
    trained = {key: value for key, value in read_info(student).items() if key in ("method", "targets")}
    languages = {"source_language": tokenizer.source_language, "target_language": tokenizer.target_language}
    return {
        "format": to,
        "name": str(model.teacher),
        "architecture": model.architecture.name,
        **trained,
        **{key: value for key, value in languages.items() if value},
        "encoder_layers": model.config.encoder_layers,
        "decoder_layers": model.config.decoder_layers,
        "parameters": parameter_count(student),
        "vocabulary_size": tokenizer.vocabulary_size,
        "max_positions": model.max_positions,
        "source_sha256": sha256(weights_path(student)),
        "versions": versions("polystill", "torch", "transformers", "ctranslate2", "sentencepiece"),
    }


def write_info(folder: Path, info: dict[str, Any]) -> None:
    (folder / INFO).write_text(json.dumps(info, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def versions(*packages: str) -> dict[str, str]:
    """Versions of those packages that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def lines_to_verify(model: ElasticModel, tokenizer: Tokenizer, given: Sequence[str] | None) -> list[str]:
    """The first of the given lines that have words and that the model takes whole; where there is none, made-up ones of
    pieces from the vocabulary, the same at every call."""
    if given and (found := _usable(given, model, tokenizer)):
        return found
    generator = random.Random("verify")
    pieces = [p for p in tokenizer.pieces if not p.startswith(("<", ">>"))]
    rows = [generator.choices(pieces, k=generator.randint(3, 12)) for _ in range(2 * VERIFIED_LINES)]
    return _usable(tokenizer.decode_pieces(rows), model, tokenizer)


def _usable(lines: Sequence[str], model: ElasticModel, tokenizer: Tokenizer) -> list[str]:
    rows = tokenizer.encode_source(lines)
    fitting = [line for line, ids in zip(lines, rows, strict=True) if 1 < len(ids) <= model.max_positions]
    return [line for line in fitting if line.strip()][:VERIFIED_LINES]
