"""A request table as the database has it: its quoted names, and the key that it is paged by."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType

from narration_cleanup.core.errors import TargetError
from narration_cleanup.core.text import printable
from narration_cleanup.stores.requests.mapping import (
    MOST_WORDS,
    FilterValue,
    RequestMapping,
    all_of_few,
    find_column,
    find_columns,
    forms_of,
    literals_in,
    matching,
    no_such_table,
    not_a_table,
)

_ROWID_NAMES = ("rowid", "_rowid_", "oid")


@dataclass(frozen=True, slots=True)
class Layout:
    """``table`` and ``keys`` are ready for SQL; ``columns`` maps each role that exists likewise.

    ``keys`` order the rows uniquely: the rowid, or the primary key of a table that has none.
    ``filter`` is the condition that a row is one of this service's; ``allowed`` are the statuses
    that a CHECK or a foreign key allows, none where there is neither.
    """

    table: str
    keys: tuple[str, ...]
    columns: Mapping[str, str]
    filter: str = "1"
    allowed: tuple[str, ...] = ()

    @property
    def by_rowid(self) -> bool:
        """Whether the key is the rowid: one whole number."""
        return self.keys[0] in _ROWID_NAMES

    def column(self, role: str) -> str:
        """The quoted column of a role; ``NULL`` where the table has none."""
        return self.columns.get(role, "NULL")


_GENERATED = (2, 3)
"""In ``table_xinfo``: virtual, and stored."""


def quoted(name: str) -> str:
    """``name`` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def read_layout(connection: sqlite3.Connection, mapping: RequestMapping, where: str) -> Layout:
    """Find the mapped table and columns; raises ``TargetError`` that lists the known ones."""
    table, sql = _find_table(connection, mapping.table, where)
    described = connection.execute(f"PRAGMA table_xinfo({quoted(table)})").fetchall()
    names = [str(row[1]) for row in described]
    by_key = sorted((row for row in described if row[5]), key=lambda row: row[5])
    generated = {str(row[1]): row[6] in _GENERATED for row in described}
    found = find_columns(mapping, table, generated, where)
    columns = {role: quoted(name) for role, name in found.items()}
    return Layout(
        # With the schema's name, since a temporary table would go before.
        table=f"main.{quoted(table)}",
        keys=_keys(connection, table, names, [str(row[1]) for row in by_key], where),
        columns=MappingProxyType(columns),
        filter=_filter(mapping.filter, table, names, where),
        allowed=_allowed(sql, columns["status"]) or _referenced(connection, table, found["status"]),
    )


def _allowed(sql: str, status: str) -> tuple[str, ...]:
    name = re.escape(status[1:-1])
    check = rf"CHECK\s*\(\s*[\"`\[]?{name}[\"`\]]?\s+IN\s*\(([^()]*)\)\s*\)"
    found = re.search(check, sql, re.IGNORECASE)
    return literals_in(found[1]) if found else ()


def _referenced(connection: sqlite3.Connection, table: str, status: str) -> tuple[str, ...]:
    """The words of the table that a foreign key of the status alone refers to, if it is there."""
    listed = connection.execute(f"PRAGMA foreign_key_list({quoted(table)})").fetchall()
    sizes = Counter(key for key, *_ in listed)
    for key, _, parent, column, referred, *_ in listed:
        if sizes[key] == 1 and matching(status, [column]):
            described = connection.execute(f"PRAGMA table_info({quoted(parent)})").fetchall()
            keys = [name for _, name, *_, place in described if place == 1]
            for name in [referred] if referred is not None else keys:
                source = f"main.{quoted(parent)} LIMIT {MOST_WORDS}"
                with suppress(sqlite3.OperationalError):  # no such table, as SQLite allows
                    found = connection.execute(f"SELECT DISTINCT {quoted(name)} FROM {source}")
                    return all_of_few(word for (word,) in found)
    return ()


def _find_table(connection: sqlite3.Connection, wanted: str, where: str) -> tuple[str, str]:
    """Its name and its SQL."""
    rows = connection.execute(
        "SELECT name, type, sql FROM main.sqlite_master WHERE type IN ('table', 'view')"
    ).fetchall()
    found = {str(name): (str(kind), str(sql)) for name, kind, sql in rows}
    name = matching(wanted, list(found))
    if name is None:
        tables = [
            each
            for each, (kind, _) in found.items()
            if kind == "table" and not each.startswith("sqlite_")
        ]
        raise no_such_table(where, wanted, tables)
    kind, sql = found[name]
    if kind == "view" or sql.upper().startswith("CREATE VIRTUAL"):
        raise not_a_table(where, name, "a view" if kind == "view" else "a virtual table")
    return name, sql


def _filter(
    wanted: Mapping[str, Sequence[FilterValue]], table: str, names: list[str], where: str
) -> str:
    conditions = []
    for column, values in wanted.items():
        name = find_column(column, table, names, where, "requests.filter")
        literals = ", ".join(
            f"'{form.replace(chr(39), chr(39) * 2)}'" if isinstance(form, str) else repr(form)
            for value in values
            if value is not None
            for form in ([value] if isinstance(value, float) else forms_of(value))
        )
        # BINARY, since a column's own collation may be laxer.
        same = f"{quoted(name)} COLLATE BINARY IN ({literals})"
        missing = f" OR {quoted(name)} IS NULL" if None in values else ""
        conditions.append(f"({same}{missing})")
    return " AND ".join(conditions) or "1"


def _keys(
    connection: sqlite3.Connection, table: str, names: list[str], by_key: list[str], where: str
) -> tuple[str, ...]:
    taken = {name.lower() for name in names}
    rowid = next((name for name in _ROWID_NAMES if name not in taken), None)
    if rowid is not None:
        try:
            connection.execute(f"SELECT {rowid} FROM main.{quoted(table)} LIMIT 0").close()
        except sqlite3.OperationalError as fault:
            if fault.sqlite_errorcode != sqlite3.SQLITE_ERROR:  # no such column: WITHOUT ROWID
                raise
        else:
            return (rowid,)
    if not by_key:
        raise TargetError(
            "no_such_column",
            f"{where}: table {printable(table)} has neither a rowid nor a primary key",
        )
    return tuple(map(quoted, by_key))
