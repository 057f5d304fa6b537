"""YAML as a recipe means it: text is text, and a number is one only where it reads back as it is written.

YAML 1.1 takes `no` (Norwegian) for false, `1.10` for 1.1, `010` for 8, `12:30` for 750 and `2020-01-01` for a date.
Here such values stay text; where a key wants a number or a switch, its text is read as one later. Every key is text.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

import yaml

_SCALARS = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"0|-?[1-9][0-9]*", list("-0123456789")),
    "float": (r"-?(?:0|[1-9][0-9]{0,9})\.(?!0000)(?:0|[0-9]{0,4}[1-9])", list("-0123456789")),
    "merge": (r"<<", ["<"]),
}
"""The plain scalars that are not text, and the characters that they begin with."""


class RecipeLoader(yaml.SafeLoader):
    """A safe loader. Refuses a key that stands twice in a mapping, of which YAML would silently take the last."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key.value!r} stands twice", problem_mark=key.start_mark)
            if isinstance(key, yaml.ScalarNode) and not key.tag.endswith(":merge"):
                key.tag = "tag:yaml.org,2002:str"
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else None)
        return node


for _tag, (_pattern, _first) in _SCALARS.items():
    RecipeLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)
