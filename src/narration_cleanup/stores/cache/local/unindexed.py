"""A cache directory without an index: every audio file below it is an entry, aged by its file."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from narration_cleanup.core.model import (
    FileRole,
    Found,
    Problem,
    Problems,
    Ref,
    Severity,
    Sighting,
    StoredFile,
    Target,
    Unmatched,
)
from narration_cleanup.plan.actions import Outcome
from narration_cleanup.stores.cache import CommitReport, FileTarget, Removal
from narration_cleanup.stores.cache.local.base import LocalCache
from narration_cleanup.stores.cache.local.directory import (
    Directory,
    mounts_of,
    open_to_read,
    what_it_is,
)
from narration_cleanup.stores.cache.local.mismatches import NO_RULE, NOT_REGULAR, file_times
from narration_cleanup.stores.cache.local.own_folder import Folders
from narration_cleanup.stores.cache.local.scan import group_ref, stored_file
from narration_cleanup.stores.cache.local.staging import Staging
from narration_cleanup.stores.cache.local.walk import FoundBatch, Leftovers, Walk
from narration_cleanup.stores.cache.sidecars import LARGEST_SIDECAR, Names

_ATIME_WARNINGS = {
    "noatime": "cache.age_from is atime, but this file system is mounted noatime: a use leaves no "
    "trace there, and audio in use expires; say mtime, or mount it strictatime",
    "relatime": "cache.age_from is atime, and this file system is mounted relatime: a use is noted "
    "once a day, so audio may look up to a day older than it is",
}


class TreeSurvey:
    """A ``CacheSurvey`` of a directory without an index; every pass walks it anew."""

    def __init__(
        self, directory: Directory, known: Names, *, by_atime: bool, with_sidecars: bool
    ) -> None:
        self.problems = Problems()
        self._leftovers = Leftovers(with_sidecars=with_sidecars)
        self._directory = directory
        self._known = known
        self._by_atime = by_atime
        self._mounts = mounts_of(directory.fd)
        self._passes = 0
        self._last: Walk | None = None
        self.folders = Folders(directory)
        for option, warning in _ATIME_WARNINGS.items():
            if by_atime and option in self._mounts.options:
                problem = Problem(Target.CACHE, "atime", warning, severity=Severity.WARNING)
                self.problems.add(problem)

    @property
    def empty_files(self) -> Mapping[str, float]:
        """Zero-byte audio and its mtime."""
        return self._leftovers.empty

    def free_bytes(self) -> int:
        """Bytes free on the file system."""
        return self._directory.free_bytes()

    def stored_bytes(self) -> None:
        """Nothing: the entries' sizes are those of their files."""

    def size_of(self, file: str, stated: int) -> int:
        return stated

    def is_linked(self, file: str) -> bool:
        return self._directory.is_linked(file)

    def batches(self, *, last_used: bool = False) -> Iterator[FoundBatch]:
        """Every audio file below the directory; the first pass reports what is in the way."""
        problems = Problems() if self._passes else self.problems
        leftovers = None if self._passes else self._leftovers
        self._passes += 1
        self._last = self._walk(problems, leftovers, last_used=last_used)
        return self._last.batches()

    def _walk(self, problems: Problems, leftovers: Leftovers | None, *, last_used: bool) -> Walk:
        return Walk(
            self._directory,
            self.folders,
            self._known,
            self._mounts.below,
            problems,
            leftovers,
            by_atime=self._by_atime,
            last_used=last_used,
        )

    def times_changed(self) -> bool:
        """Whether the pass met a suffix late: what it had looked for by name may have it."""
        return self._last is not None and self._last.missed_some

    def find(self, spellings: Sequence[str]) -> Found:
        """See ``CacheSurvey``."""
        names = dict.fromkeys(map(self._name_below, spellings))
        sightings: list[Sighting] = []
        for name in filter(None, names):
            with suppress(OSError):
                sightings += self._sightings(name)
        return Found(frozenset(filter(None, {*names, *spellings})), tuple(sightings))

    def _name_below(self, path: str) -> str:
        """A path as the name of a file below the directory; empty where it can be none."""
        for folder in self._directory.names():
            path = path.removeprefix(f"{folder.rstrip('/')}/")
        name = os.path.normpath(path)
        return "" if name.startswith(("/", "..")) or name == "." else name

    def _sightings(self, name: str) -> Iterator[Sighting]:
        """What the file of a name is, and the audio that it belongs to."""
        known = self._known
        folder, base = self.folders.locate(name)
        status = os.stat(base, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            why = f"{what_it_is(status.st_mode)}: {NOT_REGULAR}"
            yield Sighting(file=name, role=FileRole.OTHER, unjudged=why)
            return
        stored = stored_file(self._directory, name, status)
        times = file_times(stored, atime=status.st_atime if self._by_atime else None)
        if known.is_audio(base):
            walk = self._walk(Problems(), None, last_used=True)
            entry, _ = FoundBatch(walk, [name], [status], 0, last_used=True).whole(0)
            yield Sighting(key=name, file=name, entry=entry, stored=stored, times=times)
            return
        role = FileRole.OTHER
        audio: list[str] = []
        if known.is_partial(base):
            role = FileRole.PARTIAL
        elif known.is_sidecar(base):
            prefix = name[: len(name) - len(base)]
            role = FileRole.SIDECAR
            names = dict.fromkeys(prefix + each for each in known.audio_of(base))
            audio = [each for each in names if self.folders.holds(each)]
        unjudged = NO_RULE if role is FileRole.OTHER else None
        yield Sighting(
            file=name,
            stored=stored,
            role=role,
            times=times,
            unjudged=unjudged,
            goes_with=" and ".join(audio) or None,
        )
        for each in audio:
            yield from self._sightings(each)

    def unmatched(self) -> Unmatched:
        """Half-written files, and sidecars whose audio is gone; the audio files are the entries."""
        found = self._leftovers
        sidecars = list(filter(self._is_left, found.sidecars))
        return Unmatched(partials=self._stored(found.partials), sidecars=self._stored(sidecars))

    def _stored(self, names: Iterable[str]) -> list[StoredFile]:
        stored = []
        for name in sorted(names):
            with suppress(OSError):
                folder, base = self.folders.locate(name)
                status = os.stat(base, dir_fd=folder, follow_symlinks=False)
                file = stored_file(self._directory, name, status)
                ref = group_ref(self._directory, status, by_atime=self._by_atime)
                if stat.S_ISREG(status.st_mode):
                    stored.append(msgspec.structs.replace(file, ref=ref))
        return stored

    def _is_left(self, name: str) -> bool:
        """Whether this is the sidecar of audio that is gone; where that is open it is not."""
        try:
            folder, base = self.folders.locate(name)
            if not self._leftovers.forms.has(name[: len(name) - len(base)], self._known, base):
                return False
            if any(os.access(each, os.F_OK, dir_fd=folder) for each in self._known.audio_of(base)):
                return False
            fd = open_to_read(base, folder)
            try:
                content = os.read(fd, LARGEST_SIDECAR)
            finally:
                os.close(fd)
        except OSError:
            return False
        return len(content) < LARGEST_SIDECAR and not self._known.lists_audio(content, base)


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
        remove_sidecars: bool = False,
    ) -> None:
        """Raises ``ConfigError`` where ``path`` is no directory that a cache lies in."""
        super().__init__(path, audio_suffixes)
        self._known = Names(audio_suffixes)
        self._by_atime = by_atime
        self._remove_empty_dirs = remove_empty_dirs
        self._remove_sidecars = remove_sidecars
        self._staging = Staging(self._directory, self._own, known=self._known, by_atime=by_atime)

    @contextmanager
    def survey(self) -> Iterator[TreeSurvey]:
        """Look at the cache; see ``CacheStore``."""
        survey = TreeSurvey(
            self._directory,
            self._known,
            by_atime=self._by_atime,
            with_sidecars=self._remove_sidecars,
        )
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
