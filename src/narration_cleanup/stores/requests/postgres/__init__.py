"""A request table in PostgreSQL, shared with the services that own it, on whatever machine.

A batch is one statement in one transaction: the rows that are still what was planned on are
locked, those that a worker holds at that moment are passed over (``SKIP LOCKED``), and the locked
ones are changed. Ages are those of the server's clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import psycopg

from narration_cleanup.core.errors import TargetError
from narration_cleanup.core.model import RequestSurvey, Scalar
from narration_cleanup.core.timestamps import iso, offset_at
from narration_cleanup.core.zones import IndexTimes
from narration_cleanup.plan.actions import Action, Outcome
from narration_cleanup.stores.requests.mapping import RequestMapping
from narration_cleanup.stores.requests.postgres.errors import is_refusal_of_a_row, refused_row
from narration_cleanup.stores.requests.postgres.layout import Column, Form, PgLayout, read_layout
from narration_cleanup.stores.requests.postgres.rights import (
    check_changing,
    check_reading,
    rights_beyond,
)
from narration_cleanup.stores.requests.postgres.session import EQUAL, Connection, Session
from narration_cleanup.stores.requests.postgres.survey import PostgresSurvey, newest_times
from narration_cleanup.stores.requests.rows import CANCEL_GUARD, DELETE_GUARD
from narration_cleanup.stores.requests.store import (
    RequestStore,
    RowRefusedError,
    Written,
)

_AT_ONCE = 100
"""Rows of a batch: all of them are locked until it ends."""
_EXAMPLES = 50


class PostgresRequests(RequestStore):
    """A table on a server, connected to at the first call."""

    def __init__(
        self,
        url: str,
        mapping: RequestMapping,
        *,
        now: float | None = None,
        index: IndexTimes | None = None,
        deletes: bool = False,
    ) -> None:
        """``deletes``: finished rows will be deleted, so the right to do it is asked for."""
        super().__init__(mapping, now, index)
        self._session = Session(url)
        self._deletes = deletes
        self._layout: PgLayout | None = None
        self._trouble: TargetError | None = None

    @property
    def location(self) -> str:
        return self._session.location

    @property
    def batch_size(self) -> int:
        return _AT_ONCE

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run lock of the table, whichever machine other runs are on.

        What is wrong with the server or the role's rights stops this target alone: the survey
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
        if self._trouble is not None:
            raise self._trouble
        self._layout = None
        layout = self._known_layout()
        self._session.do(lambda it: check_reading(it, layout, self.location))
        if not self._times.is_judged:
            newest = self._session.do(lambda it: newest_times(it, layout, self._mapping.statuses))
            self._times.judge(newest, None, self._session.now)
        return PostgresSurvey(self._session, layout, self._mapping, self._times)

    def rights_beyond(self) -> Sequence[str]:
        layout = self._known_layout()
        return self._session.do(lambda it: rights_beyond(it, layout, self._deletes))

    def now(self) -> float | None:
        """The server's clock, read once; ``None`` before it was asked."""
        return self._session.now

    def close(self) -> None:
        self._session.close()

    def _known_layout(self) -> PgLayout:
        if self._layout is None:
            mapping, where = self._mapping, self.location
            self._layout = self._session.do(lambda it: read_layout(it, mapping, where))
        return self._layout

    def _columns(self) -> Mapping[str, Column]:
        return self._known_layout().columns

    def _check_rights(self, connection: Connection, layout: PgLayout) -> None:
        written = [layout.columns[role] for role in self._written_roles()]
        check_changing(connection, layout, written, self._deletes, self.location)

    def _transaction(self, batch: Sequence[Action], written: Written) -> list[Outcome]:
        changing, is_done, values = guarded(self._known_layout(), batch, written)
        began_with = self._session.connected

        def change(connection: Connection) -> set[object]:
            try:
                done = {n for (n,) in connection.execute(changing, values).fetchall()}
                if self._session.connected > began_with and len(done) < len(batch):
                    # The connection dropped in an earlier try, whose commit may have arrived.
                    done |= {n for (n,) in connection.execute(is_done, values).fetchall()}
            except psycopg.Error as fault:
                if is_refusal_of_a_row(fault):
                    raise RowRefusedError(refused_row(fault, self._session.secrets)) from None
                raise
            return done

        done = self._session.do(change)
        return [Outcome.DONE if n in done else Outcome.SKIPPED for n in range(len(batch))]

    def _statuses(self, actions: Sequence[Action]) -> Sequence[object]:
        status, identity = self._columns()["status"], self._columns()["id"]
        among = f"t.{identity.quoted} {EQUAL} ANY(%s::{identity.type}[])"
        return self._values(status.exchanged, among, [str(action.id) for action in actions])

    def _count_completed(self, ids: Sequence[str | int]) -> int:
        status, identity = self._columns()["status"], self._columns()["id"]
        among = f"t.{identity.quoted} {EQUAL} ANY(%s::{identity.type}[])"
        completed = f"t.{status.quoted}::text = ANY(%s)"
        words = [str(word) for word in self._completed_words()]
        return len(self._values("1", f"{among} AND {completed}", [str(it) for it in ids], words))

    def _time_to_write(self, role: str, at: float) -> Scalar:
        """``at`` as the column's type has it; in a column of text, as its other values have it."""
        form = self._columns()[role].form
        if form is Form.INSTANT:
            return iso(at)
        if form is Form.NAIVE:
            text = iso(at).removesuffix("+00:00")
            ahead = offset_at(self._times.zone_to_write(text, role))(at)
            return iso(at + ahead).removesuffix("+00:00")
        return super()._time_to_write(role, at)

    def _examples(self, role: str) -> Sequence[Scalar]:
        column = self._columns()[role]
        values = self._values(column.exchanged, f"t.{column.quoted} IS NOT NULL", most=_EXAMPLES)
        return [value for value in values if isinstance(value, (str, int))]

    def _values(
        self, expression: str, condition: str, *values: list[str], most: int | None = None
    ) -> list[object]:
        """The value of an expression for rows of which the condition holds."""
        layout = self._known_layout()
        limit = "" if most is None else f" LIMIT {most}"
        statement = (
            f"SELECT {expression} FROM {layout.table} AS t "
            f"WHERE {condition} AND {layout.filter}{limit}"
        ).encode()
        return self._session.do(lambda it: [v for (v,) in it.execute(statement, values)])


