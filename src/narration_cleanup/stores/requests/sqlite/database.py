"""How an SQLite database is opened while a service uses it: to read, and to write.

Looking changes nothing: no row, no file, no file's mode, no ``-wal`` or ``-shm`` made or left
behind, or taken away. No database is created or vacuumed, and its journal mode is kept. What a
killed process left in a journal is finished by SQLite when a run opens the database to write.
A busy database is waited for.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import struct
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

from narration_cleanup.core.errors import TargetError
from narration_cleanup.core.files import not_found, trusted_users
from narration_cleanup.core.query_limit import LONGEST_READ, LONGEST_ROW, QueryLimit
from narration_cleanup.core.signals import end_if_asked, is_overdue
from narration_cleanup.core.text import printable
from narration_cleanup.core.users import can_read, can_write, user_name
from narration_cleanup.stores.requests.sqlite.errors import (
    LOCKED,
    UNCLEAN,
    is_busy,
    is_costly,
    is_unclean,
    to_target_error,
)

T = TypeVar("T")

WAITS = (0.001,) * 200 + (0.005,) * 160 + (0.05,) * 180
"""The waits for a busy database, 10 s in all. Short ones first: a service that writes all the time
leaves gaps of a few milliseconds, which SQLite's own longer and longer waits keep missing. Between
two of them a signal is heard."""
_TRIES = 20
"""How often a read is repeated because the service opened, closed or wrote the database."""

_LIVE = "mode=ro&readonly_shm=1"
"""WAL with ``-wal`` and ``-shm``: the latter is read as it is, never written or made."""
_LEFT = "mode=ro&vfs=unix-none"
"""WAL whose ``-shm`` is gone: no process has it open; its index is built in memory. Closing such a
connection would remove a ``-wal`` that holds no commit, so it is for one that does."""
_CLOSED = "immutable=1"
"""WAL of which all is in the main file: an ordinary read would make two more, or, where there is a
``-wal`` without a commit, give it the main file's mode, remove it, or try for 10 s to find its
header in the ``-shm``. It takes no lock: an answer counts only if no file was changed meanwhile (a
service writes to the ``-wal`` before the main file)."""
_ORDINARY = "mode=ro"
"""A rollback journal: reading takes a shared lock and makes no file."""


_ENDINGS = ("-wal", "-shm", "-journal")
"""Of the names of the files that SQLite keeps for a database."""
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a directory",
}


_WAL_HEADER = struct.Struct(">IIII8s8s")
"""Magic number, version, page size, checkpoint number, salts, checksum; then the frames, of which
each is ``_WAL_FRAME`` and a page (https://www.sqlite.org/fileformat2.html#the_write_ahead_log)."""
_WAL_FRAME = struct.Struct(">II8s8s")
"""Page number, size of the database after a commit (else 0), the header's salts, checksum."""
_WAL_MAGIC = 0x377F0682
"""The last bit is the byte order of the checksums."""


class _Stamp(NamedTuple):
    inode: int
    size: int
    mtime_ns: int
    permissions: int


_State = tuple[_Stamp | None, _Stamp | None, bool]
"""Of the database, of its ``-wal``, and whether its ``-shm`` holds anything."""


def look(path: Path, query: Callable[[sqlite3.Connection], T]) -> T:
    """What ``query`` returns for a connection that only reads; it is closed afterwards.

    ``query`` may be called again, where the database changed meanwhile, and must be short: on a
    rollback journal the service cannot commit while it reads. Raises ``TargetError``.
    """
    real = _checked(path)
    limit = QueryLimit()
    error: sqlite3.Error | None = None
    without = ""
    for _ in range(_TRIES):
        before = _state(real)
        try:
            route = _route(real, before, limit)
            answer = _query(real, _ORDINARY if route == without else route, query, limit)
        except sqlite3.Error as fault:
            error = fault
            if is_unclean(fault) and before[2]:
                without = _LIVE  # its -shm must be written before it can be read, and is there
            elif is_busy(fault) or is_costly(fault) or _state(real) == before:
                break
            continue
        if route not in (_CLOSED, _LEFT) or _state(real) == before:
            return answer
    raise to_target_error(error, path) if error else _changed_while_reading(path)


def journal_mode(path: Path) -> str:
    """How the database keeps its journal: ``wal``, ``delete``, …; raises ``TargetError``."""
    mode = look(path, lambda it: str(it.execute("PRAGMA journal_mode").fetchone()[0]))
    # Of an immutable database SQLite reports "delete", whatever its mode.
    return "wal" if is_wal(path) else mode


def is_wal(path: Path) -> bool:
    """Whether the database is in WAL mode, without a lock; raises ``TargetError``."""
    try:
        return _is_wal(_checked(path), QueryLimit())
    except sqlite3.Error as fault:
        raise to_target_error(fault, path) from fault


def recover(path: Path) -> bool:
    """Let SQLite roll back the change that a killed process left in a journal, if there is one.

    Whether there was one. What else is wrong with the database is for the survey to report; raises
    ``TargetError`` where the change cannot be rolled back, or while the database is locked: the
    survey would wait for it once more.
    """
    try:
        look(path, lambda _: None)
    except TargetError as fault:
        if fault.code == LOCKED:
            raise
        if fault.code != UNCLEAN:
            return False
    else:
        return False
    with closing(open_to_write(path, QueryLimit())) as connection:
        try:
            execute_with_retry(connection, "SELECT 1 FROM main.sqlite_master LIMIT 1")
        except sqlite3.Error as fault:
            raise to_target_error(fault, path) from fault
    return True


def open_to_write(path: Path, limit: QueryLimit) -> sqlite3.Connection:
    """A connection that may change rows, in autocommit mode, within ``limit``.

    Raises ``TargetError``.
    """
    real = _checked(path)
    try:
        if not can_write(real):  # SQLite would leave a -shm that no user can write either
            fault = sqlite3.OperationalError("this user may not write to it")
            fault.sqlite_errorcode = sqlite3.SQLITE_READONLY
            raise fault
        connection = _connect(real, "mode=rw", limit, writes=True)
    except sqlite3.Error as fault:
        raise to_target_error(fault, path) from fault
    connection.execute("PRAGMA foreign_keys=ON")
    return connection


def execute_with_retry(connection: sqlite3.Connection, statement: str) -> None:
    """Execute ``statement``, waiting while the database is busy; raises ``sqlite3.Error``."""
    for pause in WAITS:
        try:
            connection.execute(statement).fetchall()
        except sqlite3.OperationalError as fault:
            if not is_busy(fault):
                raise
            if is_overdue():
                break
            time.sleep(pause)
        else:
            return
    connection.execute(statement)


def _checked(path: Path) -> Path:
    """The database's real path, in whose folder SQLite keeps its other files."""
    try:
        real = path.resolve(strict=True)
        found = real.stat()
    except FileNotFoundError as fault:
        raise TargetError(
            "database_missing",
            f"{printable(path)} {not_found(path)}; is requests.db right?",
        ) from fault
    except (OSError, RuntimeError) as fault:
        raise TargetError(
            "database_unreadable",
            f"{printable(path)}: {printable(getattr(fault, 'strerror', fault))}",
        ) from fault
    if not stat.S_ISREG(found.st_mode):
        raise TargetError(
            "not_a_database",
            f"{printable(path)}: this is not a regular file; is requests.db right?",
        )
    for ending in _ENDINGS:
        _refuse_foreign(Path(f"{real}{ending}"), found.st_uid)
    if not can_read(real):
        raise TargetError(
            "database_unreadable",
            f"{printable(path)}: this user may not read it (mode "
            f"{stat.S_IMODE(found.st_mode):04o}); "
            + (
                "its owner needs the right to"
                if found.st_uid == os.geteuid()
                else f"run as {user_name(found.st_uid)} (uid {found.st_uid})"
            ),
        )
    if not found.st_size:
        message = "the database is empty, without a table; is requests.db right?"
        raise TargetError("no_such_table", f"{printable(path)}: {message}")
    return real


def _refuse_foreign(file: Path, owner: int) -> None:
    """SQLite would follow a link there, wait for ever for the other end of a pipe, and delete any
    file that a journal names: one may be the database's owner's, or its group's. As root it gives
    what lies there to the database's owner: it may be a second name of root's file."""
    try:
        found, folder = file.lstat(), file.parent.stat().st_mode
    except OSError:
        return
    is_root = os.geteuid() == 0
    is_of_group = not is_root and folder & stat.S_IWGRP and not folder & stat.S_IWOTH
    trusted = {owner} if is_root else trusted_users() | {owner}
    if not is_of_group and found.st_uid not in trusted:
        kind = f"a file of {user_name(found.st_uid)} (uid {found.st_uid})"
    elif stat.S_ISREG(found.st_mode):
        return
    else:
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "a device")
    raise TargetError(
        "irregular_file",
        f"{printable(file)}: this is {kind}, where SQLite keeps a file of its own; "
        "nothing is opened: remove it, and find out who made it",
    )


