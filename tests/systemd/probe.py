"""Run by a unit in its sandbox: tries what it is told to, and prints what came of it as JSON.

    probe.py CACHE STATE DATABASE FOLDER...

The last are folders that anybody may write to, as far as their modes go.

"done", or the name of the error, for each attempt.
"""

from __future__ import annotations

import errno
import fcntl
import json
import mmap
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

CACHE, STATE, DATABASE, *OPEN = (Path(each) for each in sys.argv[1:])


def touch(path: Path) -> None:
    path.write_text("probe")


def stage() -> None:
    """What a removal does: own folder, lock on the cache, rename, link back, replace, unlink."""
    folder = CACHE / ".narration-cleanup"
    folder.mkdir(exist_ok=True)
    descriptor = os.open(CACHE, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    touch(CACHE / "probe")
    os.chmod(CACHE / "probe", 0o640)
    os.rename(CACHE / "probe", folder / "probe")
    os.link(folder / "probe", CACHE / "probe")
    os.replace(folder / "probe", CACHE / "probe.2")
    os.fsync(descriptor)
    os.unlink(CACHE / "probe")
    os.unlink(CACHE / "probe.2")
    folder.rmdir()


def write_database() -> None:
    database = sqlite3.connect(DATABASE)
    database.execute("UPDATE requests SET progress = progress")
    database.commit()
    database.close()


def execute(folder: Path) -> None:
    """A program of its own in `folder`."""
    program = folder / "probe-program"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    try:
        subprocess.run([str(program)], check=True)
    finally:
        program.unlink()


def execute_memory() -> None:
    memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.close()


ATTEMPTS: dict[str, Callable[[], object]] = {
    "stage and replace in the cache": stage,
    "write the database": write_database,
    "write the state": lambda: touch(STATE / "probe"),
    "write a temporary file": lambda: tempfile.TemporaryFile().close(),
    **{f"write {place}": partial(touch, place / "probe") for place in OPEN},
    "read a home": lambda: os.listdir("/home"),
    "read other data in /var": lambda: os.listdir("/var/lib/dpkg"),
    "open an internet socket": lambda: socket.socket(socket.AF_INET),
    "open an IPv6 socket": lambda: socket.socket(socket.AF_INET6),
    "open a local socket": lambda: socket.socket(socket.AF_UNIX),
    "execute a file of the cache": lambda: execute(CACHE),
    "execute a file of the state": lambda: execute(STATE),
    "execute a temporary file": lambda: execute(Path("/tmp")),
    "change an owner": lambda: os.chown(STATE, os.getuid(), os.getgid()),
    "see the processes of others": lambda: os.listdir("/proc/1"),
    "make memory that is written to executable": execute_memory,
}


def result_of(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    except (sqlite3.Error, subprocess.CalledProcessError) as error:
        return type(error).__name__
    return "done"


if __name__ == "__main__":
    print("PROBED " + json.dumps({name: result_of(each) for name, each in ATTEMPTS.items()}))
