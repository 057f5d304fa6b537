"""Translate text with a model of any kind: open it in the engine that suits it, and translate files or pipes.

A CTranslate2 folder needs the core install only. Every other kind of model needs the [train] extra.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, BinaryIO

from polystill.decoding import default_engine, find_engine
from polystill.decoding.ctranslate2 import CTranslate2, own_search
from polystill.decoding.translator import Cuts, DecodingOptions
from polystill.environment.extras import need_packages
from polystill.errors import UserError
from polystill.placement import Span, Translation
from polystill.runs.places import Kind, Place, find_model
from polystill.storage import need_writable, remove_if_possible, sibling, storage_errors

if TYPE_CHECKING:
    from polystill.decoding.engine import Engine, ModelTranslator
    from polystill.decoding.stream import LiveStream
    from polystill.decoding.translator import Translator

_log = logging.getLogger(__name__)


@contextmanager
def open_translator(
    model: Path, student: str | None, *, engine: str | None = None, precision: str = "default", threads: int = 0
) -> Iterator[ModelTranslator]:
    """Open a run, a family, RUN/STUDENT, a CTranslate2 folder or a model's folder; of a family, the student named.

    Runs in CTranslate2 by default, and in torch if CTranslate2 lacks the architecture. A run's students are opened as
    its evaluation opened them. Any other model that the engine cannot run as it is gets converted in a temporary
    folder.

    Raises:
        UserError: there is no model, `student` is given for a single model, or the engine is unknown or cannot run the
            model.
    """
    place = find_model(model)
    if student is not None and place.kind not in (Kind.RUN, Kind.FAMILY):
        raise UserError(f"--student {student}: {model} is a single model; only a run has students to choose from")
    student = place.student or student or "teacher"
    if place.kind is Kind.CTRANSLATE2:
        chosen = find_engine(engine or CTranslate2.name)
        if chosen.export_format != CTranslate2.export_format:
            raise UserError(
                f"--engine {engine}: {model} is a CTranslate2 folder; leave it out, or translate from the run"
            )
        chosen.check_precision(precision)
        yield chosen.open(place.folder, precision, threads)
        return
    need_packages(f"{model}: translating with this kind of folder")
    chosen = _engine(place, student, engine)
    chosen.check_precision(precision)
    if place.run is not None:
        yield _from_run(place.run, student, chosen, precision, threads)
        return
    with TemporaryDirectory(prefix="polystill-") as temporary:
        folder = _single_model(place, student, Path(temporary))
        if chosen.export_format is not None:
            from polystill.export.driver import export_folder

            converted = Path(temporary) / chosen.export_format
            export_folder(folder, converted, chosen.export_format, None if precision == "default" else precision)
            folder, precision = converted, "default"
        yield chosen.open(folder, precision, threads)


def _engine(place: Place, student: str, wanted: str | None) -> Engine:
    """Return the engine that was asked for, or the model's usual one."""
    from polystill.runs.family import family_space, supernet_folder

    supernet = ""
    if place.kind in (Kind.RUN, Kind.STUDENT, Kind.FAMILY):
        supernet = family_space(place.folder).get(student).supernet
    folder = supernet_folder(place.folder, supernet)
    architecture = _architecture(place.run, supernet, folder)
    if wanted is None:
        return default_engine(architecture)
    engine = find_engine(wanted)
    if architecture not in engine.architectures:
        engine.check_model(folder)
    return engine


def _architecture(run: Path | None, supernet: str, folder: Path) -> str:
    """Return a model's architecture; a run's recipe says it, without torch and the seconds that its import takes."""
    if run is None:
        from polystill.models.folder import architecture_in

        return architecture_in(folder)
    from polystill.runs import Run

    return Run.open(run).recipe.architecture_of(supernet)


def _from_run(run_folder: Path, student: str, engine: Engine, precision: str, threads: int) -> ModelTranslator:
    """Open the folder in RUN/students that the evaluation measures; write it there if it is missing."""
    from polystill.export.students import exported, extracted
    from polystill.runs import Run
    from polystill.runs.family import family_space

    run = Run.open(run_folder)
    member = family_space(run.family).get(student)
    if engine.export_format is None:
        return engine.open(extracted(run, member), precision, threads)
    if precision == "default":
        settings = run.recipe.evaluation
        usual = settings.engine_for(run.recipe.architecture_of(member.supernet))
        precision = settings.precision if usual == engine.name else "float32"
    return engine.open(exported(run, member, precision, to=engine.export_format), threads=threads)