def _route(real: Path, state: _State, limit: QueryLimit) -> str:
    _, wal, shm = state
    if wal is not None:
        if not _may_have_commit(Path(f"{real}-wal")):
            return _CLOSED
        return _LIVE if shm else _LEFT
    return _CLOSED if _is_wal(real, limit) else _ORDINARY


def _may_have_commit(wal: Path) -> bool:
    """Whether a transaction may be whole in a ``-wal`` file that no process has open.

    SQLite keeps no locks on this file, so reading it drops none that this process has.

    Checksums are not counted: a frame with some sectors that never reached the disk may be taken
    for a commit, but no commit is overlooked. ``True`` also where it cannot be read: SQLite then
    says why.
    """
    try:
        with wal.open("rb") as file:
            return _has_commit(file)
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _has_commit(file: BinaryIO) -> bool:
    header = file.read(_WAL_HEADER.size)
    if len(header) < _WAL_HEADER.size:
        return False
    magic, _, page_size, _, salts, _ = _WAL_HEADER.unpack(header)
    if magic & ~1 != _WAL_MAGIC:
        return False
    while len(frame := file.read(_WAL_FRAME.size)) == _WAL_FRAME.size:
        _, commit, salts_here, _ = _WAL_FRAME.unpack(frame)
        if salts_here != salts:
            return False  # what is left of the round before this one
        file.seek(page_size - 1, 1)
        if not file.read(1):
            return False  # killed in the middle of a page
        if commit:
            return True
    return False


