"""``schema``: the JSON Schemas of the documents that other programs read."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from narration_cleanup.cli import complete
from narration_cleanup.report.documents.schema import schema_text
from narration_cleanup.report.streams import until_closed


def schema_command(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="The document: run (also of dry-run), stats, history and the like.",
            show_default=False,
            autocompletion=complete.schemas,
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