def _single_model(place: Place, student: str, temporary: Path) -> Path:
    """Return a single model's folder; of a family, extract the student into `temporary` and return that."""
    from polystill.export.students import write_extracted
    from polystill.runs.family import family_space

    if place.kind is not Kind.FAMILY:
        return place.folder
    write_extracted(place.folder, family_space(place.folder).get(student), temporary / "student")
    return temporary / "student"


def search_of(model: Path) -> DecodingOptions:
    """Return the search that a model was made for: an export's beam size and length penalty, a run's length penalty.

    A value that the model does not state is the default of `DecodingOptions`.

    Raises:
        UserError: there is no model, or the run's recipe is damaged.
    """
    run = find_model(model).run
    if run is None:
        return own_search(model)
    from polystill.runs import Run

    return DecodingOptions(length_penalty=Run.open(run).recipe.evaluation.length_penalty)


def translate_files(
    translator: Translator,
    inputs: Sequence[Path],
    output: Path | None,
    stdin: BinaryIO | None,
    *,
    options: DecodingOptions,
) -> None:
    """Translate files one after another, or stdin, to a file or stdout: one line in, one line out.

    With `options.n_best` > 1 a line's translations stand on one line, best first, separated by tabs. With
    `options.alignment` each is followed by ` ||| ` and its links of words, such as `0-0 1-2` (see
    `decoding.alignment.word_links`). Lines of a pipe or terminal are translated and written as they arrive. An output
    file appears when it is complete; a symbolic link is followed.

    Raises:
        UserError: an input cannot be read or is not UTF-8, or the output cannot be written or is an input as well.
    """
    from polystill.decoding.alignment import pharaoh, word_links
    from polystill.decoding.stream import longest_line, translate_lines

    for path in inputs:  # check them all before translating the first
        with _reading(path):
            if not path.is_fifo():  # opening and closing it would stop its writer
                path.open("rb").close()
    if output is not None:
        _check_no_input(output, inputs, stdin)
    lines = _Lines(inputs, stdin, longest_line(translator))
    with _output(output) as target:
        for hypotheses in translate_lines(translator, lines, options, has_line=lines.has_line):
            texts = [hypothesis.text.replace("\t", " ") for hypothesis in hypotheses]
            if options.alignment:
                texts = [f"{text} ||| {pharaoh(word_links(h))}" for text, h in zip(texts, hypotheses, strict=True)]
            target.write("\t".join(texts).encode() + b"\n")
            target.flush()


class _Lines:
    """The lines of all files in turn, or of stdin. `has_line` tells whether the next one can be read at once."""

    def __init__(self, inputs: Sequence[Path], stdin: BinaryIO | None, most_characters: int) -> None:
        self._inputs, self._stdin, self._most_characters = inputs, stdin, most_characters
        self._live: LiveStream | None = None  # the pipe or terminal that is being read, if it is one

    def __iter__(self) -> Iterator[str]:
        if not self._inputs:
            assert self._stdin is not None
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


def _check_no_input(output: Path, inputs: Sequence[Path], stdin: BinaryIO | None) -> None:
    """Raise UserError where the output is one of the input files, under any name: its text would be lost."""
    if not output.is_file():
        return
    for path in inputs:
        if output.samefile(path):
            raise UserError(f"--output {output}: this is the input {path}; give another file")
    if not inputs and stdin is not None and _is_open_as(output, stdin):
        raise UserError(f"--output {output}: this is the input, stdin; give another file")


def _is_open_as(path: Path, stream: BinaryIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(stream.fileno()))
    except OSError:  # the stream has no file descriptor
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
    with storage_errors(path):
        if not _is_replaced(path):
            with path.open("ab") as file:
                yield file
            return
        real = Path(os.path.realpath(path))  # replace what a symbolic link points to, not the link
        unfinished = sibling(real, "tmp")
        try:
            with unfinished.open("xb") as file:
                yield file
            if real.exists():
                shutil.copymode(real, unfinished)
            unfinished.replace(real)
        finally:
            remove_if_possible(unfinished)