def _is_wal(real: Path, limit: QueryLimit) -> bool:
    """Whether the database is in WAL mode.

    Such a one cannot be opened without locks: SQLite refuses, and makes no file. Reading the header
    here would drop this process's own locks.
    """
    version = "PRAGMA schema_version"
    try:
        _query(real, "mode=ro&nolock=1", lambda it: it.execute(version).fetchone(), limit)
    except sqlite3.OperationalError as fault:
        return fault.sqlite_errorcode & 0xFF == sqlite3.SQLITE_CANTOPEN
    return False


def _query(
    real: Path, route: str, query: Callable[[sqlite3.Connection], T], limit: QueryLimit
) -> T:
    with closing(_connect(real, route, limit)) as connection:
        if route == _LEFT:
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        try:
            connection.execute("BEGIN")  # one lock, and one state of the database, for all of it
            execute_with_retry(connection, "SELECT 1 FROM main.sqlite_master LIMIT 1")
            limit.restart()
            return query(connection)
        except sqlite3.Error:
            end_if_asked()
            raise


def _connect(
    real: Path, route: str, limit: QueryLimit, *, writes: bool = False
) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{real.as_uri()}?{route}", uri=True, timeout=0, isolation_level=None
    )
    connection.text_factory = _text
    limit.guard(connection, LONGEST_ROW if writes else LONGEST_READ)
    return connection


def _text(raw: bytes) -> str:
    """Text that is not UTF-8 is kept apart from all that is, instead of stopping the read."""
    return raw.decode("utf-8", "surrogateescape")


def _state(real: Path) -> _State:
    """What changes when somebody opens the database or writes to it."""
    shm = _stamp(f"{real}-shm")
    return _stamp(real), _stamp(f"{real}-wal"), shm is not None and shm.size > 0


def _stamp(path: Path | str) -> _Stamp | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return _Stamp(found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode & 0o777)


def _changed_while_reading(path: Path) -> TargetError:
    return TargetError(
        "database_locked",
        f"{printable(path)}: the database changed each time while it was being read; run again",
    )
