"""What SQLite reports, in one line for the operator: what, where, what to do."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

from narration_cleanup.core.errors import TargetError
from narration_cleanup.core.query_limit import MEMORY, SECONDS
from narration_cleanup.core.signals import given_up, is_overdue
from narration_cleanup.core.text import printable
from narration_cleanup.core.users import can_read, can_write_in

_PRIMARY = 0xFF
"""The part of a result code that is its kind; the rest is detail."""
_ROOM = 1024 * 1024
"""Bytes free on a disk, below which a failed write is put down to that."""

LOCKED, UNCLEAN = "database_locked", "database_unclean"
_MEANINGS: dict[int, tuple[str, str]] = {
    sqlite3.SQLITE_BUSY: (
        LOCKED,
        "another process kept the database locked for 10 s; the next run tries again",
    ),
    sqlite3.SQLITE_LOCKED: (
        LOCKED,
        "the table stayed locked; the next run tries again",
    ),
    sqlite3.SQLITE_NOTADB: (
        "not_a_database",
        "this is not an SQLite database; is requests.db right?",
    ),
    sqlite3.SQLITE_CORRUPT: (
        "database_corrupt",
        "the database is damaged ({error}); nothing is repaired here: restore it from a copy",
    ),
    sqlite3.SQLITE_READONLY: (
        "database_read_only",
        "the database cannot be written ({error}); look at its mount, and at the "
        "permissions of it and of the -wal and -shm files beside it",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "database_unreadable",
        "the database cannot be opened ({error}); look at the permissions of it and its folder",
    ),
    sqlite3.SQLITE_PERM: (
        "database_unreadable",
        "the database may not be opened ({error}); look at its permissions",
    ),
    sqlite3.SQLITE_INTERRUPT: (
        "query_too_costly",
        f"a query took more than {SECONDS:.0f} s or {MEMORY >> 20} MB and was ended; look at the "
        "table's generated columns, triggers and checks",
    ),
    sqlite3.SQLITE_TOOBIG: (
        "query_too_costly",
        "the id, the status or a time of a row is larger than any should be ({error}); look at "
        "the table's largest values and generated columns",
    ),
    sqlite3.SQLITE_FULL: (
        "disk_full",
        "the disk is full: nothing of this batch is done; make room and run again",
    ),
    sqlite3.SQLITE_IOERR: (
        "database_io_error",
        "the disk gave an error ({error}): nothing of this batch is done; look at the disk",
    ),
}
_UNFINISHED = (
    "a killed process left a change unfinished in the -journal file; run rolls it back, if its "
    "user may write to the database"
)


def to_target_error(fault: sqlite3.Error, path: Path) -> TargetError:
    """``fault`` as what stops the target that has the requests."""
    if is_overdue() and (is_costly(fault) or is_busy(fault)):
        return given_up(printable(path))
    extended = _code(fault)
    code, meaning = _MEANINGS.get(
        extended & _PRIMARY, ("database_error", "SQLite reports: {error}; nothing is done")
    )
    if extended == sqlite3.SQLITE_READONLY_ROLLBACK:
        code, meaning = UNCLEAN, _UNFINISHED
    elif extended & _PRIMARY == sqlite3.SQLITE_IOERR and _is_full(path):
        # What a full disk gives where SQLite cannot make its -shm.
        code, meaning = _MEANINGS[sqlite3.SQLITE_FULL]
    elif extended & _PRIMARY == sqlite3.SQLITE_CANTOPEN and _is_closed(path):
        # A read-only mount, on which the -wal cannot be made.
        code, meaning = _MEANINGS[sqlite3.SQLITE_READONLY]
    return TargetError(code, f"{printable(path)}: {meaning.format(error=printable(fault))}")


def is_busy(fault: sqlite3.Error) -> bool:
    """Whether waiting may help."""
    return _code(fault) & _PRIMARY in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def is_costly(fault: sqlite3.Error) -> bool:
    """Whether the query reached a limit (``requests.limits``)."""
    return _code(fault) & _PRIMARY in (sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_TOOBIG)


def is_unclean(fault: sqlite3.Error) -> bool:
    """Whether the ``-shm`` file cannot be used as it is (its writer crashed, or is at work)."""
    return _code(fault) in (
        sqlite3.SQLITE_READONLY_RECOVERY,
        sqlite3.SQLITE_READONLY_CANTLOCK,
        sqlite3.SQLITE_READONLY_CANTINIT,
    )


def _is_full(path: Path) -> bool:
    try:
        return shutil.disk_usage(path.resolve().parent).free < _ROOM
    except OSError:
        return False


def _is_closed(path: Path) -> bool:
    """Whether the database can be read, but its folder cannot be written."""
    return can_read(path) and not can_write_in(path.resolve().parent)


def _code(fault: sqlite3.Error) -> int:
    """Its extended result code; -1 where the fault is Python's own, not SQLite's."""
    return getattr(fault, "sqlite_errorcode", -1)
