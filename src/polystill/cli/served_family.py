"""What `polystill serve` opens: a run's students, or one exported folder, with what was measured of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from polystill.decoding.contract import Cuts, DecodingOptions
from polystill.decoding.ctranslate2 import CTranslate2Translator, available_cores
from polystill.errors import UserError
from polystill.evaluation.measure import folder_bytes
from polystill.serving.app import Settings
from polystill.serving.browser import BrowserModels, bergamot_exports, read_browser_models
from polystill.serving.chart import Point, quality_chart
from polystill.serving.frame import LOCAL
from polystill.serving.limits import ApiKeys, Limits
from polystill.serving.models import Engine, Family, Measured, Row, Student, measured
from polystill.serving.server import is_local
from polystill.translation import open_translator, search_of

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """Students in memory, and how they were opened."""

    family: Family
    beam: int
    threads: int


@contextmanager
def open_family(
    model: Path, students: Sequence[str] | None, *, engine: str | None, precision: str, beam: int | None, threads: int
) -> Iterator[Loaded]:
    """Load the students of a run (all of them, the teacher first, unless some are named), or a folder's one model.

    Raises:
        UserError: as `open_translator`; a student is named twice; or the folder does not say its languages.
    """
    threads = threads or available_cores()
    is_run = (model / "recipe.yaml").is_file()
    names = _names(model, students) if is_run else list(students or [None])  # type: ignore[list-item]
    rows, name = _results(model) if is_run else ([], model.resolve().name)
    search = search_of(model)
    search = replace(search, beam_size=beam or search.beam_size)
    with ExitStack() as stack:
        loaded = []
        for wanted in names:
            opened = open_translator(model, wanted, engine=engine, precision=precision, threads=threads)
            translator = cast(Engine, stack.enter_context(opened))
            loaded.append(_student(wanted, translator, rows, precision, search))
            translator.translate(["."], search, Cuts())  # the first one takes longer
        yield Loaded(_family(name, loaded, model), search.beam_size, threads)


def _names(run: Path, wanted: Sequence[str] | None) -> list[str]:
    """Names of students in the family as users may give them, as they are called."""
    from polystill.environment.extras import need_packages

    need_packages(f"{run}: serving a run (a CTranslate2 folder needs less)")
    from polystill.models.folder import family_space
    from polystill.runs import Run

    opened = Run.open(run)
    opened.need_family()
    space = family_space(opened.family)
    if not wanted:
        return [str(student) for student in sorted(space.candidates, key=lambda s: s != space.teacher)]
    names = [str(space.get(name)) for name in wanted]
    if len(set(names)) < len(names):
        raise UserError(f"--student: {' '.join(wanted)} names a student twice")
    return names


def _results(run: Path) -> tuple[list[Row], str]:
    from polystill.runs import Run

    opened = Run.open(run)
    return opened.results().to_json()["rows"], opened.recipe.name


def _student(
    name: str | None, translator: Engine, rows: Sequence[Row], precision: str, search: DecodingOptions
) -> Student:
    how: dict[str, Any] = {"beam": search.beam_size, "length_penalty": search.length_penalty}
    if not isinstance(translator, CTranslate2Translator):
        engine, used = "torch", "float32" if precision == "default" else precision
        found = measured(rows, str(name), engine=engine, precision=used, **how)
        return Student(name or "model", translator, found, search.length_penalty)
    info = translator.info
    name = name or str(info.get("name", "model"))
    used = str(info.get("quantization", translator.compute_type)) if precision == "default" else precision
    found = measured(rows, name, engine="ctranslate2", precision=used, shortlist="shortlist" in info, **how)
    size = folder_bytes(translator.folder)
    facts: dict[str, Any] = {"size_bytes": size, "parameters": found.parameters or info.get("parameters")}
    return Student(name, translator, Measured(**{**vars(found), **facts}), search.length_penalty)


def _family(name: str, students: Sequence[Student], model: Path) -> Family:
    tokenizer = students[0].engine.tokenizer
    source, target = tokenizer.source_language, tokenizer.target_language
    if source is None or target is None:
        raise UserError(
            f"{model}: its tokenizer_config.json lacks source_lang or target_lang, by which requests are answered"
        )
    return Family(name, students, source, target)


def settings_of(
    loaded: Loaded,
    model: Path,
    limits: Limits,
    *,
    host: str,
    api_keys: Path | None,
    runtime: Path | None,
    log_text: bool,
) -> Settings:
    """What else the server needs to know.

    Raises:
        UserError: the keys or the runtime cannot be read, or there is nothing for the runtime to run.
    """
    local = is_local(host)
    if not local and api_keys is None:
        _log.warning("--host %s: whoever reaches this machine can use the server; --api-keys asks for a key", host)
    return Settings(
        limits,
        loaded.beam,
        loaded.threads,
        keys=None if api_keys is None else ApiKeys.read(api_keys),
        browser=_browser_models(loaded.family, model, runtime),
        chart=_chart(loaded.family),
        hosts=(*LOCAL, host, f"[{host}]") if local else None,
        log_text=log_text,
    )


def _browser_models(family: Family, model: Path, runtime: Path | None) -> BrowserModels:
    exports, stale = bergamot_exports(model, {student.name: _weights(student) for student in family.students})
    for folder in stale:
        _log.warning("%s: of other weights than the student that is served; export it again", folder)
    if runtime is None:
        if exports:
            say = "%s can run in the browser itself: give --bergamot-runtime"
            _log.info(say, ", ".join(exports))
        return BrowserModels()
    if not exports:
        raise UserError(
            f"--bergamot-runtime: {model / 'exports'} holds no Bergamot export of a student that is served; "
            f"make one with polystill export {model} {family.students[0].name} --to bergamot"
        )
    return read_browser_models(runtime, exports)


def _weights(student: Student) -> str | None:
    """The checksum of the weights that it was exported from, where that is known."""
    found = getattr(student.engine, "info", {}).get("source_sha256")
    return None if found is None else str(found)


def _chart(family: Family) -> str:
    found = [(student.name, student.measured) for student in family.students]
    points = [Point(name, m.size_bytes / 1e6, m.bleu) for name, m in found if m.size_bytes and m.bleu is not None]
    test_set = next((m.test_set for _, m in found if m.test_set), "")
    return quality_chart(points, test_set) if len(points) > 1 else ""
