"""A survey of a request table in SQLite, in pages: each is a short read transaction of its own."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from string import ascii_letters
from typing import NamedTuple

from narration_cleanup.core.model import ACTIVE, FINISHED, RequestStatus
from narration_cleanup.core.zones import TableTimes
from narration_cleanup.stores.requests.batches import LONG, next_batch_size
from narration_cleanup.stores.requests.mapping import RequestMapping
from narration_cleanup.stores.requests.rows import NULL, SELECTED, ids_named
from narration_cleanup.stores.requests.sqlite.database import look
from narration_cleanup.stores.requests.sqlite.layout import Layout
from narration_cleanup.stores.requests.survey import MOST_NAMED, Pages, Row, TableSurvey

PAGE = 20_000
"""Rows passed over in the first read transaction: a few milliseconds. Whoever commits on a
rollback journal waits for its end, so that later ones have as many as fit."""
_LEAST, _MOST = 2_000, 40_000
"""Rows of later pages. Each costs an opening, and waits for who is writing; 40,000 active rows
are 20 MB."""
KEPT = 20_000
"""Active rows kept from the counting pass (about 10 MB), so that most tables are read once."""
_TIMES = ("created_at", "started_at", "completed_at", "heartbeat_at")
_STATUS = SELECTED.index("status")
_NEWEST = 2_000
"""Rows looked at for the newest times, those with the highest keys: a few milliseconds."""


class RowRange(NamedTuple):
    """Keys of one page: after ``low`` and up to ``high``; ``None`` is open."""

    low: Row | None = None
    high: Row | None = None


class _Page(NamedTuple):
    """A page counted: its rows by raw status, its active rows, and the seconds that it took."""

    span: RowRange
    counts: Counter[object]
    active: list[Row]
    seconds: float


class SqliteSurvey(TableSurvey):
    """The rows are counted once; each stream reads anew the pages that have rows for it."""

    def __init__(
        self, path: Path, layout: Layout, mapping: RequestMapping, where: str, times: TableTimes
    ) -> None:
        super().__init__(layout.columns, layout.allowed, mapping, where, times)
        self._path = path
        self._layout = layout
        self._keys = ", ".join(layout.keys)
        selected = [layout.column(role) for role in SELECTED]
        if layout.by_rowid:
            selected.append(layout.keys[0])
        self._selecting = f"SELECT {', '.join(selected)} FROM {layout.table}"
        # The unary plus takes the column's affinity away: raw values are compared as Python does.
        self._status = f"+{layout.column('status')} COLLATE BINARY"
        self._words = mapping.statuses.words()
        self._counted: Counter[object] | None = None
        self._pages: dict[RowRange, set[RequestStatus | None]] = {}
        self._kept: list[Row] | None = []

    def _counts(self) -> Mapping[object, int]:
        """Pass over the whole table once, page by page."""
        if self._counted is None:
            counted = Counter[object]()
            rest, size = RowRange(), PAGE
            self._pages.clear()
            while True:
                page = look(self._path, partial(self._page, rest=rest, size=size))
                counted.update(page.counts)
                self._pages[page.span] = set(map(self._word, page.counts))
                if self._kept is not None:
                    self._kept += page.active
                    if len(self._kept) > KEPT:
                        self._kept = None
                if page.span.high is None:
                    break
                rest = RowRange(page.span.high)
                least = min(PAGE, _LEAST)
                size = next_batch_size(size, page.seconds, LONG, least=least, most=_MOST)
            self._counted = counted
        return self._counted

    def _named(self, identity: str) -> Sequence[Row]:
        values, marks = zip(*map(_bindable, ids_named(identity)), strict=True)
        columns = ", ".join(self._layout.column(role) for role in SELECTED)
        key = self._layout.column("id")
        missing = f" OR {key} IS NULL" if identity == NULL else ""
        statement = (
            f"SELECT {self._layout.filter}, {columns} FROM {self._layout.table} "
            f"WHERE {key} IN ({', '.join(marks)}){missing} LIMIT {MOST_NAMED}"
        )
        return look(self._path, lambda it: it.execute(statement, values).fetchall())

    def _page(self, connection: sqlite3.Connection, rest: RowRange, size: int) -> _Page:
        """The first ``size`` rows of ``rest``; their active rows too, while those are kept.

        Most rows ended long ago: each is counted by a letter, in half the time of a ``GROUP BY``.
        The others are noted by their rowids, where they have such, and read.
        """
        begun = time.perf_counter()
        layout, kept = self._layout, () if self._kept is None else ACTIVE
        within, keys = self._within(rest)
        high = connection.execute(
            f"SELECT {self._keys} FROM {layout.table} WHERE {within} "
            f"ORDER BY {self._keys} LIMIT 1 OFFSET {size - 1}",
            keys,
        ).fetchone()
        span = RowRange(rest.low, high)
        words = [raw for raw, word in self._words.items() if word not in kept]
        letters = dict(zip(words, ascii_letters, strict=False))
        noted = self._noted(connection, span, letters)
        counts = +Counter[object]({raw: noted.count(letter) for raw, letter in letters.items()})
        within, keys = self._within(span, layout.filter)
        marks = ", ".join("?" * len(letters))
        among, values = f"{within} AND ({self._status} IN ({marks})) IS NOT 1", (*keys, *letters)
        if rowids := [each for each in noted.split() if each.lstrip("-").isdigit()]:
            among, values = f"{self._keys} IN ({', '.join(rowids)})", ()
        rows: list[Row] = []
        if rowids or "-" in noted:
            rows = connection.execute(f"{self._selecting} WHERE {among}", values).fetchall()
        counts.update(row[_STATUS] for row in rows)
        active = [row for row in rows if self._word(row[_STATUS]) in kept]
        return _Page(span, counts, active, time.perf_counter() - begun)

    def _noted(
        self, connection: sqlite3.Connection, span: RowRange, letters: Mapping[str | float, str]
    ) -> str:
        """A letter for each row whose status has one; of the others the rowid, or ``-``."""
        within, keys = self._within(span, self._layout.filter)
        cases = " ".join(f"WHEN ? THEN '{letter}'" for letter in letters.values())

        def noted_by(other: str) -> str:
            noted: str = connection.execute(
                f"SELECT coalesce(group_concat(CASE {self._status} {cases} ELSE {other} END, ''), "
                f"'') FROM {self._layout.table} WHERE {within}",
                (*letters, *keys),
            ).fetchone()[0]
            return noted

        try:
            return noted_by(f"' ' || {self._keys} || ' '" if self._layout.by_rowid else "'-'")
        except sqlite3.DataError:  # more rowids than one value may hold
            return noted_by("'-'")

    def _active(self) -> Pages:
        self._counts()
        if self._kept is None:
            yield from self._reread(ACTIVE)
        else:
            yield self._kept

    def _finished(self, before: float) -> Pages:
        self._counts()
        return self._reread(FINISHED)

    def _reread(self, statuses: Sequence[RequestStatus]) -> Pages:
        for span, words in self._pages.items():
            if words & set(statuses):
                yield look(self._path, partial(self._select, span=span, statuses=statuses))

    def _select(
        self, connection: sqlite3.Connection, span: RowRange, statuses: Sequence[RequestStatus]
    ) -> list[Row]:
        within, keys = self._within(span, self._layout.filter)
        values = self._mapping.statuses.values(statuses)
        among = f"{self._layout.column('status')} IN ({', '.join('?' * len(values))})"
        statement = f"{self._selecting} WHERE {within} AND {among}"
        return connection.execute(statement, (*keys, *values)).fetchall()

    def _word(self, raw: object) -> RequestStatus | None:
        return self._words.get(raw) if isinstance(raw, (str, int, float)) else None

    def _within(self, span: RowRange, condition: str = "1") -> tuple[str, tuple[object, ...]]:
        """The condition that a row's key lies in a page, besides another one, and its values."""
        parts = [condition]
        values: list[object] = []
        for sign, bound in ((">", span.low), ("<=", span.high)):
            if bound is not None:
                raw, marks = zip(*map(_bindable, bound), strict=True)
                parts.append(f"({self._keys}) {sign} ({', '.join(marks)})")
                values.extend(raw)
        return " AND ".join(parts), tuple(values)


