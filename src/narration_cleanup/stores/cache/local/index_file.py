"""The index as a file that the service rewrites in place at any moment: one version of it, and the
lock file that a service may keep for it."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from narration_cleanup.core.errors import IndexChangedError, TargetError
from narration_cleanup.core.locks import wait_for_lock
from narration_cleanup.core.text import printable
from narration_cleanup.stores.cache.local.directory import (
    Directory,
    is_immutable,
    mount_id,
    open_to_read,
    what_it_is,
)
from narration_cleanup.stores.cache.local.own_folder import INDEX_FILE_NAME

Status = tuple[int, int, int, int]
"""(inode, size, mtime in ns, ctime in ns). Two versions may have the same one: file systems with
times of one or two seconds are common."""

TRY_FOR = 10.0
"""Seconds for which a replacement is tried again when the service was faster."""
HELD_WHOLE = 1 << 24
"""An index of up to 16 MiB (what the service's own limit of 500 MB holds, in any form) is read at
once; a larger one in passes that compare digests."""
_BLOCK = 1 << 18


class Version(NamedTuple):
    """One version of the index. The digest of its bytes decides; the status is compared first,
    because that costs nothing."""

    status: Status
    digest: bytes


NO_VERSION = Version((0, 0, 0, 0), b"")


def status_of(found: os.stat_result) -> Status:
    """What can be compared of a version without reading it."""
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


_REMEDY = "nothing is removed: give back the file that the service writes, and the right to read it"


class IndexFile:
    """One version of the index, open for reading. ``read`` is what the codec reads with.

    ``digest`` is that of the bytes that were read: known from the first whole reading on, and
    what each later one has to match.
    """

    def __init__(self, directory: Directory, name: str, *, made_in: int | None = None) -> None:
        """``made_in``: the folder in which a new index waits that is to get ``name``.

        Raises ``TargetError`` where it cannot be read, ``IndexChangedError`` where it is gone: it
        was there when the command began.
        """
        self._directory = directory
        self.name = name
        try:
            if made_in is None:
                self.fd = open_to_read(name, directory.fd)
            else:
                self.fd = open_to_read(INDEX_FILE_NAME, made_in)
        except FileNotFoundError:
            raise IndexChangedError("it is gone") from None
        except OSError as error:
            is_link = error.errno == errno.ELOOP
            why = "is a symbolic link" if is_link else f"cannot be opened: {error.strerror}"
            what = f"{printable(directory.path / name)} {why}"
            raise TargetError("index_unreadable", f"{what}; {_REMEDY}") from None
        self.note_status()
        if not stat.S_ISREG(self.status.st_mode):
            os.close(self.fd)
            kind = what_it_is(self.status.st_mode)
            what = f"{printable(directory.path / name)} is {kind}"
            raise TargetError("index_unreadable", f"{what}; {_REMEDY}")
        self.read_at_ns = time.clock_gettime_ns(time.CLOCK_REALTIME)
        self.digest: bytes | None = None
        self._whole: bytes | None = None
        self._pass, self._passed = hashlib.sha256(), 0

    def note_status(self) -> None:
        """Take its status as it is now for that of this version: a rename changes the ctime."""
        self.status = os.fstat(self.fd)
        self.size = self.status.st_size

    @property
    def version(self) -> Version:
        """The version, once it was read whole."""
        return Version(self._known(self.status), self.digest or b"")

    def hold(self) -> None:
        """Begin with what is in the file by now, whoever has its name; a small one is read at once.

        Raises ``IndexChangedError`` where it changed meanwhile.
        """
        self.note_status()
        self.digest = self._whole = None
        if self.size <= HELD_WHOLE:
            whole = b""
            while block := os.pread(self.fd, HELD_WHOLE + 1, len(whole)):
                whole += block
            self.digest = hashlib.sha256(whole).digest()
            if not self.bytes_unchanged():
                raise IndexChangedError(
                    "it was rewritten while it was read", self.size, rewritten=True
                )
            self._whole = whole

    def read(self, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes from ``offset``. A pass reads from 0 to the end in order; a read
        elsewhere is no part of it."""
        if self._whole is not None:
            return self._whole[offset : offset + size]
        block = os.pread(self.fd, size, offset)
        if offset == 0:
            self._pass, self._passed = hashlib.sha256(), 0
        if offset == self._passed:
            self._pass.update(block)
            self._passed += len(block)
        return block

    def check_unchanged(self) -> None:
        """Raise ``IndexChangedError`` where the last pass did not read the very bytes of the one
        before it, or may have read those of two versions."""
        if self._whole is not None:
            return
        digest = self._pass.digest()
        is_whole = self._passed == self.size and self.not_written()
        if not is_whole or self.digest not in (None, digest):
            raise IndexChangedError("it was rewritten while it was read", self.size, rewritten=True)
        self.digest = digest

    def is_version(self, version: Version) -> bool:
        """Whether it is ``version``. Of an index that is not held the next pass decides: it must
        read the bytes of ``version``."""
        if self._known(self.status) != version.status:
            return False
        if self.digest is None:
            self.digest = version.digest
        return self.digest == version.digest

    def unchanged(self) -> bool:
        """Whether the file has its name, and the bytes that were read."""
        return self.bytes_unchanged() and self._has_name()

    def bytes_unchanged(self) -> bool:
        """Whether nothing was written into the file, whoever has its name."""
        return self.not_written() and self._digest_now() == self.digest and self.not_written()

    def _has_name(self) -> bool:
        named = self._directory.status(self.name)
        status = self._known(self.status)
        return named is not None and self._known(named) == status == self._known(os.fstat(self.fd))

    def _known(self, found: os.stat_result) -> Status:
        """Its status, but for what changes by itself on this file system (rclone: the times too).

        There the digest decides alone.
        """
        return status_of(found) if self._directory.keeps_inodes else (0, found.st_size, 0, 0)

    def not_written(self) -> bool:
        """Whether size and mtime are what they were: on coarse clocks that proves nothing."""
        now = os.fstat(self.fd)
        same_time = now.st_mtime_ns == self.status.st_mtime_ns or not self._directory.keeps_inodes
        return now.st_size == self.size and same_time

    def _digest_now(self) -> bytes:
        digest, at = hashlib.sha256(), 0
        while block := os.pread(self.fd, _BLOCK, at):
            digest.update(block)
            at += len(block)
        return digest.digest()

    def close(self) -> None:
        """Let go of the file; more than once does no harm."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def foreign_index(place: Path, index: os.stat_result) -> str:
    """What to report where the index may not be replaced."""
    return f"{printable(place)} belongs to uid {index.st_uid}, gid {index.st_gid}: " + (
        f"root left it there; give it back: chown --reference={printable(place.parent)} "
        f"{printable(place)}"
        if left_by_root(place, index)
        else "run as that user, in that group, or the service could not write it any more"
    )


def fixed_index(folder: Path, name: str, folder_fd: int) -> str | None:
    """Why no new index can take the place of this one, with what to do; ``None`` if it can.

    A file that is a mount point cannot be replaced, nor can one that ``chattr`` has fixed, itself
    or its folder.
    """
    with suppress(OSError):
        if is_immutable(folder_fd):
            why = "is immutable or append-only, so that nothing in it can be removed: chattr -i -a"
            return f"{printable(folder)} {why} it"
        fd = open_to_read(name, folder_fd)
        try:
            if mount_id(fd) != mount_id(folder_fd):
                why = "is mounted as a single file, which nothing can replace: mount its folder"
                return f"{printable(folder / name)} {why} instead"
            if is_immutable(fd):
                why = "is immutable or append-only, so that nothing can replace it: chattr -i -a"
                return f"{printable(folder / name)} {why} it"
        finally:
            os.close(fd)
    return None


def left_by_root(place: Path, status: os.stat_result) -> bool:
    """Whether root's file lies in a folder of another user, whose it should be."""
    try:
        return status.st_uid == 0 != place.parent.stat().st_uid
    except OSError:
        return False


def missing_index(directory: Directory, name: str) -> str:
    """The message where there is no index."""
    return (
        f"{printable(directory.path)} has no {printable(name)}: if it is the right folder, start "
        "the "
        'service once, or say cache.index = "none" for a cache that has none'
    )


_LOCK_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@contextmanager
def index_lock(
    directory: Directory, index_name: str, *, seconds: float, shared: bool = False
) -> Iterator[bool]:
    """Hold ``<index>.lock`` where the service offers that file; False where it could not be had.

    That is where the service held it for all of ``seconds``. Raises ``TargetError`` where the file
    cannot be opened or locked.
    """
    fd = _open_lock(directory, index_name, to_write=not shared)
    if fd is None:
        yield True
        return
    try:
        try:
            had = wait_for_lock(fd, seconds, shared=shared)
        except OSError as error:
            raise _unusable(directory, index_name, str(error.strerror)) from None
        yield had
    finally:
        os.close(fd)


def held_for(index_name: str, seconds: float) -> TargetError:
    """The error where a service has held the lock for all that time."""
    return TargetError(
        "index_locked",
        f"another program has held {printable(index_name)}.lock for {seconds:g} s: if it is not "
        "the service at work, end that program",
    )


def _open_lock(directory: Directory, index_name: str, *, to_write: bool) -> int | None:
    name = f"{index_name}.lock"
    fd = None
    try:
        if to_write:  # NFS requires it for an exclusive lock
            with suppress(PermissionError):
                fd = os.open(name, os.O_RDWR | _LOCK_FLAGS, dir_fd=directory.fd)
        if fd is None:
            fd = os.open(name, os.O_RDONLY | _LOCK_FLAGS, dir_fd=directory.fd)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(directory, index_name, str(error.strerror)) from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise _unusable(directory, index_name, "it is no regular file")
    return fd


def _unusable(directory: Directory, index_name: str, why: str) -> TargetError:
    with suppress(OSError):
        mode = os.lstat(f"{index_name}.lock", dir_fd=directory.fd).st_mode
        why = why if stat.S_ISREG(mode) else f"it is {what_it_is(mode)}"
    return TargetError(
        "index_lock",
        f"{printable(directory.path / index_name)}.lock cannot be locked ({why}): it must be a "
        "regular file that this user may read; or take it away, if the service does not use it",
    )
