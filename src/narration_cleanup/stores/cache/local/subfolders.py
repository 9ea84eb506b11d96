"""Subfolders of a cache, each opened from the one above it: a swapped symlink leads nowhere."""

from __future__ import annotations

import errno
import os

from narration_cleanup.stores.cache.local.directory import Directory, open_folder

MOST_LEVELS = 64
"""Folders deeper than this are not looked into: every level costs two descriptors."""
_NOT_A_NAME = frozenset({"", ".", ".."})


class Folders:
    """Finds the folder that a relative name lies in. Keeps the last way open, for the next name."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._open: list[tuple[str, int]] = []

    def locate(self, name: str) -> tuple[int, str]:
        """The descriptor of the folder that ``name`` lies in, and the last part of ``name``.

        The descriptor is good until the next call. Raises ``OSError`` where the folder is gone,
        is another kind of file (a symlink too), or lies on another file system.
        """
        if "/" not in name:
            return self._directory.fd, name
        folder, _, base = name.rpartition("/")
        return self._folder(folder.split("/")), base

    def holds(self, name: str) -> bool:
        """Whether there is anything of that name. Raises ``OSError`` where that cannot be told."""
        try:
            folder, base = self.locate(name)
            os.stat(base, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def make(self, name: str) -> None:
        """Make again the folders that ``name`` lies in, with the rights of those above them."""
        parts = name.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            try:
                self._folder(parts[:depth])
            except FileNotFoundError:
                above = self._folder(parts[: depth - 1])
                os.mkdir(parts[depth - 1], os.fstat(above).st_mode & 0o777, dir_fd=above)

    def remove_empty(self, folder: str) -> None:
        """Remove ``folder`` if it is empty, and those above it that become so; never the root."""
        while folder:
            self.forget()
            try:
                above, base = self.locate(folder)
                os.rmdir(base, dir_fd=above)
            except OSError:
                return
            folder = folder.rpartition("/")[0]

    def forget(self) -> None:
        """Close what is open."""
        while self._open:
            os.close(self._open.pop()[1])

    def _folder(self, parts: list[str]) -> int:
        if not _NOT_A_NAME.isdisjoint(parts) or len(parts) > MOST_LEVELS:
            raise OSError(errno.EINVAL, "not a folder of the cache")
        shared = 0
        for (part, _), wanted in zip(self._open, parts, strict=False):
            if part != wanted:
                break
            shared += 1
        while len(self._open) > shared:
            os.close(self._open.pop()[1])
        fd = self._open[-1][1] if self._open else self._directory.fd
        for part in parts[shared:]:
            fd = open_folder(part, fd)
            self._open.append((part, fd))
            if os.fstat(fd).st_dev != self._directory.device:
                raise OSError(errno.EXDEV, "another file system is mounted there")
        return fd
