"""What a store of generation requests does, whichever database is behind it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from narration_cleanup.core.model import Problem, RequestSurvey
from narration_cleanup.plan.actions import CancelRequest, DeleteRequest, Outcome

BATCH = 500
"""Rows changed in one transaction, at most; a store asks for fewer where they take too long."""


class RequestStore(Protocol):
    """One request table; ``location`` is how it is shown, without any password."""

    @property
    def location(self) -> str: ...

    @property
    def problems(self) -> Iterable[Problem]:
        """Why rows that a batch reports as ``failed`` were refused; grows with the batches."""

    @property
    def batch_size(self) -> int:
        """How many rows the next batch should have, for nobody to wait long: at most ``BATCH``."""

    def locked(self) -> AbstractContextManager[None]:
        """Hold the run lock across machines, where the store has one; raises ``BusyError``."""

    def recover(self) -> bool:
        """Finish what a killed process left half-written; whether there was anything to finish.

        Raises ``TargetError`` where that cannot be done.
        """

    def survey(self) -> RequestSurvey:
        """Look at the table; raises ``TargetError`` where it cannot be read."""

    def cancel(self, batch: Sequence[CancelRequest], at: float) -> Sequence[Outcome]:
        """Cancel at most ``BATCH`` requests that are still what was surveyed; ``at`` an instant.

        ``done``, ``skipped`` where the row has changed, or ``failed`` where the database refuses
        the change of this one row (a constraint, a trigger): see ``problems``. Raises
        ``TargetError`` when the database stays busy or fails: then nothing of this batch is done.
        """

    def delete(self, batch: Sequence[DeleteRequest]) -> Sequence[Outcome]:
        """Delete at most ``BATCH`` finished rows that are still what was surveyed."""

    def unchanged_since(self, actions: Iterable[CancelRequest | DeleteRequest]) -> bool:
        """Whether the rows are as this command left them: cancelled, and deleted ones not there.

        False also where only a new survey can tell.
        """

    def rights_beyond(self) -> Sequence[str]:
        """What the user of the database may do that no run needs, in words.

        Raises ``TargetError``.
        """

    def zone_of(self, text: str) -> str:
        """The zone in which a time of the form of ``text`` is read; ``auto`` if that is open."""

    def count_completed(self, ids: Sequence[str | int]) -> int:
        """How many of these ids are completed now (used on ids cancelled by an earlier run)."""

    def free_pages(self) -> int | None:
        """Pages of the database file that are free for reuse; ``None`` where unknown."""

    def now(self) -> float | None:
        """The database's own clock, where it has one (an instant)."""

    def close(self) -> None: ...
