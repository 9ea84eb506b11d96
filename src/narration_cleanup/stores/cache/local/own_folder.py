"""Subfolders of a cache, each opened from the one above it: a swapped symlink leads nowhere."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from narration_cleanup.core.errors import TargetError
from narration_cleanup.core.text import printable
from narration_cleanup.stores.cache.local.directory import (
    OWN_FOLDER,
    Directory,
    open_folder,
    what_it_is,
)
from narration_cleanup.stores.cache.paths import SIDECAR_SUFFIXES, stem_of

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
        """Whether there is anything of that name. Raises ``OSError`` where that is not known."""
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


INDEX_FILE_NAME = "index.new"
LOCK_NAME = "run.lock"
SECOND = "second"
"""A folder in it, in which versions before 0.2 staged some of the files."""
MARK = "%_"
"""What the names of staged files begin with. Those that versions up to 0.2 gave never do: there a
``%`` was followed by ``25`` or ``2F``."""
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def not_own_folder(cache: Path) -> str | None:
    """What lies in a cache where the tool's own folder should, if that is no folder."""
    place = cache / OWN_FOLDER
    with suppress(OSError):
        mode = place.lstat().st_mode
        if not stat.S_ISDIR(mode):
            kind = what_it_is(mode) if not stat.S_ISREG(mode) else "a file"
            return f"{printable(place)} is {kind}, and must be a folder of this tool's: remove it"
    return None


