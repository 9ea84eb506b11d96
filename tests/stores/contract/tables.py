"""Request tables to run one suite of tests over: each kind of database behind the same few calls.

A test writes SQL that all of them understand (``TEXT``, ``BIGINT``, ``DOUBLE PRECISION``, ``?`` for
a value), and opens the table as the tool does.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol

from narration_cleanup.core.model import Scalar
from narration_cleanup.stores.requests import open_requests
from narration_cleanup.stores.requests.mapping import RequestMapping
from narration_cleanup.stores.requests.store import RequestStore
from tests.opened import closed_later

SERVICE_TABLE = """\
CREATE TABLE requests (
  request_id TEXT PRIMARY KEY,
  variant_id TEXT NOT NULL,
  status TEXT NOT NULL,
  created_at TEXT,
  started_at TEXT,
  completed_at TEXT,
  error TEXT
)"""
"""The live service's table, as far as the tool has to do with it."""


class Table(Protocol):
    """One database that a test has for itself."""

    def execute(self, statement: str, *rows: Sequence[object]) -> None:
        """Execute and commit; once for each row of values, or once where there are none."""

    def rows(self, table: str = "requests") -> list[tuple[object, ...]]:
        """Every row, whole, in the order of its columns' values."""

    def open(self, mapping: RequestMapping) -> RequestStore:
        """The table as the tool sees it."""


class SqliteTable:
    """A database file, in WAL mode or with a rollback journal."""

    def __init__(self, path: Path, *, wal: bool) -> None:
        self.path = path
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(f"PRAGMA journal_mode={'WAL' if wal else 'DELETE'}")

    def execute(self, statement: str, *rows: Sequence[object]) -> None:
        with closing(sqlite3.connect(self.path)) as connection:
            if rows:
                connection.executemany(statement, rows)
            else:
                connection.execute(statement)
            connection.commit()

    def rows(self, table: str = "requests") -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self.path)) as connection:
            found = connection.execute(f'SELECT * FROM "{table}"').fetchall()
        return sorted(found, key=repr)

    def open(self, mapping: RequestMapping) -> RequestStore:
        return closed_later(open_requests(str(self.path), mapping))


def insert(table: Table, rows: Iterable[Sequence[Scalar]], name: str = "requests") -> None:
    """Insert whole rows."""
    all_rows = list(rows)
    if all_rows:
        marks = ", ".join("?" * len(all_rows[0]))
        table.execute(f'INSERT INTO "{name}" VALUES ({marks})', *all_rows)


class PostgresTable:
    """A database of its own on a real server."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._opened: list[RequestStore] = []

    def execute(self, statement: str, *rows: Sequence[object]) -> None:
        import psycopg

        query = statement.replace("%", "%%").replace("?", "%s").encode()
        with psycopg.connect(self.url) as connection:
            if rows:
                connection.cursor().executemany(query, rows)
            else:
                connection.execute(query, ())

    def rows(self, table: str = "requests") -> list[tuple[object, ...]]:
        import psycopg

        with psycopg.connect(self.url) as connection:
            found = connection.execute(f'SELECT * FROM "{table}"'.encode()).fetchall()
        return sorted(found, key=repr)

    def open(self, mapping: RequestMapping) -> RequestStore:
        store = open_requests(self.url, mapping)
        self._opened.append(store)
        return store

    def close(self) -> None:
        """Close what a test left open."""
        for store in self._opened:
            store.close()
