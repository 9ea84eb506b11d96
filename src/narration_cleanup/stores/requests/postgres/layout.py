"""The request table as the catalogue has it: its columns and their types, ready for SQL."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from types import MappingProxyType

from psycopg import DataError, sql

from narration_cleanup.core.errors import TargetError
from narration_cleanup.core.text import printable
from narration_cleanup.stores.requests.mapping import (
    MOST_WORDS,
    FilterValue,
    RequestMapping,
    all_of_few,
    find_column,
    find_columns,
    literals_in,
    no_such_table,
    not_a_table,
)
from narration_cleanup.stores.requests.postgres.session import EQUAL, Connection

_TABLES = """\
SELECT c.oid::int8, n.nspname, c.relname, c.relkind::text, pg_catalog.pg_table_is_visible(c.oid)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^(pg_|information_schema$)'
ORDER BY n.nspname, c.relname"""
_COLUMNS = """\
SELECT a.attname, b.typname, pg_catalog.format_type(b.oid, -1), a.attgenerated::text
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
JOIN pg_catalog.pg_type b ON b.oid = coalesce(nullif(t.typbasetype, 0::oid), t.oid)
WHERE a.attrelid = %s::oid AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum"""
_WORDS = """\
SELECT e.enumlabel::text FROM pg_catalog.pg_enum e
JOIN pg_catalog.pg_type t ON e.enumtypid IN (t.oid, t.typbasetype)
JOIN pg_catalog.pg_attribute a ON a.atttypid = t.oid
WHERE a.attrelid = %s::oid AND a.attname = %s ORDER BY e.enumsortorder"""
_CHECKS = f"""\
SELECT pg_catalog.pg_get_constraintdef(c.oid) FROM pg_catalog.pg_constraint c
JOIN pg_catalog.pg_attribute a ON a.attrelid = %s::oid AND a.attname = %s
WHERE c.contype = 'c' AND (
c.contypid = a.atttypid OR (c.conrelid = a.attrelid AND c.conkey {EQUAL} ARRAY[a.attnum]))"""
_REFERENCED = f"""\
SELECT f.attname, n.nspname, r.relname FROM pg_catalog.pg_constraint c
JOIN pg_catalog.pg_attribute a ON a.attrelid = %s::oid AND a.attname = %s
JOIN pg_catalog.pg_class r ON r.oid = c.confrelid
JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
JOIN pg_catalog.pg_attribute f ON f.attrelid = r.oid AND f.attnum = c.confkey[1]
WHERE c.contype = 'f' AND c.conrelid = a.attrelid AND c.conkey {EQUAL} ARRAY[a.attnum]
AND NOT r.relrowsecurity AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
AND pg_catalog.has_column_privilege(r.oid, f.attnum, 'SELECT')"""
_ONE_OF = re.compile(r"CHECK \(\([^']* = ANY \([^)]*\)(?:::[a-z]+\[\]\))?\)\)")
_OTHER_KINDS = {"v": "a view", "m": "a materialized view", "f": "a foreign table"}


class Form(Enum):
    """How a column's values are exchanged."""

    NUMBER = auto()
    TEXT = auto()
    INSTANT = auto()
    NAIVE = auto()


