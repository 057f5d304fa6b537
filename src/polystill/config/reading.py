"""Recipes from files: overrides, and errors that name the file, the key and what would be right."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from polystill.config.data import ALIGNMENTS, Cleaning, Data, TokenizerSettings
from polystill.config.loader import RecipeLoader
from polystill.config.model import Depths, Model, Students, Supernet
from polystill.config.recipe import Evaluation, Recipe
from polystill.config.training import Pruning, Stage, Training
from polystill.errors import UserError, nearest, reason
from polystill.objectives import OBJECTIVES, no_such_key, with_key
from polystill.sources.registry import SOURCES


def load_recipe(path: str | Path, overrides: list[str] | None = None) -> Recipe:
    """Read a recipe file and apply overrides such as "training.learning_rate=1e-3" or "stages.0.updates=200".

    Raises:
        UserError: the file is missing or no YAML mapping, a key is unknown (the nearest is suggested), a value is of
            the wrong type or out of range, or an override does not parse.
    """
    return parse_recipe(read_values(path, overrides), str(path))


def read_values(path: str | Path, overrides: list[str] | None = None) -> dict[str, Any]:
    """A recipe's mapping with overrides applied, unchecked.

    Raises:
        UserError: as `read_yaml`, or an override does not parse.
    """
    values = read_yaml(Path(path), "recipe", "a mapping with keys such as data, model, stages")
    for override in overrides or []:
        _apply_override(values, override)
    return values


def read_yaml(path: Path, what: str, expected: str) -> dict[str, Any]:
    """A YAML file's mapping; `what` the file is and what is `expected` of it go into errors.

    Raises:
        UserError: the file is missing or unreadable, no valid YAML, or no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such {what}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a {what}: {reason(error)}") from None
    try:
        values = yaml.load(text, RecipeLoader)  # a safe loader
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {_yaml_reason(error)}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected {expected}")
    return values


def _yaml_reason(error: yaml.YAMLError) -> str:
    """Line, column and mistake; YAML's own text calls the file "<unicode string>"."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        context = f"{error.context}, " if error.context else ""
        problem = str(error.problem).replace("'<stream end>'", "the end of the file")
        return f"line {mark.line + 1}, column {mark.column + 1}: {context}{problem}"
    if isinstance(error, yaml.reader.ReaderError):
        return f"character {error.position + 1} is not printable"
    return reason(error)


def parse_recipe(values: dict[str, Any], origin: str) -> Recipe:
    """Check a mapping as a recipe; `origin` names it in errors.

    Raises:
        UserError: as for `load_recipe`; several mistakes are reported together, one a line.
    """
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise explained(error, origin) from None


def explained(error: ValidationError, origin: str, sections: dict[str, type[BaseModel]] | None = None) -> UserError:
    """The mistakes of a recipe, one a line; `sections` are those whose keys hints are taken from."""
    known = _SECTIONS if sections is None else sections
    return UserError("\n".join(_explain(detail, origin, known) for detail in error.errors()))


def _apply_override(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise UserError(f"--set {override}: expected key.path=value")
    try:
        value = yaml.load(text, RecipeLoader)
    except yaml.YAMLError:
        raise UserError(f"--set {override}: the value is not valid YAML") from None
    parts = key.split(".")
    place: Any = values
    for part in parts[:-1]:
        place = _child(place, part, override)
    last = parts[-1]
    if isinstance(place, list):
        place[_index(place, last, override)] = value
    else:
        place[last] = value


def _index(place: list[Any], part: str, override: str) -> int:
    if not (part.isascii() and part.isdecimal() and int(part) < len(place)):
        raise UserError(f"--set {override}: {part!r} is not an index of a list of {len(place)}")
    return int(part)


def _child(place: Any, part: str, override: str) -> Any:
    child = place[_index(place, part, override)] if isinstance(place, list) else place.setdefault(part, {})
    if not isinstance(child, dict | list):
        raise UserError(f"--set {override}: {part!r} is a value and has no keys below it")
    return child


_SECTIONS: dict[str, type[BaseModel]] = {
    "": Recipe,
    "data": Data,
    "data.cleaning": Cleaning,
    "data.tokenizer": TokenizerSettings,
    "model": Model,
    "supernets": Supernet,
    "supernets.students": Depths,
    "students": Students,
    "training": Training,
    "stages": Stage,
    "evaluation": Evaluation,
    "stages.pruning": Pruning,
}


def _explain(detail: Any, origin: str, sections: dict[str, type[BaseModel]]) -> str:
    place, kind = _without_kind(detail["loc"])
    field = ".".join(str(part) for part in place) or "recipe"
    wrong = str(place[-1]) if place else ""
    if detail["type"] == "extra_forbidden" and kind in OBJECTIVES and with_key(wrong):
        return f"{origin}: {field}: {no_such_key(kind, wrong)}"
    if detail["type"] == "extra_forbidden":
        return f"{origin}: unknown key {field!r}{_hint(place, kind, sections)}"
    if detail["type"] in ("union_tag_not_found", "union_tag_invalid"):
        given, kinds = detail.get("ctx", {}).get("tag", ""), _kinds_of(field)
        what = f"unknown kind {given!r}{nearest(given, kinds)}" if given else "the key 'kind' is missing"
        return f"{origin}: {field}: {what}; there are: {' '.join(kinds)}"
    message = detail["msg"].removeprefix("Value error, ")
    given = detail.get("input")
    shown = f" (got {given!r})" if isinstance(given, str | int | float | bool) else ""
    if _KEY.match(message):  # of a key further in
        return f"{origin}: {'.'.join([*map(str, place), message])}{shown}"
    return f"{origin}: {field}: {message}{shown}"


_KEY = re.compile(r"[a-z_][\w.]*: ")


def _kinds_of(field: str) -> list[str]:
    """What `kind` may be in a field."""
    if field == "objective":
        return sorted(OBJECTIVES)
    return sorted(ALIGNMENTS) if field == "data.alignment" else sorted(SOURCES)


def _without_kind(loc: tuple[str | int, ...]) -> tuple[list[str | int], str | None]:
    """A place as people write it, and the kind of what is there, such as a source's, which pydantic puts into it."""
    place = [part for part in loc if part != "[key]"]
    at: int | None = None
    if place[:1] == ["objective"]:
        at = 1
    elif place[:1] == ["data"] and place[1:]:
        at = {"train": 3, "test": 3, "validation": 2, "alignment": 2}.get(str(place[1]))
    if at is not None and len(place) > at and place[at] in (*SOURCES, *OBJECTIVES, *ALIGNMENTS):
        return place, str(place.pop(at))
    return place, None


def _hint(place: list[str | int], kind: str | None, sections: dict[str, type[BaseModel]]) -> str:
    """The known key that an unknown one resembles: a key of the same section, or the same key of another one."""
    wrong = str(place[-1])
    if kind is not None and (chosen := SOURCES.get(kind) or ALIGNMENTS.get(kind)):
        return nearest(wrong, list(chosen.model_fields))
    parts = [part for part in place[:-1] if isinstance(part, str)]
    section = ".".join([*parts[:1], *parts[2:]] if parts[:1] == ["supernets"] else parts)
    for other, model in sections.items():
        if wrong in model.model_fields:
            return f" (it belongs under {other!r})" if other else " (it belongs at the top, under no other key)"
    if section.endswith("objective"):
        keys = {key for name, cls in OBJECTIVES.items() if kind in (None, name) for key in cls.model_fields}
        return nearest(wrong, sorted(keys))
    if with_key(wrong):
        return " (it belongs under 'objective')"
    return nearest(wrong, list(sections[section].model_fields)) if section in sections else ""
