"""A teacher translates all sources of a corpus or text, shard by shard.

Each distinct source is translated once. What is done is a shard's file, so a generation that was stopped at any moment
goes on at the first shard that is missing; the plan (source, teacher, search) must be the same.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from polystill.errors import UserError
from polystill.progress import Progress
from polystill.runs.provenance import provenance
from polystill.storage import clear_left_overs, lock_folder, storage_errors
from polystill.targets.filter import REASONS, FilterReport, HypothesisFilter, left_out
from polystill.targets.pool import Pool, Task
from polystill.targets.sources import Source, Sources
from polystill.targets.store import (
    FORMAT,
    MANIFEST,
    SHARDS,
    Candidate,
    Entry,
    check_shard,
    plan_sha256,
    read_manifest,
    read_note,
    shard_path,
    write_manifest,
    write_shard,
)
from polystill.targets.teachers import Translate

SCRATCH = ".scratch"


@dataclass(frozen=True)
class Generation:
    """Everything that a generation needs beside its sources."""

    plan: dict[str, Any]
    """What decides about its outcome, for the manifest; the sources' part is added."""
    about: dict[str, Any]
    """What else the manifest is to say."""
    ready: Callable[[], Callable[[], Translate]]
    """Called once where there is something to do; what it returns is called in each worker."""
    pool: Pool
    filter: HypothesisFilter
    shard_size: int


def open_folder(folder: Path) -> IO[str]:
    """Make the folder, or take up an unfinished generation in it; returns the lock, to be closed at the end.

    Raises:
        UserError: it holds other things, another process works on it, or it cannot be written.
    """
    with storage_errors(folder):
        if folder.is_dir() and not (folder / MANIFEST).is_file():
            others = sorted(path.name for path in folder.iterdir() if path.name not in (".lock", SCRATCH))
            if others:
                raise UserError(f"{folder}: holds {others[0]} and no generated targets; give a new or empty folder")
        folder.mkdir(parents=True, exist_ok=True)
        lock = lock_folder(folder, "folder")
        try:
            clear_left_overs(folder)
            shutil.rmtree(folder / SCRATCH, ignore_errors=True)  # of a process that was killed
            (folder / SCRATCH).mkdir()
        except BaseException:
            lock.close()
            raise
    return lock


