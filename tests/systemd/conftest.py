"""A booted container with the built wheel in it, as an operator would have it."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.systemd.container import Container, cache_dir, pip_command, why_not
from tests.systemd.service import Service

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = "/opt/narration-cleanup/bin/narration-cleanup"


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """A folder for the machine, which is taken away: pytest keeps its own for a while, and a
    tree is hundreds of megabytes."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    cache_dir().mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="machine-", dir=cache_dir()))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def machine(place: Path) -> Iterator[Container]:
    """A booted machine with the wheel in /opt/narration-cleanup and a user `narration`."""
    container = Container.create(place / "tree")
    container.copy(_wheels(place / "wheels"), "/opt/wheels")
    pip = ["python3", "-m", "pip", "--python", "/opt/narration-cleanup/bin/python", "install"]
    try:
        container.start()
        container.run("useradd", "--system", "--home-dir=/var/lib/narration", "narration")
        # As docs/schedule.md has it, on a fresh Debian.
        container.run("python3", "-m", "venv", "--without-pip", "/opt/narration-cleanup")
        source = ["--quiet", "--no-index", "--find-links=/opt/wheels"]
        container.run(*pip, *source, "narration-cleanup[alerts,postgres]")
        container.run("ln", "-s", PROGRAM, "/usr/local/bin/")
        yield container
    finally:
        container.stop()


@pytest.fixture
def service(machine: Container) -> Iterator[Service]:
    """The narration service, running, with a cache and a database that need cleaning."""
    running = Service.start(machine)
    yield running
    running.stop()


def _wheels(folder: Path) -> Path:
    """The wheel of this checkout, and all it needs, for the container's Python 3.11."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True)
    machine = platform.machine()
    subprocess.run(
        [
            *(*pip_command(), "download", "-qq", "--dest", str(folder), "--only-binary=:all:"),
            *(f"--requirement={ROOT}/requirements/{extra}.txt" for extra in ("alerts", "postgres")),
            *("--python-version=3.11", "--implementation=cp", "--abi=cp311", "--abi=abi3"),
            *(f"--platform=manylinux_2_28_{machine}", f"--platform=manylinux2014_{machine}"),
            *("--require-hashes", f"--cache-dir={cache_dir() / 'pip'}"),
        ],
        check=True,
    )
    return folder
