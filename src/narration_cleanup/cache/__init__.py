"""Where narrations are kept: one protocol, a directory and a bucket behind it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

from narration_cleanup.actions import Outcome
from narration_cleanup.model import CacheSurvey, Ref


class FileTarget(msgspec.Struct, frozen=True, gc=False):
    """A file to remove: its name, and what it must still be (``None``: any settled file)."""

    name: str
    ref: Ref | None


class Removal(msgspec.Struct, frozen=True, gc=False):
    """What became of one file. ``gone`` is also true where there was none to begin with."""

    outcome: Outcome
    freed_bytes: int = 0
    note: str | None = None

    @property
    def gone(self) -> bool:
        """No file is left under that name."""
        return self.outcome is Outcome.DONE


class DropReport(msgspec.Struct, frozen=True):
    """What became of the entries to drop: their refs that are no longer in the index."""

    dropped: frozenset[Ref]
    error: str | None = None


class CacheStore(Protocol):
    """One cache, pinned for a whole command; ``location`` is how it is shown."""

    @property
    def location(self) -> str: ...

    @property
    def has_index(self) -> bool: ...

    def locked(self) -> AbstractContextManager[None]:
        """Hold the run lock; raises ``BusyError`` when another run has it."""

    def in_progress(self) -> bool:
        """Whether a run holds the lock now."""

    def recover(self) -> int:
        """Put back what a killed run had staged; how many files. Only a run does this."""

    def survey(self) -> AbstractContextManager[CacheSurvey]:
        """Look at the cache.

        Raises ``HalfError`` where it cannot be read, ``IndexChangedError`` (also from the passes)
        where the index was rewritten under the look.
        """

    def remove(self, files: Sequence[FileTarget]) -> Sequence[Removal]:
        """Remove files, each re-checked at the moment it goes; one answer for each."""

    def drop_entries(self, refs: Sequence[Ref]) -> DropReport:
        """Take entries out of the index that are still what was surveyed, and have no file."""

    def close(self) -> None: ...
