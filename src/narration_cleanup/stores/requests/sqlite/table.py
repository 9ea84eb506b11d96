"""A request table in SQLite, used beside the service that owns it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from narration_cleanup.core.model import RequestSurvey, Scalar
from narration_cleanup.core.text import printable
from narration_cleanup.core.zones import IndexTimes
from narration_cleanup.plan.actions import Outcome
from narration_cleanup.stores.requests.batches import min_batch_size, next_batch_size
from narration_cleanup.stores.requests.mapping import RequestMapping
from narration_cleanup.stores.requests.rows import CANCEL_GUARD, DELETE_GUARD, shown_id, stored_id
from narration_cleanup.stores.requests.sqlite.database import look, recover
from narration_cleanup.stores.requests.sqlite.errors import to_target_error
from narration_cleanup.stores.requests.sqlite.layout import Layout, read_layout
from narration_cleanup.stores.requests.sqlite.survey import (
    PAGE,
    SqliteSurvey,
    last_write,
    newest_times,
)
from narration_cleanup.stores.requests.sqlite.transactions import Writer
from narration_cleanup.stores.requests.store import (
    BATCH,
    Change,
    RequestStore,
    RowRefusedError,
    Written,
)

_FIRST_BATCH = 100
"""Rows of the first batch, and the fewest that are asked for where it is the disk that takes long:
a transaction on a rollback journal waits for it several times, however few rows it changes."""
_EXAMPLES = 50


class SqliteRequests(RequestStore):
    """A file; the run lock of one machine is enough for it."""

    def __init__(
        self,
        path: Path,
        mapping: RequestMapping,
        *,
        now: float | None = None,
        index: IndexTimes | None = None,
    ) -> None:
        super().__init__(mapping, now, index)
        self._path = path
        self._layout: Layout | None = None
        self._writer: Writer | None = None
        self._batch_size = _FIRST_BATCH

    @property
    def location(self) -> str:
        return printable(self._path)

    @property
    def batch_size(self) -> int:
        return self._batch_size

    def recover(self) -> bool:
        return recover(self._path)

    def survey(self) -> RequestSurvey:
        self._layout = None
        layout = self._known_layout()
        if not self._times.is_judged:
            newest = look(self._path, partial(newest_times, layout=layout, mapping=self._mapping))
            self._times.judge(newest, last_write(self._path))
        return SqliteSurvey(self._path, layout, self._mapping, self.location, self._times)

    def free_pages(self) -> int | None:
        return self._number("PRAGMA freelist_count")

    def close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _known_layout(self) -> Layout:
        if self._layout is None:
            mapping, where = self._mapping, self.location
            self._layout = look(self._path, lambda it: read_layout(it, mapping, where))
        return self._layout

    def _columns(self) -> Mapping[str, str]:
        return self._known_layout().columns

    def _transaction(self, batch: Sequence[Change], written: Written) -> list[Outcome]:
        one = self._guarded(written)
        try:
            if self._writer is None:
                self._writer = Writer(self._path)
            writer = self._writer
            outcomes = writer.transaction(lambda it: [one(it, action) for action in batch])
        except sqlite3.IntegrityError as fault:
            self._batch_size = min(self._batch_size, _FIRST_BATCH)
            why = f"the database refuses the change: {printable(fault)}"
            raise RowRefusedError(why) from fault
        except sqlite3.Error as fault:
            self.close()
            raise to_target_error(fault, self._path) from fault
        if len(batch) >= min(self._batch_size, _FIRST_BATCH):
            least = min_batch_size(len(batch), writer.worked, writer.goal, most=_FIRST_BATCH)
            self._batch_size = next_batch_size(
                len(batch), writer.held, writer.goal, least=least, most=BATCH
            )
        return outcomes

    def _guarded(self, written: Written) -> Callable[[sqlite3.Connection, Change], Outcome]:
        """What changes one row, while it is still what was planned on."""
        layout = self._known_layout()
        guard = DELETE_GUARD if written is None else CANCEL_GUARD
        kept = [place for place, role in enumerate(guard) if role in layout.columns]
        statement = f"DELETE FROM {layout.table}"
        if written is not None:
            news = ", ".join(f"{layout.column(role)} = ?" for role in written)
            statement = f"UPDATE {layout.table} SET {news}"
        # IS, since a guard may be NULL; BINARY, since a column's own collation may be laxer. Where
        # its rowid is another now, as after a VACUUM, the next run finds the row.
        condition = [layout.filter, f"{layout.column('id')} COLLATE BINARY IS ?"]
        condition += [f"{layout.column(guard[place])} COLLATE BINARY IS ?" for place in kept]
        condition.append(f"{layout.keys[0] if layout.by_rowid else layout.column('id')} IS ?")
        statement += f" WHERE {' AND '.join(condition)}"
        news_values = () if written is None else tuple(written.values())

        def one(connection: sqlite3.Connection, action: Change) -> Outcome:
            identity = stored_id(action.id)
            key = action.place if layout.by_rowid else identity
            values = (*news_values, identity, *(action.guard[place] for place in kept), key)
            found = connection.execute(statement, values).rowcount
            return Outcome.DONE if found else Outcome.SKIPPED

        return one

    def _statuses(self, actions: Sequence[Change]) -> Sequence[object] | None:
        """By their rowids, where the table has such: an id may have no index."""
        layout = self._known_layout()
        if not layout.by_rowid:
            return None
        key, marks = layout.keys[0], _marks(actions)
        statement = (
            f"SELECT {key}, {layout.column('id')}, {layout.column('status')} FROM {layout.table} "
            f"WHERE {key} IN ({marks}) AND {layout.filter}"
        )
        places = [action.place for action in actions]
        rows = look(self._path, lambda it: it.execute(statement, places).fetchall())
        planned = {action.place: action.id for action in actions}
        return [status for place, identity, status in rows if shown_id(identity) == planned[place]]

    def _count_completed(self, ids: Sequence[str | int]) -> int:
        layout, completed = self._known_layout(), self._completed_words()
        statement = (
            f"SELECT count(*) FROM {layout.table} WHERE {layout.column('id')} IN ({_marks(ids)}) "
            f"AND {layout.column('status')} IN ({_marks(completed)}) AND {layout.filter}"
        )
        return self._number(statement, (*map(stored_id, ids), *completed))

    def _examples(self, role: str) -> Sequence[Scalar]:
        layout = self._known_layout()
        latest = ", ".join(f"{key} DESC" for key in layout.keys)
        statement = (
            f"SELECT value FROM (SELECT CASE WHEN {layout.filter} THEN {layout.column(role)} END "
            f"AS value FROM {layout.table} ORDER BY {latest} LIMIT {PAGE}) "
            f"WHERE value IS NOT NULL LIMIT {_EXAMPLES}"
        )
        return look(self._path, lambda it: [row[0] for row in it.execute(statement)])

    def _number(self, statement: str, values: Sequence[Scalar | bytes] = ()) -> int:
        found: int = look(self._path, lambda it: it.execute(statement, values).fetchone()[0])
        return found


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))
