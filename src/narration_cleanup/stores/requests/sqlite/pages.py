"""One page of a request table in SQLite: its rows counted by status, and the active ones read."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from narration_cleanup.core.model import ACTIVE, FINISHED, RequestStatus
from narration_cleanup.stores.requests.mapping import RequestMapping, StatusValue
from narration_cleanup.stores.requests.rows import SELECTED
from narration_cleanup.stores.requests.sqlite.layout import Layout

Row = tuple[object, ...]

_FIELD = 20
"""Bits of a sum that count the rows of one status; a page has fewer rows than that can hold."""
_FEW = 8
"""One row in so many is read by its rowid; more of them are found quicker by passing over all."""


class RowRange(NamedTuple):
    """Keys of one page: after ``low`` and up to ``high``; ``None`` is open."""

    low: Row | None
    high: Row | None


class Page(NamedTuple):
    """A page counted: its rows by raw status, and what it took to read it, in seconds.

    ``is_last``: no row comes after it. ``active`` are its active rows, as ``RowReader`` takes
    them, where they were asked for.
    """

    span: RowRange
    is_last: bool
    counts: Counter[object]
    active: list[Row]
    seconds: float


class PageReader:
    """Reads pages of one table, each with a connection that is given."""

    def __init__(self, layout: Layout, mapping: RequestMapping) -> None:
        self._layout = layout
        self._words = mapping.statuses.words()
        self._active = mapping.statuses.values(ACTIVE)
        self._keys = ", ".join(layout.keys)
        selected = [layout.column(role) for role in SELECTED]
        if layout.by_rowid:
            selected.append(layout.keys[0])
        self._selecting = f"SELECT {', '.join(selected)} FROM {layout.table}"
        self._finished = [
            (raw, FINISHED.index(word)) for raw, word in self._words.items() if word in FINISHED
        ]
        self._named = {place: raw for raw, place in reversed(self._finished)}

    def count(
        self, connection: sqlite3.Connection, rest: RowRange, size: int, *, keep: bool
    ) -> Page:
        """The first ``size`` rows of ``rest`` as a page; ``keep`` its active rows."""
        begun = time.perf_counter()
        found = self._by_one_pass(connection, rest, size) if keep else None
        if found is not None:
            return Page(*found, time.perf_counter() - begun)
        within, keys = self._within(rest)
        high = connection.execute(
            f"SELECT {self._keys} FROM {self._layout.table} WHERE {within} "
            f"ORDER BY {self._keys} LIMIT 1 OFFSET {size - 1}",
            keys,
        ).fetchone()
        span = RowRange(rest.low, high or rest.high)
        counts, active = self._by_groups(connection, span), []
        if keep and self.words_of(counts) & set(ACTIVE):
            active = self.select(connection, span, self._active)
        return Page(span, high is None, counts, active, time.perf_counter() - begun)

    def select(
        self, connection: sqlite3.Connection, span: RowRange, values: Sequence[StatusValue]
    ) -> list[Row]:
        """The rows of a page that have one of these raw statuses."""
        within, keys = self._within(span)
        marks = ", ".join("?" * len(values))
        status = self._layout.column("status")
        condition = f"{within} AND {self._layout.filter} AND {status} IN ({marks})"
        return connection.execute(
            f"{self._selecting} WHERE {condition}", (*keys, *values)
        ).fetchall()

    def words_of(self, counts: Counter[object]) -> set[RequestStatus | None]:
        """What the raw statuses of some rows mean."""
        return {self._word(raw) for raw in counts}

    def _word(self, raw: object) -> RequestStatus | None:
        return self._words.get(raw) if isinstance(raw, (str, int, float)) else None

    def _by_one_pass(
        self, connection: sqlite3.Connection, rest: RowRange, size: int
    ) -> tuple[RowRange, bool, Counter[object], list[Row]] | None:
        """A page but for its time; ``None`` where that is not the quickest way.

        Most rows ended long ago. They are counted by one sum with a field of bits for each such
        status, in half the time of grouping; the others are noted, and read by their rowids.
        """
        if not self._layout.by_rowid:
            return None
        within, keys = self._within(rest)
        # The unary plus takes the column's affinity away: raw values are compared as Python does.
        filter = self._layout.filter
        weights = " ".join(f"WHEN ? THEN {1 << _FIELD * place}" for _, place in self._finished)
        weight = f"CASE +{self._layout.column('status')} COLLATE BINARY {weights} ELSE 0 END"
        if not weights:
            weight = "0"
        if filter != "1":  # a page is bounded by the rows that are passed over, whoever's they are
            weight = f"CASE WHEN {filter} THEN {weight} END"
        number, highest, total, others = connection.execute(
            f"SELECT count(*), max(key), sum(weight), group_concat(CASE weight WHEN 0 THEN key END)"
            f" FROM (SELECT {weight} AS weight, {self._keys} AS key FROM {self._layout.table}"
            f" WHERE {within} ORDER BY {self._keys} LIMIT {size})",
            (*(raw for raw, _ in self._finished), *keys),
        ).fetchone()
        if others is not None and others.count(",") >= size // _FEW:
            return None
        rows: list[Row] = []
        if others is not None:
            rows = connection.execute(
                f"{self._selecting} WHERE {self._keys} IN ({others}) ORDER BY {self._keys}"
            ).fetchall()
        counts = Counter(row[SELECTED.index("status")] for row in rows)
        for place, raw in self._named.items():
            if count := (total or 0) >> _FIELD * place & (1 << _FIELD) - 1:
                counts[raw] = count
        active = [row for row in rows if self._word(row[SELECTED.index("status")]) in ACTIVE]
        is_last = number < size
        return RowRange(rest.low, rest.high if is_last else (highest,)), is_last, counts, active

    def _by_groups(self, connection: sqlite3.Connection, span: RowRange) -> Counter[object]:
        within, keys = self._within(span)
        status = self._layout.column("status")
        return Counter(
            dict(
                connection.execute(
                    f"SELECT {status}, count(*) FROM {self._layout.table} "
                    f"WHERE {within} AND {self._layout.filter} GROUP BY {status} COLLATE BINARY",
                    keys,
                ).fetchall()
            )
        )

    def _within(self, span: RowRange) -> tuple[str, tuple[object, ...]]:
        """The condition that a row's key lies in a page, and its values."""
        parts = ["1"]
        values: list[object] = []
        for sign, bound in ((">", span.low), ("<=", span.high)):
            if bound is not None:
                raw, marks = zip(*map(_bindable, bound), strict=True)
                parts.append(f"({self._keys}) {sign} ({', '.join(marks)})")
                values.extend(raw)
        return " AND ".join(parts), tuple(values)


def _bindable(value: object) -> tuple[object, str]:
    """A key as it can be given back, and the mark for it: text that is not UTF-8 goes as bytes."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return value.encode("utf-8", "surrogateescape"), "CAST(? AS TEXT)"
    return value, "?"
