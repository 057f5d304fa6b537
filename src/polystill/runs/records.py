"""Dataclasses that are read from JSON and written as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields
from types import NoneType, UnionType
from typing import Any, Self, get_args, get_origin, get_type_hints


class Record:
    """A dataclass whose fields are the keys of a JSON object: numbers, texts, records, lists, mappings."""

    def to_json(self) -> dict[str, Any]:
        """The fields in their order, without those that are None, "" or False."""
        values = {name: getattr(self, name) for name in json_types(type(self))}
        return {name: _encode(value) for name, value in values.items() if not _is_absent(value)}

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """The record that a JSON object stands for.

        Raises:
            ValueError: a key is missing or unknown, or its value has another type; the message names it.
        """
        record: Self = _decode(cls, values, ())
        return record


_TYPES: dict[type[Record], dict[str, Any]] = {}


def json_types(kind: type[Record]) -> dict[str, Any]:
    """The fields of a class of records, in their order, and their types."""
    if kind not in _TYPES:
        types = get_type_hints(kind)
        _TYPES[kind] = {entry.name: types[entry.name] for entry in fields(kind)}  # type: ignore[arg-type]
    return _TYPES[kind]


def _is_absent(value: Any) -> bool:
    return value is None or value is False or value == ""


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
    options = [one for one in get_args(kind) if one is not NoneType] if get_origin(kind) is UnionType else [kind]
    if value is None and len(get_args(kind)) > len(options):
        return None
    (kind,) = options
    arguments = get_args(kind)
    if kind is Any:
        return value
    if isinstance(kind, type) and issubclass(kind, Record):
        return _decode_record(kind, _checked(dict, value, path), path)
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


def _decode_record(kind: type[Record], values: dict[str, Any], path: tuple[str, ...]) -> Record:
    types = json_types(kind)
    for name in values:
        if name not in types:
            raise ValueError(_at(path, f"unknown key {name!r}"))
    for entry in fields(kind):  # type: ignore[arg-type]
        if entry.name not in values and entry.default is entry.default_factory is MISSING:
            raise ValueError(_at(path, f"no key {entry.name!r}"))
    return kind(**{name: _decode(types[name], value, (*path, name)) for name, value in values.items()})


def _at(path: tuple[str, ...], message: str) -> str:
    return f"{'.'.join(path)}: {message}" if path else message
