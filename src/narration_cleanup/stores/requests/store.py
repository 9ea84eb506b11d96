"""What a store of generation requests does, whichever database is behind it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import islice

from narration_cleanup.core.errors import TargetError
from narration_cleanup.core.model import (
    Problem,
    Problems,
    RequestStatus,
    RequestSurvey,
    Scalar,
    Target,
)
from narration_cleanup.core.zones import IndexTimes, TableTimes
from narration_cleanup.plan.actions import Action, Kind, Outcome
from narration_cleanup.stores.requests.batches import BatchEndedError
from narration_cleanup.stores.requests.column_times import time_writer
from narration_cleanup.stores.requests.mapping import RequestMapping
from narration_cleanup.stores.requests.rows import are_cancelled

BATCH = 500
"""Rows changed in one transaction, at most; a store asks for fewer where they take too long."""
_IDS = 500
"""Rows asked for in one statement; SQLite takes 999 values at least."""

Written = Mapping[str, Scalar] | None
"""The new values of a row's columns, by their roles; ``None``: the row is deleted."""


class RowRefusedError(Exception):
    """The database refuses the change of one row of a batch; ``str()`` is why."""


class RequestStore(ABC):
    """One request table. Nothing is opened before the first call, and looking never writes."""

    def __init__(self, mapping: RequestMapping, now: float | None, index: IndexTimes | None):
        """``now``: of the run; ``index``: of the same service, to know the zone of times by."""
        self._mapping = mapping
        self._times = TableTimes(mapping.timezone, now, index)
        self._time_writers: dict[str, Callable[[float], Scalar]] = {}
        self._problems = Problems()

    @property
    @abstractmethod
    def location(self) -> str:
        """How it is shown, without any password."""

    @property
    def problems(self) -> Iterable[Problem]:
        """Why rows that a batch reports as ``failed`` were refused; grows with the batches."""
        return self._problems

    @property
    @abstractmethod
    def batch_size(self) -> int:
        """The rows of the next batch, so that no writer waits long: at most ``BATCH``."""

    def locked(self) -> AbstractContextManager[None]:
        """Hold the run lock across machines, where the store has one; raises ``BusyError``."""
        return nullcontext()

    def recover(self) -> bool:
        """Finish what a killed process left incomplete; whether there was anything to finish.

        Raises ``TargetError`` where that cannot be done.
        """
        return False

    @abstractmethod
    def survey(self) -> RequestSurvey:
        """Look at the table anew; raises ``TargetError`` where it cannot be read."""

    def cancel(self, batch: Sequence[Action], at: float) -> Sequence[Outcome]:
        """Cancel at most ``BATCH`` requests that are still what was surveyed; ``at`` an instant.

        ``done``, ``skipped`` where the row has changed, or ``failed`` where the database refuses
        the change of this one row (a constraint, a trigger): see ``problems``. The new times get
        the form of the columns' other values. Raises ``TargetError`` when the database remains busy
        or fails: then nothing of this batch is done, but what a ``BatchEndedError`` says.
        """
        written: dict[str, Scalar] = {}
        for role in self._written_roles():
            if role == "status":
                written[role] = self._mapping.statuses.cancelled[0]
            elif role == "error":
                written[role] = self._mapping.error_text
            else:
                written[role] = self._time_to_write(role, at)
        return self._change(batch, written)

    def delete(self, batch: Sequence[Action]) -> Sequence[Outcome]:
        """Delete at most ``BATCH`` finished rows that are still what was surveyed."""
        return self._change(batch, None)

    def unchanged_since(self, actions: Iterable[Action]) -> bool:
        """Whether the rows are as this command left them: cancelled, and deleted ones not there.

        The rows alone are read again. False also where only a new survey can show it.
        """
        waiting = iter(actions)
        while some := list(islice(waiting, _IDS)):
            cancelled = [action for action in some if action.kind is Kind.CANCEL_REQUEST]
            deleted = [action for action in some if action.kind is Kind.DELETE_REQUEST]
            found = self._statuses(cancelled)
            others = self._statuses(deleted) if deleted else ()
            if found is None or others is None or len(found) != len(cancelled) or others:
                return False
            if not are_cancelled(found, self._mapping.statuses):
                return False
        return True

    def rights_beyond(self) -> Sequence[str]:
        """What the user of the database may do that no run needs, in words.

        Raises ``TargetError``.
        """
        return ()

    def zone_of(self, text: str) -> str:
        """The zone in which a time of the form of ``text`` is read; ``auto`` if that is open."""
        return self._times.zone_of(text)

    def count_completed(self, ids: Sequence[str | int]) -> int:
        """How many of these ids are completed now (used on ids cancelled by an earlier run)."""
        starts = range(0, len(ids), _IDS)
        return sum(self._count_completed(ids[start : start + _IDS]) for start in starts)

    def free_pages(self) -> int | None:
        """Pages of the database file that are free for reuse; ``None`` where unknown."""
        return None

    def now(self) -> float | None:
        """The database's own clock, where it has one (an instant)."""
        return None

    @abstractmethod
    def close(self) -> None:
        """Let go of the database; a second call does nothing."""

    @abstractmethod
    def _columns(self) -> Mapping[str, object]:
        """The roles of the columns that the table has."""

    @abstractmethod
    def _examples(self, role: str) -> Sequence[Scalar]:
        """Some of the latest values in a column of times."""

    @abstractmethod
    def _transaction(self, batch: Sequence[Action], written: Written) -> list[Outcome]:
        """Change all of ``batch`` that is still as it was planned on or, with an error, nothing.

        Raises ``RowRefusedError``, ``TargetError``.
        """

    @abstractmethod
    def _statuses(self, actions: Sequence[Action]) -> Sequence[object] | None:
        """The raw status of each of these rows that is there; ``None`` where that is not known."""

    @abstractmethod
    def _count_completed(self, ids: Sequence[str | int]) -> int: ...

    def _written_roles(self) -> list[str]:
        return [role for role in self._mapping.written if role in self._columns()]

    def _time_to_write(self, role: str, at: float) -> Scalar:
        """``at`` in the form that the column's latest values have, else that of ``created_at``."""
        if role not in self._time_writers:
            examples = [self._examples(each) for each in (role, "created_at")]
            self._time_writers[role] = time_writer(role, examples, self._mapping, self._times)
        return self._time_writers[role](at)

    def _completed_words(self) -> list[str | int]:
        return self._mapping.statuses.values([RequestStatus.COMPLETED])

    def _change(self, batch: Sequence[Action], written: Written) -> Sequence[Outcome]:
        """Change a batch, in one transaction if the database refuses none of its rows.

        Else it is halved again and again, so that few transactions find one row among hundreds.
        With any other fault the rest of the batch is not tried: it would be waited for each time.
        """
        if len(batch) > BATCH:
            raise ValueError(f"a batch is at most {BATCH} rows")
        outcomes: list[Outcome] = []
        waiting = [batch] if batch else []
        while waiting:
            part = waiting.pop()
            middle = len(part) // 2
            try:
                outcomes += self._transaction(part, written)
            except RowRefusedError as refusal:
                if middle:
                    waiting += [part[middle:], part[:middle]]
                else:
                    (row,) = part
                    why = Problem(Target.REQUESTS, "row_refused", str(refusal), str(row.id))
                    self._problems.add(why)
                    outcomes.append(Outcome.FAILED)
            except TargetError as fault:
                raise BatchEndedError(fault, outcomes) from None
        return outcomes
