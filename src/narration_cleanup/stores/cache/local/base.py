"""What caches in a directory have in common, with an index or without."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from narration_cleanup.core.errors import TargetError
from narration_cleanup.core.locks import is_held, run_lock
from narration_cleanup.core.model import Problem, Severity, Target
from narration_cleanup.core.text import printable
from narration_cleanup.stores.cache.local.directory import OWN_FOLDER, Directory
from narration_cleanup.stores.cache.local.own_folder import LOCK_NAME, Folders, StagingDir

COARSEST_TIME = 2.0
"""Seconds by which the mtime of a new file may lie before the clock (FAT)."""


class LocalCache:
    """A pinned directory with the tool's own folder in it: a part of every ``CacheStore`` here."""

    has_lock = True

    def __init__(self, path: Path, audio_suffixes: tuple[str, ...]) -> None:
        """Raises ``ConfigError`` where ``path`` is no directory that a cache lies in."""
        self._directory = Directory(path)
        self._own = StagingDir(self._directory, audio_suffixes)

    @property
    def location(self) -> str:
        """The directory as it was given."""
        return str(self._directory.path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run lock, which lies in the tool's own folder: who may only read the cache
        cannot take it.

        Raises ``BusyError`` when another run still has it after a few seconds, ``ConfigError``
        where root could be led elsewhere, ``TargetError`` where no lock can be had here.
        """
        self._directory.refuse_detour()
        with ExitStack() as stack:
            try:
                stack.enter_context(run_lock(LOCK_NAME, self._own.private(), self.location))
            except OSError as error:
                raise TargetError(
                    "no_lock", f"{printable(self.location)} cannot be locked: {error.strerror}"
                ) from None
            self._directory.is_locked = True
            try:
                yield
            finally:
                self._directory.is_locked = False

    def in_progress(self) -> bool:
        """Whether a run holds the lock now, be it this one."""
        if self._directory.is_locked:
            return True
        with self._own.entered() as folder:
            return folder is not None and is_held(LOCK_NAME, folder)

    def recover(self) -> int:
        """Put back what a killed run had staged; how many files."""
        return self._own.recover()

    def _set_aside(self) -> tuple[list[str], list[Problem]]:
        """The files that a killed run left set aside and nothing replaces, and what to report
        of them: nothing while another run is at work, whose they are."""
        names = self._own.waiting()
        another_works = bool(names) and not self._directory.is_locked and self.in_progress()
        if names and not self._directory.is_locked and not another_works:
            names = self._own.waiting()  # a run may have ended just now
        folders = Folders(self._directory)
        missing = [name for name in names if not _holds(folders, name)]
        folders.forget()
        return missing, [] if another_works else list(self._set_aside_problems(names))

    def _set_aside_problems(self, names: Sequence[str]) -> Iterator[Problem]:
        where = printable(self._directory.path / OWN_FOLDER)
        if self._directory.is_locked:  # this run has put back what it can
            message = f"an earlier run had set it aside, and it cannot be put back: see {where}"
            yield from (
                Problem(Target.CACHE, "not_put_back", message, name) for name in sorted(names)
            )
        elif names:
            what = "a file" if len(names) == 1 else f"{len(names)} files"
            message = f"a killed run has left {what} in {where}: the next one puts back what it can"
            yield Problem(Target.CACHE, "set_aside", message, severity=Severity.WARNING)

    def count_older(self, files: Iterable[str], instant: float) -> int:
        folders, older = Folders(self._directory), 0
        for name in files:
            with suppress(OSError):
                folder, base = folders.locate(name)
                status = os.stat(base, dir_fd=folder, follow_symlinks=False)
                older += status.st_mtime < instant - COARSEST_TIME
        folders.forget()
        return older

    def close(self) -> None:
        """Let go of the directory."""
        self._own.close()
        self._directory.close()


def _holds(folders: Folders, name: str) -> bool:
    """Whether something has that name, or nothing could."""
    try:
        return folders.holds(name)
    except OSError:
        return True
