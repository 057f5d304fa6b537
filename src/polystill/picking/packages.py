"""`polystill pick` and `ship`: the best student for each device, and its package.

Sizes of packages in other formats than CTranslate2's are found by exporting each student once; its run remembers them.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from polystill.decoding.translator import DecodingOptions
from polystill.environment.extras import need_packages
from polystill.errors import UserError, nearest
from polystill.evaluation.figures import megabytes
from polystill.export import FORMATS
from polystill.export.students import export_student
from polystill.picking.candidates import Candidate, candidates, check_test_set, not_evaluated, open_runs
from polystill.picking.choice import Choice, choose, explain, figures, limits_of
from polystill.picking.devices import CTRANSLATE2, Device, limits_from_options, load_devices
from polystill.runs import Run
from polystill.runs.results import PackageRow
from polystill.storage import atomic_folder, is_no_permission, need_new_folder, sha256, tree_bytes
from polystill.students import Student

Log = Callable[[str], object]

NEAREST = 3
"""Students that were not evaluated and are named."""

# --- picking --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Picks:
    """The choice for each device."""

    test_set: str
    devices: Mapping[str, Device]
    choices: Mapping[str, Choice]
    """By the device's name, without the devices that have an error."""
    errors: Sequence[str]
    """Reasons why there is no choice, such as a figure that is not measured."""
    missing: Sequence[tuple[Path, str, int]] = ()
    """Run, name and parameters of students that were not evaluated."""

    @property
    def without_student(self) -> list[str]:
        """The devices that nothing fits."""
        return [name for name, choice in self.choices.items() if choice.best is None]

    def explain(self) -> Iterator[str]:
        """Lines for a terminal, for all choices; then the errors are raised.

        Raises:
            UserError: there is an error for some device.
        """
        for name, choice in self.choices.items():
            yield from explain(choice, self.test_set, name)
            if (near := choice.best or choice.nearest) is not None and near.row.parameters:
                yield from self._ask_for_missing(near.row.parameters)
        if self.errors:
            raise UserError("\n".join(self.errors))

    def _ask_for_missing(self, parameters: int) -> Iterator[str]:
        nearest_first = sorted(self.missing, key=lambda one: abs(math.log(one[2] / parameters)))[:NEAREST]
        for run in dict.fromkeys(run for run, _, _ in nearest_first):
            names = " ".join(f"--student {name}" for folder, name, _ in nearest_first if folder == run)
            yield f"  not evaluated: {len(self.missing)} students; nearest in size: polystill evaluate {run} {names}"


def pick(folders: Sequence[Path], devices: Mapping[str, Device], test_set: str | None, log: Log) -> Picks:
    """Choose from these runs for each device. A device without a name ("") is a budget given by options.

    Raises:
        UserError: a folder is no finished run, or the runs have not the same test set.
    """
    runs = open_runs(folders)
    chosen = check_test_set(runs, test_set)
    choices, errors = {}, []
    for name, device in devices.items():
        try:
            suitable = candidates(runs, chosen, device, name)
            choices[name] = choose(with_package_sizes(suitable, device, name, log), device, name)
        except UserError as error:
            errors.append(str(error))
    return Picks(chosen, devices, choices, errors, not_evaluated(runs, chosen))


def wanted_devices(file: Path | None, names: Sequence[str] | None, limits: Mapping[str, Any]) -> dict[str, Device]:
    """The devices of a file, or those with these names; without a file, `limits` as a device without a name.

    Raises:
        UserError: as `load_devices` and `limits_from_options`; the file has no such device; or there are limits beside
            the file.
    """
    limits = {name: value for name, value in limits.items() if value is not None}
    if file is None:
        if names is not None:
            raise UserError(f"--device {','.join(names)}: give the file that describes it with --devices FILE")
        return {"": limits_from_options(limits)}
    if limits:
        option = "--" + next(iter(limits)).replace("_", "-")
        raise UserError(f"{option}: the devices file has the limits; give either the file or this option")
    devices = load_devices(file)
    for name in names or ():
        if name not in devices:
            hint = nearest(name, list(devices))
            raise UserError(f"--device {name}: not in {file}{hint}; it has: {' '.join(devices)}")
    return {name: devices[name] for name in names or devices}


# --- sizes of packages ----------------------------------------------------------------------------------------------


