"""Read and write a folder of generated targets, and check that its sources still line up with their translations.

    FOLDER/manifest.json           the plan (source, teacher, search), counts, and what the filter left out
    FOLDER/shards/00000.parquet    one row for each distinct source: ids, source, references, hypotheses, scores,
                                   filtered

`ids` number the sentences of the training corpus, or the lines of a text, that have this source; both count from 0. A
shard carries the checksums of its sources and of its plan, and that of its whole file: Parquet's own are of pages only,
and a reader that meets a damaged footer can give other translations without a word.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polystill.data.training_text import lines_sha256
from polystill.errors import UserError, reason
from polystill.storage import checked_json, read_checked_json, write_atomic

FORMAT = 2
MANIFEST = "manifest.json"
SHARDS = "shards"
_METADATA = b"polystill"
_CHECKSUM = "polystill-sha256:"
"""Comes in the footer before the SHA-256 of the file, which is of the file with `_NO_CHECKSUM` in this place."""
_NO_CHECKSUM = "0" * 64

Pair = tuple[str, str]


@dataclass(frozen=True)
class Candidate:
    """One translation. Its score is log p / n ** length_penalty, or None from a teacher that gives none."""

    text: str
    score: float | None = None
    cut: bool = False
    """The source or the translation was cut. The filter uses this; it is not stored."""


@dataclass(frozen=True)
class Entry:
    """A distinct source with the ids of its sentences and their references, if there are any."""

    ids: list[int]
    source: str
    references: list[str]
    hypotheses: list[Candidate]
    """Those that the filter kept, best first."""
    filtered: int = 0
    """The number that the filter left out."""


# --- shards -------------------------------------------------------------------------------------------------------


def plan_sha256(plan: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plan, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def shard_path(folder: Path, number: int) -> Path:
    return folder / SHARDS / f"{number:05d}.parquet"


def write_shard(folder: Path, number: int, plan: str, entries: Sequence[Entry], report: dict[str, Any]) -> None:
    """Write a shard, whole or not at all. `plan` is the plan's checksum, `report` the filter's counts.

    Raises:
        UserError: no space left, or no permission.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {
        "ids": pa.array([entry.ids for entry in entries], pa.list_(pa.int64())),
        "source": pa.array([entry.source for entry in entries], pa.string()),
        "references": pa.array([entry.references for entry in entries], pa.list_(pa.string())),
        "hypotheses": pa.array([[h.text for h in entry.hypotheses] for entry in entries], pa.list_(pa.string())),
        "scores": pa.array([[h.score for h in entry.hypotheses] for entry in entries], pa.list_(pa.float64())),
        "filtered": pa.array([entry.filtered for entry in entries], pa.int32()),
    }
    note = {
        "plan": plan,
        "sources": len(entries),
        "sentences": sum(len(entry.ids) for entry in entries),
        "source_sha256": lines_sha256(entry.source for entry in entries),
        "report": report,
    }
    table = pa.table(columns).replace_schema_metadata({_METADATA: json.dumps(note)})
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, table.schema, compression="zstd") as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({"checksum": _CHECKSUM + _NO_CHECKSUM})
    write_atomic(shard_path(folder, number), _with_checksum(buffer.getvalue()))


def _with_checksum(content: bytes) -> bytes:
    before, _, after = _split(content)
    return b"".join((before, _sha256(before, after).encode(), after))


def _is_intact(content: bytes) -> bool:
    before, noted, after = _split(content)
    return noted == _sha256(before, after).encode()


def _split(content: bytes) -> tuple[memoryview, bytes, memoryview]:
    """What stands before the checksum, the checksum, and what stands after it."""
    start = content.rfind(_CHECKSUM.encode()) + len(_CHECKSUM)
    end, view = start + len(_NO_CHECKSUM), memoryview(content)
    return view[:start], content[start:end], view[end:]


def _sha256(before: memoryview, after: memoryview) -> str:
    digest = hashlib.sha256(before)
    digest.update(_NO_CHECKSUM.encode())
    digest.update(after)
    return digest.hexdigest()


def shard_summary(note: dict[str, Any]) -> dict[str, Any]:
    """Return what the manifest states of a shard."""
    return {key: note[key] for key in ("sources", "sentences", "source_sha256")}


def read_note(path: Path, plan: str | None = None) -> dict[str, Any]:
    """Return a shard's metadata: plan, sources, sentences, source_sha256, report.

    Raises:
        UserError: the file is missing, damaged, or no shard, or its plan's checksum is not `plan`.
    """
    return _open(path, plan)[1]


