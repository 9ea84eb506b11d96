"""The history's file: made, opened, and moved aside when it is damaged.

A rollback journal, not WAL: reading the history as another user must leave no files behind.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import msgspec

from narration_cleanup.core.files import check_kind, check_own_file, make_own_folder
from narration_cleanup.core.query_limit import QueryLimit
from narration_cleanup.core.text import printable
from narration_cleanup.report.run_record import Places

T = TypeVar("T")
U = TypeVar("U")
P = ParamSpec("P")
FileT = TypeVar("FileT", bound="HistoryFile")
Warn = Callable[[str], None]

SCHEMA_VERSION = 4
ENDINGS = ("-journal", "-wal", "-shm")
"""Of what else SQLite reads in its folder: a journal there may name another file to delete."""
LONGEST = 4_000_000
"""Bytes of a value: a run's story, with its problems, has some tens of thousands."""
_ODD_VALUES = (msgspec.MsgspecError, TypeError, ValueError, OverflowError)
"""What a value raises that was not written here: a bit may flip in a readable file."""
BUSY_SECONDS = 5.0
"""How long to wait for another run that is writing its own line."""

_SCHEMA = """\
CREATE TABLE IF NOT EXISTS runs (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  started_at REAL NOT NULL,
  finished_at REAL,
  outcome TEXT,
  exit_code INTEGER,
  trigger TEXT NOT NULL,
  version TEXT NOT NULL,
  removed_count INTEGER NOT NULL DEFAULT 0,
  freed_bytes INTEGER NOT NULL DEFAULT 0,
  cancelled_count INTEGER NOT NULL DEFAULT 0,
  problem_count INTEGER NOT NULL DEFAULT 0,
  pid INTEGER NOT NULL,
  pid_started INTEGER,
  boot_id TEXT,
  story TEXT,
  cache TEXT,
  requests TEXT
);
CREATE INDEX IF NOT EXISTS runs_by_time ON runs (started_at);
CREATE INDEX IF NOT EXISTS runs_open ON runs (id) WHERE outcome IS NULL;
CREATE TABLE IF NOT EXISTS sums (
  place TEXT NOT NULL, name TEXT NOT NULL, value REAL NOT NULL, PRIMARY KEY (place, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cancelled (
  place TEXT NOT NULL, id TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (place, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS clock (
  id INTEGER PRIMARY KEY, boot_id TEXT, since_boot REAL NOT NULL, wall REAL NOT NULL,
  refused INTEGER NOT NULL
)"""
"""The four figures of a run are in its story: they are here for 0.2.0, which writes them."""
_ITEMS = """\
CREATE TABLE items (
  id INTEGER PRIMARY KEY, run INTEGER NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, file TEXT,
  size_bytes INTEGER NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL, outcome TEXT NOT NULL,
  note TEXT
)"""
"""No index: few ask for an item, every run writes some, and to search all takes milliseconds."""
_KNOWN = """\
CREATE TABLE known (place TEXT PRIMARY KEY, items BLOB NOT NULL) WITHOUT ROWID;
PRAGMA user_version = 4
"""
_FROM_1 = """\
ALTER TABLE runs ADD COLUMN cache TEXT;
ALTER TABLE runs ADD COLUMN requests TEXT;
CREATE TABLE sums (
  place TEXT NOT NULL, name TEXT NOT NULL, value REAL NOT NULL, PRIMARY KEY (place, name)
) WITHOUT ROWID;
INSERT INTO sums SELECT '', name, value FROM counters WHERE typeof(name) = 'text';
DROP TABLE counters"""
_LOOK_AT_1 = """\
CREATE TEMP VIEW items AS SELECT 0 AS id, 0 AS run, '' AS kind, '' AS name, '' AS file,
  0 AS size_bytes, '' AS reason, '' AS detail, '' AS outcome, '' AS note WHERE 0;
CREATE TEMP VIEW runs AS SELECT *, NULL AS cache, NULL AS requests FROM main.runs;
CREATE TEMP VIEW sums AS SELECT '' AS place, name, value FROM main.counters
"""
"""For a reader, which may not change a history of version 1."""
_UPGRADES = {
    0: f"{_SCHEMA};\n{_ITEMS};\n{_KNOWN}",
    1: f"{_FROM_1};\n{_ITEMS};\n{_KNOWN}",
    3: _KNOWN,
}
"""What makes a history of each version one of this; versions 2 and 3 were in no release."""


class Unusable(Exception):
    """There is no history to be had; the text is why, for a warning."""


def nothing() -> None:
    """What is found in a history that cannot be used."""


def in_transaction(
    otherwise: Callable[[], U],
) -> Callable[[Callable[Concatenate[FileT, P], T]], Callable[Concatenate[FileT, P], T | U]]:
    """Make a method's work one transaction; ``otherwise()`` where the history cannot be used."""

    def decorate(
        work: Callable[Concatenate[FileT, P], T],
    ) -> Callable[Concatenate[FileT, P], T | U]:
        @wraps(work)
        def called(self: FileT, /, *given: P.args, **named: P.kwargs) -> T | U:
            return self.attempt(lambda: work(self, *given, **named), otherwise)

        return called

    return decorate


