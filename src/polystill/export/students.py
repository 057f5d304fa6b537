"""Students taken out of a run or a family, as folders and exports, made when they are needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from polystill.data.shortlist import Shortlist, shortlist_of
from polystill.decoding import ENGINES
from polystill.decoding.ctranslate2 import INFO, check_files, read_info
from polystill.decoding.stream import read_lines
from polystill.errors import UserError
from polystill.export import FORMATS
from polystill.export.format import how_trained
from polystill.progress import Progress
from polystill.runs import Run
from polystill.runs.family import WEIGHTS, family_space, read_family, supernet_folder
from polystill.runs.places import Kind, open_place
from polystill.runs.results import Variant
from polystill.storage import is_no_permission, json_text, locked_folder, need_new_folder, sha256, write_atomic
from polystill.students import Student, StudentSpace

if TYPE_CHECKING:
    from polystill.decoding.translator import DecodingOptions


def extract_student(folder: Path, name: str, out: Path | None = None) -> Path:
    """Write a run's student as a folder (a Transformer as Hugging Face's): to `out`, or by default to RUN/students.

    `folder` may also be a family's own. Returns where the student is. Raises what `export_student` raises.
    """
    from polystill.models.folder import architecture_in

    family = folder
    if not _is_model(folder):
        run = Run.open(folder)
        run.need_family()
        family = run.family
        if out is None:
            student = extracted(run, family_space(family).get(name))
            if not student.is_relative_to(run.students):
                raise UserError(f"{run.students}: no permission; give a folder to write with --out")
            return student
    member = family_space(family).get(name)
    if architecture_in(supernet_folder(family, member.supernet)) == "transformer":
        return export_student(folder, name, "hf", out)
    out = _new(out)
    write_extracted(family, member, out)
    return out


def export_student(
    folder: Path,
    name: str,
    to: str,
    out: Path | None = None,
    quantization: str | None = None,
    note: str = "",
    search: DecodingOptions | None = None,
    shortlist: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write a run's student in one of `polystill.export.FORMATS`: to `out`, or by default to RUN/exports.

    The card has the run's figures, and `note`. Formats that can say so search as `search` does by default: with beam 5
    and the recipe's length penalty where it is not given. A shortlist is learnt from the run's training data. Returns
    where the export is.

    `folder` may also be a family's or student's own, such as a pruned one. Then there are no figures, and there is no
    data to learn a shortlist from. `progress` is that of `export_folder`.

    Raises:
        UserError: the folder is no run, its training is not finished, it has no such student, or as
            `polystill.export.driver.export_folder`.
    """
    from polystill.decoding.translator import DecodingOptions
    from polystill.export.card import record_of
    from polystill.export.driver import check_choices, export_folder

    check_choices(to, quantization, shortlist)
    if _is_model(folder):
        if shortlist:
            raise UserError(f"{folder}: --shortlist is learnt from a run's training data, and this is not a run")
        return _export_from_model(folder, name, to, out, quantization, progress)
    run = Run.open(folder)
    run.need_family()
    student = family_space(run.family).get(name)
    if out is None:
        out = run.folder / "exports" / "-".join(filter(None, (student.name, to, quantization, "shortlist" * shortlist)))
    need_new_folder(out, "give a new folder with --out, or remove this one")
    search = search or DecodingOptions(length_penalty=run.recipe.evaluation.length_penalty)
    record = record_of(run, student, search, note)
    learnt = _learnt_shortlist(run, to) if shortlist else None
    export_folder(extracted(run, student), out, to, quantization, lines_to_verify(run), record, learnt, progress)
    return out


def _learnt_shortlist(run: Run, to: str) -> Shortlist | None:
    """The shortlist of the run's data as a format holds it; None if the format has none."""
    translations = FORMATS[to].shortlist
    return None if translations is None else shortlist_of(run, translations)


def _is_model(folder: Path) -> bool:
    """Whether the folder holds a family or a student itself, and is no run."""
    return open_place(folder).kind in (Kind.FAMILY, Kind.MODEL, Kind.MARIAN, Kind.CTRANSLATE2, Kind.EXPORT)


