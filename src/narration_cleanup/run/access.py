"""Whose files a command would work on: every command asks here before it opens one for writing."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from narration_cleanup.core.errors import ConfigError, TargetError
from narration_cleanup.core.files import (
    check_own_folder,
    check_way,
    is_shared,
    trusted_users,
    way_to,
)
from narration_cleanup.core.locks import wait_for_lock
from narration_cleanup.core.model import Problem, Severity, Target
from narration_cleanup.core.text import printable
from narration_cleanup.core.users import (
    can_read,
    can_write,
    can_write_in,
    current_user,
    described,
    is_read_only,
    may_be_replaced,
    user_name,
)
from narration_cleanup.settings import Settings
from narration_cleanup.stores.cache.local.directory import (
    OWN_FOLDER,
    RENUMBERS,
    mounts_of,
    what_it_is,
)
from narration_cleanup.stores.cache.local.index_file import (
    fixed_index,
    foreign_index,
    left_by_root,
)
from narration_cleanup.stores.cache.local.own_folder import not_own_folder

EVERYBODY = "every user"
_MOUNT_IT = "mount its file system with umask=022 (cifs: dir_mode=0755,file_mode=0644)"
"""Instead of chmod, which changes nothing where all modes are those of the mount."""
LOCK_SECONDS = 3.0
"""How long a look waits for the lock of a service that is writing its index."""


class OtherUserError(ConfigError):
    """What is to be changed belongs to another user: nothing was opened for writing."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}: {remedy}")
        self.what, self.remedy = what, remedy


def refuse_other_users(settings: Settings, *, writes: bool = True) -> None:
    """Refuse to work as another user than the one whose files these are.

    Root could be led anywhere by who can put a link in the way: everything on the way to the cache
    and to the database must be root's. For others it is the database alone that is refused (see
    ``refuse_database``): here where there is nothing else to do, else by ``open_targets``.
    ``writes``: the cache is to be changed too. Raises ``OtherUserError``.
    """
    if os.geteuid() == 0:
        cache = settings.cache.path if writes else None
        places = [place for place in (settings.requests.path, cache) if place is not None]
        others = [(place, owner) for place in places if (owner := _other_owner(place)) is not None]
        if others:
            refuse_two_owners(settings)
            user = user_name(others[0][1], "{}")
            by_sudo = f"'#{user}'" if user.isdecimal() else user
            raise OtherUserError(
                f"{_whose(others)}; root does not work on another user's files, which could lead "
                "it anywhere",
                f"run as that user: sudo -u {by_sudo} narration-cleanup ..., or add --run-as "
                f"{user} (setting cleanup.user), with which it becomes that user first",
            )
        if cache is not None:
            _refuse_open_folders(cache)
    if settings.cache.dir is None:
        refuse_database(settings, writes=writes)


def refuse_database(settings: Settings, *, writes: bool) -> None:
    """Refuse a database that is not this user's, or in a folder where others can exchange it.

    A process of another user that dies can leave ``-wal`` and ``-shm`` files which the service
    cannot write, and a journal put beside the database names any file for SQLite to delete.
    ``requests.allow_other_user`` overrides that, but not for root. Raises ``OtherUserError``.
    """
    database = settings.requests.path
    if database is None:
        return
    if os.geteuid() == 0:
        _refuse_open_folders(database, holds_journals=True)
        return
    if settings.requests.allow_other_user:
        return
    shared = shared_folder(database) if writes else None
    if shared is not None and shared[1] == EVERYBODY:
        raise OtherUserError(
            f"{EVERYBODY} can write to {printable(shared[0])}, and so put another database there, "
            "or a journal that names any file for SQLite to delete",
            f"{how_to_close(*shared)}, or give --allow-other-user",
        )
    owner = _other_owner(database)
    if owner is None:
        return
    remedy = (
        f"run as {user_name(owner, '{}')} (the service could be left with files that it cannot "
        "write), or give --allow-other-user"
    )
    with suppress(OSError):
        if left_by_root(database, database.stat()):
            remedy = (
                "root left it there; give it back: chown "
                f"--reference={printable(database.parent)} {printable(database)}"
            )
    raise OtherUserError(_whose([(database, owner)]), remedy)


