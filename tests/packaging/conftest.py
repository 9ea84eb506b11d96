"""The built package, and copies of the checkout to build it from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.machine import require, working_copy
from tests.systemd.container import cache_dir

EPOCH = "1700000000"


def build(copy: Path, target: Path, *module: str, umask: int = 0o022) -> list[Path]:
    """Run a build of this copy of the checkout into a folder; what it has made."""
    done = subprocess.run(
        [sys.executable, "-m", *module, str(target)],
        cwd=copy,
        env={
            **os.environ,
            "PIP_CACHE_DIR": str(cache_dir() / "pip"),
            "PYTHONPATH": f"{copy / 'src'}:{copy}",
            "SOURCE_DATE_EPOCH": EPOCH,
        },
        umask=umask,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return sorted(target.iterdir())


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout."""
    folder = tmp_path_factory.mktemp("checkout")
    working_copy(folder)
    return folder


@pytest.fixture(scope="session")
def deb(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Debian package of this checkout."""
    require()
    (built,) = build(checkout, tmp_path_factory.mktemp("deb"), "tools.deb")
    return built