_FORMS = {
    "int2": Form.NUMBER,
    "int4": Form.NUMBER,
    "int8": Form.NUMBER,
    "timestamptz": Form.INSTANT,
    "timestamp": Form.NAIVE,
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column: ``quoted`` and ``type`` are ready for SQL."""

    name: str
    quoted: str
    type: str
    form: Form

    @property
    def is_time(self) -> bool:
        """Whether it has a type of times."""
        return self.form in (Form.INSTANT, Form.NAIVE)

    @property
    def cast(self) -> str:
        """The type in which its values are exchanged."""
        return "int8" if self.form is Form.NUMBER else "text"

    @property
    def exchanged(self) -> str:
        """The expression for its value as it is read, and compared with later: exact.

        Times become text with all their digits (the session's zone is UTC), with a ``T``, so
        that no ``timestamp`` is mistaken for SQLite's form of UTC.
        """
        text = f"t.{self.quoted}::{self.cast}"
        return f"pg_catalog.replace({text}, ' ', 'T')" if self.is_time else text


@dataclass(frozen=True, slots=True)
class PgLayout:
    """``table`` is ready for SQL; ``columns`` has each role that exists.

    ``filter`` is the condition that a row ``t`` is one of this service's, and ``filtered`` are the
    columns in it. ``allowed`` are the statuses that an enum, a CHECK or a foreign key allows, none
    where there is none of them.
    """

    oid: int
    printable: str
    table: str
    columns: Mapping[str, Column] = field(default_factory=dict)
    filter: str = "true"
    filtered: tuple[Column, ...] = ()
    allowed: tuple[str, ...] = ()

    @property
    def times(self) -> frozenset[str]:
        """The roles whose column has a type of times."""
        return frozenset(role for role, column in self.columns.items() if column.is_time)


def quoted(name: str) -> str:
    """``name`` as an SQL identifier, in a statement that takes parameters."""
    return '"' + name.replace('"', '""').replace("%", "%%") + '"'


def read_layout(connection: Connection, mapping: RequestMapping, where: str) -> PgLayout:
    """Find the mapped table and columns; raises ``TargetError`` that lists the known ones."""
    tables = [
        (number, str(schema), str(name), str(kind), visible is True)
        for number, schema, name, kind, visible in connection.execute(_TABLES)
        if isinstance(number, int)
    ]
    table = _find_table(mapping.table, tables)
    if table is None:
        known = [
            name if visible else f"{schema}.{name}"
            for _, schema, name, kind, visible in tables
            if kind in "rp"
        ]
        raise no_such_table(where, mapping.table, known)
    oid, schema, name, kind, _ = table
    if kind in _OTHER_KINDS:
        raise not_a_table(where, name, _OTHER_KINDS[kind])
    columns, generated = list[Column](), dict[str, bool]()
    for each, base, of_type, made in connection.execute(_COLUMNS, (oid,)):
        form = _FORMS.get(str(base), Form.TEXT)
        columns.append(Column(str(each), quoted(str(each)), str(of_type), form))
        generated[str(each)] = bool(made)
    by_name = {column.name: column for column in columns}
    names = list(by_name)
    filtered = {
        by_name[find_column(each, name, names, where, "requests.filter")]: values
        for each, values in mapping.filter.items()
    }
    found = find_columns(mapping, name, generated, where)
    roles = {role: by_name[each] for role, each in found.items()}
    if mapping.error_text is not None and "error" in roles:
        _try_text(connection, mapping.error_text, roles["error"], where)
    conditions = [_condition(connection, column, values) for column, values in filtered.items()]
    return PgLayout(
        oid,
        printable(f"{schema}.{name}"),
        f"{quoted(schema)}.{quoted(name)}",
        MappingProxyType(roles),
        " AND ".join(conditions) or "true",
        tuple(filtered),
        allowed_words(connection, oid, roles["status"].name),
    )


def _try_text(connection: Connection, text: str, column: Column, where: str) -> None:
    """Raise ``TargetError`` where the server takes ``text`` for no value of the column's type."""
    try:
        connection.execute(f"SELECT %s::text::{column.type}", (text,))
    except DataError:
        raise TargetError(
            "unsuitable_column",
            f"{where}: column {printable(column.name)} is of type {column.type}, which "
            f"{printable(text)} is no value of; set requests.error_text",
        ) from None


def allowed_words(connection: Connection, oid: int, column: str) -> tuple[str, ...]:
    """The words that an enum, a CHECK or a foreign key allows in a column; none where there is
    none of them."""
    words = tuple(str(word) for (word,) in connection.execute(_WORDS, (oid, column)))
    for (check,) in connection.execute(_CHECKS, (oid, column)):
        if not words and _ONE_OF.fullmatch(str(check)):
            words = literals_in(str(check))
    for referred in connection.execute(_REFERENCED, (oid, column)):
        if not words:
            name, schema, table = (quoted(str(each)) for each in referred)
            source = f"{schema}.{table} LIMIT {MOST_WORDS}"
            listed = connection.execute(f"SELECT DISTINCT {name}::text FROM {source}")
            words = all_of_few(word for (word,) in listed)
    return words


def _condition(connection: Connection, column: Column, values: Sequence[FilterValue]) -> str:
    """That a column has one of ``values``, compared as text: an enum may lack a word."""
    words = {"0": "false", "1": "true"} if column.type == "boolean" else {}
    literals = [
        sql.Literal(words.get(str(value), str(value))).as_string(connection).replace("%", "%%")
        for value in values
        if value is not None
    ]
    text = f"t.{column.quoted}::text"
    missing = f" OR t.{column.quoted} IS NULL" if None in values else ""
    return f'({text} COLLATE "C" = ANY(ARRAY[{", ".join(literals)}]::text[]){missing})'


_Table = tuple[int, str, str, str, bool]


def _find_table(wanted: str, found: Sequence[_Table]) -> _Table | None:
    """The table of that name in the search path, or of ``schema.name`` anywhere."""
    for same in (str, str.lower):
        for each in found:
            if each[4] and same(each[2]) == same(wanted):
                return each
        for each in found:
            if same(f"{each[1]}.{each[2]}") == same(wanted):
                return each
    return None
