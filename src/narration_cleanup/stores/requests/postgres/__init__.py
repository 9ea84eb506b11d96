"""A request table in PostgreSQL, used beside the services that own it, on whatever machine.

A batch is one statement in one transaction: the rows that are still what was planned on are
locked, those that a worker holds at that moment are passed over (``SKIP LOCKED``), and the locked
ones are changed. Ages are those of the server's clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice

import psycopg

from narration_cleanup.core.errors import TargetError
from narration_cleanup.core.model import Problem, RequestStatus, RequestSurvey, Scalar, Target
from narration_cleanup.core.problems import Problems
from narration_cleanup.core.timestamps import iso, offset_at
from narration_cleanup.core.zones import IndexTimes, TableTimes
from narration_cleanup.plan.actions import CancelRequest, DeleteRequest, Outcome
from narration_cleanup.stores.requests.mapping import RequestMapping
from narration_cleanup.stores.requests.postgres.errors import is_refusal_of_a_row, refused_row
from narration_cleanup.stores.requests.postgres.layout import Column, Form, PgLayout, read_layout
from narration_cleanup.stores.requests.postgres.rights import (
    check_changing,
    check_reading,
    excess_rights,
)
from narration_cleanup.stores.requests.postgres.session import Connection, Session
from narration_cleanup.stores.requests.postgres.statements import (
    Change,
    Guarded,
    cancelling,
    deleting,
)
from narration_cleanup.stores.requests.postgres.survey import PostgresSurvey, newest_times
from narration_cleanup.stores.requests.rows import WRITTEN_TIMES, are_cancelled
from narration_cleanup.stores.requests.store import BATCH
from narration_cleanup.stores.requests.times import time_writer

_AT_ONCE = 100
"""Rows of a batch: all of them are locked until it ends."""
_EXAMPLES = 50
_IDS = 500


class PostgresRequests:
    """See ``RequestStore``. Nothing is connected before the first call; looking never writes."""

    def __init__(
        self,
        url: str,
        mapping: RequestMapping,
        *,
        now: float | None = None,
        index: IndexTimes | None = None,
        deletes: bool = False,
    ) -> None:
        """``now``: of the run; ``index``: of the same service, to know the zone of times by.
        ``deletes``: finished rows will be deleted, so the right to do it is asked for."""
        self._session = Session(url)
        self._times = TableTimes(mapping.timezone, now, index)
        self._mapping = mapping
        self._deletes = deletes
        self._layout: PgLayout | None = None
        self._time_writers: dict[str, Callable[[float], Scalar]] = {}
        self._problems = Problems()
        self._trouble: TargetError | None = None

    @property
    def location(self) -> str:
        return self._session.location

    @property
    def problems(self) -> Iterable[Problem]:
        """Why rows that were to be changed have failed."""
        return self._problems

    @property
    def batch_size(self) -> int:
        return _AT_ONCE

    def recover(self) -> bool:
        """Nothing: the server does it as it starts."""
        return False

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run lock of the table, whichever machine other runs are on.

        What is wrong with the server or the role's rights stops this half alone: the survey
        raises it. Raises ``BusyError``.
        """
        with ExitStack() as stack:
            stack.callback(setattr, self, "_trouble", None)
            try:
                layout = self._known_layout()
                self._session.do(lambda it: self._check_rights(it, layout))
                stack.enter_context(self._session.locked(layout.oid))
            except TargetError as error:
                self._trouble = error
            yield

    def survey(self) -> RequestSurvey:
        """Look at the table anew; raises ``TargetError`` where it cannot be read."""
        if self._trouble is not None:
            raise self._trouble
        self._layout = None
        layout = self._known_layout()
        self._session.do(lambda it: check_reading(it, layout, self.location))
        if not self._times.is_judged:
            newest = self._session.do(lambda it: newest_times(it, layout, self._mapping.statuses))
            self._times.judge(newest, None, self._session.now)
        return PostgresSurvey(self._session, layout, self._mapping, self._times)

    def cancel(self, batch: Sequence[CancelRequest], at: float) -> Sequence[Outcome]:
        """See ``RequestStore``; its new times get the form of the columns' other values."""
        layout = self._known_layout()
        written = self._written(layout)
        values: list[Scalar] = [str(self._mapping.statuses.cancelled[0])]
        values += [self._time_to_write(role, at) for role in written if role in WRITTEN_TIMES]
        values += [self._mapping.error_text] * (len(written) - len(values))
        columns = [layout.columns[role] for role in written]
        return self._change(batch, cancelling(layout, columns, values))

    def delete(self, batch: Sequence[DeleteRequest]) -> Sequence[Outcome]:
        """See ``RequestStore``."""
        return self._change(batch, deleting(self._known_layout()))

    def unchanged_since(self, actions: Iterable[Change]) -> bool:
        """See ``RequestStore``; the rows alone are read again, by their ids."""
        waiting = iter(actions)
        while some := list(islice(waiting, _IDS)):
            cancelled = [action.id for action in some if isinstance(action, CancelRequest)]
            deleted = [action.id for action in some if isinstance(action, DeleteRequest)]
            found = self._statuses(cancelled)
            if len(found) != len(cancelled) or self._statuses(deleted):
                return False
            if not are_cancelled(found, self._mapping.statuses):
                return False
        return True

    def zone_of(self, text: str) -> str:
        return self._times.zone_of(text)

    def count_completed(self, ids: Sequence[str | int]) -> int:
        """See ``RequestStore``."""
        layout = self._known_layout()
        identity, status = layout.columns["id"], layout.columns["status"]
        words = [str(word) for word in self._mapping.statuses.values([RequestStatus.COMPLETED])]
        statement = (
            f"SELECT pg_catalog.count(*) FROM {layout.table} AS t WHERE t.{identity.quoted} = "
            f"ANY(%s::{identity.type}[]) AND t.{status.quoted}::text = ANY(%s) AND {layout.filter}"
        )
        total = 0
        for start in range(0, len(ids), _IDS):
            values = ([str(each) for each in ids[start : start + _IDS]], words)
            rows = self._session.do(
                lambda it, values=values: it.execute(statement.encode(), values).fetchall()  # type: ignore[misc]
            )
            total += sum(count for (count,) in rows if isinstance(count, int))
        return total

    def free_pages(self) -> int | None:
        return None

    def now(self) -> float | None:
        """The server's clock, read once; ``None`` before it was asked."""
        return self._session.now

    def excess_rights(self) -> tuple[str, list[str]]:
        """The role, and those of its attributes that no clean-up needs; raises ``TargetError``."""
        return self._session.do(excess_rights)

    def close(self) -> None:
        """Let go of the server; a second call does nothing."""
        self._session.close()

    def _known_layout(self) -> PgLayout:
        if self._layout is None:
            mapping, where = self._mapping, self.location
            self._layout = self._session.do(lambda it: read_layout(it, mapping, where))
        return self._layout

    def _check_rights(self, connection: Connection, layout: PgLayout) -> None:
        written = [layout.columns[role] for role in self._written(layout)]
        check_changing(connection, layout, written, self._deletes, self.location)

    def _written(self, layout: PgLayout) -> list[str]:
        """The roles of the columns that a cancelled row gets new values in, in their order."""
        error = () if self._mapping.error_text is None else ("error",)
        return [role for role in ("status", *WRITTEN_TIMES, *error) if role in layout.columns]

    def _statuses(self, ids: Sequence[str | int]) -> list[object]:
        """The raw status of each row that has one of these ids."""
        columns = self._known_layout().columns
        statement = (
            f"SELECT {columns['status'].exchanged} FROM {self._known_layout().table} AS t "
            f"WHERE t.{columns['id'].quoted} = ANY(%s::{columns['id'].type}[]) "
            f"AND {self._known_layout().filter}"
        )
        values = ([str(each) for each in ids],)
        rows = self._session.do(lambda it: it.execute(statement.encode(), values).fetchall())
        return [status for (status,) in rows]

    def _change(self, batch: Sequence[Change], guarded: Guarded) -> Sequence[Outcome]:
        if len(batch) > BATCH:
            raise ValueError(f"a batch is at most {BATCH} rows")
        if not batch:
            return []
        try:
            return self._transaction(batch, guarded)
        except _RowRefusedError as refusal:
            if len(batch) > 1:
                return [outcome for each in batch for outcome in self._change([each], guarded)]
            subject = str(batch[0].id)
            self._problems.add(Problem(Target.REQUESTS, "row_refused", str(refusal), subject))
            return [Outcome.FAILED]

    def _transaction(self, batch: Sequence[Change], guarded: Guarded) -> list[Outcome]:
        """All of ``batch`` or, with an error, none of it."""
        began_with = self._session.connected

        def change(connection: Connection) -> set[object]:
            try:
                done = _column(connection, *guarded.change(batch))
                if self._session.connected > began_with and len(done) < len(batch):
                    # The connection dropped in an earlier try, whose commit may have arrived.
                    done |= _column(connection, *guarded.is_done(batch))
            except psycopg.Error as fault:
                if is_refusal_of_a_row(fault):
                    raise _RowRefusedError(refused_row(fault, self._session.secrets)) from None
                raise
            return done

        done = self._session.do(change)
        return [Outcome.DONE if n in done else Outcome.SKIPPED for n in range(len(batch))]

    def _time_to_write(self, role: str, at: float) -> Scalar:
        """``at`` as the column's type has it; in a column of text, as its other values have it."""
        layout = self._known_layout()
        column = layout.columns[role]
        if column.form is Form.INSTANT:
            return iso(at)
        if column.form is Form.NAIVE:
            text = iso(at).removesuffix("+00:00")
            ahead = offset_at(self._times.zone_to_write(text))(at)
            return iso(at + ahead).removesuffix("+00:00")
        if role not in self._time_writers:
            columns = [column, layout.columns["created_at"]]
            examples = [self._examples(layout, each) for each in columns]
            self._time_writers[role] = time_writer(examples, self._mapping, self._times)
        return self._time_writers[role](at)

    def _examples(self, layout: PgLayout, column: Column) -> list[Scalar]:
        statement = (
            f"SELECT {column.exchanged} FROM {layout.table} AS t "
            f"WHERE t.{column.quoted} IS NOT NULL AND {layout.filter} LIMIT {_EXAMPLES}"
        )
        rows = self._session.do(lambda it: it.execute(statement.encode(), ()).fetchall())
        return [value for (value,) in rows if isinstance(value, (str, int))]


class _RowRefusedError(Exception):
    """A row's new values are refused by the database; ``str()`` is why."""


def _column(connection: Connection, statement: bytes, values: Sequence[Scalar]) -> set[object]:
    return {row[0] for row in connection.execute(statement, values).fetchall()}
