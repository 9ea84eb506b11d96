"""Advisory locks (flock), waited for up to a time limit."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from narration_cleanup.core.deadline import Deadline
from narration_cleanup.core.errors import BusyError
from narration_cleanup.core.files import check_own_file, make_own_folder
from narration_cleanup.core.text import printable

RUN_LOCK_WAIT = 3.0
"""Seconds that a run waits for another one to end."""
_TRY_EVERY = 0.005
_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def try_lock(fd: int, *, shared: bool = False) -> bool:
    """Take the lock of an open file or directory if it is free. Raises ``OSError`` where the
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


@contextmanager
def run_lock(name: str, folder: int, location: str) -> Iterator[None]:
    """Hold the lock of one run on ``location``: the file ``name`` in the open ``folder``, which
    says who holds it, and is there only meanwhile.

    Only this user can take it where no other user can enter or write to the folder. Raises
    ``BusyError`` where another run has it, ``OSError`` where no file can be made or locked.
    """
    fd = _taken(name, folder, location)
    try:
        with suppress(OSError):  # a full disk: then it is not known who holds it
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()} {time.time():.0f}\n".encode(), 0)
        yield
    finally:
        with suppress(OSError):
            os.unlink(name, dir_fd=folder)
        os.close(fd)


def _taken(name: str, folder: int, location: str) -> int:
    """The descriptor of the locked file, which still has its name."""
    while True:
        fd = os.open(name, _FLAGS | os.O_RDWR | os.O_CREAT, 0o600, dir_fd=folder)
        try:
            if not wait_for_lock(fd, RUN_LOCK_WAIT):
                raise _busy(fd, location)
            if os.fstat(fd).st_nlink:
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # the run that held it has ended, and took the file away


def _busy(fd: int, location: str) -> BusyError:
    """The refusal, with the process that holds the lock: the run that wrote its id and the time
    into the file, else whom the kernel names."""
    holder = ""
    with suppress(OSError, ValueError, OverflowError, StopIteration):
        words = os.pread(fd, 64, 0).split()
        pid = int(words[0]) if len(words) == 2 else _holder(os.fstat(fd).st_ino)
        holder = f"pid {pid}"
        with suppress(OSError):
            holder += f", {printable(_program(Path(f'/proc/{pid}')))}"
        since = int(words[1]) if len(words) == 2 else os.fstat(fd).st_mtime
        holder += f", since {datetime.fromtimestamp(since):%Y-%m-%d %H:%M:%S}"
    holder = holder and f" ({holder})"
    return BusyError(f"another run{holder} is at work on {printable(location)}: nothing was done")


def _program(process: Path) -> str:
    """Its name, of which the kernel keeps 15 bytes: whole where its command line has it."""
    name = process.joinpath("comm").read_text(errors="replace").strip()
    words = process.joinpath("cmdline").read_text(errors="replace").split("\0")
    names = (word.rpartition("/")[2] for word in words)
    return next((whole for whole in names if name and whole.startswith(name)), name)


def _holder(inode: int) -> int:
    """The process that has locked the file; see proc_locks(5). Raises ``StopIteration``."""
    rows = (line.split() for line in Path("/proc/locks").read_text().splitlines())
    return next(int(row[4]) for row in rows if int(row[5].rpartition(":")[2]) == inode)


def is_held(name: str, folder: int) -> bool:
    """Whether a run holds the lock; false where this user may not read it."""
    try:
        _refuse_held(name, folder, "")
    except BusyError:
        return True
    return False


def _refuse_held(name: str, folder: int, location: str) -> None:
    try:
        fd = os.open(name, _FLAGS, dir_fd=folder)
    except OSError:
        return
    try:
        if not try_lock(fd, shared=True):
            raise _busy(fd, location)
    except OSError:
        return
    finally:
        os.close(fd)


@contextmanager
def run_lock_in(state_dir: Path, location: str) -> Iterator[None]:
    """The run lock of what cannot be locked itself: a file in the state directory.

    Raises ``BusyError`` as ``run_lock`` does, ``OSError`` where no file can be made or locked.
    """
    make_own_folder(state_dir)
    check_own_file(state_dir / _state_name(location))
    folder = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with run_lock(_state_name(location), folder, location):
            yield
    finally:
        os.close(folder)


def refuse_lock_in(state_dir: Path, location: str) -> None:
    """Raise ``BusyError`` where a run that could not make the usual lock holds this one instead."""
    with suppress(OSError):
        folder = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _refuse_held(_state_name(location), folder, location)
        finally:
            os.close(folder)


def _state_name(location: str) -> str:
    return f"run-{hashlib.sha256(location.encode(errors='replace')).hexdigest()[:16]}.lock"
