"""What a browser needs to run a Bergamot export itself: the runtime's files and the models', read once at the start."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polystill.decoding.ctranslate2 import read_info
from polystill.errors import UserError

RUNTIME = {
    "translator.js": "text/javascript",
    "worker/translator-worker.js": "text/javascript",
    "worker/bergamot-translator-worker.js": "text/javascript",
    "worker/bergamot-translator-worker.wasm": "application/wasm",
}
"""Those of the npm package's files that a browser loads."""


@dataclass(frozen=True)
class BrowserModels:
    """Files by the name under which they are asked for; nothing else is ever read."""

    runtime: dict[str, bytes] = field(default_factory=dict)
    files: dict[tuple[str, str], bytes] = field(default_factory=dict)
    """By student and file name; gzipped."""
    students: dict[str, dict[str, Any]] = field(default_factory=dict)
    """metadata.json of each student's export."""

    def __bool__(self) -> bool:
        return bool(self.students)


def read_runtime(folder: Path) -> dict[str, bytes]:
    """The unpacked npm package @browsermt/bergamot-translator.

    Raises:
        UserError: one of its files is missing.
    """
    found = {}
    for name in RUNTIME:
        try:
            found[name] = (Path(folder) / name).read_bytes()
        except OSError as error:
            raise UserError(
                f"{folder}: {name} cannot be read ({error.strerror}); expected the npm package "
                "@browsermt/bergamot-translator, such as node_modules/@browsermt/bergamot-translator"
            ) from None
    return found


def bergamot_exports(run: Path, weights: Mapping[str, str | None]) -> tuple[dict[str, Path], list[Path]]:
    """The folders in RUN/exports that hold one of these students for Bergamot, by the student's name.

    `weights` are checksums of the students' weights, where known. Those exports that were made of other weights, as
    before more training, are returned apart.
    """
    found, stale = {}, []
    for metadata in sorted((Path(run) / "exports").glob("*/metadata.json")):
        folder, info = metadata.parent, read_info(metadata.parent)
        name = str(info.get("name"))
        if info.get("format") != "bergamot" or name not in weights:
            continue
        if weights[name] in (None, info.get("source_sha256")):
            found[name] = folder
        else:
            stale.append(folder)
    return found, stale


def read_browser_models(runtime: Path, exports: dict[str, Path]) -> BrowserModels:
    """All of these students with the runtime.

    Raises:
        UserError: a file is missing or damaged.
    """
    models = BrowserModels(read_runtime(runtime))
    for student, folder in exports.items():
        try:
            metadata = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
            for file in metadata["files"].values():
                content = (folder / Path(f"{file['name']}.gz").name).read_bytes()
                if len(gzip.decompress(content)) != file["size"]:
                    raise ValueError(f"{file['name']} has another size")
                models.files[student, file["name"]] = content
        except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, zlib.error) as error:
            raise UserError(f"{folder}: not a whole Bergamot export ({error}); export it again") from None
        models.students[student] = metadata
    return models
