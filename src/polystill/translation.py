"""Text through a model of any kind: which engine, which files.

The core install suffices for a CTranslate2 folder; the other kinds need the [train] extra.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, BinaryIO

from polystill.decoding.contract import DecodingOptions
from polystill.decoding.ctranslate2 import CTranslate2Translator, check_precision
from polystill.environment.extras import need_packages
from polystill.errors import UserError
from polystill.runs.places import find_model
from polystill.storage import storage_errors

if TYPE_CHECKING:
    from polystill.decoding.contract import Translator
    from polystill.decoding.stream import LiveStream


@contextmanager
def open_translator(
    model: Path, student: str | None, *, engine: str | None = None, precision: str = "default", threads: int = 0
) -> Iterator[Translator]:
    """A translator of a run (or of one student of it, also as RUN/STUDENT), a CTranslate2 folder or a model's folder.

    The engine is CTranslate2 by default, and torch for architectures that CTranslate2 does not have. A run's students
    are used as its evaluation used them. Another folder that CTranslate2 cannot run as it is gets converted into a
    temporary one.

    Raises:
        UserError: no model is there, `student` is given for a folder without a family, or the model's format does
            not go with the engine.
    """
    place = find_model(model)
    if student is not None and (place.student is not None or not (place.folder / "family.json").is_file()):
        raise UserError(f"--student {student}: {model} is a single model; only a run has students to choose from")
    student = place.student or student or "teacher"
    if (place.folder / "model.bin").is_file():
        if engine == "torch":
            raise UserError(f"{model}: a CTranslate2 folder does not run with --engine torch")
        check_precision(precision)
        yield _ctranslate2(place.folder, precision, threads)
        return
    need_packages(f"{model}: translating with this kind of folder")
    engine = _engine(place.folder, engine)
    if engine == "ctranslate2":
        check_precision(precision)
    if place.run is not None:
        yield _from_run(place.run, student, engine, precision, threads)
        return
    with TemporaryDirectory(prefix="polystill-") as temporary:
        folder = _single_model(place.folder, student, Path(temporary))
        if engine == "ctranslate2":
            from polystill.export.driver import export_folder

            converted = Path(temporary) / "ctranslate2"
            export_folder(folder, converted, "ctranslate2", None if precision == "default" else precision)
            yield _ctranslate2(converted, "default", threads)
        else:
            yield _torch(folder, precision, threads)


def _engine(folder: Path, wanted: str | None) -> str:
    """The engine to translate with."""
    from polystill.models.folder import architecture_in, need_transformer

    if wanted is None:
        return "ctranslate2" if architecture_in(folder) == "transformer" else "torch"
    if wanted == "ctranslate2":
        need_transformer(folder, "CTranslate2")
    return wanted


def _from_run(run_folder: Path, student: str, engine: str, precision: str, threads: int) -> Translator:
    """What the run's evaluation measured, or would: RUN/students is used, and filled where it lacks something."""
    from polystill.export.students import exported, extracted
    from polystill.models.folder import family_space
    from polystill.runs import Run

    run = Run.open(run_folder)
    chosen = family_space(run.family).get(student)
    if engine == "torch":
        return _torch(extracted(run, chosen), precision, threads)
    if precision == "default":
        settings = run.recipe.evaluation
        precision = settings.precision if settings.engine == "ctranslate2" else "float32"
    return _ctranslate2(exported(run, chosen, precision), "default", threads)


def _single_model(folder: Path, student: str, temporary: Path) -> Path:
    """The folder itself, or one member of the family that it is, extracted into `temporary`."""
    from polystill.models.folder import FAMILY, family_space, save_student

    if not (folder / FAMILY).is_file():
        return folder
    save_student(folder, family_space(folder).get(student), temporary / "student")
    return temporary / "student"


def _ctranslate2(folder: Path, precision: str, threads: int) -> Translator:
    return CTranslate2Translator(folder, precision, threads)


def _torch(folder: Path, precision: str, threads: int) -> Translator:
    from polystill.export.students import load_torch

    return load_torch(folder, "float32" if precision == "default" else precision, threads)


