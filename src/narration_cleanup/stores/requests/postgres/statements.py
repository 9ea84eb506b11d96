"""The guarded statements: each changes the rows of a batch that are still what was planned on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from narration_cleanup.core.model import Scalar
from narration_cleanup.plan.actions import CancelRequest, DeleteRequest
from narration_cleanup.stores.requests.postgres.layout import Column, PgLayout
from narration_cleanup.stores.requests.rows import CANCEL_GUARD, DELETE_GUARD

Change = CancelRequest | DeleteRequest

_PLANNED = "WITH planned (n, id{guards}) AS (VALUES {rows})"
_HELD = """, held AS MATERIALIZED (
SELECT planned.n, t.tableoid AS relation, t.ctid AS place FROM {table} AS t JOIN planned
ON t.{id} = planned.id AND t.{id}::text COLLATE "C" = planned.id::text{same} AND {filter}
FOR UPDATE OF t SKIP LOCKED)
"""
_HERE = "t.tableoid = held.relation AND t.ctid = held.place RETURNING held.n"


@dataclass(frozen=True, slots=True)
class Guarded:
    """What to do to the rows of a batch. Both statements return the numbers of its members."""

    layout: PgLayout
    guard: tuple[str, ...]
    changing: str
    values: tuple[Scalar, ...]
    already: str

    def change(self, batch: Sequence[Change]) -> tuple[bytes, list[Scalar]]:
        """Change those that are still as planned and that nobody holds; which ones."""
        same = "".join(
            f" AND {self.layout.columns[role].exchanged} IS NOT DISTINCT FROM planned.g{place}"
            for place, role in self._guarded()
        )
        identity = self.layout.columns["id"].quoted
        held = _HELD.format(
            table=self.layout.table, id=identity, same=same, filter=self.layout.filter
        )
        statement = f"{self._planned(batch)}{held}{self.changing} {_HERE}"
        return statement.encode(), [*self._planned_values(batch), *self.values]

    def is_done(self, batch: Sequence[Change]) -> tuple[bytes, list[Scalar]]:
        """Those that are as the change leaves them; which ones."""
        statement = f"{self._planned(batch)} SELECT planned.n FROM planned WHERE {self.already}"
        return statement.encode(), [*self._planned_values(batch), *self.values]

    def _guarded(self) -> list[tuple[int, str]]:
        columns = self.layout.columns
        return [(place, role) for place, role in enumerate(self.guard) if role in columns]

    def _planned(self, batch: Sequence[Change]) -> str:
        columns = self.layout.columns
        guarded = self._guarded()
        casts = ["%s::int", f"%s::{columns['id'].type}"]
        casts += [f"%s::{columns[role].cast}" for _, role in guarded]
        row = f"({', '.join(casts)})"
        names = "".join(f", g{place}" for place, _ in guarded)
        return _PLANNED.format(guards=names, rows=", ".join([row] * len(batch)))

    def _planned_values(self, batch: Sequence[Change]) -> list[Scalar]:
        places = [place for place, _ in self._guarded()]
        rows = (
            (n, str(action.id), *(action.guard[place] for place in places))
            for n, action in enumerate(batch)
        )
        return list(chain.from_iterable(rows))


def cancelling(layout: PgLayout, written: Sequence[Column], values: Sequence[Scalar]) -> Guarded:
    """Give the columns ``written`` their new ``values``."""
    news = ", ".join(f"{column.quoted} = %s::{column.type}" for column in written)
    identity = layout.columns["id"].quoted
    same = " AND ".join(
        f"t.{column.quoted} IS NOT DISTINCT FROM %s::{column.type}" for column in written
    )
    return Guarded(
        layout,
        CANCEL_GUARD,
        f"UPDATE {layout.table} AS t SET {news} FROM held WHERE",
        tuple(None if value is None else str(value) for value in values),
        f"EXISTS (SELECT FROM {layout.table} AS t WHERE t.{identity} = planned.id AND {same})",
    )


def deleting(layout: PgLayout) -> Guarded:
    """Delete the rows."""
    identity = layout.columns["id"].quoted
    return Guarded(
        layout,
        DELETE_GUARD,
        f"DELETE FROM {layout.table} AS t USING held WHERE",
        (),
        f"NOT EXISTS (SELECT FROM {layout.table} AS t WHERE t.{identity} = planned.id)",
    )
