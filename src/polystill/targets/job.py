"""From what a user names (teachers, a source, a folder) to a generation."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from polystill.config import Cleaning, Recipe, load_recipe
from polystill.decoding.contract import DecodingOptions
from polystill.decoding.ctranslate2 import available_cores
from polystill.errors import UserError
from polystill.runs import Run
from polystill.runs.places import find_folder
from polystill.targets.filter import HypothesisFilter
from polystill.targets.generate import SCRATCH, Generation, generate, open_folder
from polystill.targets.pool import LocalPool, Pool, RayPool, ThisProcess
from polystill.targets.sources import Sources, corpus_sources, text_sources
from polystill.targets.store import MANIFEST
from polystill.targets.teachers import (
    Engine,
    Translate,
    check_teacher,
    convert_teacher,
    fingerprint,
    languages_of,
    open_teacher,
)
from polystill.targets.translations_file import TranslationsFile

SHARD_SIZE = 2_000


@dataclass(frozen=True)
class Where:
    """How the work is spread and what computes it."""

    engine: Engine | None = None
    """CTranslate2 where the model can, else torch."""
    precision: str = "default"
    workers: int = 1
    threads: int = 0
    """Of each worker; 0 shares the cores among them."""
    ray: bool = False


@dataclass(frozen=True)
class Text:
    """What is translated: the training text of a run or recipe, or a text without references."""

    run: Path | None = None
    source: Path | None = None
    languages: tuple[str | None, str | None] = (None, None)
    """As a multilingual teacher calls them; the recipe's, or the teacher's only ones, where they are missing."""


def default_beam(n_best: int) -> int:
    """Kim & Rush's for Seq-KD; more where more translations are wanted."""
    return max(5, n_best)


