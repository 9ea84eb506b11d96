"""A cache directory without an index: every audio file below it is an entry, aged by its file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from narration_cleanup.actions import Outcome
from narration_cleanup.cache import DropReport, FileTarget, Removal
from narration_cleanup.cache.directory import Directory
from narration_cleanup.cache.folders import Folders
from narration_cleanup.cache.listing import group_ref
from narration_cleanup.cache.mounts import mounts_of
from narration_cleanup.cache.staging import Staging
from narration_cleanup.cache.walk import Found, Walk
from narration_cleanup.model import CacheEntry, Half, Problem, Ref, Severity, Unmatched
from narration_cleanup.problems import Problems

_ATIME_WARNINGS = {
    "noatime": "cache.age_from is atime, but this file system is mounted noatime: a use leaves no "
    "trace there, and audio in use expires; say mtime, or mount it strictatime",
    "relatime": "cache.age_from is atime, and this file system is mounted relatime: a use is noted "
    "once a day, so audio may look up to a day older than it is",
}


class FoundBatch:
    """Entries of some audio files; the key of each is its name below the root."""

    __slots__ = ("_by_atime", "_found", "entries")

    def __init__(self, found: Sequence[Found], *, by_atime: bool, last_used: bool) -> None:
        self._found = found
        self._by_atime = by_atime
        self.entries: list[CacheEntry] = []
        for name, audio, sidecars in found:
            time = audio.st_atime if by_atime else audio.st_mtime
            size = audio.st_size
            names: tuple[str, ...] = ()
            if sidecars:
                size += sum(status.st_size for _, status in sidecars)
                names = tuple(sidecar for sidecar, _ in sidecars)
            used_at = time if last_used else None
            self.entries.append(CacheEntry(name, name, size, time, used_at, "", "", names))

    def ref(self, position: int) -> Ref:
        """The handle of the entry at ``position``: that of its file and sidecars together."""
        _, audio, sidecars = self._found[position]
        return group_ref(audio, (status for _, status in sidecars), by_atime=self._by_atime)


class TreeSurvey:
    """A ``CacheSurvey`` of a directory without an index; every pass walks it anew.

    An entry's size is that of its audio and sidecars. No file is without an entry, and none is
    judged for being empty.
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
        for option, warning in _ATIME_WARNINGS.items():
            if by_atime and option in self._mounts.options:
                problem = Problem(Half.CACHE, "atime", warning, severity=Severity.WARNING)
                self.problems.add(problem)

    def free_bytes(self) -> int:
        """Bytes free on the file system."""
        return self._directory.free_bytes()

    def batches(self, *, last_used: bool = False) -> Iterator[FoundBatch]:
        """Every audio file below the directory; what is in the way is told in the first pass."""
        problems = Problems() if self._passes else self.problems
        self._passes += 1
        walk = Walk(self._directory, self._suffixes, self._mounts.below, problems)
        for found in walk.groups():
            yield FoundBatch(found, by_atime=self._by_atime, last_used=last_used)

    def unmatched(self) -> Unmatched:
        """Nothing: the files are the entries."""
        return Unmatched()


class AudioTree:
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
        self._directory = Directory(path)
        self._suffixes = audio_suffixes
        self._by_atime = by_atime
        self._remove_empty_dirs = remove_empty_dirs
        self._staging = Staging(self._directory, audio_suffixes=audio_suffixes, by_atime=by_atime)

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
        return self._staging.recover()

    @contextmanager
    def survey(self) -> Iterator[TreeSurvey]:
        """Look at the cache; see ``CacheStore``."""
        yield TreeSurvey(self._directory, self._suffixes, by_atime=self._by_atime)

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

    def drop_entries(self, entries: Iterable[tuple[Ref, str]]) -> DropReport:
        """Nothing to do: there is no index."""
        return DropReport()

    def settled(self, files: Iterable[str]) -> bool:
        """Whether none of ``files`` is there."""
        folders = Folders(self._directory)
        try:
            return not any(folders.holds(file) for file in files)
        except OSError:
            return False
        finally:
            folders.forget()

    def close(self) -> None:
        """Let go of the directory."""
        self._staging.close()
        self._directory.close()
