"""Let a teacher translate a corpus or text, shard by shard, into a folder of targets.

Each distinct source is translated once. A shard that is finished is a file, so a generation that was stopped goes on at
the first shard that is missing. It goes on only with the same plan: source, teacher and search.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from polystill.config import Cleaning, Recipe
from polystill.data.training_text import lines_sha256
from polystill.decoding.translator import DecodingOptions
from polystill.environment.pool import Task, ThisProcess
from polystill.environment.process import available_cores, cpu_seconds
from polystill.errors import UserError
from polystill.languages import check_pair
from polystill.progress import Progress
from polystill.runs.places import Kind, find_folder, open_place
from polystill.runs.provenance import provenance
from polystill.storage import clear_left_overs, lock_folder, storage_errors, temporary_of
from polystill.targets import bergamot, endpoint, store
from polystill.targets import teachers as models
from polystill.targets.job import Compute, Job, Translate, refuse_search
from polystill.targets.select import REASONS, FilterReport, HypothesisFilter, left_out
from polystill.targets.sources import Source, Sources, Text, open_sources
from polystill.targets.store import FORMAT, MANIFEST, SHARDS, Candidate, Entry
from polystill.targets.teachers import TranslationsFile

SHARD_SIZE = 2_000
HOPELESS = 1_000
"""Translations of which the filters leave nothing when a generation stops: its teacher may be of other languages."""
SCRATCH = ".scratch"


def generate_targets(
    teachers: Sequence[Path],
    text: Text,
    out: Path,
    *,
    options: DecodingOptions,
    compute: Compute,
    shard_size: int = SHARD_SIZE,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Let teachers translate a text into `out` and return the manifest. The same call continues what was stopped.

    Raises:
        UserError: teachers or text cannot be read or do not go together, `out` holds other things or was begun with
            another plan, a teacher fails, or the filters leave no translation.
    """
    if (text.source is None) == (text.run is None):
        raise UserError("give one of --run (a run or recipe, for its training text) and --source (a text)")
    folders = [_model_folder(teacher) for teacher in teachers]
    recipe = text.read_recipe()
    _check_languages(text, recipe, folders)
    if recipe is not None:
        options = replace(options, max_length=recipe.data.max_tokens)
    job = _job(folders, text, recipe, options, compute, say)
    with _opened(out) as scratch, open_sources(recipe, text, scratch, say) as sources:
        say(f"{sources.sentences:,} sentences, {len(sources):,} different ones")
        languages = _languages(text, recipe, folders[0])
        if not all(languages):
            say(
                "warning: the languages are not known, so words are told apart by spaces and translations in a wrong "
                "script are kept; give --source-language and --target-language"
            )
        cleaning = Cleaning() if recipe is None else recipe.data.cleaning
        plan = {
            "teachers": [models.fingerprint(folder) for folder in folders],
            **job.plan,
            "languages": list(languages),
            "filter": cleaning.model_dump(),
            "source": sources.about,
            "shard_size": shard_size,
        }
        manifest = _continue_or_start(out, plan, [str(teacher) for teacher in teachers])
        generation = _Generation(out, sources, manifest, HypothesisFilter(cleaning, languages))
        return generation.finish(job, scratch, say)


def _model_folder(teacher: Path) -> Path:
    """Return the folder of a teacher's model, which for a run is its family, or the file of translations."""
    kind = open_place(teacher).kind
    if kind in (Kind.FILE, Kind.YAML, Kind.BERGAMOT):
        return teacher
    if kind is Kind.NOTHING and teacher.suffix:  # meant as a file
        raise UserError(f"{teacher}: no such model's folder or file of translations (TSV)")
    return find_folder(teacher)


def _check_languages(text: Text, recipe: Recipe | None, teachers: Sequence[Path]) -> None:
    """Raise UserError where a teacher for one language pair, or an option, names another one than the text's."""
    wanted = text.languages
    if recipe is not None:
        wanted = recipe.data.source_language, recipe.data.target_language
        check_pair("--source-language and --target-language", text.languages, wanted)
    for teacher in teachers:
        check_pair(f"{teacher}", models.languages_of(teacher), wanted)


def _languages(text: Text, recipe: Recipe | None, teacher: Path) -> tuple[str, str]:
    """Return the filter's languages: the recipe's, else those given, else the teacher's; "" is unknown."""
    if recipe is not None:
        return recipe.data.source_language, recipe.data.target_language
    known = models.languages_of(teacher)
    return text.languages[0] or known[0] or "", text.languages[1] or known[1] or ""


# --- teachers -----------------------------------------------------------------------------------------------------


