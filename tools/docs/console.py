"""Runs the commands that a document shows, so that their shown output is the real one.

A ```console block holds lines of `$ command`, each followed by what it prints. All blocks of a
document run one after the other, in one sandbox as `narration-cleanup demo` makes it, with the
clock standing still. A ```sh block is not run: the line before it says why, as in
`<!-- not run: it needs root -->`.
"""

from __future__ import annotations

import getpass
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from narration_cleanup.demo.sandbox import make_sandbox
from tests import forked

ROOT = Path(__file__).resolve().parents[2]
MOMENT = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
PLACE = Path("/tmp/narration-demo")
"""Where the sandbox seems to lie; the real folder has another name, which is put right."""
NOT_RUN = re.compile(r"<!-- not run: .{4,} -->")
_BLOCK = re.compile(r"(?P<before>[^\n]*)\n```(?P<kind>console|sh)\n(?P<body>.*?)```\n", re.DOTALL)


@contextmanager
def sandbox() -> Iterator[Path]:
    """A new sandbox to run a document's commands in."""
    folder = Path(tempfile.mkdtemp(prefix="narration-docs-"))
    try:
        made = make_sandbox(folder / "demo", MOMENT.timestamp())
        (folder / "bin").mkdir()
        yield made.directory
    finally:
        shutil.rmtree(folder)


def write_program(place: Path) -> tuple[Path, int]:
    """Write the program beside the sandbox, with its clock standing still; where it is, and the
    descriptor that a process which runs it has to inherit."""
    file = place.parent / "bin" / "narration-cleanup"
    return file, forked.write_program(file, "tests.run_at", MOMENT.isoformat())


def outcome(command: str, place: Path) -> str:
    """What a command prints when it is run in the sandbox, both streams as they come."""
    environment = {
        "HOME": str(place.parent),
        "LANG": "C.UTF-8",
        "NARRATION_CLEANUP_CONFIG": "narration-cleanup.toml",
        "PATH": f"{place.parent / 'bin'}:{os.environ.get('PATH', os.defpath)}",
        "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
        "TZ": "UTC",
        "COLUMNS": "80",
    }
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=place,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=60,
        pass_fds=[write_program(place)[1]],
    )
    return _evened_out(done.stdout, place)


def _evened_out(text: str, place: Path) -> str:
    """``text`` as every machine gives it: folders, the user, the program's place, durations."""
    for real, shown in (
        (f"{sys.executable} -m narration_cleanup", "/usr/local/bin/narration-cleanup"),
        (str(place), str(PLACE)),
        (str(place.parent), str(PLACE.parent)),
    ):
        text = text.replace(real, shown)
    user = re.escape(getpass.getuser())
    text = re.sub(rf"\b(owner|belongs to|permissions:) {user}\b", r"\1 narrator", text)
    text = re.sub(r"(?m)^Only root may read it: .*\n", "", text)  # whoever makes them
    return re.sub(r"\b\d\.\d s\b", "0.2 s", text)


def with_real_output(document: str) -> str:
    """The document with every console block as it runs now."""
    if all(found["kind"] == "sh" for found in _BLOCK.finditer(document)):
        return document
    with sandbox() as place:
        return _BLOCK.sub(lambda found: _as_run(found, place), document)


def blocks_without_reason(document: str) -> list[str]:
    """The ```sh blocks that do not say why they are not run."""
    return [
        found["body"]
        for found in _BLOCK.finditer(document)
        if found["kind"] == "sh" and not NOT_RUN.fullmatch(found["before"])
    ]


def _as_run(found: re.Match[str], place: Path) -> str:
    if found["kind"] == "sh":
        return found[0]
    lines = []
    for line in found["body"].splitlines():
        if line.startswith("$ "):
            lines.append(line)
            lines += outcome(line[2:], place).splitlines()
    return f"{found['before']}\n```console\n" + "\n".join(lines) + "\n```\n"
