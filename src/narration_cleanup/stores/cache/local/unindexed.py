"""A cache directory without an index: every audio file below it is an entry, aged by its file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from narration_cleanup.core.model import (
    Problem,
    Ref,
    Severity,
    Target,
    Unmatched,
)
from narration_cleanup.core.problems import Problems
from narration_cleanup.plan.actions import Outcome
from narration_cleanup.stores.cache import CommitReport, FileTarget, Removal
from narration_cleanup.stores.cache.local.base import LocalCache
from narration_cleanup.stores.cache.local.directory import Directory
from narration_cleanup.stores.cache.local.mounts import mounts_of
from narration_cleanup.stores.cache.local.staging import Staging
from narration_cleanup.stores.cache.local.subfolders import Folders
from narration_cleanup.stores.cache.local.walk import FoundBatch, Walk

_ATIME_WARNINGS = {
    "noatime": "cache.age_from is atime, but this file system is mounted noatime: a use leaves no "
    "trace there, and audio in use expires; say mtime, or mount it strictatime",
    "relatime": "cache.age_from is atime, and this file system is mounted relatime: a use is noted "
    "once a day, so audio may look up to a day older than it is",
}


class TreeSurvey:
    """A ``CacheSurvey`` of a directory without an index; every pass walks it anew.

    No file is without an entry, and none is judged for being empty.
    """

    def __init__(
        self, directory: Directory, audio_suffixes: tuple[str, ...], *, by_atime: bool
    ) -> None:
        self.problems = Problems()
        self.empty_files: Mapping[str, float] = {}
        self._directory = directory
        self._suffixes = audio_suffixes
        self._by_atime = by_atime
        self._mounts = mounts_of(directory.fd)
        self._passes = 0
        self.folders = Folders(directory)
        for option, warning in _ATIME_WARNINGS.items():
            if by_atime and option in self._mounts.options:
                problem = Problem(Target.CACHE, "atime", warning, severity=Severity.WARNING)
                self.problems.add(problem)

    def free_bytes(self) -> int:
        """Bytes free on the file system."""
        return self._directory.free_bytes()

    def stored_bytes(self) -> None:
        """Nothing: the entries' sizes are those of their files."""

    def size_of(self, file: str, stated: int) -> int:
        """See ``CacheSurvey``."""
        return stated

    def is_linked(self, file: str) -> bool:
        """See ``CacheSurvey``."""
        return self._directory.is_linked(file)

    def batches(self, *, last_used: bool = False) -> Iterator[FoundBatch]:
        """Every audio file below the directory; what is in the way is told in the first pass."""
        problems = Problems() if self._passes else self.problems
        self._passes += 1
        return Walk(
            self._directory,
            self.folders,
            self._suffixes,
            self._mounts.below,
            problems,
            by_atime=self._by_atime,
            last_used=last_used,
        ).batches()

    def times_changed(self) -> bool:
        """See ``CacheSurvey``; times of files are instants."""
        return False

    def unmatched(self) -> Unmatched:
        """Nothing: the files are the entries."""
        return Unmatched()


class AudioTree(LocalCache):
    """A ``CacheStore``: one directory and the folders in it."""

    has_index = False

    def __init__(
        self,
        path: Path,
        *,
        audio_suffixes: tuple[str, ...],
        by_atime: bool = False,
        remove_empty_dirs: bool = False,
    ) -> None:
        """Raises ``ConfigError`` where ``path`` is no directory that a cache lies in."""
        super().__init__(path)
        self._suffixes = audio_suffixes
        self._by_atime = by_atime
        self._remove_empty_dirs = remove_empty_dirs
        self._staging = Staging(
            self._directory, self._own, audio_suffixes=audio_suffixes, by_atime=by_atime
        )

    @contextmanager
    def survey(self) -> Iterator[TreeSurvey]:
        """Look at the cache; see ``CacheStore``."""
        survey = TreeSurvey(self._directory, self._suffixes, by_atime=self._by_atime)
        survey.problems.extend(self._set_aside()[1])
        try:
            yield survey
        finally:
            survey.folders.forget()

    def remove(self, files: Sequence[FileTarget]) -> Sequence[Removal]:
        """Remove files with their sidecars through staging, and then the folders thus emptied."""
        removals = self._staging.remove(files)
        if self._remove_empty_dirs:
            touched = {
                target.name.rpartition("/")[0]
                for target, removal in zip(files, removals, strict=True)
                if removal.outcome is Outcome.DONE and removal.note is None
            }
            folders = Folders(self._directory)
            for folder in sorted(touched, reverse=True):
                folders.remove_empty(folder)
            folders.forget()
        return removals

    def remove_entries(self, entries: Iterable[tuple[Ref, str]]) -> CommitReport:
        """Nothing to do: there is no index."""
        return CommitReport()

    def unchanged_since(self, files: Iterable[str]) -> bool:
        """Whether none of ``files`` is there."""
        folders = Folders(self._directory)
        try:
            return not any(folders.holds(file) for file in files)
        except OSError:
            return False
        finally:
            folders.forget()
