"""What the role may do, asked before a run starts instead of found out in its middle."""

from __future__ import annotations

from collections.abc import Sequence

from narration_cleanup.core.errors import TargetError
from narration_cleanup.core.text import printable
from narration_cleanup.stores.requests.postgres.layout import Column, PgLayout
from narration_cleanup.stores.requests.postgres.session import Connection


def check_reading(connection: Connection, layout: PgLayout, where: str) -> None:
    """Raise ``TargetError`` where the role may not read the columns that are mapped."""
    needed = (*layout.columns.values(), *layout.filtered)
    columns = list({column.name: column for column in needed}.values())
    _check(connection, layout, "SELECT", columns, where)


def check_changing(
    connection: Connection, layout: PgLayout, written: Sequence[Column], deletes: bool, where: str
) -> None:
    """Raise ``TargetError`` where the server or the role does not allow what a run does."""
    row = connection.execute(
        "SELECT pg_catalog.pg_is_in_recovery(), "
        "pg_catalog.current_setting('transaction_read_only')::bool"
    ).fetchone()
    if row is not None and True in row:
        why = "this server is a standby, which only reads; give the primary's address"
        if row[0] is not True:
            why = (
                "default_transaction_read_only is on for this role, database or server; if this is "
                "the database that is meant, ALTER ROLE ... SET default_transaction_read_only = off"
            )
        raise TargetError("database_read_only", f"{where}: {why}")
    check_reading(connection, layout, where)
    _check(connection, layout, "UPDATE", written, where)
    if deletes:
        asked = "SELECT pg_catalog.has_table_privilege(%s::oid, 'DELETE'), current_user::text"
        answer = connection.execute(asked, (layout.oid,)).fetchone()
        if answer is not None and answer[0] is not True:
            raise _refusal(layout, "DELETE", "DELETE", str(answer[1]), where)


def rights_beyond(connection: Connection, layout: PgLayout, deletes: bool) -> list[str]:
    """What the role may do that no run needs, in words."""
    row = connection.execute(_BEYOND, {"table": layout.oid, "deletes": deletes}).fetchone() or ()
    is_superuser, *rest = row
    if is_superuser is True:
        return ["it is a superuser"]
    return [words for words, may in zip(_BEYOND_WORDS, rest, strict=True) if may is True]


_BEYOND = """\
SELECT r.rolsuper, r.rolcreaterole, r.rolcreatedb, r.rolreplication, r.rolbypassrls,
pg_catalog.pg_has_role(c.relowner, 'USAGE'),
pg_catalog.has_table_privilege(c.oid, 'INSERT'), pg_catalog.has_table_privilege(c.oid, 'TRUNCATE'),
pg_catalog.has_table_privilege(c.oid, 'DELETE') AND NOT %(deletes)s::bool
FROM pg_catalog.pg_roles r, pg_catalog.pg_class c
WHERE r.rolname = current_user AND c.oid = %(table)s::oid"""
_BEYOND_WORDS = (
    "it may create roles",
    "it may create databases",
    "it may replicate",
    "it bypasses row security",
    "it owns the table",
    "it may INSERT",
    "it may TRUNCATE",
    "it may DELETE",
)


def _check(
    connection: Connection, layout: PgLayout, right: str, columns: Sequence[Column], where: str
) -> None:
    missing = []
    role = ""
    for column in columns:
        answer = connection.execute(
            "SELECT pg_catalog.has_column_privilege(%s::oid, %s, %s), current_user::text",
            (layout.oid, column.name, right),
        ).fetchone()
        if answer is not None:
            role = str(answer[1])
            if answer[0] is not True:
                missing.append(column.quoted.replace("%%", "%"))
    if missing:
        raise _refusal(layout, right, f"{right} ({', '.join(missing)})", role, where)


def _refusal(layout: PgLayout, right: str, wanted: str, role: str, where: str) -> TargetError:
    return TargetError(
        "no_rights",
        f"{where}: the role {printable(role)} has no right to {right} what it must in "
        f"{layout.printable}: "
        f"GRANT {printable(wanted)} ON {layout.printable} TO {printable(role)}",
    )
