"""Where a model lies: what a user names, and the folder that is meant."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from polystill.errors import UserError


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
    raise UserError(
        f"{named}: {'no model here' if named.is_dir() else 'no such folder'}; expected a model's folder (with a "
        "config.json), a run (with a recipe.yaml) whose training is finished, or RUN/STUDENT"
    )