def search_of(model: Path) -> DecodingOptions:
    """How a run's students, or an export, are meant to be searched; the defaults for what nothing is said about.

    A run gives the length penalty that it was evaluated with, an export its beam size too.

    Raises:
        UserError: no model is there, or the run's recipe is damaged.
    """
    run = find_model(model).run
    if run is None:
        from polystill.decoding.ctranslate2 import own_search

        return own_search(model)
    from polystill.runs import Run

    return DecodingOptions(length_penalty=Run.open(run).recipe.evaluation.length_penalty)


def translate_files(
    translator: Translator,
    inputs: Sequence[Path],
    output: Path | None,
    stdin: BinaryIO,
    *,
    beam_size: int = 5,
    n_best: int = 1,
    length_penalty: float = 1.0,
) -> None:
    """Translate files one after another, or stdin, to a file or stdout: one line in, one line out.

    With n_best > 1 a line's translations stand on one line, best first, separated by tabs. A file appears when it is
    complete; of a symbolic link, the file that it points to. What comes from a pipe or a terminal is translated, and
    written, as it comes.

    Raises:
        UserError: an input cannot be read or is not UTF-8, or the output cannot be written or is an input as well.
    """
    from polystill.decoding.contract import DecodingOptions
    from polystill.decoding.stream import longest_line, translate_n_best

    options = DecodingOptions(beam_size=beam_size, n_best=n_best, length_penalty=length_penalty)
    for path in inputs:  # all of them, before the first is translated
        with _reading(path):
            if not path.is_fifo():  # its writer would find its reader gone
                path.open("rb").close()
    if output is not None:
        _check_no_input(output, inputs, stdin)
    lines = _Lines(inputs, stdin, longest_line(translator))
    with _output(output) as target:
        for hypotheses in translate_n_best(translator, lines, options, has_line=lines.has_line):
            texts = [hypothesis.text.replace("\t", " ") for hypothesis in hypotheses]
            target.write("\t".join(texts).encode() + b"\n")
            target.flush()


class _Lines:
    """All files' lines in turn, or stdin's, and whether the next one is there."""

    def __init__(self, inputs: Sequence[Path], stdin: BinaryIO, most_characters: int) -> None:
        self._inputs, self._stdin, self._most_characters = inputs, stdin, most_characters
        self._live: LiveStream | None = None  # what is being read, unless it is a file

    def __iter__(self) -> Iterator[str]:
        if not self._inputs:
            yield from self._read(self._stdin, "stdin")
        for path in self._inputs:
            with _reading(path):
                source = path.open("rb")
            with source:
                yield from self._read(source, str(path))

    def _read(self, stream: BinaryIO, name: str) -> Iterator[str]:
        from polystill.decoding.stream import live, read_lines

        self._live = live(stream)
        return read_lines(self._live or stream, name, self._most_characters)

    def has_line(self) -> bool:
        return self._live is None or self._live.has_line()


def _check_no_input(output: Path, inputs: Sequence[Path], stdin: BinaryIO) -> None:
    """Raises:
    UserError: the output is a file that is read, under whatever name; its text would be lost.
    """
    if not output.is_file():
        return
    for path in inputs:
        if output.samefile(path):
            raise UserError(f"--output {output}: this is the input {path}; give another file")
    if not inputs and _is_open_as(output, stdin):
        raise UserError(f"--output {output}: this is the input, stdin; give another file")


def _is_open_as(path: Path, stream: BinaryIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(stream.fileno()))
    except OSError:  # the stream is none of the system's
        return False


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


@contextmanager
def _output(path: Path | None) -> Iterator[BinaryIO]:
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if path.exists() and not path.is_file():  # a pipe or /dev/null is written to, not replaced
        with storage_errors(path), path.open("wb") as file:
            yield file
        return
    real = Path(os.path.realpath(path))  # what a symbolic link points to is replaced, not the link
    unfinished = real.with_name(f".{real.name}.unfinished")
    try:
        with storage_errors(path):
            with unfinished.open("wb") as file:
                yield file
            unfinished.replace(real)
    finally:
        unfinished.unlink(missing_ok=True)
