"""One look at a request table in SQLite: counted by status, and streamed in pages of rows."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from narration_cleanup.model import ACTIVE, FINISHED, GenerationRequest, Problem
from narration_cleanup.problems import Problems
from narration_cleanup.requests.database import look
from narration_cleanup.requests.layout import Layout
from narration_cleanup.requests.mapping import RequestMapping, StatusValue
from narration_cleanup.requests.rows import SELECTED, RowReader, no_time_of_ending, status_totals

Row = tuple[object, ...]

PAGE = 20_000
"""Rows passed over in one read transaction: a few milliseconds, in which nobody has to wait long
to commit, even on a rollback journal."""
KEPT = 20_000
"""Active rows kept from the counting pass (about 10 MB), so that most tables are read once."""
_CHUNK = 2_000
"""Rows handed on at a time, so that a page full of active rows stays small in memory."""


class _Range(NamedTuple):
    """Keys of one page: after ``low`` and up to ``high``; ``None`` is open."""

    low: Row | None
    high: Row | None
    active: bool
    finished: bool


class SqliteSurvey:
    """See ``RequestSurvey``. The rows are counted once; each stream reads its pages anew."""

    def __init__(self, path: Path, layout: Layout, mapping: RequestMapping, where: str) -> None:
        self._path = path
        self._layout = layout
        self._mapping = mapping
        self._rows = RowReader(layout.columns, mapping, where)
        self._selected = ", ".join(layout.column(role) for role in SELECTED)
        self._ranges: list[_Range] | None = None
        self._kept: list[Row] | None = []
        self._active = mapping.statuses.values(ACTIVE)
        self._counts: Counter[object] = Counter()
        self._found: dict[str, Problems] = {}

    @property
    def problems(self) -> Iterable[Problem]:
        """What was met by the latest pass of each stream, the counting one included."""
        met = Problems()
        for found in self._found.values():
            met.extend(found)
        return met

    def by_status(self) -> dict[str, int]:
        """Every row counted, by the service's words; unknown ones as they stand."""
        self._pages()
        problems = self._found["status"] = Problems()
        return status_totals(self._counts, self._mapping.statuses, problems)

    def active(self) -> Iterator[Sequence[GenerationRequest]]:
        """The rows that wait or are being generated."""
        problems = self._found["active"] = Problems()
        pages = self._pages()
        found: Iterable[list[Row]] = [self._kept or []]
        if self._kept is None:
            found = self._reread((page for page in pages if page.active), self._active)
        return _read(found, self._rows.active_row, problems)

    def finished(self, before: float) -> Iterator[Sequence[GenerationRequest]]:
        """The rows that ended before the instant ``before``."""
        problems = self._found["finished"] = Problems()
        if "completed_at" not in self._layout.columns:
            problems.add(no_time_of_ending())
            return
        pages = (page for page in self._pages() if page.finished)
        found = self._reread(pages, self._mapping.statuses.values(FINISHED))
        for chunk in _read(found, self._rows.finished_row, problems):
            ended = [row for row in chunk if row.finished_at and row.finished_at < before]
            if ended:
                yield ended

    def _reread(
        self, pages: Iterable[_Range], values: Sequence[StatusValue]
    ) -> Iterator[list[Row]]:
        for page in pages:
            yield look(self._path, partial(self._select, page=page, values=values))

    def _select(
        self, connection: sqlite3.Connection, page: _Range, values: Sequence[StatusValue]
    ) -> list[Row]:
        within, keys = _within(self._layout, page.low, page.high)
        marks = ", ".join("?" * len(values))
        return connection.execute(
            f"SELECT {self._selected} FROM {self._layout.table} "
            f"WHERE {within} AND {self._layout.column('status')} IN ({marks})",
            (*keys, *values),
        ).fetchall()

    def _pages(self) -> list[_Range]:
        """Pass over the whole table once, page by page, counting."""
        if self._ranges is None:
            ranges: list[_Range] = []
            self._counts.clear()
            low: Row | None = None
            while True:
                page, counts, active = look(self._path, partial(self._count, low=low))
                self._counts.update(counts)
                if self._kept is not None:
                    self._kept.extend(active)
                    if len(self._kept) > KEPT:
                        self._kept = None
                ranges.append(page)
                if page.high is None:
                    break
                low = page.high
            self._ranges = ranges
        return self._ranges

    def _count(
        self, connection: sqlite3.Connection, low: Row | None
    ) -> tuple[_Range, dict[object, int], list[Row]]:
        """The page that begins after ``low``, its rows by raw status, and its active rows."""
        table, status = self._layout.table, self._layout.column("status")
        keys = ", ".join(self._layout.keys)
        after, known = _within(self._layout, low, None)
        high = connection.execute(
            f"SELECT {keys} FROM {table} WHERE {after} ORDER BY {keys} LIMIT 1 OFFSET {PAGE - 1}",
            known,
        ).fetchone()
        within, known = _within(self._layout, low, high)
        counts: dict[object, int] = dict(
            connection.execute(
                f"SELECT {status}, count(*) FROM {table} WHERE {within} "
                f"GROUP BY {status} COLLATE BINARY",
                known,
            ).fetchall()
        )
        words = self._mapping.statuses.words()
        seen = {words.get(raw) for raw in counts if isinstance(raw, (str, int, float))}
        page = _Range(low, high, bool(seen & set(ACTIVE)), bool(seen & set(FINISHED)))
        wanted = page.active and self._kept is not None
        return page, counts, self._select(connection, page, self._active) if wanted else []


def _read(
    pages: Iterable[list[Row]],
    read: Callable[[Row, Problems], GenerationRequest | None],
    problems: Problems,
) -> Iterator[Sequence[GenerationRequest]]:
    for rows in pages:
        for start in range(0, len(rows), _CHUNK):
            chunk = (read(row, problems) for row in rows[start : start + _CHUNK])
            found = [request for request in chunk if request is not None]
            if found:
                yield found


def _within(layout: Layout, low: Row | None, high: Row | None) -> tuple[str, tuple[object, ...]]:
    """The condition that a row's key lies in a page, and its values."""
    keys = ", ".join(layout.keys)
    marks = ", ".join("?" * len(layout.keys))
    parts = ["1"]
    values: list[object] = []
    for sign, bound in ((">", low), ("<=", high)):
        if bound is not None:
            parts.append(f"({keys}) {sign} ({marks})")
            values.extend(bound)
    return " AND ".join(parts), tuple(values)
