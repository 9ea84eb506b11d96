"""How an SQLite database is opened beside a service that uses it: to look, and to write.

Looking changes nothing: no row, no file, no file's mode, no ``-wal`` or ``-shm`` made or left
behind, or taken away. Nothing is ever created, repaired or vacuumed, and the journal mode stays.
A busy database is waited for.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, TypeVar

from narration_cleanup.errors import HalfError
from narration_cleanup.escape import shown
from narration_cleanup.requests.faults import explained, is_busy, is_unclean
from narration_cleanup.requests.wal import has_commit

T = TypeVar("T")

WAITS = (0.001,) * 200 + (0.005,) * 160 + (0.05,) * 180
"""The waits for a busy database, 10 s in all. Short ones first: a service that writes all the time
leaves gaps of a few milliseconds, which SQLite's own longer and longer waits keep missing. Between
two of them a signal is heard."""
_TRIES = 20
"""How often a look is repeated because the service opened, closed or wrote the database."""

_LIVE = "mode=ro&readonly_shm=1"
"""WAL with ``-wal`` and ``-shm``: the latter is read as it is, never written or made."""
_LEFT = "mode=ro&vfs=unix-none"
"""WAL whose ``-shm`` is gone: nobody has it open; its index is built in memory. Closing such a
connection would remove a ``-wal`` that holds no commit, so it is for one that does."""
_CLOSED = "immutable=1"
"""WAL of which all is in the main file: an ordinary look would make two more, or, where there is an
empty ``-wal``, give it the main file's mode or remove it. It takes no lock: an answer counts only
if no file was changed meanwhile (a service writes to the ``-wal`` before the main file)."""
_ORDINARY = "mode=ro"
"""A rollback journal: reading takes a shared lock and makes no file."""


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
    rollback journal the service cannot commit while it reads. Raises ``HalfError``.
    """
    real = _checked(path)
    error: sqlite3.Error | None = None
    without = ""
    for _ in range(_TRIES):
        before = _state(real)
        try:
            route = _route(real, before)
            answer = _query(real, _ORDINARY if route == without else route, query)
        except sqlite3.Error as fault:
            error = fault
            if is_unclean(fault) and before[2]:
                without = _LIVE  # its -shm must be written before it can be read, and is there
            elif is_busy(fault) or _state(real) == before:
                break
            continue
        if route not in (_CLOSED, _LEFT) or _state(real) == before:
            return answer
    raise explained(error, path) if error else _restless(path)


def journal_mode(path: Path) -> str:
    """How the database keeps its journal: ``wal``, ``delete``, …; raises ``HalfError``."""
    return look(path, lambda it: str(it.execute("PRAGMA journal_mode").fetchone()[0]))


def open_to_write(path: Path) -> sqlite3.Connection:
    """A connection that may change rows, in autocommit mode; raises ``HalfError``."""
    real = _checked(path)
    try:
        connection = _connect(real, "mode=rw")
    except sqlite3.Error as fault:
        raise explained(fault, path) from fault
    connection.execute("PRAGMA foreign_keys=ON")
    return connection


def patiently(connection: sqlite3.Connection, statement: str) -> None:
    """Execute ``statement``, waiting while the database is busy; raises ``sqlite3.Error``."""
    for pause in WAITS:
        try:
            connection.execute(statement).fetchall()
        except sqlite3.OperationalError as fault:
            if not is_busy(fault):
                raise
            time.sleep(pause)
        else:
            return
    connection.execute(statement)


def _checked(path: Path) -> Path:
    """The database's real path, beside which SQLite keeps its other files."""
    try:
        real = path.resolve(strict=True)
        found = real.stat()
    except FileNotFoundError as fault:
        raise HalfError(
            "database_missing",
            f"{shown(path)}: there is no such file; is requests.db right?",
        ) from fault
    except (OSError, RuntimeError) as fault:
        raise HalfError(
            "database_unreadable", f"{shown(path)}: {shown(getattr(fault, 'strerror', fault))}"
        ) from fault
    if not stat.S_ISREG(found.st_mode):
        raise HalfError(
            "not_a_database", f"{shown(path)}: this is not a regular file; is requests.db right?"
        )
    if not os.access(real, os.R_OK, effective_ids=os.access in os.supports_effective_ids):
        raise HalfError(
            "database_unreadable",
            f"{shown(path)}: this user may not read it (mode {stat.S_IMODE(found.st_mode):04o}); "
            + (
                "its owner needs the right to"
                if found.st_uid == os.geteuid()
                else f"run as {_user_name(found.st_uid)}"
            ),
        )
    if not found.st_size:
        message = "the database is empty, without a table; is requests.db right?"
        raise HalfError("no_such_table", f"{shown(path)}: {message}")
    return real


def _route(real: Path, state: _State) -> str:
    database, wal, shm = state
    if wal is not None:
        if not shm:
            return _LEFT if has_commit(Path(f"{real}-wal")) else _CLOSED
        # SQLite gives an empty -wal that it opens the database's mode (robust_open in os_unix.c).
        sets_mode = not wal.size and database and database.permissions != wal.permissions
        return _CLOSED if sets_mode else _LIVE
    try:
        # A database in WAL mode cannot be opened without locks: asked so, SQLite tells the mode
        # without making a file. Reading the header ourselves would drop this process's own locks.
        _query(real, "mode=ro&nolock=1", lambda it: it.execute("PRAGMA schema_version").fetchone())
    except sqlite3.OperationalError as fault:
        code = fault.sqlite_errorcode & 0xFF
        if code == sqlite3.SQLITE_CANTOPEN:
            return _CLOSED
    return _ORDINARY


def _query(real: Path, route: str, query: Callable[[sqlite3.Connection], T]) -> T:
    with closing(_connect(real, route)) as connection:
        if route == _LEFT:
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        connection.execute("BEGIN")  # one lock, and one state of the database, for all of it
        patiently(connection, "SELECT 1 FROM main.sqlite_master LIMIT 1")
        return query(connection)


def _connect(real: Path, route: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{real.as_uri()}?{route}", uri=True, timeout=0, isolation_level=None
    )
    connection.text_factory = _text
    return connection


def _text(raw: bytes) -> str:
    """Text that is not UTF-8 is kept apart from all that is, instead of stopping the look."""
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


def _restless(path: Path) -> HalfError:
    return HalfError(
        "database_locked",
        f"{shown(path)}: the database changed each time while it was being read; run again",
    )


def _user_name(uid: int) -> str:
    import pwd

    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"the user with id {uid}"
