"""Write docs/recipe.md: every key of a recipe, its default, and what it means.

    python tools/recipe_reference.py

Meanings are the docstrings of the keys, in `polystill.config`, `polystill.objectives` and `polystill.sources`.
"""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from polystill.config import data, model, recipe, training
from polystill.objectives import DEFAULT, OBJECTIVES
from polystill.objectives.base import Objective
from polystill.schema import Strict
from polystill.sources.base import PairSource
from polystill.sources.registry import SOURCES

PAGE = Path(__file__).parent.parent / "docs" / "recipe.md"

ABOUT = """\
# Recipe keys

A recipe is a YAML file. This page lists its keys, their defaults, and what they mean. Only `data` and `stages` have no
default. An unknown key is an error. [Train on your text](train.md) explains how to choose.

`--set` changes a key on the command line: `--set training.learning_rate=1e-3`, `--set stages.0.updates=500`.

This page is generated: `python tools/recipe_reference.py`.
"""

SECTIONS: list[tuple[str, type[Strict]]] = [
    ("The recipe", recipe.Recipe),
    ("data", data.Data),
    ("data.cleaning", data.Cleaning),
    ("data.tokenizer", data.TokenizerSettings),
    ("model", model.Model),
    ("supernets.NAME", model.Supernet),
    ("students", model.Students),
    ("training", training.Training),
    ("stages", training.Stage),
    ("stages.pruning", training.Pruning),
    ("evaluation", recipe.Evaluation),
]
"""The sections that have one form only, with their classes."""


def meanings(section: type[Strict]) -> dict[str, str]:
    """The docstring of every key, on one line."""
    found: dict[str, str] = {}
    for cls in reversed(section.__mro__):
        if not issubclass(cls, Strict):
            continue
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
        assert isinstance(definition, ast.ClassDef)
        for key, text in zip(definition.body, definition.body[1:], strict=False):
            if isinstance(key, ast.AnnAssign) and isinstance(key.target, ast.Name) and isinstance(text, ast.Expr):
                found[key.target.id] = " ".join(ast.literal_eval(text.value).split())
    return found


def choices(annotation: Any) -> list[str]:
    """The words that a key takes, where it takes only some."""
    if get_origin(annotation) is Literal:
        return [str(choice) for choice in get_args(annotation)]
    parts = get_args(annotation)
    return choices(parts[0]) if parts and set(parts[1:]) == {type(None)} else []


def default(field: FieldInfo) -> str:
    """A key's default as YAML has it; empty where there is none."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or isinstance(value, Strict):
        return ""
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


HEAD = ("| key | default | meaning |", "|---|---|---|")


def rows(section: type[Strict], keys: list[str]) -> Iterator[str]:
    """The rows of a table, one for each of these keys of a section."""
    said = meanings(section)
    for key in keys:
        field = section.model_fields[key]
        meaning = said[key]
        if (heading := _heading(section, key)) is not None:
            meaning += f" See [{heading}](#{heading.replace('.', '').lower()})."
        words = [f"`{word}`" for word in choices(field.annotation)]
        if any(word not in meaning for word in words):
            meaning += f" Values: {', '.join(words)}."
        yield f"| `{key}` | {default(field)} | {meaning.replace('|', chr(92) + '|')} |"


def _heading(section: type[Strict], key: str) -> str | None:
    """The heading under which the keys of a key are, if it has any."""
    path = {data.Data: "data.", training.Stage: "stages."}.get(section, "") + key
    headings = [title for title, _ in SECTIONS] + ["data.alignment", "objective"]
    if section in (recipe.Recipe, data.Data, training.Stage):
        return next((title for title in headings if title in (path, f"{path}.NAME")), None)
    return None


def own_keys(section: type[Strict], *bases: type[Strict]) -> list[str]:
    """The keys that a section does not have from its bases, or has with another default."""
    inherited = {(key, default(field)) for base in bases for key, field in base.model_fields.items()}
    keys = {key: (key, default(field)) for key, field in section.model_fields.items() if key != "kind"}
    return [key for key, shown in keys.items() if shown not in inherited]


def page() -> str:
    """The whole page."""
    lines = [ABOUT]
    for title, section in SECTIONS:
        keys = [*section.model_fields]
        lines.append(f"## {title}\n")
        if section is model.Supernet:
            lines.append("It has the keys of `model` from `architecture` to `activation_dropout`, and these:\n")
            keys = own_keys(section, model.Shape)
        lines += [*HEAD, *rows(section, keys), ""]
        if section is data.TokenizerSettings:
            lines += _sources()
        if section is model.Students:
            lines += _objectives()
    return "\n".join(lines).rstrip() + "\n"


def _sources() -> Iterator[str]:
    yield "## Sources\n"
    yield "`data.train`, `data.validation` and `data.test` name sources of text. All kinds have these keys:\n"
    yield from (*HEAD, "| `kind` | required | One of the kinds below. |", *rows(PairSource, own_keys(PairSource)), "")
    for kind, source in SOURCES.items():
        yield f"**{kind}.** {_first_paragraph(source)}\n"
        yield from (*HEAD, *rows(source, own_keys(source, PairSource)), "")
    yield "## data.alignment\n"
    for kind, alignment in data.ALIGNMENTS.items():
        yield f"**{kind}.** {_first_paragraph(alignment)}\n"
        if keys := own_keys(alignment):
            yield from (*HEAD, *rows(alignment, keys), "")


def _objectives() -> Iterator[str]:
    yield "## objective\n"
    yield "All kinds have these keys. A stage may change any of them for itself.\n"
    kinds = f"| `kind` | `{DEFAULT}` | One of {', '.join(f'`{kind}`' for kind in OBJECTIVES)}. |"
    yield from (*HEAD, kinds, *rows(Objective, own_keys(Objective)), "")
    for kind, objective in OBJECTIVES.items():
        if keys := own_keys(objective, Objective):
            yield f"**{kind}.** {_first_paragraph(objective)}\n"
            yield from (*HEAD, *rows(objective, keys), "")


def _first_paragraph(section: type[Strict]) -> str:
    return " ".join(inspect.cleandoc(section.__doc__ or "").split("\n\n")[0].split())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
