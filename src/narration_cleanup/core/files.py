"""Small regular files, replaced whole or not at all; and the tool's own files (history, lock,
metrics page), which are checked before one of them is opened.

An own file is a regular file with one name that belongs to this user, in a folder that no other
user can write to. Only ``lstat`` is used: opening and closing a database by hand would drop the
locks that SQLite holds on it, and opening a pipe would wait for its other end.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from narration_cleanup.core.text import printable

NOTIFIED_BY = "NARRATION_NOTIFIED_BY"
"""``unit`` in the environment of a system unit, whose ``OnFailure=``/``OnSuccess=`` units send what
is to be sent: its sandbox has no network itself, and does not show every folder."""
_HIDDEN = tuple(map(Path, ("/var", "/home", "/root", "/run/user", "/tmp")))


def not_found(path: Path) -> str:
    """What to report of a path that leads nowhere: inside a unit, it may only be out of sight."""
    in_unit = os.environ.get(NOTIFIED_BY) == "unit"
    if in_unit and any(path.is_relative_to(each) for each in _HIDDEN):
        return (
            "is not visible in this unit, which was made for other folders, or it was removed: "
            "narration-cleanup systemd install makes the units anew"
        )
    return "does not exist"


def replace_file(file: Path, text: str, mode: int) -> None:
    """Put ``file`` with ``text`` and ``mode`` in place once it is on the disk. Raises ``OSError``.

    Whoever reads it sees the old one or the new one. What is no regular file (as ``/dev/null``)
    is never replaced. The umask does not change the mode. The folder is not made. The
    temporary file in it has a name that begins with a dot and ends in ``.tmp``: neither a
    collector of metrics (``.prom``) nor systemd (``.service``) reads that.
    """
    with suppress(FileNotFoundError):
        _refuse_what_is_no_file(os.stat(file).st_mode)
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    with suppress(FileNotFoundError):  # of one that was killed: in a container all have one pid
        os.unlink(temporary)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "w", encoding="utf-8") as new:
            new.write(text)
            new.flush()
            os.fchmod(new.fileno(), mode)
            os.fsync(new.fileno())
        os.replace(temporary, file)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def first_bytes(file: Path, size: int) -> bytes:
    """Up to ``size`` bytes of a regular file. Raises ``OSError``, also where it is none: a pipe
    would be waited for."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _refuse_what_is_no_file(os.fstat(descriptor).st_mode)
        return os.read(descriptor, size)
    finally:
        os.close(descriptor)


def _refuse_what_is_no_file(mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "what is there is no regular file")


_MOST_LINKS = 40
"""As many as the kernel follows on one way."""
_FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def check_own_file(file: Path, *endings: str) -> None:
    """Check ``file``, those called as it with one of ``endings`` added, and their folder.

    What does not exist yet is right. Raises ``PermissionError`` that names what is wrong and the
    remedy, ``OSError`` where the folder cannot be reached.
    """
    check_own_folder(file.parent)
    for place, status in _existing(file, endings):
        if status.st_uid != os.geteuid():
            _refuse(place, f"it belongs to uid {status.st_uid}: remove it, or name another folder")
        if status.st_nlink != 1:
            _refuse(place, "it has a second name elsewhere (a hard link): remove it")


def check_kind(file: Path, *endings: str) -> None:
    """Check, as far as reading needs it, that ``file`` and its companions are regular files.

    As root also that they are one user's: SQLite gives what lies there to the file's owner.
    """
    owner = None
    for place, status in _existing(file, endings):
        owner = status.st_uid if owner is None else owner
        if os.geteuid() == 0 and status.st_uid != owner:
            _refuse(place, f"it belongs to uid {status.st_uid}, not to uid {owner}: remove it")


def _existing(file: Path, endings: Sequence[str]) -> Iterator[tuple[Path, os.stat_result]]:
    for place in (file, *(file.with_name(file.name + ending) for ending in endings)):
        with suppress(FileNotFoundError):
            status = os.lstat(place)
            if not stat.S_ISREG(status.st_mode):
                _refuse(place, "it is no regular file: remove it, or name another")
            yield place, status


def check_own_folder(folder: Path) -> None:
    """Check that no other user can write to ``folder``, nor put another in its place.

    Raises as ``check_own_file`` does.
    """
    check_way(folder)
    status = os.stat(folder)
    if status.st_mode & stat.S_IWOTH or is_shared(folder, status):
        is_common = status.st_mode & stat.S_ISVTX  # as /tmp: its mode is as it has to be
        remedy = "name another folder" if is_common else "chmod go-w it, or name another folder"
        _refuse(folder, f"others can write to it: {remedy}")


def make_own_folder(folder: Path) -> None:
    """Make ``folder`` where it is missing, with those above it, and check it.

    Raises as ``check_own_file`` does.
    """
    above = folder
    while not os.path.lexists(above):
        above = above.parent
    check_way(above)
    make_folder(folder)
    check_own_folder(folder)


