"""``schema``: the JSON Schemas (draft 2020-12) of the documents, made from their types."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Annotated

import msgspec
import typer

from narration_cleanup.cli.complete import offered
from narration_cleanup.report.documents import run_types, setup_types
from narration_cleanup.report.streams import until_closed

_DOCUMENTS: dict[str, tuple[type[msgspec.Struct], str]] = {
    "check": (setup_types.Check, "check --json"),
    "config": (setup_types.Config, "config show --json"),
    "explain": (setup_types.Explain, "explain --json"),
    "history": (setup_types.History, "history --json, history show --json"),
    "run": (run_types.Run, "run --json, dry-run --json"),
    "stats": (run_types.Stats, "stats --json"),
    "systemd": (setup_types.Systemd, "systemd status --json"),
}
"""Each document by name: its type, and the commands that write it."""


def schema_names() -> list[str]:
    """The documents that have a schema."""
    return list(_DOCUMENTS)


def schema_text(name: str) -> str:
    """The JSON Schema of a document: ``run``, ``stats`` and the like.

    Raises ``LookupError`` with the known names where there is none of that name.
    """
    if name not in _DOCUMENTS:
        raise LookupError(f"no schema {name!r}: there are {', '.join(_DOCUMENTS)}")
    kind, written_by = _DOCUMENTS[name]
    (_,), parts = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:narration-cleanup:schema:{name}:1",
        **parts.pop(kind.__name__),
        "title": f"narration-cleanup {written_by}",
        "$defs": parts,
    }
    return json.dumps(schema, indent=2) + "\n"


@offered
def _names(_: typer.Context) -> Iterator[tuple[str, str]]:
    return ((name, f"The document of {name}") for name in _DOCUMENTS)


def schema_command(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="The document: run (also of dry-run), stats, history and the like.",
            show_default=False,
            autocompletion=_names,
        ),
    ],
) -> None:
    """Print the JSON Schema that a command's --json keeps to."""
    try:
        text = schema_text(name)
    except LookupError as error:
        raise typer.BadParameter(str(error), param_hint="NAME") from None
    with until_closed(sys.stdout):
        sys.stdout.write(text)