def _bindable(value: object) -> tuple[object, str]:
    """A key as it can be given back, and the mark for it: bytes for text that is not UTF-8."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return value.encode("utf-8", "surrogateescape"), "CAST(? AS TEXT)"
    return value, "?"


def newest_times(
    connection: sqlite3.Connection, layout: Layout, mapping: RequestMapping
) -> Sequence[tuple[str, str]]:
    """The times written as text in the newest rows, each with its column; cancelled rows aside:
    those may be ours."""
    columns = [layout.column(role) for role in ("status", *_TIMES)]
    latest = ", ".join(f"{key} DESC" for key in layout.keys)
    words = mapping.statuses.words()
    rows = connection.execute(
        f"SELECT {layout.filter}, {', '.join(columns)} FROM {layout.table} "
        f"ORDER BY {latest} LIMIT {_NEWEST}"
    )
    return [
        (role, value)
        for is_ours, status, *values in rows
        if is_ours and words.get(status) is not RequestStatus.CANCELLED
        for role, value in zip(_TIMES, values, strict=True)
        if isinstance(value, str)
    ]


def last_write(path: Path) -> float | None:
    """When the database was last written (an instant): its mtime, or that of its ``-wal`` file."""
    found = []
    for ending in ("", "-wal"):
        with suppress(OSError):
            found.append(Path(f"{path.resolve()}{ending}").stat().st_mtime)
    return max(found, default=None)
