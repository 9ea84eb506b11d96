"""Finds the audio below a directory, with its sidecars: by descriptors, in bounded memory."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from itertools import compress, islice
from typing import NamedTuple

from narration_cleanup.core.model import NO_MTIME, Ref, Severity, TimeSpan
from narration_cleanup.core.timestamps import YEAR_2000
from narration_cleanup.stores.cache.local.directory import (
    OWN_FOLDER,
    Directory,
    open_folder,
    what_it_is,
)
from narration_cleanup.stores.cache.local.scan import group_ref
from narration_cleanup.stores.cache.local.subfolders import MOST_LEVELS

SIDECAR_SUFFIXES = (".json", ".vtt", ".srt", ".txt", ".pho")
"""What goes with audio of the same stem: its subtitles, its text, its phonemes."""
_GROUP = 2048
_KIND = 0o170000
_BITS = 1 << 24

Sidecars = tuple[tuple[str, os.stat_result], ...]
Obstacle = tuple[str, str, str, str]
"""What was in the way: code, message, the name that it is about, severity."""


class Found(NamedTuple):
    """Some audio by columns, of plain values only, so that it can be sent by another process.

    Names are relative to the root; sizes (bytes) include the sidecars'; times are instants;
    ``sidecars`` has the names of those that have any, by position, and ``sharing`` the positions
    of those among them that share theirs with other audio: they count with the first of it. Of
    audio whose time lies in the span that was given there are only figures: ``counted_sizes`` and
    ``counted_times``.
    """

    names: list[str]
    sizes: list[int]
    times: list[float]
    refs: list[Ref]
    sidecars: dict[int, tuple[str, ...]]
    sharing: list[int]
    obstacles: list[Obstacle]
    counted_sizes: list[int]
    counted_times: list[float]


class _Marks:
    """Says of a name surely that it was not added, or else that it probably was; 2 MB for any."""

    def __init__(self) -> None:
        self._bits = bytearray(_BITS // 8)

    def add(self, name: str) -> None:
        bit = hash(name) % _BITS
        self._bits[bit >> 3] |= 1 << (bit & 7)

    def __contains__(self, name: str) -> bool:
        bit = hash(name) % _BITS
        return bool(self._bits[bit >> 3] & (1 << (bit & 7)))


class Walk:
    """One walk over a directory. ``by_atime``: times are those of the last use.

    ``share`` 0 or 1: only the audio whose inode is even or odd; what is in the way of the whole is
    told with the even ones. Of audio whose time lies in ``staying`` only figures are told.
    """

    def __init__(
        self,
        directory: Directory,
        audio_suffixes: tuple[str, ...],
        mount_points: frozenset[str],
        *,
        by_atime: bool,
        share: int | None = None,
        staying: TimeSpan | None = None,
    ) -> None:
        self._directory = directory
        self._suffixes = audio_suffixes
        self._mount_points = mount_points
        self._by_atime = by_atime
        self._share = share
        self._staying = staying
        self._sidecar_marks = _Marks()
        self._names: list[str] = []
        self._audio: list[os.stat_result] = []
        self._sidecars: dict[int, Sidecars] = {}
        self._sharing: dict[int, bool] = {}
        self._obstacles: list[Obstacle] = []

    def groups(self) -> Iterator[Found]:
        """All audio, some at a time, in the order of the directories."""
        # Opened anew: two processes that share a descriptor also share how far it was read, and
        # each would miss what the other has come upon.
        root = open_folder(".", self._directory.fd)
        try:
            yield from self._folder(root, "", 1)
        finally:
            os.close(root)
        yield self._group()

    def _group(self) -> Found:
        """What was found since the last group, by columns."""
        names, audio, sidecars = self._names, self._audio, self._sidecars
        sizes = [status.st_size for status in audio]
        if self._by_atime:
            times = [status.st_atime for status in audio]
        else:
            times = [status.st_mtime for status in audio]
        if times and min(times) < YEAR_2000:
            self._tell("no_mtime", NO_MTIME, names[times.index(min(times))], Severity.WARNING)
            times = [
                time if time >= YEAR_2000 else status.st_ctime
                for time, status in zip(times, audio, strict=True)
            ]
        sharing = self._sharing
        for position, group in sidecars.items():
            if sharing.get(position, True):
                sizes[position] += sum(status.st_size for _, status in group)
        told: Sequence[int] = range(len(names))
        counted_sizes: list[int] = []
        counted_times: list[float] = []
        if self._staying is not None:
            first, last = self._staying
            stays = [first <= time <= last for time in times]
            counted_sizes = list(compress(sizes, stays))
            counted_times = list(compress(times, stays))
            told = [position for position, it_stays in enumerate(stays) if not it_stays]
        found = Found(
            [names[position] for position in told],
            [sizes[position] for position in told],
            [times[position] for position in told],
            [self._ref(position) for position in told],
            {
                nth: tuple(name for name, _ in sidecars[position])
                for nth, position in enumerate(told if sidecars else ())
                if position in sidecars
            },
            [nth for nth, position in enumerate(told if sharing else ()) if position in sharing],
            self._obstacles,
            counted_sizes,
            counted_times,
        )
        self._names, self._audio, self._sidecars, self._obstacles = [], [], {}, []
        self._sharing = {}
        return found

    def _ref(self, position: int) -> Ref:
        statuses = [status for _, status in self._sidecars.get(position, ())]
        return group_ref(self._directory, self._audio[position], statuses, by_atime=self._by_atime)

    def _folder(self, fd: int, prefix: str, level: int) -> Iterator[Found]:
        has_sidecars = self._mark_sidecars(fd)
        suffixes = self._suffixes
        with os.scandir(fd) as items:
            while block := list(islice(items, _GROUP)):
                audio = [item for item in block if item.name.endswith(suffixes)]
                folders = [item for item in block if item.is_dir(follow_symlinks=False)]
                if self._share is not None:
                    audio = [item for item in audio if item.inode() & 1 == self._share]
                self._take(audio, prefix, fd if has_sidecars else None)
                if len(self._names) >= _GROUP:
                    yield self._group()
                for folder in folders:
                    if folder.name != OWN_FOLDER:
                        yield from self._subfolder(fd, prefix + folder.name, folder.name, level)

    def _take(self, audio: list[os.DirEntry[str]], prefix: str, sidecars_in: int | None) -> None:
        """Add what has audio's name; ``sidecars_in`` is its folder where that holds sidecars."""
        try:
            statuses = [item.stat(follow_symlinks=False) for item in audio]
        except OSError:
            statuses = []
        plain = [status.st_mode & _KIND == stat.S_IFREG for status in statuses]
        if len(plain) < len(audio) or not all(plain) or self._mount_points:
            pairs = [(item, status) for item in audio if (status := self._status(item, prefix))]
            audio, statuses = [item for item, _ in pairs], [status for _, status in pairs]
        first = len(self._names)
        self._names += [prefix + item.name for item in audio]
        self._audio += statuses
        if sidecars_in is not None:
            for position, item in enumerate(audio, first):
                if sidecars := self._sidecars_of(sidecars_in, prefix, item.name):
                    self._sidecars[position] = sidecars
                    self._note_sharing(sidecars_in, item.name, position)

    def _subfolder(self, above: int, path: str, name: str, level: int) -> Iterator[Found]:
        if level >= MOST_LEVELS:
            self._tell("too_deep", f"more than {MOST_LEVELS} folders deep: not looked into", path)
            return
        try:
            fd = open_folder(name, above)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            why = f"not looked into: {error.strerror}"
            self._tell("unreadable_folder", why, path, _severity(above, name, level))
            return
        try:
            if os.fstat(fd).st_dev != self._directory.device or path in self._mount_points:
                why = "another file system is mounted there: not looked into"
                self._tell("mount_point", why, path, Severity.WARNING)
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
        if stat.S_ISREG(status.st_mode) and not is_mount:
            return status
        if stat.S_ISDIR(status.st_mode):
            return None
        what = "another file system" if is_mount else what_it_is(status.st_mode)
        why = f"{what} lies where audio should: left alone"
        self._tell("odd_file", why, prefix + item.name, Severity.WARNING)
        return None

    def _mark_sidecars(self, fd: int) -> bool:
        """Note the sidecars of a folder before its audio is met; whether there are any."""
        any_found = False
        with os.scandir(fd) as items:
            while block := list(islice(items, _GROUP)):
                for name in [i.name for i in block if i.name.endswith(SIDECAR_SUFFIXES)]:
                    self._sidecar_marks.add(name)
                    any_found = True
        return any_found

    def _sidecars_of(self, fd: int, prefix: str, name: str) -> Sidecars:
        stem = name.rpartition(".")[0]
        found = []
        for suffix in SIDECAR_SUFFIXES:
            sidecar = stem + suffix
            if sidecar not in self._sidecar_marks:
                continue
            try:
                status = os.stat(sidecar, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISREG(status.st_mode) and prefix + sidecar not in self._mount_points:
                found.append((prefix + sidecar, status))
        return tuple(found)

    def _note_sharing(self, fd: int, name: str, position: int) -> None:
        """Whether other audio has the same sidecars, and whether this is the first by suffix."""
        stem = name.rpartition(".")[0]
        here = [
            stem + suffix
            for suffix in self._suffixes
            if stem + suffix == name or os.access(stem + suffix, os.F_OK, dir_fd=fd)
        ]
        if here and here != [name]:
            self._sharing[position] = here[0] == name

    def _tell(self, code: str, why: str, path: str, severity: Severity = Severity.PROBLEM) -> None:
        if code in ("odd_file", "no_mtime") or self._share != 1:
            self._obstacles.append((code, why, path, severity.value))


def _severity(above: int, name: str, level: int) -> Severity:
    """Of a folder that cannot be looked into: root's at the top (``lost+found``, snapshots) are
    those of the volume, and no part of the cache."""
    try:
        owner = os.stat(name, dir_fd=above, follow_symlinks=False).st_uid
    except OSError:
        return Severity.PROBLEM
    return Severity.WARNING if level == 1 and owner == 0 else Severity.PROBLEM
