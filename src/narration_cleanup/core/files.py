"""Small regular files: replaced whole or not at all, and read without waiting for anybody."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

NOTIFIED_BY = "NARRATION_NOTIFIED_BY"
"""``unit`` in the environment of a system unit, whose ``OnFailure=``/``OnSuccess=`` units send what
is to be sent: its sandbox has no network itself, and does not show every folder."""
_HIDDEN = tuple(map(Path, ("/var", "/home", "/root", "/run/user", "/tmp")))


def not_found(path: Path) -> str:
    """What to report of a path that leads nowhere: inside a unit, it may only be out of sight."""
    in_unit = os.environ.get(NOTIFIED_BY) == "unit"
    if in_unit and any(path.is_relative_to(each) for each in _HIDDEN):
        return (
            "is not visible in this unit, which was made for other folders, or it was removed: "
            "narration-cleanup systemd install makes the units anew"
        )
    return "does not exist"


def replace_file(file: Path, text: str, mode: int) -> None:
    """Put ``file`` with ``text`` and ``mode`` in place once it is on the disk. Raises ``OSError``.

    Whoever reads it sees the old one or the new one. What is no regular file (``/dev/null``, say)
    is never replaced. The mode is what it is whatever the umask says. The folder is not made. On
    the way there is a file beside it whose name begins with a dot and ends in ``.tmp``: neither a
    collector of metrics (``.prom``) nor systemd (``.service``) reads that.
    """
    with suppress(FileNotFoundError):
        _refuse_what_is_no_file(os.stat(file).st_mode)
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    with suppress(FileNotFoundError):  # of one that was killed: in a container all have one pid
        os.unlink(temporary)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "w", encoding="utf-8") as new:
            new.write(text)
            new.flush()
            os.fchmod(new.fileno(), mode)
            os.fsync(new.fileno())
        os.replace(temporary, file)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def first_bytes(file: Path, size: int) -> bytes:
    """Up to ``size`` bytes of a regular file. Raises ``OSError``, also where it is none: a pipe
    would be waited for."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _refuse_what_is_no_file(os.fstat(descriptor).st_mode)
        return os.read(descriptor, size)
    finally:
        os.close(descriptor)


def _refuse_what_is_no_file(mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "what is there is no regular file, and stays")