def _whose(others: list[tuple[Path, int]]) -> str:
    whose = ", ".join(f"{printable(place)} belongs to {_named(owner)}" for place, owner in others)
    return f"{whose}, but this is {_named(os.geteuid())}"


def shared_folder(database: Path) -> tuple[Path, str] | None:
    """A folder on the way to ``database`` in which others can put something else in its place, or
    beside it, and who they are; ``None`` also where the modes of the file system mean nothing."""
    try:
        folder = Path(os.path.realpath(database)).parent
        for place, status in way_to(folder):
            is_open = status.st_mode & stat.S_IWOTH and stat.S_ISDIR(status.st_mode)
            if is_open and (place == folder or not status.st_mode & stat.S_ISVTX):
                return None if _has_one_mode(place) else (place, EVERYBODY)
        status = os.stat(folder)
        if is_shared(folder, status):
            return folder, f"group {status.st_gid}"
    except OSError:
        pass  # the survey reports what is wrong with it
    return None


def how_to_close(folder: Path, who: str) -> str:
    """What to do about a folder that ``who`` can write to (see ``shared_folder``)."""
    if folder.stat().st_mode & stat.S_ISVTX:  # /tmp, say: its mode is as it has to be
        return "move the database to a folder of its own"
    return f"chmod {'o-w' if who == EVERYBODY else 'g-w'} {printable(folder)}"


def _has_one_mode(folder: Path) -> bool:
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return RENUMBERS.fullmatch(mounts_of(fd).file_system) is not None
    finally:
        os.close(fd)


def _refuse_open_folders(place: Path, *, holds_journals: bool = False) -> None:
    """Refuse, as root, what others can put another in the place of; and a database in a folder
    that they can write to: a journal of theirs there could name any file for SQLite to delete."""
    try:
        real = Path(os.path.realpath(place))
        check_way(place.parent)
        check_way(real.parent)
        if holds_journals:
            check_own_folder(real.parent)
    except PermissionError as error:
        what, _, remedy = (error.strerror or "").rpartition(": ")
        if error.errno == errno.EPERM and _has_one_mode(Path(error.filename)):
            remedy = re.sub(r"chmod \S+ it", _MOUNT_IT, remedy)
        raise OtherUserError(f"{what}; root does not work there", remedy) from None
    except OSError:
        return  # the survey reports what is wrong with it


def refuse_two_owners(settings: Settings) -> None:
    """Refuse a cache and a database of two users: as neither of them both can be cleaned.

    Raises ``OtherUserError``.
    """
    owners = dict[int, Path]()
    for place in (settings.cache.path, settings.requests.path):
        try:
            if place is not None:
                owners[os.stat(place).st_uid] = place
        except OSError:  # the survey reports what is wrong with it
            continue
    if len(owners) > 1:
        whose = " and ".join(
            f"{printable(place)} to {_named(uid)}" for uid, place in owners.items()
        )
        raise OtherUserError(
            f"cache and database belong to two users ({whose})",
            "give both to the service's user, or clean each in a run of its own",
        )


def _other_owner(path: Path) -> int | None:
    """Another user who owns ``path`` or can put something else in its place.

    For root that is whoever owns a part of the way; for others, a link on it or the file itself.
    """
    owner, trusted = None, trusted_users()
    try:
        for _, status in way_to(path):
            owner = status.st_uid
            matters = os.geteuid() == 0 or stat.S_ISLNK(status.st_mode)
            if matters and owner not in trusted:
                return owner
    except OSError:
        return None  # the survey reports what is wrong with it
    return None if owner == os.geteuid() else owner


def _named(uid: int) -> str:
    return f"{user_name(uid)} (uid {uid})"


