"""One look at a request table in SQLite: counted by status, and streamed in pages of rows."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from narration_cleanup.core.model import ACTIVE, FINISHED, GenerationRequest, Problem
from narration_cleanup.core.problems import Problems
from narration_cleanup.core.zones import TableTimes
from narration_cleanup.stores.requests.batches import LONG, next_batch_size
from narration_cleanup.stores.requests.cancelled_word import check_cancelled_word
from narration_cleanup.stores.requests.mapping import RequestMapping, StatusValue
from narration_cleanup.stores.requests.rows import RowReader, no_time_of_ending, status_totals
from narration_cleanup.stores.requests.sqlite.database import look
from narration_cleanup.stores.requests.sqlite.layout import Layout
from narration_cleanup.stores.requests.sqlite.pages import Page, PageReader, Row, RowRange

PAGE = 20_000
"""Rows passed over in the first read transaction: a few milliseconds. Whoever commits on a
rollback journal waits for its end, so that later ones have as many as fit (``requests.pace``)."""
_LEAST, _MOST = 2_000, 40_000
"""Rows of later pages. Each costs an opening, and waits for who is writing; 40,000 active rows
are 20 MB."""
KEPT = 20_000
"""Active rows kept from the counting pass (about 10 MB), so that most tables are read once."""
_CHUNK = 2_000
"""Rows handed on at a time, so that a page full of active rows stays small in memory."""


class _Counted(NamedTuple):
    """A page that was counted, and which rows are in it."""

    span: RowRange
    active: bool
    finished: bool


class SqliteSurvey:
    """See ``RequestSurvey``. The rows are counted once; each stream reads its pages anew."""

    def __init__(
        self, path: Path, layout: Layout, mapping: RequestMapping, where: str, times: TableTimes
    ) -> None:
        self._path = path
        self._layout = layout
        self._mapping = mapping
        self._where = where
        self._rows = RowReader(layout.columns, mapping, where, times)
        self._times = times
        self._reader = PageReader(layout, mapping)
        self._counted: list[_Counted] | None = None
        self._kept: list[Row] | None = []
        self._active = mapping.statuses.values(ACTIVE)
        self._counts: Counter[object] = Counter()
        self._found: dict[str, Problems] = {}

    @property
    def problems(self) -> Iterable[Problem]:
        """What was met by the latest pass of each stream, the counting one included."""
        met = Problems(chain(self._times.problems, self._rows.unset_times()))
        for found in self._found.values():
            met.extend(found)
        return met

    def by_status(self) -> dict[str, int]:
        """Every row counted, by the service's words; unknown ones as they stand."""
        self._pages()
        statuses = self._mapping.statuses
        check_cancelled_word(self._counts, self._layout.allowed, statuses, self._where)
        problems = self._found["status"] = Problems()
        return status_totals(self._counts, statuses, problems)

    def active(self) -> Iterator[Sequence[GenerationRequest]]:
        """The rows that wait or are being generated."""
        problems = self._found["active"] = Problems()
        self._rows.begin_pass()
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
        self, pages: Iterable[_Counted], values: Sequence[StatusValue]
    ) -> Iterator[list[Row]]:
        for page in pages:
            select = partial(self._reader.select, span=page.span, values=values)
            yield look(self._path, select)

    def _pages(self) -> list[_Counted]:
        """Pass over the whole table once, page by page, counting."""
        if self._counted is None:
            counted: list[_Counted] = []
            self._counts.clear()
            rest = RowRange(None, None)
            size = PAGE
            while True:
                page = look(self._path, partial(self._count, rest=rest, size=size))
                words = self._reader.words_of(page.counts)
                counted.append(
                    _Counted(page.span, bool(words & set(ACTIVE)), bool(words & set(FINISHED)))
                )
                self._counts.update(page.counts)
                if self._kept is not None:
                    self._kept.extend(page.active)
                    if len(self._kept) > KEPT:
                        self._kept = None
                if page.is_last:
                    break
                rest = RowRange(page.span.high, None)
                size = next_batch_size(
                    size, page.seconds, LONG, least=min(PAGE, _LEAST), most=_MOST
                )
            self._counted = counted
        return self._counted

    def _count(self, connection: sqlite3.Connection, rest: RowRange, size: int) -> Page:
        return self._reader.count(connection, rest, size, keep=self._kept is not None)


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
