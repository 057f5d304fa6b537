"""Students taken out of a run, or of a family's own folder, and written as folders or exports."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from polystill.errors import UserError
from polystill.runs import Run
from polystill.storage import need_new_folder

if TYPE_CHECKING:
    from polystill.decoding.contract import DecodingOptions


def extract_student(folder: Path, name: str, out: Path | None = None) -> Path:
    """Write a run's student as a folder (a Transformer as Hugging Face's): to `out`, or by default to RUN/students.

    `folder` may also be a family's own, such as a pruned one. Returns where the student is.

    Raises:
        UserError: as `export_student`.
    """
    from polystill.export.artefacts import extracted, write_extracted
    from polystill.models.folder import architecture_in, family_space

    if _is_model(folder):
        if architecture_in(folder) == "transformer":
            return _export_from_model(folder, name, "hf", out, None)
        out = _new(out)
        write_extracted(folder, family_space(folder).get(name), out)
        return out
    run = Run.open(folder)
    run.need_family()
    if out is not None:
        if architecture_in(run.family) == "transformer":
            return export_student(folder, name, "hf", out)
        need_new_folder(out)
        write_extracted(run.family, family_space(run.family).get(name), out)
        return out
    student = extracted(run, family_space(run.family).get(name))
    if not student.is_relative_to(run.students):
        raise UserError(f"{run.students}: no permission; give a folder to write with --out")
    return student


def export_student(
    folder: Path,
    name: str,
    to: str,
    out: Path | None = None,
    quantization: str | None = None,
    note: str = "",
    search: DecodingOptions | None = None,
    shortlist: bool = False,
) -> Path:
    """Write a run's student in one of `polystill.export.FORMATS`: to `out`, or by default to RUN/exports.

    The card has the run's figures, and `note`. Formats that can say so search as `search` does by default: with beam 5
    and the recipe's length penalty where it is not given. A shortlist is learnt from the run's training data. Returns
    where it is.

    `folder` may also be a family's or student's own, such as a pruned one; of that no figures are known, and there is
    no data to learn a shortlist from.

    Raises:
        UserError: the folder is no run, its training is not finished, it has no such student, or as
            `polystill.export.export_folder`.
    """
    from polystill import export
    from polystill.data.run_shortlist import shortlist_of
    from polystill.decoding.contract import DecodingOptions
    from polystill.export.artefacts import extracted, lines_to_verify
    from polystill.export.training_data import data_lines
    from polystill.models.folder import family_space, read_family

    export.check_choices(to, quantization, shortlist)
    if _is_model(folder):
        if shortlist:
            raise UserError(f"{folder}: --shortlist is learnt from a run's training data, and this is no run")
        return _export_from_model(folder, name, to, out, quantization)
    run = Run.open(folder)
    run.need_family()
    student = family_space(run.family).get(name)
    if out is None:
        out = run.folder / "exports" / "-".join(filter(None, (student.name, to, quantization, "shortlist" * shortlist)))
    need_new_folder(out, "give a new folder with --out, or remove this one")
    results = run.results().to_json()
    record = export.Record(
        rows=[row for row in results["rows"] if row.get("model") == student.name],
        devices=[row for row in results.get("devices", []) if row["model"] == student.name],
        note=note,
        search=search or DecodingOptions(length_penalty=run.recipe.evaluation.length_penalty),
        family=read_family(run.family),
        data=data_lines(run.recipe.data, run.data),
    )
    learnt = shortlist_of(run, export.SHORTLISTED[to]) if shortlist else None
    export.export_folder(extracted(run, student), out, to, quantization, lines_to_verify(run), record, learnt)
    return out


def _is_model(folder: Path) -> bool:
    """Whether it holds a family or student itself, and is no run."""
    return (folder / "config.json").is_file() and not (folder / "recipe.yaml").is_file()


def _export_from_model(folder: Path, name: str, to: str, out: Path | None, quantization: str | None) -> Path:
    from polystill import export
    from polystill.models.folder import FAMILY, read_family

    out = _new(out)
    known = read_family(folder) if (folder / FAMILY).is_file() else {}
    with _member(folder, name) as member:
        export.export_folder(member, out, to, quantization, record=export.Record(family=known))
    return out


def _new(out: Path | None) -> Path:
    if out is None:
        raise UserError("--out: say which new folder to write; only a run has a place for it")
    need_new_folder(out)
    return out


@contextmanager
def _member(folder: Path, name: str) -> Iterator[Path]:
    """A family's student as a folder of its own, for as long as the block runs; or the one student's that it is."""
    from polystill.export.artefacts import write_extracted
    from polystill.models.folder import FAMILY, family_space, load_model
    from polystill.students import StudentSpace

    if not (folder / FAMILY).is_file():
        own = load_model(folder).teacher
        StudentSpace.from_list(own, [own]).get(name)
        yield folder
        return
    with TemporaryDirectory(prefix="polystill-") as temporary:
        write_extracted(folder, family_space(folder).get(name), Path(temporary) / "student")
        yield Path(temporary) / "student"
