"""The index as a file that the service rewrites in place at any moment: read one version of it."""

from __future__ import annotations

import errno
import os
import stat
import time
from pathlib import Path

from narration_cleanup.cache.directory import Directory, open_to_read, what_it_is
from narration_cleanup.errors import HalfError, IndexChangedError
from narration_cleanup.escape import shown

Version = tuple[int, int, int, int]
"""(inode, size, mtime in ns, ctime in ns): the index is unchanged while these are."""

HELD_WHOLE = 1 << 23
"""An index of up to 8 MiB is read at once; a larger one in passes that check the version."""
TICK_NS = 10_000_000
"""Two writes within one tick of the file system's clock may leave the same mtime (ext4: 4 ms)."""


def version_of(status: os.stat_result) -> Version:
    """The version that a status describes."""
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


_REMEDY = "nothing is removed: give back the file that the service writes, and the right to read it"


class IndexFile:
    """One version of the index, open for reading. ``read`` is what the codec reads with."""

    def __init__(self, directory: Directory, name: str) -> None:
        """Raises ``HalfError`` where it cannot be read, ``IndexChangedError`` where it is gone: it
        was there when the command began."""
        self._directory = directory
        self.name = name
        try:
            self.fd = open_to_read(name, directory.fd)
        except FileNotFoundError:
            raise IndexChangedError("it is gone") from None
        except OSError as error:
            is_link = error.errno == errno.ELOOP
            why = "is a symbolic link" if is_link else f"cannot be opened: {error.strerror}"
            what = f"{shown(directory.path / name)} {why}"
            raise HalfError("index_unreadable", f"{what}; {_REMEDY}") from None
        status = os.fstat(self.fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(self.fd)
            kind = what_it_is(status.st_mode)
            what = f"{shown(directory.path / name)} is {kind}"
            raise HalfError("index_unreadable", f"{what}; {_REMEDY}")
        self.read_at_ns = time.clock_gettime_ns(time.CLOCK_REALTIME)
        self.status = status
        self.version = version_of(status)
        self.size = status.st_size
        self._whole: bytes | None = None

    def hold(self) -> None:
        """Make sure that there is one version to read, and read a small one at once.

        Raises ``IndexChangedError`` where it changed meanwhile.
        """
        age = time.clock_gettime_ns(time.CLOCK_REALTIME) - self.version[2]
        if 0 <= age < TICK_NS:
            # A write in the same tick as the last one could not be told from it.
            time.sleep((TICK_NS - age) / 1e9)
            self.check_unchanged()
        if self.size <= HELD_WHOLE:
            whole = b""
            while block := os.pread(self.fd, HELD_WHOLE + 1, len(whole)):
                whole += block
            self.check_unchanged()
            self._whole = whole

    def read(self, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes from ``offset``."""
        if self._whole is not None:
            return self._whole[offset : offset + size]
        return os.pread(self.fd, size, offset)

    def unchanged(self) -> bool:
        """Whether the file is still the version that was opened, and still has the name."""
        named = self._directory.status(self.name)
        return named is not None and version_of(named) == self.version == version_of(
            os.fstat(self.fd)
        )

    def check_unchanged(self) -> None:
        """Raise ``IndexChangedError`` where what was read may not be one version."""
        if self._whole is None and not self.unchanged():
            raise IndexChangedError("it was rewritten while it was read", self.size)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self.fd)


def may_be_replaced(index: os.stat_result, folder: os.stat_result) -> bool:
    """Whether a new index made by this user could have the owner and group of the one in
    ``folder``, as far as can be told by looking: a run tries it before it removes anything."""
    inherited = bool(folder.st_mode & stat.S_ISGID) and folder.st_gid == index.st_gid
    in_group = index.st_gid in (os.getegid(), *os.getgroups())
    is_owner = os.geteuid() == index.st_uid
    return (is_owner and (in_group or inherited)) or _may_give_files_away()


def _may_give_files_away() -> bool:
    """Whether this process has ``CAP_CHOWN``: root may lack it, others may have it."""
    try:
        lines = Path("/proc/self/status").read_bytes().splitlines()
    except OSError:
        return os.geteuid() == 0
    found = [line.split()[1] for line in lines if line.startswith(b"CapEff:")]
    return bool(int(found[0], 16) & 1) if found else os.geteuid() == 0


def foreign_index(place: Path, index: os.stat_result) -> str:
    """What to tell where the index may not be replaced."""
    return (
        f"{shown(place)} belongs to uid {index.st_uid}, gid {index.st_gid}: run as that user, in "
        "that group, or the service could not write it any more"
    )


def missing_index(directory: Directory, name: str) -> str:
    """What to tell where there is no index."""
    return (
        f"{shown(directory.path)} has no {shown(name)}: if it is the right folder, start the "
        'service once, or say cache.index = "none" for a cache that has none'
    )
