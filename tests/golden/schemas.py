"""What a JSON Schema allows, member by member, however it is written.

A line is a member's path, its types and values, and whether it is required. Two schemas that come
to the same lines promise the same to a program, be a reference followed or written out, ``null``
one of several types or an alternative, a value ``const`` or an ``enum`` of one. Descriptions,
bounds and patterns are not in it; ``docs/json.md`` shows the former.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


def members(schema: dict[str, Any]) -> str:
    """The members of the documents that ``schema`` allows, a line each, sorted by path."""
    return "".join(f"{line}\n" for line in sorted(_object_lines(schema, schema, "")))


def _lines(schema: dict[str, Any], node: dict[str, Any], path: str, more: str) -> Iterator[str]:
    types: set[str] = set()
    values: set[str] = set()
    for kind in _alternatives(schema, node):
        given = kind.get("type", [])
        found = set([given] if isinstance(given, str) else given)
        for value in kind.get("enum", [kind["const"]] if "const" in kind else []):
            values.add(json.dumps(value))
            found |= set() if given else {_TYPES[type(value)]}
        types |= found or {"any"}
        label = _label(kind)
        yield from _object_lines(schema, kind, f"{path}({label})" if label else path)
        if "items" in kind:
            yield from _lines(schema, kind["items"], f"{path}[]", "")
        if isinstance(kind.get("additionalProperties"), dict):
            yield from _lines(schema, kind["additionalProperties"], f"{path}{{}}", "")
    if "number" in types:
        types.discard("integer")
    parts = [" or ".join(sorted(types)), "|".join(sorted(values)), more]
    yield f"{path}: {', '.join(filter(None, parts))}"


def _object_lines(schema: dict[str, Any], node: dict[str, Any], path: str) -> Iterator[str]:
    for name, member in node.get("properties", {}).items():
        required = "required" if name in node.get("required", ()) else "optional"
        yield from _lines(schema, member, f"{path}.{name}" if path else name, required)


def _alternatives(schema: dict[str, Any], node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "$ref" in node:
        found = schema
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        yield from _alternatives(schema, found)
    elif "anyOf" in node or "oneOf" in node:
        for each in node.get("anyOf") or node["oneOf"]:
            yield from _alternatives(schema, each)
    else:
        yield node


def _label(node: dict[str, Any]) -> str | None:
    """The value of ``kind``, by which objects in one list are told apart."""
    kind = node.get("properties", {}).get("kind", {})
    values = kind.get("enum", [kind.get("const")])
    return values[0] if len(values) == 1 else None
