"""A run's students as folders: taken out of the family, exported for CTranslate2, loaded in torch; made when needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from polystill.data.shortlist import shortlist_of
from polystill.decoding.ctranslate2 import INFO, available_cores, read_info
from polystill.decoding.stream import read_lines
from polystill.errors import UserError
from polystill.runs import Run
from polystill.runs.rows import artefact_name
from polystill.storage import is_no_permission, locked_folder, sha256
from polystill.students import Student

if TYPE_CHECKING:
    from polystill.decoding.beam import TorchTranslator


def extracted(run: Run, student: Student) -> Path:
    """RUN/students/<student>: made if it is missing or from an earlier state of the family.

    Where the run may not be written, it is made in a temporary folder that lasts as long as this process.
    """
    if _is_extracted(run, run.students / str(student)):
        return run.students / str(student)
    with _students_to_write(run) as students:
        return _extract(run, student, students)


def exported(run: Run, student: Student, precision: str, shortlist: bool = False) -> Path:
    """RUN/students/<student>/ctranslate2-<precision>[-shortlist]: made as `extracted`'s folder is."""
    name = artefact_name("ctranslate2", precision, shortlist)
    student_folder = run.students / str(student)
    folder = student_folder / name
    if _is_extracted(run, student_folder) and _is_exported(student_folder, folder):
        return folder
    with _students_to_write(run) as students:
        student_folder = _extract(run, student, students)
        folder = student_folder / name
        if not _is_exported(student_folder, folder):
            from polystill.export.ctranslate2 import export_ctranslate2

            learnt = shortlist_of(run) if shortlist else None
            export_ctranslate2(student_folder, folder, precision, lines_to_verify(run), shortlist=learnt)
    return folder


@contextmanager
def _students_to_write(run: Run) -> Iterator[Path]:
    """RUN/students for this process alone: `translate`, `export` and `evaluate` of one run may go on side by side."""
    with ExitStack() as stack:
        students = run.students
        try:
            stack.enter_context(locked_folder(students))
        except UserError as error:
            if not is_no_permission(error.__cause__):
                raise
            students = Path(_temporary_students(run.family).name)
        yield students


@cache
def _temporary_students(family: Path) -> TemporaryDirectory[str]:
    """Removed when the process ends."""
    return TemporaryDirectory(prefix="polystill-")


def _extract(run: Run, student: Student, students: Path) -> Path:
    folder = students / str(student)
    if not _is_extracted(run, folder):
        write_extracted(run.family, student, folder)
    return folder


def write_extracted(family: Path, student: Student, folder: Path) -> None:
    """Write the layers of a family's student, and a note of what they were taken from."""
    from polystill.export.description import write_info
    from polystill.models.folder import read_family, save_student, weights_path

    save_student(family, student, folder)
    trained: dict[str, Any] = {key: value for key, value in read_family(family).items() if key in ("method", "targets")}
    info = {"format": "hf", "name": str(student), **trained, "family_sha256": sha256(weights_path(family))}
    write_info(folder, info)


def _is_extracted(run: Run, folder: Path) -> bool:
    from polystill.models.folder import WEIGHTS, read_family

    read_family(run.family)
    return (folder / INFO).is_file() and read_info(folder).get("family_sha256") == sha256(run.family / WEIGHTS)


def _is_exported(student_folder: Path, folder: Path) -> bool:
    from polystill.models.folder import WEIGHTS

    return bool(read_info(folder).get("source_sha256") == sha256(student_folder / WEIGHTS))


def load_torch(folder: Path, precision: str, threads: int = 0) -> TorchTranslator:
    """A model's folder, of any architecture, in torch, on the GPU if there is one.

    Raises:
        UserError: the folder does not load, or the precision is none of torch's.
    """
    import torch

    from polystill.decoding.beam import TorchTranslator
    from polystill.decoding.precisions import torch_dtype
    from polystill.models.folder import load_model_with_tokenizer

    dtype = torch_dtype(precision)
    torch.set_num_threads(threads or available_cores())
    model, tokenizer = load_model_with_tokenizer(folder)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return TorchTranslator(model.to(device, dtype), tokenizer)


def lines_to_verify(run: Run) -> list[str] | None:
    """Sentences that exports of the run are verified with."""
    path = run.data / "validation.source.txt"
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return list(islice(filter(str.strip, read_lines(file, str(path))), 64)) or None