def make_folder(folder: Path, owner: tuple[int, int] | None = None, mode: int = 0o755) -> None:
    """Make ``folder`` and what is missing above it, each inside the one before, by descriptor.

    With ``owner`` (uid, gid) it is given to that user, with ``mode`` whatever the umask. Raises
    ``OSError``, also where another folder was put in its place meanwhile.
    """
    here, made = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), False
    with ExitStack() as opened:
        opened.callback(os.close, here)
        waiting, links = list(reversed(folder.absolute().parts[1:])), 0
        while waiting:
            part = waiting.pop()
            if target := _link_to_follow(part, here):
                links += 1
                if links > _MOST_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                waiting += reversed(Path(target).parts)
                continue
            here, made = _enter(part, here)
            opened.callback(os.close, here)
        if made and owner is not None:
            os.fchmod(here, mode)
            os.fchown(here, *owner)


def _enter(name: str, above: int) -> tuple[int, bool]:
    """The folder ``name``, and whether it was made now: then it is empty, and this user's."""
    with suppress(FileNotFoundError):
        return os.open(name, os.O_PATH | _FOLDER, dir_fd=above), False
    os.mkdir(name, 0o755, dir_fd=above)
    made = os.open(name, os.O_RDONLY | _FOLDER, dir_fd=above)
    if os.fstat(made).st_uid != os.geteuid() or os.listdir(made):
        os.close(made)
        raise OSError(errno.EAGAIN, f"{printable(name)} was replaced while it was made")
    return made, True


def _link_to_follow(name: str, above: int) -> str | None:
    """Where the link ``name`` leads, if it is one, and no one else can put one there."""
    status = os.fstat(above)
    if status.st_uid not in trusted_users() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return None
    with suppress(OSError):
        return os.readlink(name, dir_fd=above)
    return None


def way_to(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Every folder and link on the way to ``path``, and what it leads to, each with its ``lstat``.

    Raises ``OSError`` where the way ends.
    """
    here = Path("/")
    yield here, os.lstat(here)
    waiting = list(reversed(path.absolute().parts[1:]))
    links = 0
    while waiting:
        part = waiting.pop()
        if part == "..":
            here = here.parent
            continue
        place = here / part
        status = os.lstat(place)
        yield place, status
        if not stat.S_ISLNK(status.st_mode):
            here = place
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        try:
            target = Path(os.readlink(place))
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            waiting.append(part)  # no link any more: whoever put something else there is asked for
            continue
        if target.is_absolute():
            here = Path("/")
        waiting += [each for each in reversed(target.parts) if each != "/"]


def trusted_users() -> frozenset[int]:
    """The users whose files may lead to a file of this user's: this one and root.

    In a user namespace without root, as systemd makes one for a user's own units, root's files
    belong to the user that represents all who are not known there.
    """
    users = {os.geteuid(), 0}
    with suppress(OSError, ValueError, IndexError):
        mapped = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
        if not any(int(fields[0]) == 0 for fields in mapped):
            users.add(int(Path("/proc/sys/kernel/overflowuid").read_text()))
    return frozenset(users)


def check_way(place: Path, *others: int) -> None:
    """Check that only this user, root and ``others`` can put something else in ``place``.

    Raises ``PermissionError`` that names what is wrong and the remedy, ``OSError`` where it cannot
    be reached.
    """
    trusted = trusted_users().union(others)
    for part, status in way_to(place):
        if status.st_uid not in trusted:
            _refuse(part, f"it belongs to uid {status.st_uid}: name a place of this user's own")
        # In a folder with the sticky bit (/tmp) no user can replace another's file.
        if stat.S_IMODE(status.st_mode) & (stat.S_IWOTH | stat.S_ISVTX) == stat.S_IWOTH and (
            stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode)
        ):
            _refuse(part, "everybody can write to it: chmod o-w it, or name another place")


def is_shared(folder: Path, status: os.stat_result) -> bool:
    """Whether others can write to a folder by its group or by an access list: what a list allows
    is limited by the group's part of the mode."""
    if not status.st_mode & stat.S_IWGRP:
        return False
    with suppress(OSError, AttributeError):  # Linux alone shows them here
        if "system.posix_acl_access" in os.listxattr(folder):
            return True
    return not _is_own_group(status.st_gid)


def _is_own_group(gid: int) -> bool:
    """Whether a group is this user's private one, which no other user is in."""
    import grp
    import pwd

    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    return (user.pw_gid, user.pw_name) == (gid, group.gr_name) and set(group.gr_mem) <= {
        user.pw_name
    }


def _refuse(place: Path, why: str) -> None:
    raise PermissionError(errno.EPERM, f"{printable(place)} is not trusted: {why}", str(place))
