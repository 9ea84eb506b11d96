"""Advisory locks (flock), waited for no longer than is said."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from narration_cleanup.errors import BusyError
from narration_cleanup.escape import shown
from narration_cleanup.waiting import Deadline

RUN_LOCK_WAIT = 3.0
"""Seconds that a run waits for another one to end."""
_TRY_EVERY = 0.005


def try_lock(fd: int, *, shared: bool = False) -> bool:
    """Take the lock of an open file or directory if nobody has it. Raises ``OSError`` where the
    file system has no locks."""
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


def wait_for_lock(fd: int, seconds: float, *, shared: bool = False) -> bool:
    """Take the lock within ``seconds``; whether it was taken."""
    deadline = Deadline(seconds)
    while not try_lock(fd, shared=shared):
        if deadline.passed:
            return False
        deadline.pause(_TRY_EVERY)
    return True


def unlock(fd: int) -> None:
    """Give the lock back."""
    fcntl.flock(fd, fcntl.LOCK_UN)


@contextmanager
def run_lock(fd: int, location: str) -> Iterator[None]:
    """Hold the lock of one run on ``location``; raises ``BusyError`` where another one has it."""
    if not wait_for_lock(fd, RUN_LOCK_WAIT):
        raise BusyError(f"another run is at work on {shown(location)}: nothing was done")
    try:
        yield
    finally:
        unlock(fd)


@contextmanager
def run_lock_in(state_dir: Path, location: str) -> Iterator[None]:
    """The run lock of what cannot be locked itself: a file in the state directory.

    Raises ``BusyError`` as ``run_lock`` does, ``OSError`` where no file can be made or locked.
    """
    name = f"run-{hashlib.sha256(location.encode(errors='replace')).hexdigest()[:16]}.lock"
    state_dir.mkdir(parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(state_dir / name, flags, 0o600)
    try:
        with run_lock(fd, location):
            yield
    finally:
        os.close(fd)
