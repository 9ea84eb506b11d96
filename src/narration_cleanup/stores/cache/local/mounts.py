"""What the kernel says of the mounts at and below a directory (``proc(5)``, mountinfo)."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

_ESCAPED = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mounts:
    """``below``: mount points under the directory, relative; ``options`` of its own mount."""

    below: frozenset[str] = frozenset()
    options: frozenset[str] = frozenset()


def mounts_of(directory_fd: int) -> Mounts:
    """The mounts that concern an open directory; none are known where there is no /proc."""
    try:
        here = os.readlink(f"/proc/self/fd/{directory_fd}")
        with open(f"/proc/self/fdinfo/{directory_fd}", encoding="ascii") as info:
            mount_id = next(line.split()[1] for line in info if line.startswith("mnt_id:"))
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
            return read_mounts(table.read(), here, mount_id)
    except (OSError, StopIteration):
        return Mounts()


def read_mounts(table: str, here: str, mount_id: str) -> Mounts:
    """The same from the text of mountinfo, the directory's path and its mount's id."""
    below = set()
    options: frozenset[str] = frozenset()
    for line in table.splitlines():
        fields = line.split(" ")
        point = _ESCAPED.sub(lambda found: chr(int(found.group(1), 8)), fields[4])
        if fields[0] == mount_id:
            options = frozenset(fields[5].split(","))
        if point.startswith(f"{here}/"):
            below.add(point[len(here) + 1 :])
    return Mounts(frozenset(below), options)
