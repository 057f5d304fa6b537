"""A package for each device: the best student that fits it, exported, with its figures on the card."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from polystill.decoding.contract import DecodingOptions
from polystill.evaluation.figures import megabytes
from polystill.export.students import export_student
from polystill.picking.candidates import Candidate
from polystill.picking.choice import Choice, limits_of
from polystill.picking.devices import CTRANSLATE2, Device
from polystill.picking.explanation import figures
from polystill.runs.rows import artefact_key, has_shortlist
from polystill.storage import atomic_folder, need_new_folder, tree_bytes


class NothingFits(Exception):
    """All packages that a device could have are larger than it allows, by what their model cards say more."""


def ship(
    choices: Mapping[str, Choice],
    devices: Mapping[str, Device],
    test_set: str,
    out: Path,
    log: Callable[[str], object],
) -> None:
    """Export every device's student to `out`/<device>; `out` appears when all of them are there.

    Where a package turns out larger than the device's max_size, the next best that fits takes its place.

    Raises:
        UserError: `out` holds something, or an export fails.
        NothingFits: every package of a device turned out larger than its max_size.
    """
    need_new_folder(out)
    with atomic_folder(out) as temporary:
        for name, choice in choices.items():
            assert choice.fitting
            best = _best_package(choice.fitting, devices[name], name, test_set, temporary / name, log)
            log(f"{name}: {best.name}, {devices[name].format}, {megabytes(tree_bytes(temporary / name))}")


def _best_package(
    fitting: Sequence[Candidate],
    device: Device,
    name: str,
    test_set: str,
    folder: Path,
    log: Callable[[str], object],
) -> Candidate:
    """Export the first of these whose package keeps max_size; returns which one it is."""
    too_large = set()
    for candidate in fitting:
        weights = (candidate.run, candidate.row["model"], artefact_key(candidate.row))
        if weights in too_large:  # another beam size: the same files, but for a few characters
            continue
        _package(candidate, device, name, test_set, folder)
        size = tree_bytes(folder)
        if device.max_size is None or size <= device.max_size:
            return candidate
        log(f"{name}: not {candidate.name}, whose package has {size:,} bytes (max_size {device.max_size:,.0f})")
        shutil.rmtree(folder)
        too_large.add(weights)
    raise NothingFits(f"nothing fits {name}: all packages are larger than max_size, if only by their model cards")


def _package(best: Candidate, device: Device, name: str, test_set: str, folder: Path) -> None:
    limits = ", ".join(map(str, limits_of(device))) or "no limits"
    precision = best.row["precision"] if device.format == CTRANSLATE2 else None
    note = f"Picked for the device {name} ({limits}), beam {best.row['beam']}: {figures(best, test_set)}."
    search = DecodingOptions(beam_size=best.row["beam"], length_penalty=best.row["length_penalty"])
    export_student(
        best.run,
        best.row["model"],
        device.format,
        folder,
        precision,
        note=note,
        search=search,
        shortlist=has_shortlist(best.row),
    )
