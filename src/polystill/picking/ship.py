"""A package for each device: the student that was picked for it, exported, with its figures on the card."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from polystill.config.devices import Device
from polystill.decoding.contract import DecodingOptions
from polystill.errors import UserError
from polystill.evaluation.figures import megabytes
from polystill.picking.candidates import Candidate
from polystill.picking.choice import Choice, limits_of
from polystill.picking.explanation import figures
from polystill.rows import has_shortlist
from polystill.storage import atomic_folder
from polystill.trained import export_student

QUANTIZED = "ctranslate2"
"""The one of the devices' formats that has a choice of precision."""


def ship(
    choices: Mapping[str, Choice],
    devices: Mapping[str, Device],
    test_set: str,
    out: Path,
    log: Callable[[str], object],
) -> None:
    """Export every device's student to `out`/<device>; `out` appears when all of them are there.

    Raises:
        UserError: `out` holds something, an export fails, or its format makes it larger than the device's max_size.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out {out}: exists already; give a new folder, or remove this one")
    with atomic_folder(out) as temporary:
        for name, choice in choices.items():
            assert choice.best is not None
            _package(choice.best, devices[name], name, test_set, temporary / name)
            log(f"{name}: {choice.best.name}, {devices[name].format}, {megabytes(_size(temporary / name))}")


def _package(best: Candidate, device: Device, name: str, test_set: str, folder: Path) -> None:
    limits = ", ".join(map(str, limits_of(device))) or "no limits"
    precision = best.row["precision"] if device.format == QUANTIZED else None
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
    size = _size(folder)
    if device.max_size is not None and size > device.max_size:
        raise UserError(
            f"device {name}: the package of {best.name} has {size:,} bytes as {device.format}, more than max_size "
            f"{device.max_size:,.0f}, which was held against the CTranslate2 folder as evaluated; lower max_size to "
            "leave room"
        )


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
