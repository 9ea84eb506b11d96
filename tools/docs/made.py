"""All files of the repository that are made from the program, with the text they should have."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tools.docs.console import ROOT, with_real_output
from tools.docs.exit_codes import exit_codes_page
from tools.docs.json_page import json_page
from tools.docs.layouts import with_layouts
from tools.docs.man_command import command_page
from tools.docs.measured import with_measured
from tools.docs.picture import pictures
from tools.docs.settings_page import settings_manual, settings_page
from tools.docs.situations import situations_page

WHOLE: dict[str, Callable[[], str]] = {
    "docs/exit-codes.md": exit_codes_page,
    "docs/json.md": json_page,
    "docs/settings.md": settings_page,
    "docs/situations.md": situations_page,
    "man/narration-cleanup.1": command_page,
    "man/narration-cleanup.toml.5": settings_manual,
}
"""The files of which every line is made."""


def documents() -> list[str]:
    """The documents whose commands are run."""
    return [
        "README.md",
        "CONTRIBUTING.md",
        *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
    ]


def made_files() -> Iterator[tuple[str, str]]:
    """(name, text) of each, made anew."""
    for name in documents():
        if name not in WHOLE:
            text = (ROOT / name).read_text(encoding="utf-8")
            yield name, with_layouts(with_measured(with_real_output(text)))
    for name, make in WHOLE.items():
        yield name, make()
    for name, svg in pictures().items():
        yield f"docs/pictures/{name}", svg
