"""What caches in a directory have in common, with an index or without."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from narration_cleanup.cache.directory import Directory
from narration_cleanup.cache.own_folder import OwnFolder


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

    def close(self) -> None:
        """Let go of the directory."""
        self._own.close()
        self._directory.close()
