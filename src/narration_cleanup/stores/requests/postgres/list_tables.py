"""The tables of a PostgreSQL database, for an inspection of one whose layout is not known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby

from psycopg import sql

from narration_cleanup.stores.requests.postgres.layout import allowed_words
from narration_cleanup.stores.requests.postgres.session import Session

_COLUMNS = """
SELECT c.oid, n.nspname, c.relname, a.attname
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p') AND n.nspname <> 'information_schema'
  AND NOT pg_catalog.starts_with(n.nspname::text, 'pg_')
  AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
  AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
ORDER BY n.nspname, c.relname, c.oid, a.attnum
"""

Table = tuple[str, list[str], Callable[[str], list[object]], Callable[[str], list[str]]]
"""Its name, its columns, the values in a column, and those that a CHECK or an enum allows."""


def read_tables(url: str, most: int) -> Iterator[Table]:
    """Each table that may be read; at most so many values of a column.

    Raises ``TargetError`` where the server cannot be asked, ``ConfigError`` for a wrong URL.
    """
    session = Session(url)
    try:
        rows = session.do(lambda it: it.execute(_COLUMNS).fetchall())
        for (oid, schema, name), columns in groupby(rows, key=lambda row: row[:3]):

            def distinct(
                column: str, of: tuple[str, str] = (str(schema), str(name))
            ) -> list[object]:
                query = sql.SQL("SELECT DISTINCT {} FROM {} LIMIT {}").format(
                    sql.Identifier(column), sql.Identifier(*of), sql.Literal(most)
                )
                return session.do(lambda it: [row[0] for row in it.execute(query).fetchall()])

            def allowed(column: str, oid: int = int(str(oid))) -> list[str]:
                return list(session.do(lambda it: allowed_words(it, oid, column)))

            shown = str(name) if schema == "public" else f"{schema}.{name}"
            yield shown, [str(row[3]) for row in columns], distinct, allowed
    finally:
        session.close()
