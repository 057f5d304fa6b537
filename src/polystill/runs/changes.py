"""Differences between two recipes, and the changes that a run which has begun can take."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polystill.config import Recipe

_MISSING = object()
Change = tuple[str, Any, Any]
"""A dotted key, its old value and its new one; `_MISSING` where it is absent."""


FREE = ("training.on_nonfinite", "training.checkpoint_every", "training.threads")
"""Keys that may change at any time: nothing that is finished depends on them."""


def recipe_differences(before: Recipe, after: Recipe) -> list[Change]:
    """All keys that differ. Relative paths are resolved from the current folder before they are compared."""
    before, after = before.with_absolute_paths(), after.with_absolute_paths()
    old, new = (dict(_flatten(recipe.model_dump(mode="json"))) for recipe in (before, after))
    keys = [*old, *(key for key in new if key not in old)]
    pairs = [(key, old.get(key, _MISSING), new.get(key, _MISSING)) for key in keys]
    return [change for change in pairs if change[1] != change[2]]


def in_order_of(before: Recipe, after: Recipe) -> Recipe:
    """`after`, with the keys of its mappings in the order that they have in `before`.

    A stage goes on from a checkpoint only with the same order of supernets and targets: an optimizer knows weights by
    their number.
    """
    values = _in_order_of(before.model_dump(mode="json"), after.model_dump(mode="json"))
    return type(after).model_validate(values)


def _in_order_of(before: Any, after: Any) -> Any:
    if isinstance(before, dict) and isinstance(after, dict):
        keys = [*(key for key in before if key in after), *(key for key in after if key not in before)]
        return {key: _in_order_of(before.get(key), after[key]) for key in keys}
    if isinstance(before, list) and isinstance(after, list):
        return [_in_order_of(*pair) for pair in zip(before, after, strict=False)] + after[len(before) :]
    return after


def _flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Pairs of dotted key and value; lists of plain values count as one value."""
    if isinstance(value, dict):
        items = [(str(key), child) for key, child in value.items()]
    elif isinstance(value, list) and any(isinstance(child, dict) for child in value):
        items = [(str(index), child) for index, child in enumerate(value)]
    else:
        yield prefix.rstrip("."), value
        return
    for key, child in items:
        yield from _flatten(child, f"{prefix}{key}.")


@dataclass(frozen=True)
class Done:
    """What of a run is finished."""

    data: bool = False
    test_sets: Collection[str] = ()
    """Names of those that are prepared."""
    training: bool = False
    """Whether a stage has a checkpoint or is finished."""
    updates: int = 0
    """Of the last stage."""


def can_be_added(change: Change, before: Recipe, after: Recipe, done: Done) -> bool:
    """Whether a run that has begun can take a change.

    Before its first checkpoint it may be trained otherwise. Once its data are prepared, the corpora may move elsewhere.
    """
    key, _, new = change
    if key.startswith("evaluation.") or key in FREE:
        return True
    if key.startswith("training."):
        return not done.training
    if key == "data.folder":
        return done.data
    if key.startswith("data.test."):
        return all(after.data.test.get(name) == before.data.test.get(name) for name in done.test_sets)
    last = len(before.stages) - 1
    is_last = key == f"stages.{last}.updates" and len(after.stages) == len(before.stages)
    return is_last and new >= done.updates and before.stage_schedule(before.stages[last]) != "cosine"


def shown_value(value: Any) -> str:
    return "absent" if value is _MISSING else json.dumps(value, ensure_ascii=False)
