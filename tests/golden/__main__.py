"""Documents, log lines, metrics pages and messages, kept as they are.

``documents/SITUATION/`` holds what the commands gave in a situation of ``situations.py``: JSON
documents (``.json``), logs as JSON lines (``.jsonl``) and as text (``.log``), pages (``.prom``),
what was sent (``.txt``), and ``exit_codes.json``. ``test_documents.py`` runs each situation again
and compares: the same files, members, order, types and values.

    python3 -m tests.golden            # show what differs
    python3 -m tests.golden --write    # keep what there is now; look at the difference with git

A member of a document that programs read is changed only with a word in the changelog; one that
goes or changes its meaning, only with a higher ``schema_version``.
"""

from __future__ import annotations

import difflib
import json
import shutil
import sys
import tempfile
from pathlib import Path

from tests.golden.situations import SITUATIONS

DOCUMENTS = Path(__file__).parent / "documents"


def made(name: str, folder: Path) -> dict[str, str]:
    """What the situation ``name`` gives now, by file name; it is made in ``folder``."""
    service = SITUATIONS[name](folder)
    codes = {what: int(code) for what, code in sorted(service.codes.items())}
    return {**service.kept, "exit_codes.json": json.dumps(codes, indent=1) + "\n"}


def kept(name: str) -> dict[str, str]:
    """What is kept of the situation ``name``, by file name."""
    return {file.name: file.read_text() for file in sorted((DOCUMENTS / name).glob("*"))}


def write(name: str, found: dict[str, str]) -> None:
    """Keep ``found``."""
    (DOCUMENTS / name).mkdir(parents=True)
    for file, text in found.items():
        (DOCUMENTS / name / file).write_text(text)


def main(arguments: list[str]) -> int:
    """Show or write; the exit code is 1 where something differs and was not written."""
    if "--write" in arguments:
        shutil.rmtree(DOCUMENTS, ignore_errors=True)
    differ = 0
    for name in SITUATIONS:
        with tempfile.TemporaryDirectory() as folder:
            found = made(name, Path(folder) / "g")
        if "--write" in arguments:
            write(name, found)
            continue
        before = kept(name)
        for file in sorted({*before, *found}):
            old, new = (text.get(file, "").splitlines() for text in (before, found))
            lines = list(difflib.unified_diff(old, new, f"{name}/{file}", "now", lineterm=""))
            print("\n".join(lines), end="\n" if lines else "")
            differ |= bool(lines)
    return differ


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
