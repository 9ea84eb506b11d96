"""Who owns a place, and what this process may do there, asked without trying it."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def user_name(uid: int) -> str:
    """A user's name, or its number where it has none."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def me() -> str:
    """The user that this process acts as."""
    return user_name(os.geteuid())


def described(status: os.stat_result) -> str:
    """Owner and mode: ``owner narration, mode 0750``."""
    return f"owner {user_name(status.st_uid)}, mode {stat.S_IMODE(status.st_mode):04o}"


def may_write_in(folder: Path) -> bool:
    """Whether files can be made, renamed and removed in ``folder``."""
    return _may(folder, os.W_OK | os.X_OK)


def may_read(file: Path) -> bool:
    """Whether ``file`` can be read."""
    return _may(file, os.R_OK)


def may_write(file: Path) -> bool:
    """Whether ``file`` can be written to."""
    return _may(file, os.W_OK)


def is_read_only(place: Path) -> bool:
    """Whether ``place`` is there, on a file system that nobody may write to."""
    try:
        return bool(os.statvfs(place).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def may_read_in(folder: Path) -> bool:
    """Whether the files of ``folder`` can be listed and reached."""
    return _may(folder, os.R_OK | os.X_OK)


def free_bytes(folder: Path) -> int:
    """What may still be written on the disk of ``folder``, by a process that is not root."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def nearest_folder(path: Path) -> Path:
    """``path``, or the folder above it that exists and in which it would have to be made."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _may(path: Path, mode: int) -> bool:
    effective = os.access in os.supports_effective_ids
    return os.access(path, mode, effective_ids=effective)
