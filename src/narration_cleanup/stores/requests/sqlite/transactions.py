"""Short transactions on a database that a service uses: all or nothing, confirmed, giving way."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import TypeVar

from narration_cleanup.core.deadline import Deadline
from narration_cleanup.core.errors import TargetError
from narration_cleanup.core.text import printable
from narration_cleanup.stores.requests.batches import LONG, SHORT, yield_gap
from narration_cleanup.stores.requests.sqlite.database import execute_with_retry, open_to_write
from narration_cleanup.stores.requests.sqlite.errors import is_busy, to_target_error
from narration_cleanup.stores.requests.sqlite.limits import QueryLimit

T = TypeVar("T")

_CACHE_KB = 16_000
"""Room for all pages of a transaction: written early, they would mean more waits for the disk."""

_LOOK = 0.001
"""Seconds between two looks whether the readers of a rollback journal have ended, who are in the
way of a commit. New ones are kept out for as long as they are waited for."""
_LOOKS = 20
"""Such looks in each of the first ten tries of a transaction, and as many more in each of the next
ten: readers who always overlap would let nobody commit who never waited for longer than them."""
_PAUSE = 0.08
"""Seconds to leave the database to the readers before the next try."""
_TRIES = 64
_PATIENCE = 10.0
"""How long all those tries take, in seconds; fewer are made where the work is slow."""

_sync = getattr(os, "fdatasync", os.fsync)
"""As SQLite itself does it; macOS has no ``fdatasync``."""


class Writer:
    """A connection that changes rows; raises ``TargetError`` where it cannot be had.

    In WAL mode a commit leaves the disk alone, and what it wrote is brought to the disk after the
    lock is gone: the service need not wait for that, and nothing counts as done before it. There
    it is copied into the database too, as far as nobody is in the way: whoever makes the ``-wal``
    file long has to do that, and it should not be the service.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.held = 0.0
        """Seconds for which the latest transaction kept others from writing."""
        self.worked = 0.0
        """Those of them that were not spent on the commit."""
        self._limit = QueryLimit()
        self._connection = open_to_write(path, self._limit)
        try:
            execute_with_retry(self._connection, "SELECT 1 FROM main.sqlite_master LIMIT 1")
            mode = self._connection.execute("PRAGMA journal_mode").fetchone()[0]
            self._connection.execute(f"PRAGMA cache_size=-{_CACHE_KB}")
            self._wal: Path | None = None
            self.goal = LONG
            """Seconds for which it should: a rollback journal waits for the disk meanwhile."""
            if mode == "wal":
                self.goal = SHORT
                self._wal = Path(f"{path.resolve()}-wal")
                self._connection.execute("PRAGMA synchronous=NORMAL")
                self._connection.execute("PRAGMA wal_autocheckpoint=0")
        except sqlite3.Error as fault:
            self.close()
            raise to_target_error(fault, path) from fault
        except BaseException:
            self.close()
            raise

    def transaction(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do ``work`` in one transaction; with any error (``sqlite3.Error``) none of it is done.

        ``TargetError`` where it is done but cannot be confirmed to be on the disk.
        """
        deadline = Deadline(_PATIENCE)
        for nth in range(_TRIES):
            done, fault = self._attempt(work, _LOOKS * (1 + nth // 10))
            if fault is None or deadline.passed:
                break
            time.sleep(_PAUSE)
        if fault is not None:
            raise fault
        ended = time.perf_counter()
        if self._wal is not None:
            self._confirm(self._wal)
            with suppress(sqlite3.Error):  # what is not copied is in the -wal file, and safe
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        gap = yield_gap(self.held) - (time.perf_counter() - ended)
        if gap > 0:
            time.sleep(gap)
        return done

    def close(self) -> None:
        """Let go of the database; what is not committed is rolled back."""
        with suppress(sqlite3.Error), closing(self._connection):
            pass

    def _attempt(
        self, work: Callable[[sqlite3.Connection], T], looks: int
    ) -> tuple[T, sqlite3.OperationalError | None]:
        """What ``work`` returned; with what was in the way of the commit, where it was undone.

        A commit that waits for a long reader (a backup, say) would keep all new ones waiting.
        """
        connection = self._connection
        try:
            execute_with_retry(connection, "BEGIN IMMEDIATE")
            begun = time.perf_counter()
            self._limit.restart()
            done = work(connection)
            self.worked = time.perf_counter() - begun
            fault = _commit(connection, looks)
        except BaseException:  # an interrupt too: no lock may stay behind
            self._roll_back()
            raise
        if fault is not None:
            self._roll_back()
        self.held = time.perf_counter() - begun
        return done, fault

    def _confirm(self, wal: Path) -> None:
        try:
            descriptor = os.open(wal, os.O_RDONLY | os.O_CLOEXEC)
            try:
                _sync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as fault:
            raise TargetError(
                "database_io_error",
                f"{printable(self._path)}: the disk did not confirm a change ({fault.strerror}); "
                "look at the disk, and run again",
            ) from fault

    def _roll_back(self) -> None:
        with suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


def _commit(connection: sqlite3.Connection, looks: int) -> sqlite3.OperationalError | None:
    """Commit; or what is in the way of it, still after so many looks."""
    for left in reversed(range(looks + 1)):
        try:
            connection.execute("COMMIT")
        except sqlite3.OperationalError as fault:
            if not is_busy(fault):
                raise
            if not left:
                return fault
            time.sleep(_LOOK)
        else:
            break
    return None
