"""docs/json.md: the JSON documents, member by member, from their schemas."""

from __future__ import annotations

import json
from typing import TypeAlias

from narration_cleanup.cli.schema import schema_names, schema_text

Json: TypeAlias = str | int | float | bool | list["Json"] | dict[str, "Json"] | None
Schema: TypeAlias = dict[str, Json]

_PAGE = """\
<!-- Made from the types by `python3 dev.py docs`; changes here are overwritten. -->

# JSON documents

With `--json`, these commands write one JSON document to standard output and nothing else there;
what is wrong, be it with the configuration, is in the document and in the exit code. The schemas
(draft 2020-12) are made from the program's own types:

```console
$ narration-cleanup schema run | head -5
{run_head}
```

| document | written by | schema |
|---|---|---|
{documents}

Sizes are in bytes unless the name ends in `_mb` (1 MB = 1048576 bytes), times are ISO 8601 with an
offset, durations are in seconds. `schema_version` is raised when a member changes its meaning or
is removed; new members may come without. Keys, names and ids are given raw: JSON escapes what
could do harm on a screen.
"""

_WRITTEN_BY = {
    "config": "`config show --json`",
    "history": "`history --json`, `history show --json`",
    "run": "`run --json`, `dry-run --json`",
    "systemd": "`systemd status --json`",
}


def json_page() -> str:
    """The page: where each document comes from, and a table for each object in it."""
    schemas: dict[str, Schema] = {name: json.loads(schema_text(name)) for name in schema_names()}
    rows = [
        f"| {schema.get('description', '')} | {_WRITTEN_BY.get(name, f'`{name} --json`')} | "
        f"`narration-cleanup schema {name}` |"
        for name, schema in schemas.items()
    ]
    head = "\n".join(schema_text("run").splitlines()[:5])
    lines = [_PAGE.format(run_head=head, documents="\n".join(rows))]
    written: set[str] = set()
    for name, schema in schemas.items():
        inner = _inner(schema)
        lines += [f"## {name}", "", *_table(schema, inner), ""]
        for title, definition in inner.items():
            if title in written or "properties" not in definition:
                continue
            written.add(title)
            description = definition.get("description")
            lines += [f"### object {title}", "", *([str(description), ""] if description else [])]
            lines += [*_table(definition, inner), ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _inner(schema: Schema) -> dict[str, Schema]:
    """The definitions of a schema; those of one name are the same in all schemas."""
    definitions = schema.get("$defs")
    assert isinstance(definitions, dict)
    return {name: each for name, each in definitions.items() if isinstance(each, dict)}


def _table(schema: Schema, inner: dict[str, Schema]) -> list[str]:
    """A row for each member of an object."""
    properties = schema["properties"]
    assert isinstance(properties, dict)
    rows = ["| member | type | |", "|---|---|---|"]
    for name, member in properties.items():
        assert isinstance(member, dict)
        description = str(member.get("description", ""))
        rows.append(f"| `{name}` | {_type(member, inner)} | {description} |")
    return rows


def _type(schema: Json, inner: dict[str, Schema]) -> str:
    """What a member may be, in a few words; an object's name leads to its table."""
    if not isinstance(schema, dict):
        return "any"
    for several in ("anyOf", "oneOf"):
        choices = schema.get(several)
        if isinstance(choices, list):
            named = [_type(choice, inner) for choice in choices]
            return " or ".join(sorted(named, key="null".__eq__))
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        has_table = "properties" in inner[name]
        return f"[{name}](#object-{name.lower()})" if has_table else _type(inner[name], inner)
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    values = schema.get("enum")
    if isinstance(values, list):
        return ", ".join(f"`{json.dumps(value)}`" for value in values)
    given = schema.get("type", "any")
    kinds = [str(kind) for kind in given] if isinstance(given, list) else [str(given)]
    return " or ".join(_kind(kind, schema, inner) for kind in kinds)


def _kind(kind: str, schema: Schema, inner: dict[str, Schema]) -> str:
    if kind == "array":
        return f"list of {_type(schema.get('items'), inner)}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'], inner)} by name"
    if kind == "string" and schema.get("format") == "date-time":
        return "time"
    return kind
