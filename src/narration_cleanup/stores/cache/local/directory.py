"""What the kernel lists of the mounts at and below a directory (``proc(5)``, mountinfo)."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from sys import byteorder

import msgspec

from narration_cleanup.core.errors import ConfigError, TargetError
from narration_cleanup.core.files import not_found, way_to
from narration_cleanup.core.text import printable

_ESCAPED = re.compile(r"\\([0-7]{3})")


class Mounts(msgspec.Struct, frozen=True):
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


_GET_FLAGS = 0x8008_6601
"""``FS_IOC_GETFLAGS``, see ``ioctl_iflags(2)``."""
_FIXED = 0x10 | 0x20
"""``FS_IMMUTABLE_FL``, ``FS_APPEND_FL``."""


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


OWN_FOLDER = ".narration-cleanup"
"""The tool's own folder inside the cache directory; the service never reads it."""
NO_SUCH_FILE = frozenset({errno.ENOENT, errno.ENAMETOOLONG})
"""No file has a name that is too long for one: an entry may state it all the same."""
RENUMBERS = re.compile(r"fuse(blk|\..*)?|9p|cifs|smb3|vfat|msdos|exfat|vboxsf|virtiofs|vmhgfs.*")
"""File systems on which a file may get another inode number by a rename, or between two reads.
Most of them show one mode for all files, whoever may write to them."""
_LOSES_REPLACED = re.compile(r"fuse(\..*)?|9p|cifs|smb3|vboxsf|vmhgfs.*")
"""Those of them on which a file that is open may become the one that takes its name by a rename."""
_OPENS_SLOWLY = re.compile(rf"btrfs|bcachefs|zfs|{RENUMBERS.pattern}")
"""Those on which to open a file to write it anew may take long: what is cut off is not just freed,
or there is another process or machine that does it."""
_PLACES = {"/": "the root directory", "~": "your home directory"}


