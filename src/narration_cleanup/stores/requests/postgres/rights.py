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


def excess_rights(connection: Connection) -> tuple[str, list[str]]:
    """The role, and those of its attributes that no clean-up needs."""
    names = ("superuser", "createrole", "createdb", "replication", "bypassrls")
    row = connection.execute(
        "SELECT rolname::text, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls "
        "FROM pg_catalog.pg_roles WHERE rolname = current_user"
    ).fetchone()
    role, *has = row or ("", *(False for _ in names))
    return str(role), [name for name, it in zip(names, has, strict=True) if it]


def check_changing(
    connection: Connection, layout: PgLayout, written: Sequence[Column], deletes: bool, where: str
) -> None:
    """Raise ``TargetError`` where the server or the role does not allow what a run does."""
    row = connection.execute(
        "SELECT pg_catalog.pg_is_in_recovery() OR "
        "pg_catalog.current_setting('transaction_read_only')::bool"
    ).fetchone()
    if row is not None and row[0] is True:
        raise TargetError(
            "database_read_only",
            f"{where}: this server only reads (a standby?); give the primary's address",
        )
    check_reading(connection, layout, where)
    _check(connection, layout, "UPDATE", written, where)
    if deletes:
        asked = "SELECT pg_catalog.has_table_privilege(%s::oid, 'DELETE'), current_user::text"
        answer = connection.execute(asked, (layout.oid,)).fetchone()
        if answer is not None and answer[0] is not True:
            raise _refusal(layout, "DELETE", "DELETE", str(answer[1]), where)


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
