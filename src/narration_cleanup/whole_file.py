"""A small file written whole or not at all: whoever reads it sees the old one or the new one."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def replace_file(file: Path, text: str, mode: int) -> None:
    """Put ``file`` with ``text`` and ``mode`` in place once it is on the disk. Raises ``OSError``.

    The mode is what it is whatever the umask says. The folder is not made. On the way there is a
    file beside it whose name begins with a dot and ends in ``.tmp``: neither a collector of
    metrics (``.prom``) nor systemd (``.service``) reads that.
    """
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
