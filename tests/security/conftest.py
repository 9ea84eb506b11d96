"""Commands run as root or as a user who exists nowhere but in the numbers of his files."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

SERVICE, OTHER = 48_611, 48_612
"""Users without an account."""


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A temporary folder that other users can enter; pytest's own is for its user alone."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to act as two other users")
    with tempfile.TemporaryDirectory(prefix="narration-cleanup-") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def give(user: int, *places: Path) -> None:
    """Give places, and all that is in them, to a user."""
    for place in places:
        for each in [place, *place.rglob("*")]:
            os.chown(each, user, user, follow_symlinks=False)


_AS_USER = """
import os, runpy, sys
from narration_cleanup.run.run_as import (become, import_all)
from narration_cleanup.core.users import (Account)
import_all()
become(Account(int(sys.argv[1]), int(sys.argv[1])))
sys.argv = ["narration-cleanup", *sys.argv[2:]]
runpy.run_module("narration_cleanup", run_name="__main__")
"""
"""The interpreter may lie where only root can start it."""


def call(
    *arguments: str | Path, user: int = 0, state: Path, package: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """The tool, started by ``user``; ``package`` is another folder to import it from."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "NARRATION_CLEANUP_STATE_DIR": str(state),
    }
    if package is not None:
        environment["PYTHONPATH"] = str(package)
    how = ["-c", _AS_USER, str(user)] if user else ["-m", "narration_cleanup"]
    return subprocess.run(
        [sys.executable, *how, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        cwd="/",
    )
