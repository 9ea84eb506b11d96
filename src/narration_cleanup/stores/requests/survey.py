"""One look at a request table: counted by status, and streamed as values that can be judged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain

from narration_cleanup.core.model import GenerationRequest, Problem
from narration_cleanup.core.problems import Problems
from narration_cleanup.core.zones import TableTimes
from narration_cleanup.stores.requests.cancelled_word import check_cancelled_word
from narration_cleanup.stores.requests.mapping import RequestMapping
from narration_cleanup.stores.requests.rows import RowReader, no_time_of_ending, status_totals

Row = tuple[object, ...]
_CHUNK = 2_000
"""Rows handed on at a time, so that a page full of active rows stays small in memory."""


class TableSurvey(ABC):
    """A ``RequestSurvey``: the database has only to count and to select."""

    def __init__(
        self,
        names: Mapping[str, str],
        allowed: Sequence[str],
        mapping: RequestMapping,
        where: str,
        times: TableTimes,
        typed: frozenset[str] = frozenset(),
    ) -> None:
        """``names``, ``typed``: see ``RowReader``; ``allowed`` are the statuses of an enum or a
        CHECK."""
        self._names = names
        self._allowed = allowed
        self._mapping = mapping
        self._where = where
        self._times = times
        self._rows = RowReader(names, mapping, where, times, typed)
        self._found: dict[str, Problems] = {}

    @property
    def problems(self) -> Iterable[Problem]:
        """What was met by the latest pass of each stream, the counting one included."""
        return chain(self._times.problems, self._rows.unset_times(), *self._found.values())

    def by_status(self) -> dict[str, int]:
        """Every row counted, by the service's words; unknown ones as they stand."""
        counts, statuses = self._counts(), self._mapping.statuses
        check_cancelled_word(counts, self._allowed, statuses, self._where)
        problems = self._found["status"] = Problems()
        return status_totals(counts, statuses, problems)

    def active(self) -> Iterator[Sequence[GenerationRequest]]:
        """The rows that wait or are being generated."""
        problems = self._found["active"] = Problems()
        self._rows.begin_pass()
        return _read(self._active(), self._rows.active_row, problems)

    def finished(self, before: float) -> Iterator[Sequence[GenerationRequest]]:
        """The rows that ended before the instant ``before``."""
        problems = self._found["finished"] = Problems()
        if "completed_at" not in self._names:
            problems.add(no_time_of_ending())
            return
        for chunk in _read(self._finished(before), self._rows.finished_row, problems):
            ended = [row for row in chunk if row.finished_at and row.finished_at < before]
            if ended:
                yield ended

    @abstractmethod
    def _counts(self) -> Mapping[object, int]:
        """The number of rows of each raw status."""

    @abstractmethod
    def _active(self) -> Iterable[Sequence[Row]]:
        """The columns ``SELECTED`` of the rows that have an active status."""

    @abstractmethod
    def _finished(self, before: float) -> Iterable[Sequence[Row]]:
        """The same of the rows that ended, those after ``before`` too where need be."""


def _read(
    pages: Iterable[Sequence[Row]],
    read: Callable[[Row, Problems], GenerationRequest | None],
    problems: Problems,
) -> Iterator[Sequence[GenerationRequest]]:
    for rows in pages:
        for start in range(0, len(rows), _CHUNK):
            chunk = (read(row, problems) for row in rows[start : start + _CHUNK])
            found = [request for request in chunk if request is not None]
            if found:
                yield found
