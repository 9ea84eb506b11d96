"""Finds the audio below a directory, with its sidecars: by descriptors, in bounded memory."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice

import msgspec

from narration_cleanup.core.model import (
    NO_MTIME,
    CacheEntry,
    Problem,
    Problems,
    Ref,
    Severity,
    Target,
)
from narration_cleanup.core.timestamps import YEAR_2000
from narration_cleanup.stores.cache.local.directory import (
    NO_SUCH_FILE,
    OWN_FOLDER,
    Directory,
    open_folder,
    what_it_is,
)
from narration_cleanup.stores.cache.local.own_folder import MOST_LEVELS, Folders
from narration_cleanup.stores.cache.local.scan import group_ref, modified_at
from narration_cleanup.stores.cache.paths import stem_of
from narration_cleanup.stores.cache.sidecars import NameForms, Names

_GROUP = 2048
_KIND = 0o170000


class FoundBatch:
    """Entries of some audio; the key of each is its name below the root, its size the audio's.

    ``more_bytes`` are those of the sidecars that were met, of this audio or other.
    """

    unjudged = 0

    def __init__(
        self,
        walk: Walk,
        names: list[str],
        statuses: list[os.stat_result],
        more_bytes: int,
        *,
        last_used: bool,
    ) -> None:
        self._walk = walk
        self._statuses = statuses
        self.more_bytes = more_bytes
        if walk.by_atime:
            times = [s.st_atime if s.st_atime >= YEAR_2000 else s.st_ctime for s in statuses]
        else:
            times = [modified_at(status) for status in statuses]
        self.entries = [
            CacheEntry(name, name, status.st_size, time, time if last_used else None, "", "")
            for name, status, time in zip(names, statuses, times, strict=True)
        ]

    def whole(self, position: int) -> tuple[CacheEntry, Ref]:
        """The entry with its sidecars, looked up now, and the handle of all these files."""
        return self._walk.whole(self.entries[position], self._statuses[position])


class Leftovers:
    """What was found besides whole audio: names below the root, and the mtimes of empty audio.

    ``forms`` are those of the audio's names, where ``sidecars`` are asked for.
    """

    def __init__(self, *, with_sidecars: bool) -> None:
        self._with_sidecars = with_sidecars
        self.empty: dict[str, float] = {}
        self.partials: list[str] = []
        self.sidecars: list[str] = []
        self.forms = NameForms()

    def note_audio(
        self, prefix: str, names: Sequence[str], statuses: Sequence[os.stat_result]
    ) -> None:
        """Take note of audio in the folder ``prefix``."""
        empty = [at for at, status in enumerate(statuses) if not status.st_size]
        self.empty.update((names[at], modified_at(statuses[at])) for at in empty)
        if self._with_sidecars:
            for name in names:
                self.forms.add(prefix, name[len(prefix) :])

    def note_sidecar(self, name: str) -> None:
        """Take note of a sidecar whose audio was not found so far."""
        if self._with_sidecars:
            self.sidecars.append(name)


class Walk:
    """One walk over a directory; ``problems`` gets what is in the way.

    ``by_atime``: times are those of the last use. ``folders`` finds sidecars. ``leftovers``
    gets what the audio has left; ``None`` where that is known already.
    """

    def __init__(
        self,
        directory: Directory,
        folders: Folders,
        known: Names,
        mount_points: frozenset[str],
        problems: Problems,
        leftovers: Leftovers | None,
        *,
        by_atime: bool,
        last_used: bool,
    ) -> None:
        self.by_atime = by_atime
        self._directory = directory
        self._folders = folders
        self._known = known
        self._leftovers = leftovers
        self._mount_points = mount_points
        self._problems = problems
        self._last_used = last_used
        self._no_mtime_reported = False
        self._names: list[str] = []
        self._audio: list[os.stat_result] = []
        self._sidecar_bytes = 0
        self.missed_some = False
        """Whether a suffix was met first when names in the same folder had been looked for."""

    def batches(self) -> Iterator[FoundBatch]:
        """All audio, some at a time, in the order of the directories, each scanned once."""
        # Opened anew: descriptors of one opening share how far the folder was read.
        root = open_folder(".", self._directory.fd)
        try:
            yield from self._folder(root, "", 1)
        finally:
            os.close(root)
        yield self._batch()

    def whole(self, entry: CacheEntry, audio: os.stat_result) -> tuple[CacheEntry, Ref]:
        """An entry with its sidecars, and the handle of all its files.

        Of audio that shares its sidecars the size counts them with the first by suffix.
        """
        sidecars: dict[str, os.stat_result] = {}
        shares = False
        with suppress(FileNotFoundError, NotADirectoryError):  # the removal will find it gone
            fd, base = self._folders.locate(entry.file)
            prefix = entry.file[: len(entry.file) - len(base)]
            for name in self._known.sidecars_of(base):
                if status := self._plain(name, fd, prefix):
                    sidecars[prefix + name] = status
            own = f"{entry.file}."
            shared = [name for name in sidecars if not name.startswith(own)]
            if shared:
                same_stem = [stem_of(base) + suffix for suffix in self._known.audio]
                here = [name for name in same_stem if name == base or self._plain(name, fd, prefix)]
                shares = len(here) > 1
        ref = group_ref(self._directory, audio, list(sidecars.values()), by_atime=self.by_atime)
        if not sidecars:
            return entry, ref
        size = entry.size_bytes
        counted = sidecars.keys() - shared if shares and here[0] != base else sidecars
        size += sum(sidecars[name].st_size for name in counted)
        names = tuple(sidecars)
        whole = msgspec.structs.replace(
            entry, size_bytes=size, sidecars=names, shares_sidecars=shares
        )
        return whole, ref

    def _batch(self) -> FoundBatch:
        """What was found since the last batch."""
        batch = FoundBatch(
            self, self._names, self._audio, self._sidecar_bytes, last_used=self._last_used
        )
        self._names, self._audio, self._sidecar_bytes = [], [], 0
        return batch

    def _folder(self, fd: int, prefix: str, level: int) -> Iterator[FoundBatch]:
        is_audio = self._known.is_audio
        with os.scandir(fd) as items:
            known = -1
            while block := list(islice(items, _GROUP)):
                audio = [item for item in block if is_audio(item.name)]
                self._known.note(item.name for item in block)
                self.missed_some |= known not in (-1, self._known.spellings)
                known = self._known.spellings
                self._take(audio, prefix)
                folders = [item for item in block if item.is_dir(follow_symlinks=False)]
                if len(audio) < len(block):
                    self._take_others(block, fd, prefix)
                if len(self._names) >= _GROUP:
                    yield self._batch()
                for folder in folders:
                    if folder.name != OWN_FOLDER:
                        yield from self._subfolder(fd, prefix + folder.name, folder.name, level)

    def _take(self, audio: list[os.DirEntry[str]], prefix: str) -> None:
        """Add what has audio's name and is a file."""
        try:
            statuses = [item.stat(follow_symlinks=False) for item in audio]
        except OSError:
            statuses = []
        if len(statuses) < len(audio) or not all(map(_is_plain, statuses)) or self._mount_points:
            pairs = [(item, status) for item in audio if (status := self._status(item, prefix))]
            audio, statuses = [item for item, _ in pairs], [status for _, status in pairs]
        names = [prefix + item.name for item in audio]
        if not self._no_mtime_reported:
            times = [status.st_atime if self.by_atime else status.st_mtime for status in statuses]
            if times and min(times) < YEAR_2000:
                self._no_mtime_reported = True
                oldest = names[times.index(min(times))]
                self._report("no_mtime", NO_MTIME, oldest, Severity.WARNING)
        self._names += names
        self._audio += statuses
        if self._leftovers is not None:
            self._leftovers.note_audio(prefix, names, statuses)

    def _take_others(self, block: list[os.DirEntry[str]], fd: int, prefix: str) -> None:
        """Count the bytes of what belongs to audio that is there, and note what was left."""
        known, leftovers = self._known, self._leftovers
        sidecars = [item.name for item in block if known.is_sidecar(item.name)]
        for name in sidecars:
            status = self._plain(name, fd, prefix)
            if status is None:
                continue
            if any(self._plain(audio, fd, prefix) for audio in known.audio_of(name)):
                self._sidecar_bytes += status.st_size
            elif leftovers is not None:
                leftovers.note_sidecar(prefix + name)
        if leftovers is not None:
            partials = [item.name for item in block if known.is_partial(item.name)]
            leftovers.partials += [prefix + n for n in partials if self._plain(n, fd, prefix)]

    def _plain(self, name: str, fd: int, prefix: str) -> os.stat_result | None:
        """The status of a regular file in a folder, if there is one of that name."""
        try:
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except OSError as error:
            if error.errno in NO_SUCH_FILE:
                return None
            raise
        return status if _is_plain(status) and prefix + name not in self._mount_points else None

    def _subfolder(self, above: int, path: str, name: str, level: int) -> Iterator[FoundBatch]:
        if level >= MOST_LEVELS:
            self._report("too_deep", f"more than {MOST_LEVELS} folders deep: not looked into", path)
            return
        try:
            fd = open_folder(name, above)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            why = f"not looked into: {error.strerror}"
            self._report("unreadable_folder", why, path, _severity(above, name, level))
            return
        try:
            if os.fstat(fd).st_dev != self._directory.device or path in self._mount_points:
                why = "another file system is mounted there: not looked into"
                self._report("mount_point", why, path, Severity.WARNING)
                return
            yield from self._folder(fd, f"{path}/", level + 1)
        finally:
            os.close(fd)

    def _status(self, item: os.DirEntry[str], prefix: str) -> os.stat_result | None:
        """The status of an item that has audio's name; ``None`` where it is no such file."""
        try:
            status = item.stat(follow_symlinks=False)
        except FileNotFoundError:
            return None
        is_mount = prefix + item.name in self._mount_points
        if _is_plain(status) and not is_mount:
            return status
        if stat.S_ISDIR(status.st_mode):
            return None
        what = "another file system" if is_mount else what_it_is(status.st_mode)
        why = f"{what} lies where audio should: left alone"
        self._report("odd_file", why, prefix + item.name, Severity.WARNING)
        return None

    def _report(
        self, code: str, why: str, path: str, severity: Severity = Severity.PROBLEM
    ) -> None:
        self._problems.add(Problem(Target.CACHE, code, why, path, severity))


def _is_plain(status: os.stat_result) -> bool:
    return status.st_mode & _KIND == stat.S_IFREG


def _severity(above: int, name: str, level: int) -> Severity:
    """Of a folder that cannot be read: root's at the top (``lost+found``, snapshots) belong to the
    volume, not to the cache."""
    try:
        owner = os.stat(name, dir_fd=above, follow_symlinks=False).st_uid
    except OSError:
        return Severity.PROBLEM
    return Severity.WARNING if level == 1 and owner == 0 else Severity.PROBLEM
