"""What students make of lines that are unlike their data: counted, as the engine ships them.

Translation happens in a process of its own, so that an engine that dies is counted as well and the rest goes on.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

from polystill.data.cleaning import Repetition
from polystill.decoding.contract import Cuts, DecodingOptions, Translator
from polystill.decoding.ctranslate2 import CTranslate2Translator, available_cores
from polystill.decoding.stream import read_lines
from polystill.errors import UserError
from polystill.evaluation.chosen import How, chosen, model_id
from polystill.evaluation.probes import Probe, has_words, is_copied, make_probes
from polystill.runs import Run
from polystill.runs.rows import student_name
from polystill.storage import write_atomic
from polystill.students import Student

Row = dict[str, Any]
_log = logging.getLogger(__name__)


@dataclass
class Counts:
    """Over the lines of one kind."""

    lines: int = 0
    crashed: int = 0
    """The engine raised an error or died."""
    empty: int = 0
    """A line with words that came to nothing."""
    invented: int = 0
    """A line without any character that came to something."""
    loops: int = 0
    """Translations with a repetition that their source has not."""
    cut: int = 0
    """Lines that are longer than the model takes."""
    to_copy: int = 0
    copied: int = 0


def count(probes: Sequence[Probe], outputs: Sequence[Output], languages: tuple[str, str]) -> dict[str, dict[str, int]]:
    """Counts by kind, as dictionaries."""
    repetition = Repetition(languages)
    found: dict[str, Counts] = {}
    for probe, output in zip(probes, outputs, strict=True):
        counts = found.setdefault(probe.kind, Counts())
        counts.lines += 1
        counts.to_copy += bool(probe.copy)
        counts.cut += output.cut
        if output.text is None:
            counts.crashed += 1
            continue
        counts.empty += has_words(probe.source) and not output.text.strip()
        counts.invented += not probe.source.strip() and bool(output.text.strip())
        counts.loops += repetition.is_looping(probe.source, output.text)
        counts.copied += bool(probe.copy) and is_copied(probe, output.text)
    return {kind: asdict(counts) for kind, counts in found.items()}


# --- a run's students ---------------------------------------------------------------------------------------------


def probe_students(
    run: Run,
    *,
    students: Sequence[str] | None = None,
    engine: str | None = None,
    precision: str | None = None,
    shortlist: bool = False,
    beam: int | None = None,
) -> list[Row]:
    """Give probes to students and count what comes of them; what is not given comes from the recipe (its largest beam).

    Rows go into RUN/results.json under "robustness", all translations into RUN/robustness.

    Raises:
        UserError: unknown student, engine or precision; no family, or one that the engine does not have; a shortlist
            for an engine without; or no test source to make probes from.
    """
    from polystill.export.artefacts import exported, extracted

    members, how = chosen(run, students, engine=engine, precision=precision, shortlist=shortlist)
    settings, data = run.recipe.evaluation, run.recipe.data
    options = DecodingOptions(beam_size=beam or max(settings.beams), length_penalty=settings.length_penalty)
    probes = make_probes(_test_source(run))
    rows = []
    with Apart(_translate) as apart:
        for student in members:
            torch = how.engine == "torch"
            folder = extracted(run, student) if torch else exported(run, student, how.precision, how.shortlist)
            model = (str(folder), how.engine, how.precision, options, available_cores())
            outputs = apart.translate([probe.source for probe in probes], *model)
            counts = count(probes, outputs, (data.source_language, data.target_language))
            row = _row(run, student, how, options, counts)
            _store(run, row, probes, outputs)
            rows.append(row)
            _log.info("%s: %s", student_name(row), in_words(row))
    return rows


def in_words(row: Row) -> str:
    """Such as "147 lines: 2 loops, 31 of 70 copied"."""
    totals = {name: sum(counts[name] for counts in row["kinds"].values()) for name in asdict(Counts())}
    found = [f"{totals[name]} {name}" for name in ("crashed", "empty", "invented", "loops") if totals[name]]
    found.append(f"{totals['copied']} of {totals['to_copy']} copied")
    return f"{totals['lines']} lines: {', '.join(found)}"


def _row(
    run: Run,
    student: Student,
    how: How,
    options: DecodingOptions,
    kinds: dict[str, dict[str, int]],
) -> Row:
    name = f"{model_id(run, student)}.{how.file_name(options.beam_size, options.length_penalty)}"
    return {
        "model_id": model_id(run, student),
        "model": str(student),
        **how.identity(),
        "beam": options.beam_size,
        "length_penalty": options.length_penalty,
        "kinds": kinds,
        "outputs": f"robustness/{name}.jsonl",
    }


def _store(run: Run, row: Row, probes: Sequence[Probe], outputs: Sequence[Output]) -> None:
    lines = [
        json.dumps({"kind": probe.kind, "source": probe.source, "output": output.text}, ensure_ascii=False)
        for probe, output in zip(probes, outputs, strict=True)
    ]
    path = run.folder / row["outputs"]
    path.parent.mkdir(exist_ok=True)
    write_atomic(path, "".join(f"{line}\n" for line in lines))
    run.add_robustness([row])


def _test_source(run: Run) -> list[str]:
    """The first test set's source, or without a test set that of the validation set."""
    names = [f"test/{name}.source.txt" for name in run.recipe.data.test]
    path = run.data / [*names, "validation.source.txt"][0]
    if not path.is_file():
        raise UserError(f"{path}: missing; probes are made from it")
    with path.open("rb") as file:
        lines = list(read_lines(file, str(path)))
    if not any(line.strip() for line in lines):
        raise UserError(f"{path}: has no sentence to make probes from")
    return lines


# --- a process apart ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Output:
    text: str | None
    """None where the engine failed."""
    cut: bool = False


class Apart:
    """Calls `work(lines, *how)`, a function of a module, in a process of its own: one that dies is replaced."""

    def __init__(self, work: Callable[..., list[Output]]) -> None:
        self._work = work
        self._pool = self._new_pool()

    @staticmethod
    def _new_pool() -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))

    def translate(self, lines: Sequence[str], *how: Any) -> list[Output]:
        """All lines at once; where that fails, one by one, so that only those which fail themselves are lost."""
        outputs = self._attempt(list(lines), how)
        if outputs is None:
            outputs = [(self._attempt([line], how) or [Output(None)])[0] for line in lines]
        return outputs

    def _attempt(self, lines: list[str], how: tuple[Any, ...]) -> list[Output] | None:
        try:
            return self._pool.submit(self._work, lines, *how).result()
        except UserError:  # no line's fault: the model does not load
            raise
        except BrokenProcessPool:
            self._pool.shutdown()
            self._pool = self._new_pool()
            return None
        except Exception as error:
            _log.debug("an engine's error: %s", error)
            return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()


def _translate(
    lines: list[str], folder: str, engine: str, precision: str, options: DecodingOptions, threads: int
) -> list[Output]:
    translator = _translator(folder, engine, precision, threads)
    outputs = []
    limit = translator.max_source_tokens
    for line, found in zip(lines, translator.translate(lines, options, Cuts()), strict=True):
        cuts = Cuts()
        cuts.fit_sources([line], translator.tokenizer.source_pieces, limit)  # type: ignore[attr-defined]
        outputs.append(Output(found[0].text if found else "", bool(cuts.sources)))
    return outputs


@lru_cache(maxsize=1)
def _translator(folder: str, engine: str, precision: str, threads: int) -> Translator:
    if engine == "ctranslate2":
        return CTranslate2Translator(Path(folder), precision, threads)
    from polystill.export.artefacts import load_torch

    return load_torch(Path(folder), precision, threads)