def generate(
    folder: Path, sources: Sources, generation: Generation, say: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """Translate what is not translated yet, and return the finished manifest. The folder is `open_folder`'s.

    Raises:
        UserError: the folder was begun with another plan, the teacher fails, the filters leave nothing, or the folder
            cannot be written.
    """
    plan = {**generation.plan, "source": sources.about, "shard_size": generation.shard_size}
    manifest = _take_up(folder, plan, generation.about)
    start = time.perf_counter()
    with storage_errors(folder):
        (folder / SHARDS).mkdir(exist_ok=True)
        missing = _missing(folder, sources, generation.shard_size, plan_sha256(plan))
        if manifest["finished"] and not missing:
            say(f"{folder}: these targets are finished already")
        else:
            try:
                _translate(folder, sources, generation, missing, plan_sha256(plan))
            finally:  # the time of a process that was stopped counts as well
                manifest["cost"]["seconds"] = round(manifest["cost"]["seconds"] + time.perf_counter() - start, 3)
                write_manifest(folder, manifest)
            manifest = _finish(folder, sources, manifest)
    report = manifest["filter"]
    if not report["kept"]:
        why = left_out(report["dropped"])
        raise UserError(f"{folder}: of {report['hypotheses']:,} translations the filters left none ({why})")
    return manifest


def _take_up(folder: Path, plan: dict[str, Any], about: dict[str, Any]) -> dict[str, Any]:
    """The manifest that is there, if it has this plan, or a new one."""
    if not (folder / MANIFEST).is_file() or not any((folder / SHARDS).glob("*")):  # an attempt that failed at once
        manifest: dict[str, Any] = {
            "format": FORMAT,
            "finished": False,
            "plan": plan,
            **about,
            "cost": {"seconds": 0.0},
        }
        write_manifest(folder, manifest)
        return manifest
    manifest = read_manifest(folder)
    before = manifest["plan"]
    differing = [key for key in {**before, **plan} if before.get(key) != plan.get(key)]
    if differing:
        was = ", ".join(f"{key} {_shown(key, before.get(key), manifest['teachers'])}" for key in differing)
        now = ", ".join(f"{key} {_shown(key, plan.get(key), about['teachers'])}" for key in differing)
        raise UserError(f"{folder}: was begun with {was}, not with {now}; give another folder")
    return manifest


def _shown(key: str, value: Any, teachers: Sequence[str]) -> str:
    """A value of the plan; teachers by their names and what they hold."""
    if key == "teachers":
        return " ".join(f"{name} (sha256 {found[:12]}…)" for name, found in zip(teachers, value, strict=True))
    if isinstance(value, dict) and "sha256" in value:
        return f"of {value['sentences']:,} sentences (sha256 {value['sha256'][:12]}…)"
    if isinstance(value, list):
        return " ".join(str(item) or "unknown" for item in value)
    return str(value)[:40]


# --- translating --------------------------------------------------------------------------------------------------


def _translate(folder: Path, sources: Sources, generation: Generation, numbers: list[int], plan: str) -> None:
    """Shards of these numbers."""
    blocks: dict[int, list[Source]] = {}
    size = generation.shard_size
    open_work = generation.ready() if numbers else _nothing
    todo = sum(min(size, len(sources) - number * size) for number in numbers)
    progress = Progress("translating", "sentence", len(sources), len(sources) - todo)

    def tasks() -> Iterator[Task]:
        for number in numbers:
            blocks[number] = sources.block(number * size, (number + 1) * size)
            yield number, [source.text for source in blocks[number]]

    try:
        for number, found in generation.pool.run(open_work, tasks()):
            block = blocks.pop(number)
            report = FilterReport()
            entries = [
                _entry(source, candidates, generation.filter, report)
                for source, candidates in zip(block, found, strict=True)
            ]
            write_shard(folder, number, plan, entries, report.as_dict())
            progress.add(len(block))
    finally:
        progress.close()


def _nothing() -> Translate:
    raise AssertionError("no shard is missing")


def _missing(folder: Path, sources: Sources, size: int, plan: str) -> list[int]:
    """The shards that are not there yet; those that are there are checked."""
    missing = []
    for number in range(-(-len(sources) // size)):
        if not shard_path(folder, number).is_file():
            missing.append(number)
        else:
            texts = [source.text for source in sources.block(number * size, (number + 1) * size)]
            check_shard(folder, number, plan, texts)
    return missing


def _entry(source: Source, candidates: list[Candidate], keep: HypothesisFilter, report: FilterReport) -> Entry:
    if not candidates:
        raise UserError(f"the teacher gave no translation of sentence {source.ids[0]} ({source.text[:60]!r})")
    kept = keep.keep(source.text, candidates, report)
    return Entry(source.ids, source.text, source.references, kept, len(candidates) - len(kept))


def _finish(folder: Path, sources: Sources, manifest: dict[str, Any]) -> dict[str, Any]:
    """Add up the shards' notes, and check that no sentence is missing or doubled."""
    report, shards = FilterReport(), []
    size = manifest["plan"]["shard_size"]
    for number in range(-(-len(sources) // size)):
        note = read_note(shard_path(folder, number))
        report.add(note["report"])
        shards.append({key: note[key] for key in ("sources", "sentences", "source_sha256")})
    assert sum(shard["sources"] for shard in shards) == len(sources)
    assert sum(shard["sentences"] for shard in shards) == sources.sentences
    manifest = {
        **manifest,
        "finished": report.kept > 0,
        "sentences": sources.sentences,
        "distinct_sources": len(sources),
        "filter": {**report.as_dict(), "meaning": REASONS},
        "shards": shards,
        "provenance": provenance().to_json(),
    }
    write_manifest(folder, manifest)
    return manifest