def missing_rights(settings: Settings) -> Iterator[Problem]:
    """A warning for each target that a run as this user could not change.

    Local places alone: a server or a bucket shows its rights only when it is used.
    The survey reports what is not there.
    """
    folder, database = settings.cache.path, settings.requests.path
    if folder is not None:
        other = _other_owner(folder) if os.geteuid() == 0 else None
        if other is not None and settings.cleanup.user is None:
            message = (
                f"{printable(folder)} belongs to {_named(other)}: a run as root would refuse; "
                "set cleanup.user (--run-as), or run as that user"
            )
            yield Problem(Target.CACHE, "other_user", message, severity=Severity.WARNING)
        elif not can_write_in(folder):
            yield _warning(Target.CACHE, folder, "remove nothing")
        elif settings.cache.index is not None:
            index = folder / settings.cache.index
            yield from _foreign_index(index)
            faults = lock_out_of_reach(index.with_name(f"{index.name}.lock")), fixed(index)
            yield from map(_could_remove_nothing, filter(None, faults))
        if why := own_folder_out_of_reach(folder):
            yield _could_remove_nothing(why)
    if database is not None:
        try:
            # SQLite writes its journal in the folder of the file itself, not of a link to it.
            file = Path(os.path.realpath(database))
        except OSError:  # a link that is being swapped
            return
        if not os.path.exists(file):
            return
        beside = (file.with_name(file.name + ending) for ending in _endings_beside(file))
        files = [file, *(each for each in beside if os.path.lexists(each))]
        places = [(each, can_write(each)) for each in files]
        for place, may in (*places, (file.parent, can_write_in(file.parent))):
            if not may:
                yield _warning(Target.REQUESTS, place, "cancel nothing")
                return


def _endings_beside(database: Path) -> tuple[str, ...]:
    """Of the files that SQLite keeps next to it, which a process of another user may have left."""
    from narration_cleanup.stores.requests.sqlite.database import is_wal

    try:
        return ("-wal", "-shm") if is_wal(database) else ("-journal",)
    except TargetError:  # the survey reports what is wrong with it
        return ()


def lock_out_of_reach(lock: Path) -> str | None:
    """Why the lock that the service offers could not be taken; ``None`` where there is none too."""
    try:
        status = lock.lstat()
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return f"{printable(lock)} is {what_it_is(status.st_mode)} and cannot be locked: remove it"
    if not can_read(lock):
        return f"{current_user()} may not read {printable(lock)} ({described(status)})"
    try:
        fd = os.open(lock, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return f"{printable(lock)} cannot be opened ({error.strerror})"
    try:
        if wait_for_lock(fd, LOCK_SECONDS, shared=True):
            return None
        return f"another program has held {printable(lock)} for {LOCK_SECONDS:g} s"
    except OSError as error:
        return f"{printable(lock)} cannot be locked ({error.strerror})"
    finally:
        os.close(fd)


def own_folder_out_of_reach(cache: Path) -> str | None:
    """Why the tool's own folder in a cache could not be used; ``None`` where there is none too."""
    place = cache / OWN_FOLDER
    if (why := not_own_folder(cache)) or not place.is_dir():
        return why
    if can_read(place) and can_write_in(place):
        return None
    return f"{current_user()} may not use {printable(place)} ({described(place.stat())})"


def fixed(index: Path) -> str | None:
    """Why no new index can take the place of this one (see ``fixed_index``)."""
    try:
        fd = os.open(index.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:  # the survey reports what is wrong with it
        return None
    try:
        return fixed_index(index.parent, index.name, fd)
    finally:
        os.close(fd)


def _foreign_index(file: Path) -> Iterator[Problem]:
    try:
        index, folder = file.lstat(), file.parent.stat()
    except OSError:
        return
    if stat.S_ISREG(index.st_mode) and not may_be_replaced(index, folder):
        yield _could_remove_nothing(foreign_index(file, index))


def _could_remove_nothing(why: str) -> Problem:
    message = f"{why}: a run as this user could remove nothing"
    return Problem(Target.CACHE, "not_writable", message, severity=Severity.WARNING)


def _warning(target: Target, place: Path, what: str) -> Problem:
    try:
        why = f"{current_user()} may not write to {printable(place)} ({described(os.stat(place))})"
    except OSError:
        why = f"{current_user()} may not reach {printable(place)}"
    if is_read_only(place):
        why = f"{printable(place)} is on a file system that is read-only"
    message = f"{why}: a run as this user could {what}"
    return Problem(target, "not_writable", message, severity=Severity.WARNING)
