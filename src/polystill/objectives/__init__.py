"""The registry of objectives: the only place that lists their kinds.

A new objective is a file of its own beside these, an import here and a line in `AnyObjective`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, get_args

from pydantic import Discriminator, Tag, ValidationError

from polystill.errors import nearest
from polystill.objectives.aio_kd import AioKd
from polystill.objectives.base import Objective
from polystill.objectives.nll import Nll
from polystill.objectives.selective_kd import SelectiveKd
from polystill.objectives.word_kd import WordKd
from polystill.schema import changed


def _kind(values: Any) -> Any:
    return values.get("kind", DEFAULT) if isinstance(values, dict) else getattr(values, "kind", DEFAULT)


AnyObjective = Annotated[
    Annotated[AioKd, Tag("aio_kd")]
    | Annotated[WordKd, Tag("word_kd")]
    | Annotated[SelectiveKd, Tag("selective_kd")]
    | Annotated[Nll, Tag("nll")],
    Discriminator(_kind),
]
"""A recipe's `objective`. The first is the default; a run with stages of several kinds goes by the first of these."""

OBJECTIVES: dict[str, type[Objective]] = {
    get_args(tagged)[1].tag: get_args(tagged)[0] for tagged in get_args(get_args(AnyObjective)[0])
}
"""Every objective by its kind."""
DEFAULT = next(iter(OBJECTIVES))


def with_key(key: str) -> list[str]:
    """The kinds that have a key."""
    return [kind for kind, cls in OBJECTIVES.items() if key in cls.model_fields]


def no_such_key(kind: str, key: str) -> str:
    """The error message for a key that only other objectives have, such as "aio_kd has no such key; word_kd has"."""
    *others, last = with_key(key)
    return f"{kind} has no such key; " + (f"{', '.join(others)} and {last} have" if others else f"{last} has")


def checked_keys(values: dict[str, Any]) -> dict[str, Any]:
    """Some keys of an objective with checked values: a stage's, beside the recipe's.

    Without `kind` they may be those of any objective that has most of them. Keys that only other objectives have are
    left as they are: whether the stage's kind has them is known with the recipe.

    Raises:
        ValueError: the kind or a key is unknown, or a value is not allowed.
    """
    shared = {kind: len(cls.model_fields.keys() & values) for kind, cls in OBJECTIVES.items()}
    kinds = [kind for kind, count in shared.items() if count == max(shared.values())]
    if "kind" in values:
        given = values["kind"]
        if given not in OBJECTIVES:
            raise ValueError(
                f"unknown kind {given!r}{nearest(str(given), list(OBJECTIVES))}; there are: {' '.join(OBJECTIVES)}"
            )
        kinds = [given]
    errors = []
    for kind in kinds:
        try:
            return _checked(values, kind)
        except ValidationError as error:
            errors.append(error)
    raise errors[0]


def _checked(values: dict[str, Any], kind: str) -> dict[str, Any]:
    here = {key for key in values if key in OBJECTIVES[kind].model_fields or not with_key(key)}
    checked = OBJECTIVES[kind].model_validate({key: values[key] for key in here}).model_dump(include=here)
    return {**values, **checked}


def combined(recipe: Objective, stage: dict[str, Any]) -> Objective:
    """A stage's objective: the recipe's with the stage's own keys on top.

    Where the stage has another kind, it keeps those keys of the recipe's objective that differ from their defaults and
    that its kind has as well.

    Raises:
        ValidationError: the stage's kind does not have one of its keys, or does not allow a value.
    """
    kind = stage.get("kind", recipe.kind)
    kept = recipe.model_dump()
    if kind != recipe.kind:
        kept = {key: kept[key] for key in changed(recipe) if key in OBJECTIVES[kind].model_fields}
    return OBJECTIVES[kind].model_validate({**kept, **stage, "kind": kind})


def first_kind(objectives: Iterable[Objective]) -> str:
    """The kind that a run with these objectives goes by."""
    kinds = {objective.kind for objective in objectives}
    return next(kind for kind in OBJECTIVES if kind in kinds)


def title_of(kind: str) -> str:
    """The title of an objective, with its paper; the kind itself if no objective has it."""
    return OBJECTIVES[kind].title if kind in OBJECTIVES else kind