class Directory:
    """A pinned directory. ``fd`` is the same directory even when its path is renamed."""

    def __init__(self, path: Path) -> None:
        """Raises ``ConfigError`` where ``path`` is no directory, or one that no cache lies in."""
        self.path = path
        try:
            self.fd = _open(path, os.O_DIRECTORY, None)
        except FileNotFoundError:
            raise ConfigError(
                f"cache.dir {printable(path)} {not_found(path)}: is it where the service keeps its "
                "cache?"
            ) from None
        except NotADirectoryError:
            raise ConfigError(
                f"cache.dir {printable(path)} is not a directory: name the folder that holds the "
                "audio"
            ) from None
        except OSError as error:
            why = f"{error.strerror}; is it the right path, and this the right user?"
            raise ConfigError(f"cache.dir {printable(path)}: {why}") from None
        self.is_locked = False
        status = os.fstat(self.fd)
        self.device, self.inode = status.st_dev, status.st_ino
        file_system = mounts_of(self.fd).file_system
        self.keeps_inodes = not RENUMBERS.fullmatch(file_system)
        self.opens_slowly = _OPENS_SLOWLY.fullmatch(file_system) is not None
        self.keeps_replaced = not _LOSES_REPLACED.fullmatch(file_system)
        self._refuse_wrong_place()

    def _refuse_wrong_place(self) -> None:
        for place in _PLACES:
            try:
                status = Path(place).expanduser().stat()
            except (OSError, RuntimeError):
                continue
            if (status.st_dev, status.st_ino) == (self.device, self.inode):
                os.close(self.fd)
                raise ConfigError(
                    f"cache.dir {printable(self.path)} is {_PLACES[place]}: that is no narration "
                    "cache, name the folder that holds the audio"
                )

    def names(self) -> tuple[str, str]:
        """The directory as given and as resolved: what absolute paths in it begin with.

        Raises ``ConfigError`` where a part of the path is swapped for a link just then.
        """
        try:
            return str(self.path.absolute()), str(self.path.resolve())
        except OSError as error:
            raise ConfigError(
                f"cache.dir {printable(self.path)} cannot be followed ({error.strerror}): is it "
                "being "
                "replaced? Run again when it is in its place"
            ) from None

    def check_still_there(self) -> None:
        """Raise ``TargetError`` where the path now leads to another directory."""
        try:
            status = os.stat(self.path)
        except OSError:
            status = None
        if status is None or (status.st_dev, status.st_ino) != (self.device, self.inode):
            raise TargetError(
                "directory_replaced",
                f"the cache directory {printable(self.path)} was replaced during the run: "
                "its index is left alone, run again",
            )

    def refuse_detour(self) -> None:
        """Refuse, as root, a directory that another user can put a link or a folder in the way of.

        Asked of the open directory: what happens to its path later no longer matters. Raises
        ``ConfigError``.
        """
        if os.geteuid() != 0:
            return
        last, owners = None, set[int]()
        try:
            for _, last in way_to(self.path):
                owners.add(last.st_uid)
        except OSError:
            last = None
        if last is None or (last.st_dev, last.st_ino) != (self.device, self.inode) or any(owners):
            raise ConfigError(
                f"cache.dir {printable(self.path)}: another user can put another folder in its "
                "place, "
                "which root must not clean: run as that user, or with --run-as"
            )

    def status(self, name: str) -> os.stat_result | None:
        """``lstat`` of a name in the directory; ``None`` where there is none, or can be none."""
        try:
            return os.stat(name, dir_fd=self.fd, follow_symlinks=False)
        except OSError as error:
            if error.errno in NO_SUCH_FILE:
                return None
            raise

    def inode_of(self, status: os.stat_result) -> int:
        """The inode number of a file in it, or 0 where that does not identify the file.

        On an overlay the files of another layer have another device than their folder, and another
        number once they are changed.
        """
        return status.st_ino if self.keeps_inodes and status.st_dev == self.device else 0

    def is_mount(self, name: str, folder: int) -> bool:
        """Whether something else is mounted at ``name`` in the open ``folder`` in it, or there."""
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            here = mount_id(fd)
            if here is None:  # no /proc
                return os.fstat(fd).st_dev != self.device
            return here != mount_id(self.fd)
        finally:
            os.close(fd)

    def is_also(self, folder: str) -> bool:
        """Whether this path too leads to the directory, by device and inode. Mounts nothing."""
        try:
            status = os.stat(folder)  # stat(2) does not trigger an automount
        except (OSError, ValueError):
            return False
        return (status.st_dev, status.st_ino) == (self.device, self.inode)

    def holds(self, name: str) -> bool:
        """Whether there is anything of that name."""
        return self.status(name) is not None

    @contextmanager
    def scan(self) -> Iterator[Iterator[os.DirEntry[str]]]:
        """Everything in it, from the beginning.

        Opened anew: processes that share ``fd`` also share how far it was read.
        """
        fd = open_folder(".", self.fd)
        try:
            with os.scandir(fd) as found:
                yield found
        finally:
            os.close(fd)

    def is_linked(self, name: str) -> bool:
        """Whether a file has other hard links; where that is not known, its removal finds out."""
        try:
            return os.stat(name, dir_fd=self.fd, follow_symlinks=False).st_nlink > 1
        except OSError:
            return False

    def free_bytes(self) -> int:
        """Bytes that the file system has left for an ordinary user."""
        status = os.fstatvfs(self.fd)
        return status.f_bavail * status.f_frsize

    def close(self) -> None:
        """Let go of the directory."""
        os.close(self.fd)


def open_folder(name: str, directory_fd: int) -> int:
    """Open a folder by its name in another: never through a symlink, its atime left alone.

    Raises ``NotADirectoryError`` where it is anything else, ``OSError`` as ``open`` does.
    """
    return _open(name, os.O_DIRECTORY | os.O_NOFOLLOW, directory_fd)


def open_to_read(name: str, directory_fd: int) -> int:
    """Open a name for reading: never through a symlink, never blocking, its atime left alone."""
    return _open(name, os.O_NOFOLLOW | os.O_NONBLOCK, directory_fd)


def _open(name: str | Path, flags: int, directory_fd: int | None) -> int:
    flags |= os.O_RDONLY | os.O_CLOEXEC
    try:
        return os.open(name, flags | os.O_NOATIME, dir_fd=directory_fd)
    except PermissionError:
        return os.open(name, flags, dir_fd=directory_fd)


def what_it_is(mode: int) -> str:
    """A word for a file that is not a regular one."""
    kinds = (
        (stat.S_ISLNK, "a symbolic link"),
        (stat.S_ISDIR, "a directory"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISBLK, "a block device"),
        (stat.S_ISCHR, "a character device"),
    )
    return next((word for is_kind, word in kinds if is_kind(mode)), "not a regular file")
