"""Exported folders measured on a device, and their figures brought back to the run (`polystill measure`, `merge`).

`measure_folders` runs in the core install and makes a `MeasuredFile`; `merge_figures` runs where the run is.
"""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polystill.decoding.ctranslate2 import MODEL, CTranslate2, check_files, own_search, read_info
from polystill.decoding.stream import read_lines
from polystill.decoding.translator import DecodingOptions
from polystill.errors import UserError, mistakes_in, reason
from polystill.evaluation.speed import Subject, measure_in_turn, sample
from polystill.runs.provenance import provenance
from polystill.runs.records import Record
from polystill.runs.results import DeviceRow, Provenance
from polystill.sources import built_in
from polystill.storage import sha256

if TYPE_CHECKING:
    from polystill.runs import Run
    from polystill.students import Student

FORMAT = 1
EVALUATION = "evaluation"
"""In devices.yaml the machine of `polystill evaluate`, so no device can have this name."""
_IDENTITY = ("name", "source_sha256", "quantization")


@dataclass(frozen=True, kw_only=True)
class MeasuredFile(Record):
    """The file of `polystill measure --out`. Its rows lack the device, hardware, time and settings of the file."""

    format: int
    device: str
    rows: list[DeviceRow]
    settings: dict[str, Any]
    """The text, its sentences and words, threads and rounds."""
    provenance: Provenance


# --- an exported folder ---------------------------------------------------------------------------------------------


def describe(folder: Path) -> dict[str, Any]:
    """A CTranslate2 folder's part of a `DeviceRow`: its student, precision, shortlist, checksum and size.

    A folder that another program made has only its `size_bytes`.

    Raises:
        UserError: no CTranslate2 model is there, or a file is not the one that was exported.
    """
    check_model(folder)
    info = read_info(folder)
    check_files(folder, info, weights=True)
    size = {"size_bytes": folder_bytes(folder)}
    if any(key not in info for key in _IDENTITY):
        return size
    known = {"model": info["name"], "precision": info["quantization"], "source_sha256": info["source_sha256"], **size}
    if "shortlist" in info:
        known["shortlist"] = True
    if "method" in info and "targets" in info:
        known["model_id"] = f"{info['method']}-{info['targets']}-{info['name']}"
    return known


def check_model(folder: Path) -> None:
    """Check that a folder holds a CTranslate2 model.

    Raises:
        UserError: there is no such folder, or no CTranslate2 model in it.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: {'a file' if folder.exists() else 'no such folder'}; expected a CTranslate2 folder")
    if not (folder / MODEL).is_file():
        inside = sorted(path.parent.name for path in folder.glob(f"*/{MODEL}"))
        hint = f"; there are some inside: {' '.join(inside)}" if inside else ""
        raise UserError(f"{folder}: no CTranslate2 model here ({MODEL} is missing){hint}")


def folder_bytes(folder: Path) -> int:
    """The size of the files of a model's folder. Folders inside it are not part of the model."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


# --- on the device --------------------------------------------------------------------------------------------------


def measure_on_device(
    folders: Sequence[Path],
    *,
    text: Path | None,
    sentences: int,
    device: str | None,
    beams: Sequence[int],
    threads: int,
    rounds: int,
    log: Callable[[str], object],
) -> MeasuredFile:
    """Measure folders on this device, with sentences of the file `text` or else of the built-in corpus.

    `device` is the host name by default. Folders in other formats than CTranslate2's are left out and logged.

    Raises:
        UserError: a folder is missing, none holds a model, the text cannot be read, or as `measure_folders`.
    """
    name = device or platform.node() or "device"
    check_device_name(f"--device {name}", name)
    folders = _with_models(folders, log)
    return measure_folders(
        folders,
        built_in_lines(folders, sentences) if text is None else _read_sample(text, sentences),
        text="built-in" if text is None else text.name,
        device=name,
        beams=beams,
        threads=threads,
        rounds=rounds,
        log=log,
    )


def _with_models(folders: Sequence[Path], log: Callable[[str], object]) -> list[Path]:
    """The folders with a CTranslate2 model; the others (`packages/*` may have other formats) are logged."""
    kept, others = [], []
    for folder in folders:
        try:
            check_model(folder)
            kept.append(folder)
        except UserError as error:
            if not folder.exists():
                raise
            others.append(str(error))
    if not kept:
        raise UserError(others[0])
    for message in others:
        log(f"left out: {message}")
    return kept


def _read_sample(path: Path, count: int) -> list[str]:
    try:
        with path.open("rb") as file:
            lines = list(read_lines(file, f"--text {path}"))
    except OSError as error:
        raise UserError(f"--text {path}: cannot be read ({error.strerror})") from None
    with mistakes_in(f"--text {path}"):
        return sample(lines, count)


def measure_folders(
    folders: Sequence[Path],
    lines: Sequence[str],
    *,
    text: str,
    device: str,
    beams: Sequence[int],
    threads: int,
    rounds: int,
    log: Callable[[str], object],
) -> MeasuredFile:
    """Measure every folder with every beam size, as `measure_in_turn` does. `text` names the lines in the file.

    Raises:
        UserError: a folder has no CTranslate2 model that loads, or a beam size is out of range.
    """
    described = {folder: describe(folder) for folder in folders}
    penalties = {folder: own_search(folder).length_penalty for folder in folders}
    subjects = [
        Subject(folder, lines, DecodingOptions(beam, length_penalty=penalties[folder]), threads=threads)
        for folder in folders
        for beam in beams
    ]
    rows = [
        DeviceRow(
            folder=str(subject.folder),
            engine=CTranslate2.name,
            beam=subject.options.beam_size,
            threads=threads,
            **described[subject.folder],
            **speed,
        )
        for subject, speed in zip(subjects, measure_in_turn(subjects, rounds=rounds, log=log, speed=True), strict=True)
    ]
    sentences = {"text": text, "sentences": len(lines), "words": sum(len(line.split()) for line in lines)}
    settings = {**sentences, "threads": threads, "rounds": rounds}
    return MeasuredFile(format=FORMAT, device=device, rows=rows, settings=settings, provenance=provenance())


