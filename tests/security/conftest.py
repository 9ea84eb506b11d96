"""Commands run as root or as a user who exists nowhere but in the numbers of his files."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests import forked

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


AS_USER = """
import os, runpy, sys
from narration_cleanup.run.run_as import (become, import_all)
from narration_cleanup.core.users import (Account)
from narration_cleanup.report.notify import (unknown_urls)
import_all()
unknown_urls(["json://localhost"])
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
    if package is None:
        return forked.run(*arguments, env=environment, cwd=Path("/"), user=user)
    return subprocess.run(
        [sys.executable, "-m", "narration_cleanup", *map(str, arguments)],
        env={**environment, "PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        cwd="/",
    )


def plant_journal(database: Path, victim: Path) -> Path:
    """A hot rollback journal that names ``victim`` as its super-journal, which SQLite deletes."""
    page = struct.unpack(">H", database.read_bytes()[16:18])[0]
    magic, name = bytes.fromhex("d9d505f920a163d7"), os.fsencode(victim)
    head = magic + struct.pack(">5I", 0, 1, database.stat().st_size // page, 512, page)
    tail = struct.pack(">I", 0x40000000 // page + 1) + name
    tail += struct.pack(">2I", len(name), sum(name)) + magic
    journal = database.with_name(f"{database.name}-journal")
    journal.write_bytes(head.ljust(512, b"\0") + tail)
    return journal


@contextmanager
def unwaited(pipe: Path) -> Iterator[None]:
    """Fails where something waits for the other end of a pipe, and ends that wait after 3 s."""
    ended, waits = threading.Event(), list[Path]()

    def end_waits() -> None:
        delay = 3.0
        while not ended.wait(delay):
            with suppress(OSError):  # nobody has it open
                os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
                waits.append(pipe)
                delay = 0.05

    thread = threading.Thread(target=end_waits)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    assert waits == []


_SWAP = """
import os, sys
place, link, user = sys.argv[1], sys.argv[2], int(sys.argv[3])
away = place + "-away"
os.setgroups([]), os.setresgid(user, user, user), os.setresuid(user, user, user)
print(flush=True)
while True:
    for old, new in ((place, away), (link, place), (place, link), (away, place)):
        try:
            os.rename(old, new)
        except OSError:
            pass
"""


@contextmanager
def swapping(place: Path, link: Path) -> Iterator[None]:
    """Meanwhile the service's user puts ``link`` in the place of a folder, and that back again."""
    command = [sys.executable, "-c", _SWAP, str(place), str(link), str(SERVICE)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()
