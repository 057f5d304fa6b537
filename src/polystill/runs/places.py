"""Tell what a path names: a run, one student of a run, a family, a model, an export, a file, or nothing.

`open_place` is the one function that looks at the files. Everything else asks the `Place` that it returns.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from polystill.errors import UserError, mistakes_in

OTHER_PROGRAMS = {
    "argos": "an Argos package, to be installed with argospm install {package}",
    "bergamot": "a Bergamot model, for Firefox's translator, translateLocally and polystill serve's page",
    "onnx": "an ONNX model, for the programs that its README.md shows",
}
"""The formats that polystill writes and does not read, and what such an export is."""

MARIAN_SETTINGS = "decoder.yml"
"""How Marian's decoder runs a model: names of its files among others."""


class Kind(Enum):
    """The things that a path can name."""

    RUN = auto()
    """A folder with recipe.yaml; once its training is finished also with family/."""
    STUDENT = auto()
    """RUN/STUDENT: one member of a run's family, named as if it were a folder in the run."""
    FAMILY = auto()
    """A folder with family.json beside the model: RUN/family, or a pruned copy of one."""
    MODEL = auto()
    """A folder with config.json: an extracted student, or another Hugging Face model, such as OPUS-MT's."""
    MARIAN = auto()
    """A folder with *.npz or decoder.yml: a model of Marian itself."""
    CTRANSLATE2 = auto()
    """A folder with model.bin."""
    BERGAMOT = auto()
    """A folder with model.*.bin and a *vocab*.spm, plain or packed: a Bergamot model, such as Firefox's."""
    EXPORT = auto()
    """An export for another program (see `OTHER_PROGRAMS`)."""
    YAML = auto()
    """A file that is named as YAML: a recipe, or an endpoint's description."""
    FILE = auto()
    """Any other file."""
    FOLDER = auto()
    """A folder with none of these in it."""
    NOTHING = auto()


@dataclass(frozen=True)
class Place:
    """A path and what it names."""

    path: Path
    kind: Kind
    folder: Path
    """Holds the model. For a run and its students this is RUN/family, which may not exist yet."""
    run: Path | None = None
    student: str | None = None
    """Set for `Kind.STUDENT` only. It may be a name that the family does not have."""
    format: str = ""
    """Set for `Kind.EXPORT` only: a key of `OTHER_PROGRAMS`."""

    @property
    def has_model(self) -> bool:
        """Whether there is a model that polystill can read: not for a run that is still training."""
        with_models = (Kind.RUN, Kind.STUDENT, Kind.FAMILY, Kind.MODEL, Kind.CTRANSLATE2)
        return self.kind is Kind.MARIAN or (self.kind in with_models and _has_model(self.folder))


def open_place(path: str | Path) -> Place:
    """Look at the files under `path` and tell what it is. Reads no weights and never fails."""
    path = Path(path)
    if (format := _format_for_others(path)) is not None:
        return Place(path, Kind.EXPORT, path, format=format)
    if (path / "recipe.yaml").is_file():
        return Place(path, Kind.RUN, path / "family", run=path)
    if (path / "model.bin").is_file() and not is_marian(path):  # which has binary files of that name, too
        return Place(path, Kind.CTRANSLATE2, path)
    if (path / "config.json").is_file():
        return Place(path, Kind.FAMILY if (path / "family.json").is_file() else Kind.MODEL, path)
    if _has_model(path / "family"):
        return Place(path, Kind.RUN, path / "family", run=path)
    if path.is_file():
        return Place(path, Kind.YAML if path.suffix in (".yaml", ".yml") else Kind.FILE, path)
    if any(path.glob("model.*.bin*")) and any(path.glob("*vocab*.spm*")):
        return Place(path, Kind.BERGAMOT, path)
    if is_marian(path):
        return Place(path, Kind.MARIAN, path)
    if _has_model(path.parent / "family"):
        return Place(path, Kind.STUDENT, path.parent / "family", run=path.parent, student=path.name)
    return Place(path, Kind.FOLDER if path.is_dir() else Kind.NOTHING, path)


def is_marian(folder: Path) -> bool:
    """Whether a folder holds a model as Marian writes it, and none in Hugging Face's or CTranslate2's layout."""
    if any((folder / name).is_file() for name in ("config.json", "vocab.json")):
        return False
    return (folder / MARIAN_SETTINGS).is_file() or any(folder.glob("*.npz"))


def _has_model(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("config.json", "model.bin"))


def _format_for_others(folder: Path) -> str | None:
    """The format of an export for another program, as its polystill.json states it."""
    try:
        format = str(json.loads((folder / "polystill.json").read_text(encoding="utf-8"))["format"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return format if format in OTHER_PROGRAMS else None


# --- places where a model is needed -------------------------------------------------------------------------------

_FOLDER, _RUN = (
    "a model's folder (with a config.json, or Marian's .npz)",
    "a run (with a recipe.yaml) whose training is finished",
)


def find_model(path: str | Path) -> Place:
    """Accept a model's folder (a family's too), a run, or RUN/STUDENT.

    Does not check that the family has the student.

    Raises:
        UserError: `path` names none of these, or a run whose training is not finished.
    """
    return _need_model(Path(path), f"{_FOLDER}, {_RUN}, or RUN/STUDENT")


def find_folder(path: str | Path) -> Path:
    """Accept a model's folder, or a run, whose family's folder is returned.

    Raises:
        UserError: as `find_model`; or `path` is RUN/STUDENT, which has no folder of its own yet.
    """
    place = _need_model(Path(path), f"{_FOLDER}, or {_RUN}")
    if place.kind is Kind.STUDENT:
        raise UserError(
            f"{path}: a folder is needed; write the student's with polystill extract {place.run} {place.student}"
        )
    return place.folder


def find_start(path: str) -> Path:
    """Accept what a recipe's `model.start` may name, as `find_folder`; errors name the key."""
    with mistakes_in("model.start"):
        return find_folder(path)


def _need_model(path: Path, expected: str) -> Place:
    place = open_place(path)
    if place.has_model:
        return place
    if place.kind is Kind.EXPORT:
        package = next(iter(sorted(path.glob("*.argosmodel"))), path / "FILE.argosmodel")
        raise UserError(
            f"{path}: {OTHER_PROGRAMS[place.format].format(package=package)}; polystill itself translates with runs "
            "and with exports to ctranslate2, hf, marian and sparse"
        )
    if place.kind is Kind.RUN:
        raise UserError(
            f"{path}: this run has no family yet; continue it with polystill run {path / 'recipe.yaml'} --out {path}"
        )
    reasons = {Kind.YAML: "a file", Kind.FILE: "a file", Kind.FOLDER: "no model here", Kind.NOTHING: "no such folder"}
    reasons[Kind.BERGAMOT] = "a Bergamot model, which only polystill generate reads"
    raise UserError(f"{path}: {reasons[place.kind]}; expected {expected}")