def check_device_name(where: str, name: str) -> None:
    """Check that a device may have this name; `where` begins the message of an error.

    Raises:
        UserError: the name has another meaning in a devices file.
    """
    if name == EVALUATION:
        raise UserError(
            f"{where}: give the device another name: in a devices file, `measured_on: {EVALUATION}` means the machine "
            "of polystill evaluate"
        )


def built_in_lines(folders: Sequence[Path], count: int) -> list[str]:
    """Sentences of the built-in corpus in the language that all the models translate from.

    Raises:
        UserError: a folder has no model or does not name its language, the models' languages differ, or the corpus
            has no sentences in it.
    """
    for folder in folders:
        check_model(folder)
    languages = {folder: read_info(folder).get("source_language") for folder in folders}
    for folder, language in languages.items():
        if language not in built_in.LANGUAGES:
            known = " and ".join(built_in.LANGUAGES)
            what = f"translates from {language}" if language else "does not say what it translates from"
            raise UserError(f"{folder}: {what}, and the built-in sentences are {known}; give your own with --text FILE")
    if len(set(languages.values())) > 1:
        raise UserError("the folders translate from different languages; measure those of one language at a time")
    most = built_in.SIZES["test"]
    if count > most:
        raise UserError(
            f"--sentences {count}: there are {most:,} built-in ones; for more give your own with --text FILE"
        )
    return list(islice(built_in.sentences("test", str(next(iter(languages.values())))), count))


# --- back at the run ------------------------------------------------------------------------------------------------


def merge_figures(run: Run, files: Sequence[Path]) -> tuple[list[DeviceRow], list[str]]:
    """Add the figures of this run's students to RUN/results.json, under `devices`.

    A figure belongs to the run when its folder was exported from a student with the same weights. Returns the rows that
    were added, and a line for each of the others with the reason.

    Raises:
        UserError: a file was not written by `polystill measure`, or no figure belongs to this run.
    """
    from polystill.runs.family import family_space

    contents = [read_measured(path) for path in files]
    students = {student.name: student for student in family_space(run.family).candidates}
    added, left_out = [], []
    for content in contents:
        for row in content.rows:
            if reason := _foreign(run, row, students):
                left_out.append(f"{row.folder}, beam {row.beam}: {reason}")
            else:
                added.append(
                    replace(
                        row,
                        device=content.device,
                        hardware=content.provenance.hardware.summary,
                        measured_at=content.provenance.time,
                        settings=content.settings,
                    )
                )
    if not added:
        raise UserError(f"{run.folder}: nothing merged: {left_out[0]}")
    run.add(added)
    return added, left_out


def read_measured(path: Path) -> MeasuredFile:
    """The figures in a file of `polystill measure`.

    Raises:
        UserError: the file is missing or is another file, or its device has a name that no device can have.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: cannot be read ({reason(error)}); give a file that polystill measure --out has written"
        ) from None
    except ValueError:
        raise UserError(f"{path}: not JSON; give a file that polystill measure --out has written") from None
    try:
        measured = MeasuredFile.from_json(values)
        _check_figures(measured)
    except ValueError as error:
        raise UserError(f"{path}: not what polystill measure writes: {error}") from None
    check_device_name(f"{path}: device {measured.device}", measured.device)
    return measured


_REQUIRED = (
    *("folder", "beam", "threads", "words_per_second", "latency_p50_ms", "latency_p95_ms"),
    *("size_bytes", "peak_memory_bytes"),
)


def _check_figures(measured: MeasuredFile) -> None:
    """Raises:
    ValueError: another version's file, an empty one, or a figure that is missing, not finite or not positive.
    """
    if measured.format != FORMAT:
        raise ValueError(f"format: expected {FORMAT}, not {measured.format}")
    if not measured.device or not measured.rows:
        raise ValueError(f"{'rows' if measured.device else 'device'}: empty")
    for i, row in enumerate(measured.rows):
        values = row.to_json()
        for name in _REQUIRED:
            if name not in values:
                raise ValueError(f"rows.{i}: no key {name!r}")
        for name, value in values.items():
            if isinstance(value, int | float) and not (math.isfinite(value) and value > 0):
                raise ValueError(f"rows.{i}.{name}: expected a number above 0, not {value}")


def _foreign(run: Run, row: DeviceRow, students: dict[str, Student]) -> str:
    """The reason why the figures belong to no student of this run; "" where they belong to one."""
    from polystill.export.students import extracted
    from polystill.runs.family import WEIGHTS

    if not (row.model and row.precision and row.source_sha256):
        return "not exported by polystill, so nothing says which student it is"
    if row.model not in students:
        return f"the run has no student {row.model}"
    weights = sha256(extracted(run, students[row.model]) / WEIGHTS)
    return "" if weights == row.source_sha256 else f"other weights than this run's {row.model}"
