"""Where narrations are kept: one protocol, a directory and a bucket behind it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

from narration_cleanup.core.errors import TargetError
from narration_cleanup.core.model import CacheSurvey, Mark, Ref
from narration_cleanup.plan.actions import Outcome


class FileTarget(msgspec.Struct, frozen=True, gc=False):
    """A file to remove, and what it was planned on.

    ``identity`` is the ref of a file that was itself surveyed; ``entry`` that of the index entry
    which names it: then the file must not be younger than what the index says. ``sidecars`` go
    with it or not at all; the identity is then that of the whole group.
    """

    name: str
    identity: Ref | None = None
    entry: Ref | None = None
    sidecars: tuple[str, ...] = ()


class Removal(msgspec.Struct, frozen=True, gc=False):
    """The outcome for one file; ``done`` also where there was none to begin with.

    ``odd``: no cache should hold such a file; it needs the operator.
    """

    outcome: Outcome
    freed_bytes: int = 0
    note: str | None = None
    unexpected: bool = False


class StoppedError(TargetError):
    """Removing had to stop in its middle; ``removals`` has an answer for each file all the same."""

    def __init__(self, why: TargetError, removals: Sequence[Removal]) -> None:
        super().__init__(why.code, str(why))
        self.removals = removals


class CommitReport(msgspec.Struct, frozen=True):
    """The outcome for the entries to drop.

    ``kept`` holds the digests of those kept (a fresh file is there again); ``error`` is
    why the index could not be replaced at all (``code``: its name): then every entry is kept.
    """

    kept: frozenset[Mark] = frozenset()
    error: str | None = None
    code: str = "index_not_replaced"


class CacheStore(Protocol):
    """One cache, pinned for a whole command; ``location`` is how it is shown."""

    @property
    def location(self) -> str: ...

    @property
    def has_index(self) -> bool: ...

    @property
    def has_lock(self) -> bool:
        """Whether ``locked`` keeps runs apart; a bucket needs no such thing."""

    def locked(self) -> AbstractContextManager[None]:
        """Hold the run lock; raises ``BusyError`` when another run has it."""

    def in_progress(self) -> bool:
        """Whether a run holds the lock now."""

    def recover(self) -> int:
        """Put back what a killed run had staged; how many files. Only a run does this."""

    def survey(self) -> AbstractContextManager[CacheSurvey]:
        """Look at the cache.

        Raises ``TargetError`` where it cannot be read and, also from the passes,
        ``IndexChangedError`` where the index was rewritten under the look, ``IndexFormatError``.
        """

    def remove(self, files: Sequence[FileTarget]) -> Sequence[Removal]:
        """Remove files, each re-checked when it is removed; one answer for each.

        Raises ``TargetError`` where nothing can be removed (any more), ``StoppedError`` where some
        of these files were.
        """

    def remove_entries(self, entries: Iterable[tuple[Ref, str]]) -> CommitReport:
        """Take entries, each with the name of its file, out of the index.

        They may be gone through more than once.

        Only those that are still what was surveyed, and whose file is looked for now and gone.
        """

    def unchanged_since(self, files: Iterable[str]) -> bool:
        """Whether the cache is as this command left it: its index unchanged, no ``files`` there.

        False also where only a new survey can show it.
        """

    def count_older(self, files: Iterable[str], instant: float) -> int:
        """How many of ``files`` are there and were last written before ``instant``."""

    def close(self) -> None: ...