_HELD = """, held AS MATERIALIZED (
SELECT planned.n, t.tableoid AS relation, t.ctid AS place FROM {table} AS t JOIN planned
ON t.{id} {equal} planned.id AND t.{id}::text COLLATE "C" = planned.id::text{same} AND {filter}
FOR UPDATE OF t SKIP LOCKED)
"""
_HERE = "t.tableoid = held.relation AND t.ctid = held.place RETURNING held.n"


def guarded(
    layout: PgLayout, batch: Sequence[Action], written: Written
) -> tuple[bytes, bytes, list[Scalar]]:
    """Two statements and their values: one changes the rows that are still as planned and that
    are not locked, the other finds those that are as the change leaves them. Both return which."""
    columns, identity = layout.columns, layout.columns["id"]
    guard = DELETE_GUARD if written is None else CANCEL_GUARD
    kept = [(place, columns[role]) for place, role in enumerate(guard) if role in columns]
    casts = ["%s::int", f"%s::{identity.type}", *(f"%s::{column.cast}" for _, column in kept)]
    names = "".join(f", g{place}" for place, _ in kept)
    rows = ", ".join([f"({', '.join(casts)})"] * len(batch))
    planned = f"WITH planned (n, id{names}) AS (VALUES {rows})"
    held = _HELD.format(
        table=layout.table,
        id=identity.quoted,
        equal=EQUAL,
        same="".join(
            f" AND {column.exchanged} IS NOT DISTINCT FROM planned.g{place}"
            for place, column in kept
        ),
        filter=layout.filter,
    )
    values: list[Scalar] = []
    for n, action in enumerate(batch):
        values += (n, str(action.id), *(action.guard[place] for place, _ in kept))
    row = f"EXISTS (SELECT FROM {layout.table} AS t WHERE t.{identity.quoted} {EQUAL} planned.id"
    if written is None:
        change, done = f"DELETE FROM {layout.table} AS t USING held WHERE", f"NOT {row})"
    else:
        new = [(columns[role], value) for role, value in written.items()]
        news = ", ".join(f"{column.quoted} = %s::{column.type}" for column, _ in new)
        change = f"UPDATE {layout.table} AS t SET {news} FROM held WHERE"
        same = (
            f" AND t.{column.quoted}::text IS NOT DISTINCT FROM (%s::{column.type})::text"
            for column, _ in new
        )
        done = f"{row}{''.join(same)})"
        values += (None if value is None else str(value) for _, value in new)
    changing = f"{planned}{held}{change} {_HERE}"
    is_done = f"{planned} SELECT planned.n FROM planned WHERE {done}"
    return changing.encode(), is_done.encode(), values
