"""What a family's folder says about itself, read without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from polystill.errors import UserError
from polystill.storage import read_json
from polystill.students import Student, StudentSpace

WEIGHTS = "model.safetensors"
FAMILY = "family.json"


def read_family(folder: Path) -> dict[str, Any]:
    """The contents of a family's family.json.

    Raises:
        UserError: the folder is no family.
    """
    if not (folder / FAMILY).is_file():
        raise UserError(f"{folder}: no family here ({FAMILY} is missing); is the training finished?")
    family = read_json(folder / FAMILY)
    if family.get("format") != 2:
        raise UserError(f"{folder / FAMILY}: format {family.get('format')!r}; this version of polystill reads format 2")
    return family


def family_space(folder: Path) -> StudentSpace:
    """The candidates of a family folder."""
    family = read_family(folder)
    largest, candidates = (map(Student.parse, family[key]) for key in ("supernets", "candidates"))
    return StudentSpace.from_list(list(largest), candidates)


def first_students(folder: Path) -> tuple[Student, ...]:
    """The students of the first supernet of a model's folder; none where it is no family."""
    return family_space(folder).supernets[0].candidates if (folder / FAMILY).is_file() else ()


def supernet_folder(family: Path, name: str) -> Path:
    """The model's folder of one supernet of a family; the first one's name is empty, and its folder the family's."""
    return family / name
