"""A request table in SQLite, shared with the service that owns it."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from narration_cleanup.core.deadline import Deadline
from narration_cleanup.core.errors import TargetError
from narration_cleanup.core.model import RequestSurvey, Scalar
from narration_cleanup.core.query_limit import QueryLimit
from narration_cleanup.core.text import printable
from narration_cleanup.core.zones import IndexTimes
from narration_cleanup.plan.actions import Action, Outcome
from narration_cleanup.stores.requests.batches import (
    LONG,
    SHORT,
    min_batch_size,
    next_batch_size,
    yield_gap,
)
from narration_cleanup.stores.requests.mapping import RequestMapping
from narration_cleanup.stores.requests.rows import CANCEL_GUARD, DELETE_GUARD, shown_id, stored_id
from narration_cleanup.stores.requests.sqlite.database import (
    execute_with_retry,
    look,
    open_to_write,
    recover,
)
from narration_cleanup.stores.requests.sqlite.errors import is_busy, to_target_error
from narration_cleanup.stores.requests.sqlite.layout import Layout, read_layout
from narration_cleanup.stores.requests.sqlite.survey import (
    PAGE,
    SqliteSurvey,
    last_write,
    newest_times,
)
from narration_cleanup.stores.requests.store import (
    BATCH,
    RequestStore,
    RowRefusedError,
    Written,
)

T = TypeVar("T")

_CACHE_KB = 16_000
"""Room for all pages of a transaction: written early, they would mean more waits for the disk."""

_LOOK = 0.001
"""Seconds between two checks whether the readers of a rollback journal have ended, who are in the
way of a commit. New ones are kept out for as long as they are waited for."""
_LOOKS = 20
"""Such checks in each of the first ten tries of a transaction, and as many more in each of the next
ten: among readers that always overlap, only a wait longer than theirs lets a commit succeed."""
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
    it is copied into the database too, as far as readers allow it: whoever makes the ``-wal``
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
        self, work: Callable[[sqlite3.Connection], T], checks: int
    ) -> tuple[T, sqlite3.OperationalError | None]:
        """What ``work`` returned; with what was in the way of the commit, where it was undone.

        A commit that waits for a long reader (as a backup) would keep all new ones waiting.
        """
        connection = self._connection
        try:
            execute_with_retry(connection, "BEGIN IMMEDIATE")
            begun = time.perf_counter()
            self._limit.restart()
            done = work(connection)
            self.worked = time.perf_counter() - begun
            fault = _commit(connection, checks)
        except BaseException:  # an interrupt too: no lock may be left
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


def _commit(connection: sqlite3.Connection, checks: int) -> sqlite3.OperationalError | None:
    """Commit; or what is in the way of it, still after so many checks."""
    for left in reversed(range(checks + 1)):
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


_FIRST_BATCH = 100
"""Rows of the first batch, and the fewest that are asked for where it is the disk that takes long:
a transaction on a rollback journal waits for it several times, however few rows it changes."""
_EXAMPLES = 50


class SqliteRequests(RequestStore):
    """A file; the run lock of one machine is enough for it."""

    def __init__(
        self,
        path: Path,
        mapping: RequestMapping,
        *,
        now: float | None = None,
        index: IndexTimes | None = None,
    ) -> None:
        super().__init__(mapping, now, index)
        self._path = path
        self._layout: Layout | None = None
        self._writer: Writer | None = None
        self._batch_size = _FIRST_BATCH

    @property
    def location(self) -> str:
        return printable(self._path)

    @property
    def batch_size(self) -> int:
        return self._batch_size

    def recover(self) -> bool:
        return recover(self._path)

    def survey(self) -> RequestSurvey:
        self._layout = None
        layout = self._known_layout()
        if not self._times.is_judged:
            newest = look(self._path, partial(newest_times, layout=layout, mapping=self._mapping))
            self._times.judge(newest, last_write(self._path))
        return SqliteSurvey(self._path, layout, self._mapping, self.location, self._times)

    def free_pages(self) -> int | None:
        return self._number("PRAGMA freelist_count")

    def close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _known_layout(self) -> Layout:
        if self._layout is None:
            mapping, where = self._mapping, self.location
            self._layout = look(self._path, lambda it: read_layout(it, mapping, where))
        return self._layout

    def _columns(self) -> Mapping[str, str]:
        return self._known_layout().columns

    def _transaction(self, batch: Sequence[Action], written: Written) -> list[Outcome]:
        one = self._guarded(written)
        try:
            if self._writer is None:
                self._writer = Writer(self._path)
            writer = self._writer
            outcomes = writer.transaction(lambda it: [one(it, action) for action in batch])
        except sqlite3.IntegrityError as fault:
            self._batch_size = min(self._batch_size, _FIRST_BATCH)
            why = f"the database refuses the change: {printable(fault)}"
            raise RowRefusedError(why) from fault
        except sqlite3.Error as fault:
            self.close()
            raise to_target_error(fault, self._path) from fault
        if len(batch) >= min(self._batch_size, _FIRST_BATCH):
            least = min_batch_size(len(batch), writer.worked, writer.goal, most=_FIRST_BATCH)
            self._batch_size = next_batch_size(
                len(batch), writer.held, writer.goal, least=least, most=BATCH
            )
        return outcomes

    def _guarded(self, written: Written) -> Callable[[sqlite3.Connection, Action], Outcome]:
        """What changes one row, while it is still what was planned on."""
        layout = self._known_layout()
        guard = DELETE_GUARD if written is None else CANCEL_GUARD
        kept = [place for place, role in enumerate(guard) if role in layout.columns]
        statement = f"DELETE FROM {layout.table}"
        if written is not None:
            news = ", ".join(f"{layout.column(role)} = ?" for role in written)
            statement = f"UPDATE {layout.table} SET {news}"
        # IS, since a guard may be NULL; BINARY, since a column's own collation may be laxer. Where
        # its rowid is another now, as after a VACUUM, the next run finds the row.
        condition = [layout.filter, f"{layout.column('id')} COLLATE BINARY IS ?"]
        condition += [f"{layout.column(guard[place])} COLLATE BINARY IS ?" for place in kept]
        condition.append(f"{layout.keys[0] if layout.by_rowid else layout.column('id')} IS ?")
        statement += f" WHERE {' AND '.join(condition)}"
        news_values = () if written is None else tuple(written.values())

        def one(connection: sqlite3.Connection, action: Action) -> Outcome:
            identity = stored_id(action.id)
            key = action.place if layout.by_rowid else identity
            values = (*news_values, identity, *(action.guard[place] for place in kept), key)
            found = connection.execute(statement, values).rowcount
            return Outcome.DONE if found else Outcome.SKIPPED

        return one

    def _statuses(self, actions: Sequence[Action]) -> Sequence[object] | None:
        """By their rowids, where the table has such: an id may have no index."""
        layout = self._known_layout()
        if not layout.by_rowid:
            return None
        key, marks = layout.keys[0], _marks(actions)
        statement = (
            f"SELECT {key}, {layout.column('id')}, {layout.column('status')} FROM {layout.table} "
            f"WHERE {key} IN ({marks}) AND {layout.filter}"
        )
        places = [action.place for action in actions]
        rows = look(self._path, lambda it: it.execute(statement, places).fetchall())
        planned = {action.place: action.id for action in actions}
        return [status for place, identity, status in rows if shown_id(identity) == planned[place]]

    def _count_completed(self, ids: Sequence[str | int]) -> int:
        layout, completed = self._known_layout(), self._completed_words()
        statement = (
            f"SELECT count(*) FROM {layout.table} WHERE {layout.column('id')} IN ({_marks(ids)}) "
            f"AND {layout.column('status')} IN ({_marks(completed)}) AND {layout.filter}"
        )
        return self._number(statement, (*map(stored_id, ids), *completed))

    def _examples(self, role: str) -> Sequence[Scalar]:
        layout = self._known_layout()
        latest = ", ".join(f"{key} DESC" for key in layout.keys)
        statement = (
            f"SELECT value FROM (SELECT CASE WHEN {layout.filter} THEN {layout.column(role)} END "
            f"AS value FROM {layout.table} ORDER BY {latest} LIMIT {PAGE}) "
            f"WHERE value IS NOT NULL LIMIT {_EXAMPLES}"
        )
        return look(self._path, lambda it: [row[0] for row in it.execute(statement)])

    def _number(self, statement: str, values: Sequence[Scalar | bytes] = ()) -> int:
        found: int = look(self._path, lambda it: it.execute(statement, values).fetchone()[0])
        return found


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))
