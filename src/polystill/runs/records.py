"""Dataclasses that are read from JSON and written as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields
from functools import cache
from types import UnionType
from typing import Any, Self, get_args, get_origin, get_type_hints


class Record:
    """A dataclass whose fields are the keys of a JSON object: numbers, texts, records, lists, mappings."""

    def to_json(self) -> dict[str, Any]:
        """The fields in their order, without those that are None, "" or False."""
        values = [(name, getattr(self, name)) for name in json_types(type(self))]  # type: ignore[arg-type]
        absent = (None, "")
        return {name: _encode(value) for name, value in values if value not in absent and value is not False}

    @classmethod
    def from_json(cls, values: Any, path: tuple[str, ...] = ()) -> Self:
        """The record that a JSON object stands for, which stands at `path` of its file.

        Raises:
            UnknownKey: a key is unknown, perhaps of another version of polystill.
            ValueError: a key is missing, or its value has another type; the message names it.
        """
        types = json_types(cls)  # type: ignore[arg-type]
        if unknown := [name for name in _checked(dict, values, path) if name not in types]:
            raise UnknownKey(_at(path, f"unknown key {unknown[0]!r}"))
        for entry in fields(cls):  # type: ignore[arg-type]
            if entry.name not in values and entry.default is entry.default_factory is MISSING:
                raise ValueError(_at(path, f"no key {entry.name!r}"))
        return cls(**{name: _decode(types[name], value, (*path, name)) for name, value in values.items()})


class UnknownKey(ValueError):
    """A record has a key that this version of polystill does not know."""


@cache
def json_types(kind: type[Record]) -> dict[str, Any]:
    """The fields of a class of records, in their order, and their types."""
    types = get_type_hints(kind)
    return {entry.name: types[entry.name] for entry in fields(kind)}  # type: ignore[arg-type]


def _encode(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_json()
    if isinstance(value, Mapping):
        return {key: _encode(one) for key, one in value.items()}
    return [_encode(one) for one in value] if isinstance(value, list) else value


_JSON_TYPES: dict[Any, tuple[str, tuple[type, ...]]] = {
    float: ("a number", (int, float)),
    int: ("a whole number", (int,)),
    str: ("a text", (str,)),
    bool: ("true or false", (bool,)),
    list: ("a list", (list,)),
    dict: ("an object", (dict,)),
}


def _decode(kind: Any, value: Any, path: tuple[str, ...]) -> Any:
    """The value of type `kind` that stands at `path` of a JSON file."""
    if get_origin(kind) is UnionType:  # X | None
        if value is None:
            return None
        kind = get_args(kind)[0]
    arguments = get_args(kind)
    if kind is Any:
        return value
    if isinstance(kind, type) and issubclass(kind, Record):
        return kind.from_json(value, path)
    if get_origin(kind) is list:
        return [_decode(arguments[0], one, (*path, str(i))) for i, one in enumerate(_checked(list, value, path))]
    if arguments:
        return {key: _decode(arguments[1], one, (*path, key)) for key, one in _checked(dict, value, path).items()}
    return _checked(kind, value, path)


def _checked(kind: Any, value: Any, path: tuple[str, ...]) -> Any:
    what, types = _JSON_TYPES[kind]
    if not isinstance(value, types) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(_at(path, f"expected {what}, not {json.dumps(value)[:40]}"))
    return value


def _at(path: tuple[str, ...], message: str) -> str:
    return f"{'.'.join(path)}: {message}" if path else message
