"""A survey of a request table: counted by status, and streamed as values that can be judged."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from itertools import chain

import msgspec

from narration_cleanup.core.errors import TargetError
from narration_cleanup.core.model import (
    FoundRequest,
    GenerationRequest,
    Problem,
    Problems,
    RequestStatus,
)
from narration_cleanup.core.signals import end_survey_if_overdue
from narration_cleanup.core.text import printable
from narration_cleanup.core.zones import TableTimes
from narration_cleanup.stores.requests.mapping import RequestMapping, Statuses, forms_of
from narration_cleanup.stores.requests.rows import RowReader, no_time_of_ending, status_totals

Row = tuple[object, ...]
Pages = Generator[Sequence[Row], None, None]
MOST_NAMED = 20
_CHUNK = 2_000
"""Rows handed on at a time, so that a page full of active rows needs little memory."""


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
        self._reader = partial(RowReader, names, mapping, where, typed=typed)
        self._rows = self._reader(times)
        self._found: dict[str, Problems] = {}

    @property
    def problems(self) -> Iterable[Problem]:
        """What was met by the latest pass of each stream, the counting one included."""
        return chain(self._times.problems, self._rows.unset_times(), *self._found.values())

    def by_status(self) -> dict[str, int]:
        """Every row counted, by the service's words; unknown ones unchanged."""
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

    def find(self, identity: str) -> Sequence[FoundRequest]:
        """See ``RequestSurvey``."""
        late = self._reader(self._times.at_the_latest())
        found = []
        for ours, *row in self._named(identity):
            one, later = (it.found_row(row, is_ours=bool(ours)) for it in (self._rows, late))
            found.append(msgspec.structs.replace(one, later=later.request))
        return found

    @abstractmethod
    def _named(self, identity: str) -> Sequence[Row]:
        """The first ``MOST_NAMED`` rows of an id: whether each is ours, and ``SELECTED``."""

    @abstractmethod
    def _counts(self) -> Mapping[object, int]:
        """The number of rows of each raw status."""

    @abstractmethod
    def _active(self) -> Pages:
        """The columns ``SELECTED`` of the rows that have an active status."""

    @abstractmethod
    def _finished(self, before: float) -> Pages:
        """The same of the rows that ended, those after ``before`` too where need be."""


def _read(
    pages: Pages,
    read: Callable[[Row, Problems], GenerationRequest | None],
    problems: Problems,
) -> Iterator[Sequence[GenerationRequest]]:
    with closing(pages):  # at once, should a row be refused: a cursor may be open
        for rows in pages:
            for start in range(0, len(rows), _CHUNK):
                end_survey_if_overdue()
                chunk = (read(row, problems) for row in rows[start : start + _CHUNK])
                found = [request for request in chunk if request is not None]
                if found:
                    yield found


_SPELLINGS = frozenset({"cancelled", "canceled"})
_NUMBER = re.compile(r"-?[0-9]+", re.ASCII)
_STYLES: tuple[Callable[[str], str], ...] = (str.upper, str.lower, str.capitalize)


def check_cancelled_word(
    found: Collection[object], allowed: Collection[str], statuses: Statuses, where: str
) -> None:
    """Raise ``TargetError`` where the word that a run writes is none of the table's own.

    ``found``: the raw statuses of its rows; ``allowed``: those that an enum or a CHECK allows,
    none where there is neither. A table without a cancelled row does not show its spelling,
    except by the case that all its words are in, and by numbers in place of words.
    """
    word = str(statuses.cancelled[0])
    ignored = {form for each in statuses.ignored for form in forms_of(each)}
    words = {each for each in found if isinstance(each, str) and each not in ignored}
    if allowed and word not in allowed:
        near = [each for each in allowed if _is_like(each, word)]
        wanted = near[0] if near else None
        raise _refusal(where, word, wanted, f"it can only have {', '.join(allowed)}")
    meanings = statuses.words()
    known = {meanings.get(each) for each in found if isinstance(each, (str, int, float))}
    if RequestStatus.CANCELLED in known:
        return
    for each in sorted(words):
        if _is_like(each, word):
            raise _refusal(where, word, each, f"it has rows in the status {each}")
    cased = [each for each in words if each.lower() != each.upper()]
    if cased and statuses.cancelled == Statuses().cancelled and not allowed:
        for style in _STYLES:
            if style(word) != word and all(style(each) == each for each in cased):
                has = f"all its statuses are in the case of {min(cased)}"
                raise _refusal(where, word, style(word), has)
    raws = {str(each) for each in found if isinstance(each, (str, int))} - ignored
    is_number = _NUMBER.fullmatch
    if known - {None} and not is_number(word) and not allowed and all(map(is_number, raws)):
        raise _refusal(where, word, None, "all its statuses are numbers")


def _is_like(one: str, word: str) -> bool:
    one, word = one.strip().casefold(), word.casefold()
    return one == word or (one in _SPELLINGS and word in _SPELLINGS)


def _refusal(where: str, word: str, wanted: str | None, evidence: str) -> TargetError:
    remedy = f'set requests.statuses.cancelled = ["{wanted}"]'
    if wanted is None:
        remedy = "set requests.statuses.cancelled to one of them, or allow it in the table"
    message = f"{where}: {printable(word)} is no status of this table ({printable(evidence)})"
    return TargetError("foreign_word", f"{message}: {printable(remedy)}")
