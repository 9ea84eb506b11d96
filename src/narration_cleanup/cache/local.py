"""What caches in a directory have in common, with an index or without."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from narration_cleanup.cache.directory import Directory
from narration_cleanup.cache.folders import Folders
from narration_cleanup.cache.own_folder import OwnFolder
from narration_cleanup.model import Half, Problem, Severity


class LocalCache:
    """A pinned directory with the tool's own folder in it: a part of every ``CacheStore`` here."""

    def __init__(self, path: Path) -> None:
        """Raises ``ConfigError`` where ``path`` is no directory that a cache lies in."""
        self._directory = Directory(path)
        self._own = OwnFolder(self._directory)

    @property
    def location(self) -> str:
        """The directory as it was given."""
        return str(self._directory.path)

    def locked(self) -> AbstractContextManager[None]:
        """Hold the run lock."""
        return self._directory.locked()

    def in_progress(self) -> bool:
        """Whether a run holds the lock now."""
        return self._directory.in_progress()

    def recover(self) -> int:
        """Put back what a killed run had staged; how many files."""
        return self._own.recover()

    def _set_aside(self) -> tuple[list[str], list[Problem]]:
        """The files that a killed run left set aside and nothing replaces, and what to tell of
        them: nothing where a run is at work, whose they are."""
        names = self._own.waiting()
        if not names:
            return [], []
        folders = Folders(self._directory)
        missing = [name for name in names if not _holds(folders, name)]
        folders.forget()
        if self.in_progress():
            return missing, []
        what = "a file" if len(names) == 1 else f"{len(names)} files"
        message = f"a run was killed and has left {what} set aside: the next one puts that back"
        return missing, [Problem(Half.CACHE, "set_aside", message, severity=Severity.WARNING)]

    def close(self) -> None:
        """Let go of the directory."""
        self._own.close()
        self._directory.close()


def _holds(folders: Folders, name: str) -> bool:
    try:
        return folders.holds(name)
    except OSError:
        return False
