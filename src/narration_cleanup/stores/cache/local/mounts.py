"""What the kernel says of the mounts at and below a directory (``proc(5)``, mountinfo), and of the
flags of a file."""

from __future__ import annotations

import fcntl
import os
import re
from dataclasses import dataclass
from sys import byteorder

_GET_FLAGS = 0x8008_6601
"""``FS_IOC_GETFLAGS``, see ``ioctl_iflags(2)``."""
_FIXED = 0x10 | 0x20
"""``FS_IMMUTABLE_FL``, ``FS_APPEND_FL``."""
_ESCAPED = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mounts:
    """``below``: mount points under the directory, relative; ``options`` and the type of its own
    mount."""

    below: frozenset[str] = frozenset()
    options: frozenset[str] = frozenset()
    file_system: str = ""


def mount_id(fd: int) -> str | None:
    """The number of the mount that an open file or folder lies on; ``None`` without /proc."""
    try:
        with open(f"/proc/self/fdinfo/{fd}", encoding="utf-8") as info:
            return next(line.split()[1] for line in info if line.startswith("mnt_id:"))
    except (OSError, StopIteration):
        return None


def is_immutable(fd: int) -> bool:
    """Whether ``chattr`` has made an open file immutable or append-only: neither it nor its name
    can be removed. Raises ``OSError`` where the file system has no such flags."""
    flags = fcntl.ioctl(fd, _GET_FLAGS, bytes(8))
    return bool(int.from_bytes(flags[:4], byteorder) & _FIXED)


def mounts_of(directory_fd: int) -> Mounts:
    """The mounts that concern an open directory; none are known where there is no /proc."""
    try:
        here = os.readlink(f"/proc/self/fd/{directory_fd}")
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
            return read_mounts(table.read(), here, mount_id(directory_fd))
    except OSError:
        return Mounts()


def read_mounts(table: str, here: str, own_id: str | None) -> Mounts:
    """The same from the text of mountinfo, the directory's path and its mount's id."""
    below = set()
    options, file_system = frozenset[str](), ""
    for line in table.splitlines():
        fields = line.split(" ")
        point = _ESCAPED.sub(lambda found: chr(int(found.group(1), 8)), fields[4])
        if fields[0] == own_id:
            options = frozenset(fields[5].split(","))
            file_system = fields[fields.index("-") + 1]
        if point.startswith(f"{here}/"):
            below.add(point[len(here) + 1 :])
    return Mounts(frozenset(below), options, file_system)