def _is_replaced(path: Path) -> bool:
    """Whether an output is written as a new file. Pipes, and what is open already (/dev/stdout), are written to."""
    folder = path.absolute().parent
    if folder in (Path("/dev"), Path("/dev/fd")) or folder.is_relative_to("/proc"):
        return False
    return path.is_file() or not path.exists()


# --- documents --------------------------------------------------------------------------------------------------------

_BETWEEN_LINES = re.compile(r"(\A\s+|(?<!\s)\s*\n\s*|(?<!\s)\s+\Z)")


def translate_document(
    translator: ModelTranslator,
    document: Path,
    output: Path | None,
    stdin: BinaryIO | None,
    *,
    options: DecodingOptions,
) -> None:
    """Fill in what a document of `polystill.documents` leaves untranslated, and write it to a file or stdout.

    Alignments are asked for where the document has codes to be placed by them, and the model was trained with them.

    Raises:
        UserError: the document cannot be read or is of other languages than the model, or the output cannot be written
            or is the document.
    """
    from polystill.documents import open_document
    from polystill.documents.base import check_languages

    opened = open_document(document)
    check_languages(str(document), opened.languages, translator.languages)
    if output is not None:
        _check_no_input(output, [document], stdin)
        if _is_replaced(output):
            need_writable(output)
    aligns = opened.has_codes and bool(translator.info.get("alignment"))
    found = translate_texts(translator, opened.texts, replace(options, alignment=aligns))
    translations = [t if t is not None and opened.can_write(t.text) else None for t in found]
    content = opened.filled(translations, translator.languages[1])
    with _output(output) as target:
        target.write(content)
    long, unwritable = found.count(None), translations.count(None) - found.count(None)
    done = f"{len(found) - long - unwritable} texts translated, {long} not, as they or their translations are too long"
    if unwritable:
        done += f", {unwritable} not, as the file's encoding lacks characters of their translations"
    _log.info("%s: %s; left as they were: %s", document, done, opened.left)


def translate_texts(translator: Translator, texts: Sequence[str], options: DecodingOptions) -> list[Translation | None]:
    """Translate texts of one or several lines, each line by itself; blanks around lines stay. Equal lines cost once.

    A text is None of which a line, or its translation, is too long for the model: a part would pass for the whole. With
    `options.alignment` a translation has spans, unless one of its lines has none (see `aligned_spans`).
    """
    split = [_BETWEEN_LINES.split(text) for text in texts]  # lines at even places, blanks at odd ones
    lines = list(dict.fromkeys(line for parts in split for line in parts[::2] if line))
    known = dict(zip(lines, _whole_translations(translator, lines, options), strict=True))
    return [_joined(parts, known) for parts in split]


def _joined(parts: list[str], known: dict[str, Translation | None]) -> Translation | None:
    text, spans, at = "", list[Span](), 0
    is_aligned = True
    for i, part in enumerate(parts):
        is_line = bool(part) and not i % 2
        translation = known[part] if is_line else Translation(part)
        if translation is None:
            return None
        is_aligned = is_aligned and (bool(translation.spans) or not is_line)
        spans += [span.moved(at, len(text)) for span in translation.spans]
        text, at = text + translation.text, at + len(part)
    return Translation(text, tuple(spans) if is_aligned else ())


def _whole_translations(
    translator: Translator, lines: Sequence[str], options: DecodingOptions
) -> Iterator[Translation | None]:
    from polystill.decoding.alignment import aligned_spans
    from polystill.decoding.keeping import translate_block
    from polystill.decoding.stream import BLOCK_LINES

    for start in range(0, len(lines), BLOCK_LINES):
        cuts = Cuts()
        block = lines[start : start + BLOCK_LINES]
        for number, hypotheses in enumerate(translate_block(translator, block, options, cuts)):
            if number in cuts.sources or not hypotheses or hypotheses[0].cut:
                yield None
            else:
                yield Translation(hypotheses[0].text, tuple(aligned_spans(block[number], hypotheses[0])))
