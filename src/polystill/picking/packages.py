"""Sizes of packages in other formats than CTranslate2's: each is exported once and weighed; its run remembers it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from polystill.environment.extras import need_packages
from polystill.errors import UserError
from polystill.export import FORMATS
from polystill.export.students import export_student
from polystill.picking.candidates import Candidate
from polystill.picking.choice import choose, limits_of
from polystill.picking.devices import Device
from polystill.runs import Run
from polystill.storage import is_no_permission, sha256, tree_bytes

Log = Callable[[str], object]


def with_package_sizes(candidates: Sequence[Candidate], device: Device, name: str, log: Log) -> list[Candidate]:
    """The candidates with the sizes of their packages, where the device has a limit for them and its own format.

    Students that their run does not know the size of are exported into a temporary folder, which takes seconds each.

    Raises:
        UserError: a student cannot be exported in the device's format, another process works on a run that has to
            remember sizes, or no candidate has the other figures that the limits need.
    """
    if not device.weighs_packages:
        return list(candidates)
    if not any(all(c.get(limit.key) is not None for limit in limits_of(device)) for c in candidates):
        choose(candidates, device.model_copy(update={"max_size": None}), name)  # says what to measure first
    sizes = {}
    for run in dict.fromkeys(candidate.run for candidate in candidates):
        students = dict.fromkeys(c.row["model"] for c in candidates if c.run == run)
        try:
            sizes[run] = _sizes(run, list(students), device.format, log)
        except UserError as error:
            raise UserError(f"device {name}: {error}") from error
    return [replace(c, row={**c.row, "size_bytes": sizes[c.run][c.row["model"]]}, weighed=True) for c in candidates]


def _sizes(folder: Path, students: Sequence[str], to: str, log: Log) -> dict[str, int]:
    """Bytes of these students' packages."""
    need_packages("pick")
    from polystill.models.folder import WEIGHTS

    run = Run.open(folder)
    mark = {"format": to, "precision": FORMATS[to].default_precision, "family_sha256": sha256(run.family / WEIGHTS)}
    known = {
        row["model"]: row["size_bytes"] for row in run.results().get("packages", []) if row.items() >= mark.items()
    }
    missing = [student for student in students if student not in known]
    if missing:
        with _remembering(folder, log) as remember:
            for number, student in enumerate(missing, 1):
                log(f"{folder / student}: exporting as {to}, to know its size ({number} of {len(missing)})")
                known[student] = _weigh(folder, student, to)
                remember([{"model": student, **mark, "size_bytes": known[student]}])
    return known


def _weigh(folder: Path, student: str, to: str) -> int:
    with TemporaryDirectory(prefix="polystill-") as temporary:
        return tree_bytes(export_student(folder, student, to, Path(temporary) / student))


@contextmanager
def _remembering(folder: Path, log: Log) -> Iterator[Callable[[list[dict[str, object]]], object]]:
    """What adds sizes to the run, which is locked meanwhile; where it may not be written, nothing is remembered."""
    with ExitStack() as stack:
        try:
            run = stack.enter_context(Run.open(folder, lock=True))
            run.add_packages([])  # finds out before minutes are spent
        except UserError as error:
            if not is_no_permission(error.__cause__):
                raise
            log(f"{folder}: no permission to write, so the sizes of its packages are not remembered")
            yield lambda rows: None
        else:
            yield run.add_packages