def generate_targets(
    teachers: Sequence[Path],
    text: Text,
    out: Path,
    *,
    options: DecodingOptions,
    where: Where,
    shard_size: int = SHARD_SIZE,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Let teachers translate a text; returns the manifest. The same call goes on with what was stopped.

    Raises:
        UserError: teachers or text cannot be read or do not go together, or `out` holds something else.
    """
    if (text.source is None) == (text.run is None):
        raise UserError("give one of --run (a run or recipe, for its training text) and --source (a text)")
    folders = [_model_folder(teacher) for teacher in teachers]
    recipe = None if text.run is None else _read_recipe(text.run)
    if recipe is not None:
        options = replace(options, max_length=recipe.data.max_tokens)
    job = (
        _FileJob(folders, options, where)
        if any(folder.is_file() for folder in folders)
        else _ModelJob(folders, text, recipe, options, where, say)
    )
    with _opened(out) as scratch, _open_sources(recipe, text, scratch, say) as sources:
        say(f"{sources.sentences:,} sentences, {len(sources):,} different ones")
        languages = _languages(text, recipe, folders[0])
        if not all(languages):
            say(
                "warning: the languages are not known: words are told by spaces, and wrong scripts are kept; "
                "--source-language and --target-language say them"
            )
        cleaning = Cleaning() if recipe is None else recipe.data.cleaning
        generation = Generation(
            plan={
                "teachers": [fingerprint(folder) for folder in folders],
                **job.plan(),
                "languages": list(languages),
                "filter": cleaning.model_dump(),
            },
            about={"teachers": [str(teacher) for teacher in teachers]},
            ready=lambda: job.ready(scratch),
            pool=job.pool,
            filter=HypothesisFilter(cleaning, languages),
            shard_size=shard_size,
        )
        return generate(out, sources, generation, say)


def _model_folder(teacher: Path) -> Path:
    """Where a teacher's model lies (or the file of translations); a run's is its family."""
    if teacher.is_file():
        return teacher
    if not teacher.exists() and teacher.suffix:  # a file, by its name
        raise UserError(f"{teacher}: no such file of translations (TSV), nor a model's folder")
    return find_folder(teacher)


# --- text ---------------------------------------------------------------------------------------------------------


def _read_recipe(path: Path) -> Recipe:
    return Run.open(path).recipe if path.is_dir() else load_recipe(path)


def _languages(text: Text, recipe: Recipe | None, teacher: Path) -> tuple[str, str]:
    """For the filter: those of the recipe, else those that were given, else the teacher's own; "" is not known."""
    if recipe is not None:
        return recipe.data.source_language, recipe.data.target_language
    own = languages_of(teacher)
    return text.languages[0] or own[0] or "", text.languages[1] or own[1] or ""


@contextmanager
def _opened(out: Path) -> Iterator[Path]:
    """The folder is this process' alone; yields a place in it for what is not kept."""
    existed = out.exists()
    with open_folder(out):
        try:
            yield out / SCRATCH
        finally:
            shutil.rmtree(out / SCRATCH, ignore_errors=True)
            if not existed and not (out / MANIFEST).exists():  # nothing came of it
                shutil.rmtree(out, ignore_errors=True)


@contextmanager
def _open_sources(recipe: Recipe | None, text: Text, scratch: Path, say: Callable[[str], None]) -> Iterator[Sources]:
    if recipe is None:
        assert text.source is not None
        with text_sources(text.source, scratch) as sources:
            yield sources
        return
    with corpus_sources(recipe, scratch, say) as sources:
        _check_unchanged(text.run, sources)
        yield sources


def _check_unchanged(path: Path | None, sources: Sources) -> None:
    """A run's corpora must still be what its data stage read."""
    if path is None or not path.is_dir():
        return
    record = Run.open(path).record("data") or {}
    if record.get("source_sha256", sources.about["sha256"]) != sources.about["sha256"]:
        raise UserError(f"{path}: its training corpora have changed since the run prepared its data; restore them")


# --- teachers -----------------------------------------------------------------------------------------------------


class _FileJob:
    """Translations are read from a file."""

    def __init__(self, paths: Sequence[Path], options: DecodingOptions, where: Where) -> None:
        file = next(path for path in paths if path.is_file())
        if len(paths) > 1:
            raise UserError(f"{file}: a file of translations stands alone; an ensemble is made of models")
        silent = DecodingOptions(default_beam(options.n_best), options.n_best, max_length=options.max_length)
        if where != Where(threads=where.threads) or options != silent:
            raise UserError(
                f"{file}: translations are not made but read; leave out --engine, --precision, --workers, --beam, "
                "--length-penalty and --batch-tokens"
            )
        self._path, self._n_best = file, options.n_best
        self.pool: Pool = ThisProcess()

    def plan(self) -> dict[str, Any]:
        return {"engine": "file", "beam": None, "n_best": self._n_best}

    def ready(self, scratch: Path) -> Callable[[], Translate]:
        return lambda: TranslationsFile(self._path, self._n_best).translate


class _ModelJob:
    """Models translate."""

    def __init__(
        self,
        folders: Sequence[Path],
        text: Text,
        recipe: Recipe | None,
        options: DecodingOptions,
        where: Where,
        say: Callable[[str], None],
    ) -> None:
        own = (None, None) if recipe is None else (recipe.data.source_language, recipe.data.target_language)
        self._asked = text.languages
        self._teacher = check_teacher(
            folders,
            engine=where.engine,
            precision=where.precision,
            threads=where.threads or max(1, available_cores() // where.workers),
            languages=(text.languages[0] or own[0], text.languages[1] or own[1]),
            options=options,
        )
        self.pool = _make_pool(where, self._teacher.threads, say)

    def plan(self) -> dict[str, Any]:
        o = self._teacher.options
        return {
            "engine": self._teacher.engine,
            "precision": self._teacher.precision,
            "beam": o.beam_size,
            "n_best": o.n_best,
            "length_penalty": o.length_penalty,
            "max_length": o.max_length,
            **({"teachers' languages": list(self._asked)} if any(self._asked) else {}),
        }

    def ready(self, scratch: Path) -> Callable[[], Translate]:
        return partial(open_teacher, convert_teacher(self._teacher, scratch.resolve()))


def _make_pool(where: Where, threads: int, say: Callable[[str], None]) -> Pool:
    if where.ray:
        return RayPool(where.workers, say, threads)
    return ThisProcess() if where.workers == 1 else LocalPool(where.workers, say)
