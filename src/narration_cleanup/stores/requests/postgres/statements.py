"""The guarded statements: each changes the rows of a batch that are still what was planned on."""

from __future__ import annotations

from collections.abc import Sequence

from narration_cleanup.core.model import Scalar
from narration_cleanup.stores.requests.postgres.layout import PgLayout
from narration_cleanup.stores.requests.rows import CANCEL_GUARD, DELETE_GUARD
from narration_cleanup.stores.requests.store import Change, Written

_HELD = """, held AS MATERIALIZED (
SELECT planned.n, t.tableoid AS relation, t.ctid AS place FROM {table} AS t JOIN planned
ON t.{id} = planned.id AND t.{id}::text COLLATE "C" = planned.id::text{same} AND {filter}
FOR UPDATE OF t SKIP LOCKED)
"""
_HERE = "t.tableoid = held.relation AND t.ctid = held.place RETURNING held.n"


def guarded(
    layout: PgLayout, batch: Sequence[Change], written: Written
) -> tuple[bytes, bytes, list[Scalar]]:
    """Two statements and their values: one changes the rows that are still as planned and that
    nobody holds, the other finds those that are as the change leaves them. Both return which."""
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
        same="".join(
            f" AND {column.exchanged} IS NOT DISTINCT FROM planned.g{place}"
            for place, column in kept
        ),
        filter=layout.filter,
    )
    values: list[Scalar] = []
    for n, action in enumerate(batch):
        values += (n, str(action.id), *(action.guard[place] for place, _ in kept))
    row = f"EXISTS (SELECT FROM {layout.table} AS t WHERE t.{identity.quoted} = planned.id"
    if written is None:
        change, done = f"DELETE FROM {layout.table} AS t USING held WHERE", f"NOT {row})"
    else:
        new = [(columns[role], value) for role, value in written.items()]
        news = ", ".join(f"{column.quoted} = %s::{column.type}" for column, _ in new)
        change = f"UPDATE {layout.table} AS t SET {news} FROM held WHERE"
        same = (
            f" AND t.{column.quoted} IS NOT DISTINCT FROM %s::{column.type}" for column, _ in new
        )
        done = f"{row}{''.join(same)})"
        values += (None if value is None else str(value) for _, value in new)
    changing = f"{planned}{held}{change} {_HERE}"
    is_done = f"{planned} SELECT planned.n FROM planned WHERE {done}"
    return changing.encode(), is_done.encode(), values