class HistoryFile:
    """An open history, which works in transactions and deals with what goes wrong.

    ``db`` is open until the history cannot be used any more. ``at`` is when the run began, by
    which a damaged file is named when it is moved aside.
    """

    _begin = "BEGIN IMMEDIATE"  # a read that later writes could find another writer in its way

    def __init__(
        self,
        file: Path,
        db: sqlite3.Connection,
        limit: QueryLimit,
        warn: Warn,
        at: float,
        places: Places,
    ) -> None:
        self.file = file
        self.db = db
        self._places = places
        self._limit = limit
        self._warn = warn
        self._at = at
        self._usable = True
        self._replaced = False
        self._begun: dict[str, str | Places] = {}

    def close(self) -> None:
        """Close the file; the history can no longer be used."""
        self.db.close()
        self._usable = False

    def attempt(self, work: Callable[[], T], otherwise: Callable[[], U]) -> T | U:
        """Do ``work`` in one transaction; ``otherwise()`` where the history cannot be used."""
        while self._usable:
            self._limit.restart()
            try:
                with _transaction(self.db, self._begin):
                    return work()
            except (sqlite3.Error, *_ODD_VALUES) as error:
                self.close()
                self._recover(error)
        return otherwise()

    def _recover(self, error: Exception) -> None:
        """Put a new history in the place of a damaged one, once; else there is none any more."""
        if not is_damage(error) or self._replaced:
            self._warn(f"the history {self.file} cannot be used: {why(error)}")
            return
        self._replaced = True
        new = replace_damaged(self.file, self._limit, error, self._warn, self._at)
        if new is not None:
            self.db, self._usable = new, True


class ReadOnlyFile(HistoryFile):
    """One that is only read: what is damaged is reported, and left where it is."""

    _begin = "BEGIN"

    def _recover(self, error: Exception) -> None:
        self._warn(f"the history {self.file} cannot be read: {why(error)}")


def connect(file: Path, limit: QueryLimit) -> sqlite3.Connection:
    """Open the history for writing within ``limit``, making it where there is none.

    Raises ``sqlite3.Error`` or ``OSError``, and ``Unusable`` for one that a newer version wrote.
    """
    make_own_folder(file.parent)
    check_own_file(file, *ENDINGS)
    connection = sqlite3.connect(file, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        limit.guard(connection, LONGEST)
        if _version(connection) != SCHEMA_VERSION:
            connection.execute("BEGIN IMMEDIATE")
            # Asked again: another run may have done it meanwhile.
            script = _UPGRADES.get(_version(connection), "")
            for statement in script.split(";\n"):
                connection.execute(statement)
            connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def connect_read_only(file: Path, limit: QueryLimit) -> sqlite3.Connection:
    """Open the history for reading, which leaves no trace; errors as for ``connect``."""
    check_kind(file, *ENDINGS)
    uri = f"{file.absolute().as_uri()}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        limit.guard(connection, LONGEST)
        version = _version(connection)
        if version == 0:
            raise Unusable("it holds nothing yet")
        if version == 1:
            connection.executescript(_LOOK_AT_1)
    except BaseException:
        connection.close()
        raise
    return connection


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise Unusable("a newer version of narration-cleanup wrote it")
    return int(version)


def is_damage(error: Exception) -> bool:
    """Whether ``error`` means that the file itself is wrong, rather than its surroundings.

    A table that is missing counts: the schema was written whole, so something else took it.
    """
    if isinstance(error, sqlite3.OperationalError):
        return str(error).startswith(("no such table", "no such column", "malformed"))
    if isinstance(error, UnicodeEncodeError):  # of what was to be written
        return False
    odd_value = (TypeError, ValueError, msgspec.DecodeError)
    return isinstance(error, (sqlite3.DatabaseError, *odd_value))


def move_aside(file: Path, at: float) -> Path:
    """Rename a damaged history, its journal with it, and return where to; raises ``OSError``."""
    stamp = datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%SZ")
    aside = file.with_name(f"{file.name}.damaged-{stamp}")
    number = 1
    while aside.exists():
        number += 1
        aside = file.with_name(f"{file.name}.damaged-{stamp}-{number}")
    os.rename(file, aside)
    journal = file.with_name(f"{file.name}-journal")
    if journal.exists():
        os.rename(journal, aside.with_name(f"{aside.name}-journal"))
    return aside


def why(error: Exception) -> str:
    """One line about an error of the file system or of SQLite."""
    if isinstance(error, (FileExistsError, NotADirectoryError)):
        return "what should be its folder is a file"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if str(error) == "interrupted":
        return "to read it takes too long, or too much memory; move it aside"
    return printable(error)


@contextmanager
def _transaction(connection: sqlite3.Connection, begin: str) -> Iterator[None]:
    connection.execute(begin)
    try:
        yield
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def replace_damaged(
    file: Path, limit: QueryLimit, error: Exception, warn: Warn, at: float
) -> sqlite3.Connection | None:
    """A new history in the place of a damaged one; ``None``, with a warning, where that fails."""
    try:
        aside = move_aside(file, at)
        connection = connect(file, limit)
    except (OSError, sqlite3.Error, Unusable) as again:
        warn(f"the history {file} is damaged ({why(error)}) and cannot be replaced: {why(again)}")
        return None
    warn(f"the history was damaged ({why(error)}): moved to {aside}, and a new one begun")
    return connection