class StagingDir:
    """Made when first needed. A file waits in it under a name that shows where it came from.

    Only such files are put back or counted: what else is there, as a folder, or what a file system
    keeps for who has a removed file open still, is left where it is.
    """

    def __init__(self, directory: Directory, audio_suffixes: Iterable[str]) -> None:
        """By ``audio_suffixes`` is known what versions up to 0.2 staged, without a mark."""
        self._directory = directory
        self._suffixes = tuple(suffix.lower() for suffix in audio_suffixes)
        self._fd: int | None = None

    def descriptor(self) -> int:
        """Of the folder; it is made if need be. Raises ``OSError`` where that cannot be."""
        if self._fd is None:
            try:
                self._fd = os.open(OWN_FOLDER, _FLAGS, dir_fd=self._directory.fd)
            except FileNotFoundError:
                os.mkdir(OWN_FOLDER, 0o700, dir_fd=self._directory.fd)
                self._fd = os.open(OWN_FOLDER, _FLAGS, dir_fd=self._directory.fd)
        return self._fd

    def private(self) -> int:
        """As ``descriptor``, where no other user can enter the folder.

        Raises ``OSError`` where it is another user's, or that cannot be brought about.
        """
        fd = self.descriptor()
        if os.fstat(fd).st_uid != os.geteuid():
            raise OSError(errno.EPERM, f"{OWN_FOLDER} in it belongs to another user")
        if os.fstat(fd).st_mode & 0o077:
            os.fchmod(fd, 0o700)
            if os.fstat(fd).st_mode & 0o077:  # a file system without modes
                raise OSError(errno.EPERM, f"{OWN_FOLDER} in it cannot be made private")
        return fd

    @contextmanager
    def entered(self, name: str = OWN_FOLDER, above: int | None = None) -> Iterator[int | None]:
        """The descriptor of the folder, or of one in it, which is open as ``above``; ``None`` where
        it is out of reach."""
        try:
            fd = os.open(name, _FLAGS, dir_fd=self._directory.fd if above is None else above)
        except OSError:
            yield None
            return
        try:
            yield fd
        finally:
            os.close(fd)

    def recover(self) -> int:
        """Put back what a killed run left, except where there is a newer file by now.

        How many files were put back. A file that cannot be put back is left there. Raises
        ``TargetError`` where the folder cannot be looked into.
        """
        try:
            if self._fd is None:
                self._fd = os.open(OWN_FOLDER, _FLAGS, dir_fd=self._directory.fd)
            restored = self._restore_all(self._fd)
            self._empty_second(self._fd)
            return restored + self._restore_all(self._fd)
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise self._out_of_reach(error) from None

    def _restore_all(self, folder: int) -> int:
        """Put back what waits in the folder; how many files were."""
        self.discard_index()
        folders = Folders(self._directory)
        restored = [self.restore(waiting_as, folders) for waiting_as in self._staged(folder)]
        folders.forget()
        return sum(restored)

    def _staged(self, folder: int) -> list[str]:
        """The files in it that were staged. Without a mark: audio, and after it is known what
        are sidecars, which therefore come first."""

        def is_audio(name: str) -> bool:
            return name.lower().endswith(self._suffixes)

        names = [name for name in os.listdir(folder) if _is_regular(name, folder)]
        audio = {each for name in filter(is_audio, names) for each in (name, stem_of(name))} - {""}
        staged = (
            name
            for name in names
            if name.startswith(MARK)
            or is_audio(name)
            or (name.lower().endswith(SIDECAR_SUFFIXES) and stem_of(name) in audio)
        )
        return sorted(staged, key=is_audio)

    def _empty_second(self, folder: int) -> None:
        """Move what an older version staged in ``SECOND`` to where files are staged now."""
        with suppress(FileNotFoundError):
            second = os.open(SECOND, _FLAGS, dir_fd=folder)
            try:
                for name in self._staged(second):
                    os.rename(name, name, src_dir_fd=second, dst_dir_fd=folder)
                with suppress(OSError):  # something else is in it
                    os.rmdir(SECOND, dir_fd=folder)
            finally:
                os.close(second)

    def _out_of_reach(self, error: OSError) -> TargetError:
        what = not_own_folder(self._directory.path) or (
            f"{printable(self._directory.path / OWN_FOLDER)} cannot be opened "
            f"({error.strerror}), and an earlier run may have left audio in it: correct that, "
            "or run as its owner"
        )
        return TargetError("own_folder", what)

    def waiting(self) -> list[str]:
        """The names in the cache of the files that wait here. Only reads: ``recover`` reports what
        keeps it from that."""
        found: list[str] = []
        with suppress(OSError), self.entered() as own:
            if own is not None:
                found += self._staged(own)
                with self.entered(SECOND, own) as second:
                    found += [] if second is None else self._staged(second)
        return [name_of(each) for each in found]

    def take(self, name: str, folders: Folders) -> str:
        """Move one file of the cache into the folder; the name that it waits under there."""
        waiting_as = MARK + name.replace("%", "%25").replace("/", "%2F")
        above, base = folders.locate(name)
        os.rename(base, waiting_as, src_dir_fd=above, dst_dir_fd=self.descriptor())
        return waiting_as

    def restore(self, waiting_as: str, folders: Folders) -> bool:
        """Give a waiting file its name again, whether it has it. Where a newer file has that name
        the waiting one is removed; where something else has, it is left waiting."""
        name = name_of(waiting_as)
        folder = self.descriptor()
        try:
            above, base = folders.locate(name)
            os.link(waiting_as, base, src_dir_fd=folder, dst_dir_fd=above, follow_symlinks=False)
            restore = True
        except FileExistsError:
            if not _is_regular(base, above):
                return False
            restore = False
        except OSError:
            return self._rename_back(waiting_as, name, folders)
        try:
            os.unlink(waiting_as, dir_fd=folder)
        except OSError:
            return False
        return restore

    def _rename_back(self, waiting_as: str, name: str, folders: Folders) -> bool:
        """The same where hard links do not exist, or its subfolder has to be made again."""
        try:
            folders.make(name)
            above, base = folders.locate(name)
            try:
                os.stat(base, dir_fd=above, follow_symlinks=False)
            except FileNotFoundError:
                os.rename(waiting_as, base, src_dir_fd=self.descriptor(), dst_dir_fd=above)
                return True
        except OSError:
            pass
        return False

    def can_make_for(self, uid: int, gid: int) -> bool:
        """Whether a file that is made here can belong to that user and group; raises ``OSError``
        where none can be made."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(INDEX_FILE_NAME, flags, 0o600, dir_fd=self.descriptor())
        try:
            made = os.fstat(fd)
            if (made.st_uid, made.st_gid) != (uid, gid):
                os.fchown(fd, uid, gid)
        except PermissionError:
            return False
        finally:
            os.close(fd)
            self.discard_index()
        return True

    def discard_index(self) -> None:
        """Remove a new index that was not put in place."""
        if self._fd is not None:
            with suppress(OSError):
                os.unlink(INDEX_FILE_NAME, dir_fd=self._fd)

    def close(self) -> None:
        """Let go of the folder."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _is_regular(base: str, folder: int) -> bool:
    try:
        return stat.S_ISREG(os.stat(base, dir_fd=folder, follow_symlinks=False).st_mode)
    except OSError:
        return False


def name_of(waiting_as: str) -> str:
    """The name in the cache of a file that waits under that name."""
    return waiting_as.removeprefix(MARK).replace("%2F", "/").replace("%25", "%")
