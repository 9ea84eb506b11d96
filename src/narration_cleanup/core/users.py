"""The users of this machine, and what they may do with a file: asked, without trying it."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from narration_cleanup.core.errors import ConfigError
from narration_cleanup.core.files import way_to
from narration_cleanup.core.text import printable


class Account(NamedTuple):
    """A user to become. One who has no entry among the users has neither name nor home."""

    uid: int
    gid: int
    name: str | None = None
    home: str = "/"


def account_of(user: str) -> Account:
    """The account of a user's name or number; a number without an account has a group like it.

    Raises ``ConfigError`` where there is no such user.
    """
    import pwd

    number = int(user) if user.isascii() and user.isdecimal() else None
    try:
        found = pwd.getpwnam(user) if number is None else pwd.getpwuid(number)
    except (KeyError, OverflowError):
        if number is None or number >= 2**32 - 1:
            raise ConfigError(
                f"cleanup.user (--run-as) is {printable(user)}: there is no such user here"
            ) from None
        return Account(number, number)
    return Account(found.pw_uid, found.pw_gid, found.pw_name, found.pw_dir)


def user_name(uid: int, nameless: str = "user {}") -> str:
    """A user's name, or its number, put into ``nameless``, where it has none."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return nameless.format(uid)


def current_user() -> str:
    """The user that this process acts as."""
    return user_name(os.geteuid())


def current_group() -> str:
    """The group that this process acts as: its name, or its number where it has none."""
    import grp

    try:
        return grp.getgrgid(os.getegid()).gr_name
    except KeyError:
        return str(os.getegid())


def described(status: os.stat_result) -> str:
    """Owner and mode: ``owner narration, mode 0750``."""
    return f"owner {user_name(status.st_uid)}, mode {stat.S_IMODE(status.st_mode):04o}"


def can_write_in(folder: Path) -> bool:
    """Whether files can be made, renamed and removed in ``folder``."""
    return _may(folder, os.W_OK | os.X_OK)


def can_read(file: Path) -> bool:
    """Whether ``file`` can be read."""
    return _may(file, os.R_OK)


def can_write(file: Path) -> bool:
    """Whether ``file`` can be written to."""
    return _may(file, os.W_OK)


def is_read_only(place: Path) -> bool:
    """Whether ``place`` is there, on a read-only file system."""
    try:
        return bool(os.statvfs(place).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def can_read_in(folder: Path) -> bool:
    """Whether the files of ``folder`` can be listed and reached."""
    return _may(folder, os.R_OK | os.X_OK)


def free_bytes(folder: Path) -> int:
    """What may still be written on the disk of ``folder``, by a process that is not root."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def nearest_folder(path: Path) -> Path:
    """``path``, or the folder above it that exists, as far as this user may look, and in which it
    would have to be made."""
    while not os.path.exists(path) and path != path.parent:
        path = path.parent
    return path


def _may(path: Path, mode: int) -> bool:
    effective = os.access in os.supports_effective_ids
    return os.access(path, mode, effective_ids=effective)


def may_be_replaced(index: os.stat_result, folder: os.stat_result) -> bool:
    """Whether a new index made by this user could have the owner and group of the one in
    ``folder``, as far as its status shows: a run tries it before it removes anything."""
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


def is_readable_by(file: Path, uid: int, groups: Collection[int]) -> bool:
    """Whether another user, in these groups, can reach and read ``file``, by owners and modes."""
    for _, status in way_to(file):
        kind = stat.S_IFMT(status.st_mode)
        needed = 0o1 if kind == stat.S_IFDIR else 0o4
        shift = 6 if status.st_uid == uid else 3 if status.st_gid in groups else 0
        if kind != stat.S_IFLNK and not status.st_mode >> shift & needed:
            return False
    return True