def _export_from_model(
    folder: Path, name: str, to: str, out: Path | None, quantization: str | None, progress: Progress | None
) -> Path:
    from polystill.export.card import Record
    from polystill.export.driver import export_folder
    from polystill.models.folder import load_model

    out = _new(out)
    if open_place(folder).kind is not Kind.FAMILY:
        only = load_model(folder).teacher
        StudentSpace.from_list([only], []).get(name)
        export_folder(folder, out, to, quantization, record=Record(), progress=progress)
        return out
    record = Record(family=read_family(folder))
    with TemporaryDirectory(prefix="polystill-") as temporary:
        student = Path(temporary) / "student"
        write_extracted(folder, family_space(folder).get(name), student)
        export_folder(student, out, to, quantization, record=record, progress=progress)
    return out


def _new(out: Path | None) -> Path:
    if out is None:
        raise UserError("--out: name a new folder to write; only a run has a default one")
    need_new_folder(out)
    return out


def extracted(run: Run, student: Student) -> Path:
    """RUN/students/<student>: made if it is missing or from an earlier state of the family.

    If the run may not be written, it is made in a temporary folder that lasts as long as this process.
    """
    folder = run.students / str(student)
    if _is_extracted(run, student, folder):
        return folder
    with _to_write(run, student) as folder:
        return folder


def folder_for(run: Run, student: Student, variant: Variant) -> Path:
    """The folder that an engine opens to run a student: the student's own, or its export in the engine's format."""
    to = ENGINES[variant.engine].export_format
    return extracted(run, student) if to is None else exported(run, student, variant.precision, variant.shortlist, to)


def exported(run: Run, student: Student, precision: str, shortlist: bool = False, to: str = "ctranslate2") -> Path:
    """RUN/students/<student>/<format>-<precision>[-shortlist]: made as `extracted`'s folder is."""
    name = Variant(to, precision, shortlist).file_name
    folder = run.students / str(student) / name
    if _is_extracted(run, student, folder.parent) and _is_exported(folder):
        return folder
    with _to_write(run, student) as student_folder:
        folder = student_folder / name
        if not _is_exported(folder):
            from polystill.export.driver import export_folder

            learnt = _learnt_shortlist(run, to) if shortlist else None
            export_folder(student_folder, folder, to, precision, lines_to_verify(run), shortlist=learnt)
    return folder


@contextmanager
def _to_write(run: Run, student: Student) -> Iterator[Path]:
    """The extracted student, in RUN/students, which the block has for itself.

    `translate`, `export` and `evaluate` of one run may go on side by side.
    """
    with ExitStack() as stack:
        students = run.students
        try:
            stack.enter_context(locked_folder(students))
        except UserError as error:
            if not is_no_permission(error.__cause__):
                raise
            students = Path(_temporary_students(run.family).name)
        folder = students / str(student)
        if not _is_extracted(run, student, folder):
            write_extracted(run.family, student, folder)
        yield folder


@cache
def _temporary_students(family: Path) -> TemporaryDirectory[str]:
    """A folder for each family, removed when the process ends."""
    return TemporaryDirectory(prefix="polystill-")


def write_extracted(family: Path, student: Student, folder: Path) -> None:
    """Write the layers of a family's student, and a note of what they were taken from."""
    from polystill.models.folder import save_student, weights_path

    save_student(family, student, folder)
    weights = weights_path(supernet_folder(family, student.supernet))
    trained = how_trained(read_family(family))
    note = {"format": "hf", "name": str(student), **trained, "family_sha256": sha256(weights)}
    write_atomic(folder / INFO, json_text(note, indent=2))


def _is_extracted(run: Run, student: Student, folder: Path) -> bool:

    read_family(run.family)
    weights = supernet_folder(run.family, student.supernet) / WEIGHTS
    return (folder / INFO).is_file() and read_info(folder).get("family_sha256") == sha256(weights)


def _is_exported(folder: Path) -> bool:
    """Whether an export of this student is there; one with a damaged file is made again."""
    info = read_info(folder)
    if info.get("source_sha256") != sha256(folder.parent / WEIGHTS):
        return False
    try:
        check_files(folder, info, weights=True)
    except UserError:
        return False
    return True


def lines_to_verify(run: Run) -> list[str] | None:
    """Sentences that exports of the run are verified with."""
    path = run.data / "validation.source.txt"
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return list(islice(filter(str.strip, read_lines(file, str(path))), 64)) or None
