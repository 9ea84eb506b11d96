"""A request table in SQLite, used beside the service that owns it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import islice
from pathlib import Path

from narration_cleanup.core.errors import TargetError
from narration_cleanup.core.model import Problem, RequestStatus, RequestSurvey, Scalar, Target
from narration_cleanup.core.problems import Problems
from narration_cleanup.core.text import printable
from narration_cleanup.core.zones import IndexTimes, TableTimes
from narration_cleanup.plan.actions import CancelRequest, DeleteRequest, Outcome
from narration_cleanup.stores.requests.batches import min_batch_size, next_batch_size
from narration_cleanup.stores.requests.mapping import RequestMapping
from narration_cleanup.stores.requests.rows import (
    CANCEL_GUARD,
    DELETE_GUARD,
    WRITTEN_TIMES,
    are_cancelled,
    shown_id,
    stored_id,
)
from narration_cleanup.stores.requests.sqlite.database import look, recover
from narration_cleanup.stores.requests.sqlite.errors import to_target_error
from narration_cleanup.stores.requests.sqlite.layout import Layout, read_layout
from narration_cleanup.stores.requests.sqlite.newest import last_write, newest_times
from narration_cleanup.stores.requests.sqlite.survey import PAGE, SqliteSurvey
from narration_cleanup.stores.requests.sqlite.transactions import Writer
from narration_cleanup.stores.requests.store import BATCH
from narration_cleanup.stores.requests.times import time_writer

_FIRST_BATCH = 100
"""Rows of the first batch, and the fewest that are asked for where it is the disk that takes long:
a transaction on a rollback journal waits for it several times, however few rows it changes."""
_EXAMPLES = 50
_IDS = 500
"""Ids or rowids asked for in one statement; SQLite takes 999 values at least."""
_STATEMENTS = 4
"""Such statements in one read transaction: a few milliseconds (see ``survey.PAGE``)."""
_NO_ROW = (None, None)

Change = CancelRequest | DeleteRequest
One = Callable[[sqlite3.Connection, Change], Outcome]


class SqliteRequests:
    """See ``RequestStore``. Nothing is opened before the first call, and looking never writes."""

    def __init__(
        self,
        path: Path,
        mapping: RequestMapping,
        *,
        now: float | None = None,
        index: IndexTimes | None = None,
    ) -> None:
        """``now``: of the run; ``index``: of the same service, to know the zone of times by."""
        self._times = TableTimes(mapping.timezone, now, index)
        self._path = path
        self._mapping = mapping
        self._layout: Layout | None = None
        self._writer: Writer | None = None
        self._time_writers: dict[str, Callable[[float], Scalar]] = {}
        self._problems = Problems()
        self._batch_size = _FIRST_BATCH

    @property
    def location(self) -> str:
        return printable(self._path)

    @property
    def problems(self) -> Iterable[Problem]:
        """Why rows that were to be changed have failed."""
        return self._problems

    @property
    def batch_size(self) -> int:
        return self._batch_size

    def locked(self) -> AbstractContextManager[None]:
        """Nothing: the run lock of one machine is enough for a file on it."""
        return nullcontext()

    def recover(self) -> bool:
        """See ``RequestStore``."""
        return recover(self._path)

    def survey(self) -> RequestSurvey:
        """Look at the table anew; raises ``TargetError`` where it cannot be read."""
        self._layout = None
        layout = self._known_layout()
        if not self._times.is_judged:
            newest = look(self._path, partial(newest_times, layout=layout, mapping=self._mapping))
            self._times.judge(newest, last_write(self._path))
        return SqliteSurvey(self._path, layout, self._mapping, self.location, self._times)

    def cancel(self, batch: Sequence[CancelRequest], at: float) -> Sequence[Outcome]:
        """See ``RequestStore``; its new times get the form of the columns' other values."""
        layout = self._known_layout()
        changed: list[Scalar] = [self._mapping.statuses.cancelled[0]]
        parts = [f"{layout.column('status')} = ?"]
        for role in WRITTEN_TIMES:
            if role in layout.columns:
                parts.append(f"{layout.column(role)} = ?")
                changed.append(self._time_to_write(role, at))
        if self._mapping.error_text is not None and "error" in layout.columns:
            parts.append(f"{layout.column('error')} = ?")
            changed.append(self._mapping.error_text)
        statement = f"UPDATE {layout.table} SET {', '.join(parts)} WHERE "
        return self._change(batch, statement, changed, CANCEL_GUARD)

    def delete(self, batch: Sequence[DeleteRequest]) -> Sequence[Outcome]:
        """See ``RequestStore``."""
        statement = f"DELETE FROM {self._known_layout().table} WHERE "
        return self._change(batch, statement, [], DELETE_GUARD)

    def unchanged_since(self, actions: Iterable[Change]) -> bool:
        """See ``RequestStore``; the rows alone are read again, where they were found."""
        waiting = iter(actions)
        raws: set[object] = set()
        while some := list(islice(waiting, _IDS * _STATEMENTS)):
            found = self._rows_at([action.place for action in some])
            if found is None:
                return False
            for action in some:
                identity, raw = found.get(action.place, _NO_ROW)
                is_there = shown_id(identity) == action.id
                if is_there is not isinstance(action, CancelRequest):
                    return False
                if is_there:
                    raws.add(raw)
        return are_cancelled(raws, self._mapping.statuses)

    def zone_of(self, text: str) -> str:
        return self._times.zone_of(text)

    def count_completed(self, ids: Sequence[str | int]) -> int:
        """See ``RequestStore``."""
        layout = self._known_layout()
        completed = self._mapping.statuses.values([RequestStatus.COMPLETED])
        total = 0
        for start in range(0, len(ids), _IDS):
            some = [stored_id(each) for each in ids[start : start + _IDS]]
            statement = (
                f"SELECT count(*) FROM {layout.table} "
                f"WHERE {layout.column('id')} IN ({_marks(some)}) "
                f"AND {layout.column('status')} IN ({_marks(completed)}) AND {layout.filter}"
            )
            values = (*some, *completed)
            total += look(self._path, partial(_number, statement=statement, values=values))
        return total

    def free_pages(self) -> int | None:
        return look(self._path, lambda it: _number(it, "PRAGMA freelist_count"))

    def now(self) -> float | None:
        return None

    def close(self) -> None:
        """Let go of the database; a second call does nothing."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _known_layout(self) -> Layout:
        if self._layout is None:
            mapping, where = self._mapping, self.location
            self._layout = look(self._path, lambda it: read_layout(it, mapping, where))
        return self._layout

    def _change(
        self,
        batch: Sequence[Change],
        statement: str,
        changed: Sequence[Scalar],
        guard: Sequence[str],
    ) -> Sequence[Outcome]:
        """Execute a guarded statement for each of ``batch`` in one short transaction."""
        if len(batch) > BATCH:
            raise ValueError(f"a batch is at most {BATCH} rows")
        if not batch:
            return []
        layout = self._known_layout()
        kept = [place for place, role in enumerate(guard) if role in layout.columns]
        # IS, since a guard may be NULL; BINARY, since a column's own collation may be laxer. Where
        # its rowid is another now, as after a VACUUM, the next run finds the row.
        condition = [layout.filter, f"{layout.column('id')} COLLATE BINARY IS ?"]
        condition += [f"{layout.column(guard[place])} COLLATE BINARY IS ?" for place in kept]
        condition.append(f"{layout.keys[0] if layout.by_rowid else layout.column('id')} IS ?")
        statement += " AND ".join(condition)

        def one(connection: sqlite3.Connection, action: Change) -> Outcome:
            identity = stored_id(action.id)
            key = action.place if layout.by_rowid else identity
            values = (*changed, identity, *(action.guard[place] for place in kept), key)
            found = connection.execute(statement, values).rowcount
            return Outcome.DONE if found else Outcome.SKIPPED

        try:
            writer = self._open()
            outcomes = writer.transaction(partial(_all, one, batch))
        except sqlite3.IntegrityError as fault:
            self._batch_size = min(self._batch_size, _FIRST_BATCH)
            return self._apart(batch, one, fault)
        except sqlite3.Error as fault:
            self.close()
            raise to_target_error(fault, self._path) from fault
        self._batch_size = next_batch_size(
            len(batch),
            writer.held,
            writer.goal,
            least=min_batch_size(len(batch), writer.worked, writer.goal, most=_FIRST_BATCH),
            most=BATCH,
        )
        return outcomes

    def _apart(
        self, batch: Sequence[Change], one: One, refusal: sqlite3.IntegrityError
    ) -> list[Outcome]:
        """The database refuses one row or more (a constraint, a trigger): the others still go.

        Halved again and again, so that few transactions find the one row among hundreds. With any
        other fault the rest of the batch fails: what is locked would be waited for each time.
        """
        outcomes: list[Outcome] = []
        waiting = _targets(batch)
        if not waiting:
            return self._failed(batch, _refused(refusal))
        while waiting:
            part = waiting.pop()
            try:
                outcomes += self._open().transaction(partial(_all, one, part))
            except sqlite3.IntegrityError as fault:
                targets = _targets(part)
                waiting += targets
                if not targets:
                    outcomes += self._failed(part, _refused(fault))
            except (sqlite3.Error, TargetError) as fault:
                if isinstance(fault, sqlite3.Error):
                    self.close()
                    fault = to_target_error(fault, self._path)
                rest = [*part, *(action for each in reversed(waiting) for action in each)]
                return outcomes + self._failed(rest, str(fault))
        return outcomes

    def _failed(self, batch: Sequence[Change], reason: str) -> list[Outcome]:
        for action in batch:
            self._problems.add(Problem(Target.REQUESTS, "row_refused", reason, str(action.id)))
        return [Outcome.FAILED] * len(batch)

    def _rows_at(
        self, places: Sequence[int | None]
    ) -> dict[int | None, tuple[object, object]] | None:
        """Id and raw status of the rows at these rowids, read in one transaction.

        ``None`` where the table has no rowid.
        """
        layout = self._known_layout()
        if not layout.by_rowid:
            return None
        key = layout.keys[0]
        columns = f"{key}, {layout.column('id')}, {layout.column('status')}"

        def read(connection: sqlite3.Connection) -> dict[int | None, tuple[object, object]]:
            found: dict[int | None, tuple[object, object]] = {}
            for start in range(0, len(places), _IDS):
                some = places[start : start + _IDS]
                rows = connection.execute(
                    f"SELECT {columns} FROM {layout.table} "
                    f"WHERE {key} IN ({_marks(some)}) AND {layout.filter}",
                    some,
                )
                found.update({place: (identity, status) for place, identity, status in rows})
            return found

        return look(self._path, read)

    def _open(self) -> Writer:
        if self._writer is None:
            self._writer = Writer(self._path)
        return self._writer

    def _time_to_write(self, role: str, at: float) -> Scalar:
        """``at`` in the form that the column's latest values have, else that of ``created_at``."""
        if role not in self._time_writers:
            examples = look(self._path, partial(self._examples, role=role))
            self._time_writers[role] = time_writer(examples, self._mapping, self._times)
        return self._time_writers[role](at)

    def _examples(self, connection: sqlite3.Connection, role: str) -> list[list[Scalar]]:
        layout = self._known_layout()
        latest = ", ".join(f"{key} DESC" for key in layout.keys)
        found = []
        for each in (role, "created_at"):
            column = layout.column(each)
            rows = connection.execute(
                f"SELECT value FROM (SELECT CASE WHEN {layout.filter} THEN {column} END "
                f"AS value FROM {layout.table} ORDER BY {latest} LIMIT {PAGE}) "
                f"WHERE value IS NOT NULL LIMIT {_EXAMPLES}"
            )
            found.append([row[0] for row in rows])
        return found


def _all(one: One, batch: Sequence[Change], connection: sqlite3.Connection) -> list[Outcome]:
    return [one(connection, action) for action in batch]


def _targets(batch: Sequence[Change]) -> list[Sequence[Change]]:
    """Its second half and its first, so that the first is taken from the end; none of one row."""
    middle = len(batch) // 2
    return [batch[middle:], batch[:middle]] if middle else []


def _refused(fault: sqlite3.IntegrityError) -> str:
    return f"the database refuses the change: {printable(fault)}"


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


def _number(
    connection: sqlite3.Connection, statement: str, values: Sequence[Scalar | bytes] = ()
) -> int:
    found: int = connection.execute(statement, values).fetchone()[0]
    return found
