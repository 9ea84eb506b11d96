"""A survey of a request table in PostgreSQL: counted by status, and streamed from a cursor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import psycopg

from narration_cleanup.core.model import ACTIVE, FINISHED, RequestStatus
from narration_cleanup.core.text import storable
from narration_cleanup.core.zones import TableTimes
from narration_cleanup.stores.requests.mapping import RequestMapping, Statuses, forms_of
from narration_cleanup.stores.requests.postgres.layout import Form, PgLayout
from narration_cleanup.stores.requests.postgres.session import EQUAL, Connection, Session
from narration_cleanup.stores.requests.rows import NULL, SELECTED
from narration_cleanup.stores.requests.survey import MOST_NAMED, Pages, Row, TableSurvey

PAGE = 2_000
"""Rows fetched, and handed on, at a time."""


class PostgresSurvey(TableSurvey):
    """Each stream is a server-side cursor: one pass, nothing held here."""

    def __init__(
        self, session: Session, layout: PgLayout, mapping: RequestMapping, times: TableTimes
    ) -> None:
        names = {role: column.name for role, column in layout.columns.items()}
        super().__init__(names, layout.allowed, mapping, session.location, times, layout.times)
        self._session = session
        self._layout = layout

    def _counts(self) -> dict[object, int]:
        status = self._layout.columns["status"].exchanged
        statement = f"SELECT {status}, pg_catalog.count(*) FROM {self._layout.table} AS t "
        statement += f"WHERE {self._layout.filter} GROUP BY 1"
        rows = self._session.do(lambda it: it.execute(statement.encode(), ()).fetchall())
        return {raw: count for raw, count in rows if isinstance(count, int)}

    def _named(self, identity: str) -> Sequence[Row]:
        columns, layout = self._layout.columns, self._layout
        selected = (columns[role].exchanged if role in columns else "NULL" for role in SELECTED)
        key, values = columns["id"], [identity]
        condition = f"{key.exchanged} = %s::{key.cast}"
        is_number = isinstance(forms_of(identity)[-1], int)
        if storable(identity) != identity or (key.form is Form.NUMBER and not is_number):
            condition, values = "false", []
        if identity == NULL:
            condition += f" OR {key.exchanged} IS NULL"
        statement = (
            f"SELECT {layout.filter}, {', '.join(selected)} FROM {layout.table} AS t "
            f"WHERE {condition} LIMIT {MOST_NAMED}"
        ).encode()
        return self._session.do(lambda it: it.execute(statement, values).fetchall())

    def _active(self) -> Pages:
        return self._stream(ACTIVE)

    def _finished(self, before: float) -> Pages:
        completed_at = self._layout.columns["completed_at"]
        if completed_at.form is not Form.INSTANT:  # only we know how it is to be read
            return self._stream(FINISHED)
        condition = f" AND (t.{completed_at.quoted} < pg_catalog.to_timestamp(%s)"
        condition += f" OR t.{completed_at.quoted} IS NULL)"
        return self._stream(FINISHED, condition, [before])

    def _stream(
        self,
        statuses: Sequence[RequestStatus],
        condition: str = "",
        values: Sequence[float] = (),
    ) -> Pages:
        columns = self._layout.columns
        status = columns["status"]
        words = self._mapping.statuses.values(statuses)
        if status.form is Form.NUMBER:
            words = [word for word in words if isinstance(word, int)]
        if not words:
            return
        among = words if status.form is Form.NUMBER else [str(word) for word in words]
        left = (
            status.exchanged if status.type not in _COMPARED_AS_THEY_ARE else f"t.{status.quoted}"
        )
        selected = (columns[role].exchanged if role in columns else "NULL" for role in SELECTED)
        statement = (
            f"SELECT {', '.join(selected)} FROM {self._layout.table} AS t "
            f"WHERE {self._layout.filter} AND {left} {EQUAL} ANY(%s::{status.cast}[]){condition}"
        )
        yield from self._pages(statement, [among, *values])

    def _pages(self, statement: str, values: Sequence[object]) -> Iterator[list[Row]]:
        """The rows in pages; a connection that drops before the first of them is made anew."""

        def begin(connection: Connection) -> tuple[psycopg.ServerCursor[Row], list[Row]]:
            if connection.info.transaction_status:
                connection.rollback()
            connection.execute("BEGIN READ ONLY")
            cursor = connection.cursor("narration_cleanup")
            cursor.execute(statement.encode(), values)
            return cursor, cursor.fetchmany(PAGE)

        cursor, rows = self._session.do(begin)
        try:
            while rows:
                yield rows
                rows = cursor.fetchmany(PAGE) if len(rows) == PAGE else []
        except psycopg.Error as fault:
            raise self._session.to_target_error(fault) from None
        finally:
            if not cursor.connection.closed:
                cursor.close()
                cursor.connection.rollback()


_COMPARED_AS_THEY_ARE = ("text", "character varying", "smallint", "integer", "bigint")
"""Types whose index on the status can serve; an enum would refuse a word that it lacks."""


def newest_times(
    connection: Connection, layout: PgLayout, statuses: Statuses
) -> list[tuple[str, str]]:
    """The newest time of each written form in each column, cancelled rows aside."""
    newest = [
        (
            role,
            f'pg_catalog.max({column.exchanged} COLLATE "C") '
            f"FILTER (WHERE {column.exchanged} ~ '^.{{10}}{separator}.{{8}}{fraction}$')",
        )
        for role, column in layout.columns.items()
        if role.endswith("_at")
        and role != "scheduled_at"
        and column.form in (Form.TEXT, Form.NAIVE)
        for separator in ("T", " ")
        for fraction in ("", r"[.,][0-9]+")
    ]
    if not newest:
        return []
    cancelled = [str(word) for word in statuses.values([RequestStatus.CANCELLED])]
    statement = (
        f"SELECT {', '.join(each for _, each in newest)} FROM {layout.table} AS t "
        f"WHERE {layout.filter} AND t.{layout.columns['status'].quoted}::text <> ALL(%s)"
    )
    found = connection.execute(statement.encode(), (cancelled,)).fetchone()
    roles = [role for role, _ in newest]
    values = zip(roles, found or (), strict=False)
    return [(role, value) for role, value in values if isinstance(value, str)]
