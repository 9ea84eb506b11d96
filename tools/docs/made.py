"""All files of the repository that are made from the program, with the text they should have."""

from __future__ import annotations

from collections.abc import Iterator

from tools.docs.console import ROOT, with_real_output
from tools.docs.picture import pictures


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
        yield name, with_real_output((ROOT / name).read_text(encoding="utf-8"))
    for name, svg in pictures().items():
        yield f"docs/pictures/{name}", svg