def _job(
    folders: Sequence[Path],
    text: Text,
    recipe: Recipe | None,
    options: DecodingOptions,
    compute: Compute,
    say: Callable[[str], None],
) -> Job:
    for folder in folders:
        kind = open_place(folder).kind
        if kind is Kind.YAML:
            return endpoint.job(folders, folder, options, compute, say)
        if kind is Kind.FILE:
            return _file_job(folders, folder, options, compute)
        if kind is Kind.BERGAMOT:
            return bergamot.job(folders, folder, options, compute, say)
    return _model_job(folders, text, recipe, options, compute, say)


def _file_job(folders: Sequence[Path], file: Path, options: DecodingOptions, compute: Compute) -> Job:
    """Read translations from a file."""
    if len(folders) > 1:
        raise UserError(f"{file}: a file of translations cannot be part of an ensemble; give it alone")
    refuse_search(file, "translations are not made but read", options, compute)
    plan = {"engine": "file", "beam": None, "n_best": options.n_best}
    return Job(plan, lambda _: lambda: TranslationsFile(file, options.n_best).translate, ThisProcess())


def _model_job(
    folders: Sequence[Path],
    text: Text,
    recipe: Recipe | None,
    options: DecodingOptions,
    compute: Compute,
    say: Callable[[str], None],
) -> Job:
    """Translate with a model, or with several as an ensemble."""
    known = (None, None) if recipe is None else (recipe.data.source_language, recipe.data.target_language)
    threads = compute.threads or max(1, available_cores() // compute.workers)
    teacher = models.check_teacher(
        folders,
        engine=compute.engine,
        precision=compute.precision,
        threads=threads,
        languages=(text.languages[0] or known[0], text.languages[1] or known[1]),
        options=options,
    )
    plan = {
        "engine": teacher.engine,
        "precision": teacher.precision,
        "beam": options.beam_size,
        "n_best": options.n_best,
        "length_penalty": options.length_penalty,
        "max_length": options.max_length,
        **({"teachers' languages": list(text.languages)} if any(text.languages) else {}),
    }

    def ready(scratch: Path) -> Callable[[], Translate]:
        return partial(models.open_teacher, models.convert_teacher(teacher, scratch.resolve()))

    return Job(plan, ready, compute.pool(threads, say))


# --- the folder ---------------------------------------------------------------------------------------------------


@contextmanager
def _opened(folder: Path) -> Iterator[Path]:
    """Make the folder or continue in it, locked for this process; yields a scratch folder in it, removed at the end.

    Raises:
        UserError: it holds other things, another process works on it, or it cannot be written.
    """
    existed = folder.exists()
    with storage_errors(folder):
        if folder.is_dir() and not (folder / MANIFEST).is_file():
            begun = (".lock", SCRATCH)
            names = sorted(path.name for path in folder.iterdir())
            others = [name for name in names if name not in begun and temporary_of(name) != MANIFEST]
            if others:
                raise UserError(f"{folder}: holds {others[0]} and no generated targets; give a new or empty folder")
        folder.mkdir(parents=True, exist_ok=True)
        lock = lock_folder(folder, "folder")
    with lock:
        with storage_errors(folder):
            clear_left_overs(folder)
            shutil.rmtree(folder / SCRATCH, ignore_errors=True)  # left by a process that was killed
            (folder / SCRATCH).mkdir()
        try:
            with storage_errors(folder):
                yield folder / SCRATCH
        finally:
            shutil.rmtree(folder / SCRATCH, ignore_errors=True)
            if not existed and not (folder / MANIFEST).exists():  # failed before the first shard
                shutil.rmtree(folder, ignore_errors=True)


def _continue_or_start(folder: Path, plan: dict[str, Any], teachers: list[str]) -> dict[str, Any]:
    """Return the folder's manifest if it has this plan, or write a new one."""
    if not (folder / MANIFEST).is_file() or not any((folder / SHARDS).glob("*")):  # the last attempt failed at once
        cost = {"seconds": 0.0, "cpu_seconds": 0.0}
        manifest = dict[str, Any](format=FORMAT, finished=False, plan=plan, teachers=teachers, cost=cost)
        with storage_errors(folder):
            store.write_manifest(folder, manifest)
        return manifest
    manifest = store.read_manifest(folder)
    before = manifest["plan"]
    differing = [key for key in {**before, **plan} if before.get(key) != plan.get(key)]
    if differing:
        was = ", ".join(f"{key} {_shown(key, before.get(key), manifest['teachers'])}" for key in differing)
        now = ", ".join(f"{key} {_shown(key, plan.get(key), teachers)}" for key in differing)
        raise UserError(f"{folder}: was begun with {was}, not with {now}; give another folder")
    return manifest


def _shown(key: str, value: Any, teachers: Sequence[str]) -> str:
    """Format a value of the plan for an error; teachers as their names and checksums."""
    if key == "teachers":
        return " ".join(f"{name} (sha256 {sha256[:12]}…)" for name, sha256 in zip(teachers, value, strict=True))
    if isinstance(value, dict) and "sha256" in value:
        return f"of {value['sentences']:,} sentences (sha256 {value['sha256'][:12]}…)"
    if isinstance(value, list):
        return " ".join(str(item) or "unknown" for item in value)
    return str(value)[:40]


# --- translating --------------------------------------------------------------------------------------------------


@dataclass
class _Generation:
    """One folder of targets in the making."""

    folder: Path
    sources: Sources
    manifest: dict[str, Any]
    filter: HypothesisFilter

    def __post_init__(self) -> None:
        self.plan = store.plan_sha256(self.manifest["plan"])
        self.shard_size: int = self.manifest["plan"]["shard_size"]
        self.shards = range(-(-len(self.sources) // self.shard_size))

    def finish(self, job: Job, scratch: Path, say: Callable[[str], None]) -> dict[str, Any]:
        """Translate the shards that are missing and return the finished manifest."""
        start, processor = time.perf_counter(), cpu_seconds()
        with storage_errors(self.folder):
            (self.folder / SHARDS).mkdir(exist_ok=True)
            missing = [number for number in self.shards if not self._is_done(number)]
            if self.manifest["finished"] and not missing:
                say(f"{self.folder}: these targets are finished already")
            else:
                try:
                    self._translate(job, scratch, missing)
                finally:  # count the time of a process that was stopped, too
                    cost = self.manifest["cost"]
                    cost["seconds"] = round(cost["seconds"] + time.perf_counter() - start, 3)
                    cost["cpu_seconds"] = round(cost["cpu_seconds"] + cpu_seconds() - processor, 3)
                    cost |= job.cost()
                    store.write_manifest(self.folder, self.manifest)
                self._add_up()
        self._need_some(self.manifest["filter"])
        return self.manifest

    def _block(self, number: int) -> list[Source]:
        return self.sources.block(number * self.shard_size, (number + 1) * self.shard_size)

    def _is_done(self, number: int) -> bool:
        """Whether this shard is there; checks that it is of this plan and source."""
        path = store.shard_path(self.folder, number)
        if not path.is_file():
            return False
        if store.read_note(path, self.plan)["source_sha256"] != lines_sha256(s.text for s in self._block(number)):
            raise UserError(f"{path}: this shard is of another source")
        return True

    def _translate(self, job: Job, scratch: Path, numbers: list[int]) -> None:
        """Write the shards of these numbers."""
        if not numbers:
            return
        total, blocks = len(self.sources), dict[int, list[Source]]()
        left = sum(min(self.shard_size, total - number * self.shard_size) for number in numbers)
        progress, so_far = Progress("translating", "sentence", total, total - left), FilterReport()

        def tasks() -> Iterator[Task]:
            for number in numbers:
                blocks[number] = self._block(number)
                yield number, [source.text for source in blocks[number]]

        try:
            for number, translations in job.pool.run(job.ready(scratch), tasks()):
                block, report = blocks.pop(number), FilterReport()
                pairs = zip(block, translations, strict=True)
                entries = [self._entry(source, candidates, report) for source, candidates in pairs]
                store.write_shard(self.folder, number, self.plan, entries, report.as_dict())
                progress.add(len(block))
                so_far.add(report.as_dict())
                if so_far.hypotheses >= HOPELESS:
                    self._need_some(so_far.as_dict(), "the first ")
        finally:
            progress.close()

    def _need_some(self, report: dict[str, Any], which: str = "") -> None:
        """Raise UserError where the filters have left nothing."""
        if not report["kept"]:
            raise UserError(
                f"{self.folder}: the filters left none of {which}{report['hypotheses']:,} translations "
                f"({left_out(report['dropped'])}); check that the teacher translates "
                f"{' to '.join(language or 'any language' for language in self.manifest['plan']['languages'])}, and "
                "data.cleaning in the recipe"
            )

    def _entry(self, source: Source, candidates: list[Candidate], report: FilterReport) -> Entry:
        if not candidates:
            raise UserError(f"the teacher gave no translation of sentence {source.ids[0]} ({source.text[:60]!r})")
        kept = self.filter.keep(source.text, candidates, report)
        return Entry(source.ids, source.text, source.references, kept, len(candidates) - len(kept))

    def _add_up(self) -> None:
        """Add up the shards' notes, check that no sentence is missing or doubled, and write the finished manifest."""
        report, shards = FilterReport(), []
        for number in self.shards:
            note = store.read_note(store.shard_path(self.folder, number))
            report.add(note["report"])
            shards.append(store.shard_summary(note))
        assert sum(shard["sources"] for shard in shards) == len(self.sources)
        assert sum(shard["sentences"] for shard in shards) == self.sources.sentences
        self.manifest |= {
            "finished": report.kept > 0,
            "sentences": self.sources.sentences,
            "distinct_sources": len(self.sources),
            "filter": {**report.as_dict(), "meaning": REASONS},
            "shards": shards,
            "provenance": provenance().to_json(),
        }
        store.write_manifest(self.folder, self.manifest)
