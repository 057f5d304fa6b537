"""Where a model lies: what a user names, and the folder that is meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from polystill.errors import UserError

OTHER_PROGRAMS = {
    "argos": "an Argos package, to be installed with argospm install {package}",
    "bergamot": "a Bergamot model, for Firefox's translator, translateLocally and polystill serve's page",
    "marian": "a Marian model, for marian-decoder --config decoder.yml",
    "onnx": "an ONNX model, for the programs that its README.md shows",
}
"""What exports are that polystill writes and does not read, by their format."""


class Place(NamedTuple):
    folder: Path
    """Of a model, or of a family."""
    student: str | None = None
    """Of the family; None is all that the folder holds, which in a family is the teacher."""
    run: Path | None = None
    """The run whose family it is."""


def find_model(named: Path) -> Place:
    """The model that is meant by a model's folder (a family's among them), a run, or RUN/STUDENT.

    Whether the student is one of the family is not looked at.

    Raises:
        UserError: nothing of the kind is there.
    """
    return _find(named, f"{_FOLDER}, {_RUN}, or RUN/STUDENT")


def find_folder(named: Path) -> Path:
    """As `find_model`, for those who take a whole folder: a run's is its family.

    Raises:
        UserError: as `find_model`; or one student of a run is meant, which has no folder of its own yet.
    """
    place = _find(named, f"{_FOLDER}, or {_RUN}")
    if place.student is not None:
        raise UserError(f"{named}: give a folder; polystill extract {place.run} {place.student} writes the student's")
    return place.folder


def find_start(named: str) -> Path:
    """What a recipe's `model.start` means.

    Raises:
        UserError: as `find_folder`.
    """
    try:
        return find_folder(Path(named))
    except UserError as error:
        raise UserError(f"model.start: {error}") from None


_FOLDER, _RUN = "a model's folder (with a config.json)", "a run (with a recipe.yaml) whose training is finished"


def _find(named: Path, expected: str) -> Place:
    _refuse_others(named)
    for place in (
        Place(named),
        Place(named / "family", None, named),
        Place(named.parent / "family", named.name, named.parent),
    ):
        if any((place.folder / name).is_file() for name in ("config.json", "model.bin")):
            return place
    if (named / "recipe.yaml").is_file():
        raise UserError(
            f"{named}: this run has no family yet; continue it with polystill run {named / 'recipe.yaml'} --out {named}"
        )
    found = "no model here" if named.is_dir() else "a file" if named.exists() else "no such folder"
    raise UserError(f"{named}: {found}; expected {expected}")


def _refuse_others(named: Path) -> None:
    """Raises:
    UserError: the folder is an export for another program.
    """
    try:
        info = json.loads((named / "polystill.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    what = OTHER_PROGRAMS.get(str(info.get("format"))) if isinstance(info, dict) else None
    if what is not None:
        package = next(iter(sorted(named.glob("*.argosmodel"))), named / "FILE.argosmodel")
        raise UserError(
            f"{named}: {what.format(package=package)}; polystill itself translates with runs and with exports to "
            "ctranslate2, hf and sparse"
        )