def with_package_sizes(candidates: Sequence[Candidate], device: Device, name: str, log: Log) -> list[Candidate]:
    """Replace the candidates' sizes by those of their packages, if the device limits the size of its own format.

    A student whose size its run does not know is exported into a temporary folder, which takes seconds.

    Raises:
        UserError: a student cannot be exported in the device's format, another process works on a run that has to
            remember sizes, or no candidate has the other figures that the limits need.
    """
    if not device.weighs_packages:
        return list(candidates)
    if not any(all(c.get(limit.key) is not None for limit in limits_of(device)) for c in candidates):
        choose(candidates, device.model_copy(update={"max_size": None}), name)  # raises: says what to measure first
    sizes = {}
    for run in dict.fromkeys(candidate.run for candidate in candidates):
        students = dict.fromkeys(c.row.model for c in candidates if c.run == run)
        try:
            sizes[run] = _sizes(run, list(students), device.format, log)
        except UserError as error:
            raise UserError(f"device {name}: {error}") from error
    return [replace(c, row=replace(c.row, size_bytes=sizes[c.run][c.row.model]), weighed=True) for c in candidates]


def _sizes(folder: Path, students: Sequence[str], to: str, log: Log) -> dict[str, int]:
    """Bytes of these students' packages."""
    need_packages("pick")
    from polystill.runs.family import WEIGHTS, supernet_folder

    run = Run.open(folder)
    precision = FORMATS[to].default_precision
    weights = {name: sha256(supernet_folder(run.family, Student.parse(name).supernet) / WEIGHTS) for name in students}
    sizes = {
        row.model: row.size_bytes
        for row in run.results().packages
        if (row.format, row.precision, row.family_sha256) == (to, precision, weights.get(row.model))
    }
    missing = [student for student in students if student not in sizes]
    if missing:
        with _remembering(folder, log) as remember:
            for number, student in enumerate(missing, 1):
                log(f"{folder / student}: exporting as {to}, to know its size ({number} of {len(missing)})")
                with TemporaryDirectory(prefix="polystill-") as temporary:
                    size = tree_bytes(export_student(folder, student, to, Path(temporary) / student))
                sizes[student] = size
                sha = weights[student]
                row = PackageRow(model=student, format=to, precision=precision, family_sha256=sha, size_bytes=size)
                remember([row])
    return sizes


@contextmanager
def _remembering(folder: Path, log: Log) -> Iterator[Callable[[list[PackageRow]], object]]:
    """Lock the run and return its `add`. If the run may not be written, nothing is remembered."""
    with ExitStack() as stack:
        try:
            run = stack.enter_context(Run.open(folder, lock=True))
            run.add([])  # fails before minutes are spent
        except UserError as error:
            if not is_no_permission(error.__cause__):
                raise
            log(f"{folder}: no permission to write, so the sizes of its packages are not remembered")
            yield lambda rows: None
        else:
            yield run.add


# --- shipping -------------------------------------------------------------------------------------------------------


class NothingFits(Exception):
    """A device gets no package: no student fits, or every package is too large, if only by its model card."""


def ship(picks: Picks, out: Path, log: Log) -> None:
    """Export every device's student to `out`/<device>. `out` appears when all of them are exported.

    If a package turns out larger than the device's max_size, the next best student that fits takes its place.

    Raises:
        UserError: `out` is not empty, or an export fails.
        NothingFits: a device has no student that fits, or all of its packages are larger than its max_size.
    """
    if picks.without_student:
        raise NothingFits(f"nothing fits {', '.join(picks.without_student)}")
    need_new_folder(out)
    with atomic_folder(out) as temporary:
        for name, choice in picks.choices.items():
            best = _best_package(choice.fitting, picks, name, temporary / name, log)
            log(f"{name}: {best.name}, {picks.devices[name].format}, {megabytes(tree_bytes(temporary / name))}")


def _best_package(fitting: Sequence[Candidate], picks: Picks, name: str, folder: Path, log: Log) -> Candidate:
    """Export the first candidate whose package keeps max_size, and return it."""
    device, too_large = picks.devices[name], set()
    for candidate in fitting:
        files = (candidate.run, candidate.row.model, candidate.row.variant)
        if files in too_large:  # another beam size has the same files, except for a few characters
            continue
        _package(candidate, device, name, picks.test_set, folder)
        size = tree_bytes(folder)
        if device.max_size is None or size <= device.max_size:
            return candidate
        log(f"{name}: not {candidate.name}, whose package has {size:,} bytes (max_size {device.max_size:,.0f})")
        shutil.rmtree(folder)
        too_large.add(files)
    raise NothingFits(f"nothing fits {name}: all packages are larger than max_size, if only by their model cards")


def _package(best: Candidate, device: Device, name: str, test_set: str, folder: Path) -> None:
    limits, row = ", ".join(map(str, limits_of(device))) or "no limits", best.row
    precision = row.precision if device.format == CTRANSLATE2 else None
    note = f"Picked for the device {name} ({limits}), beam {row.beam}: {figures(best, test_set)}."
    search = DecodingOptions(beam_size=row.beam, length_penalty=row.length_penalty)
    export_student(best.run, row.model, device.format, folder, precision, note, search, row.shortlist)