def _open(path: Path, plan: str | None) -> tuple[Any, dict[str, Any]]:
    """Return a shard that is ready to be read, and its metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: this shard is missing; run the same `polystill generate` command again") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({reason(error)})") from None
    if not _is_intact(content):
        raise UserError(
            f"{path}: damaged, its content is not what was written (SHA-256); delete it, and the same `polystill "
            "generate` command makes it again"
        )
    file = pq.ParquetFile(pa.BufferReader(content))
    note: dict[str, Any] = json.loads(file.schema_arrow.metadata[_METADATA])
    if plan not in (None, note["plan"]):
        raise UserError(f"{path}: this shard was made of another source, by another teacher or with another search")
    return file, note


def read_shard(path: Path, expected: dict[str, Any]) -> list[Entry]:
    """Return a shard's entries; `expected` has its plan, sources and source_sha256.

    Raises:
        UserError: it is missing or damaged, or belongs to another source, teacher or search.
    """
    file, _ = _open(path, expected["plan"])
    entries = [
        Entry(
            row["ids"],
            row["source"],
            row["references"],
            [Candidate(text, score) for text, score in zip(row["hypotheses"], row["scores"], strict=True)],
            row["filtered"],
        )
        for row in file.read().to_pylist()
    ]
    checksum = lines_sha256(entry.source for entry in entries)
    if len(entries) != expected["sources"] or checksum != expected["source_sha256"]:
        raise UserError(
            f"{path}: its {len(entries):,} sources (sha256 {checksum[:12]}…) are not the {expected['sources']:,} of "
            f"the manifest (sha256 {expected['source_sha256'][:12]}…): this shard is of another source"
        )
    for entry in entries:
        if not entry.hypotheses and not entry.filtered:
            raise UserError(f"{path}: no translation of sentence {entry.ids[0]} ({shortened(entry.source)})")
    return entries


def shortened(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "…")


# --- a whole folder -----------------------------------------------------------------------------------------------


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    write_atomic(folder / MANIFEST, checked_json(manifest))


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return a folder's manifest, finished or not.

    Raises:
        UserError: the folder is missing, no folder of targets, or its manifest is damaged or of another format.
    """
    path = folder / MANIFEST
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; `polystill generate` makes one of targets")
    if not path.is_file():
        raise UserError(f"{folder}: no generated targets here ({MANIFEST} is missing)")
    try:
        manifest = read_checked_json(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: damaged ({reason(error)}); restore it from a copy, or generate anew") from None
    if manifest.get("format") != FORMAT or "plan" not in manifest:
        raise UserError(f"{path}: this version of polystill reads targets of format {FORMAT}")
    return manifest


class TargetSet:
    """A finished folder of generated targets."""

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.folder, self.manifest = folder, manifest
        self.plan: dict[str, Any] = manifest["plan"]
        self.source: dict[str, Any] = self.plan["source"]

    @classmethod
    def open(cls, folder: Path) -> TargetSet:
        """Open a finished folder to read. Each shard is checked when it is read.

        Raises:
            UserError: the folder holds no targets, they are not finished, or a shard is missing.
        """
        manifest = read_manifest(folder)
        if not manifest.get("finished"):
            raise UserError(f"{folder}: these targets are not finished; run the same `polystill generate` again")
        for number in range(len(manifest["shards"])):
            if not shard_path(folder, number).is_file():
                raise UserError(f"{shard_path(folder, number)}: this shard is missing; copy it here, or generate anew")
        return cls(Path(folder), manifest)

    @property
    def languages(self) -> tuple[str, str]:
        """Source and target; "" where they are not known."""
        source, target = self.plan["languages"]
        return source, target

    @property
    def of_training_text(self) -> bool:
        """Whether these are translations of a recipe's training text, whose sentences `ids` number."""
        return bool(self.source["kind"] == "corpus")

    def check_source(self, sha256: str, sentences: int) -> None:
        """Check that these are translations of this training text. Translations of a monolingual text always pass.

        Raises:
            UserError: they are translations of another training text.
        """
        source = self.source
        if self.of_training_text and (source["sha256"], source["sentences"]) != (sha256, sentences):
            raise UserError(
                f"{self.folder}: does not line up with the training text: it was generated from "
                f"{source['sentences']:,} sentences (sha256 {source['sha256'][:12]}…), the recipe's cleaned training "
                f"text has {sentences:,} (sha256 {sha256[:12]}…); generate it from this recipe"
            )

    def entries(self) -> Iterator[Entry]:
        """Yield all entries, shard after shard.

        Raises:
            UserError: a shard is damaged or of another source; at the end, if a sentence is missing or doubled.
        """
        plan = plan_sha256(self.plan)
        seen: list[np.ndarray] = []
        for number, shard in enumerate(self.manifest["shards"]):
            entries = read_shard(shard_path(self.folder, number), {**shard, "plan": plan})
            seen.append(np.array([i for entry in entries for i in entry.ids], dtype=np.int64))
            yield from entries
        ids = np.concatenate(seen) if seen else np.zeros(0, dtype=np.int64)
        expected = self.manifest["sentences"]
        if len(ids) != expected or len(np.unique(ids)) != len(ids):
            raise UserError(
                f"{self.folder}: {len(ids):,} sentences, {len(np.unique(ids)):,} of them different; expected "
                f"{expected:,}, each once"
            )

    def pairs(self) -> Iterator[tuple[int, Pair]]:
        """Yield a training pair (source, hypothesis) for every hypothesis of every sentence, with the sentence's id."""
        for entry in self.entries():
            for number in entry.ids:
                yield from ((number, (entry.source, hypothesis.text)) for hypothesis in entry.hypotheses)
