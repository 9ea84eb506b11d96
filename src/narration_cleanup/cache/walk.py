"""Finds the audio below a directory, with its sidecars: by descriptors, in bounded memory."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from narration_cleanup.cache.directory import OWN_FOLDER, Directory, open_folder, what_it_is
from narration_cleanup.cache.folders import MOST_LEVELS
from narration_cleanup.model import Half, Problem, Severity
from narration_cleanup.problems import Problems

SIDECAR_SUFFIXES = (".json", ".vtt", ".srt", ".txt", ".pho")
"""What goes with audio of the same stem: its subtitles, its text, its phonemes."""
_GROUP = 2048
_BITS = 1 << 24

Found = tuple[str, os.stat_result, tuple[tuple[str, os.stat_result], ...]]
"""Audio: its name relative to the root, its status, and each sidecar's name and status."""


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
    """One walk over a directory; what is in its way is told to ``problems``."""

    def __init__(
        self,
        directory: Directory,
        audio_suffixes: tuple[str, ...],
        mount_points: frozenset[str],
        problems: Problems,
    ) -> None:
        self._directory = directory
        self._suffixes = audio_suffixes
        self._mount_points = mount_points
        self._problems = problems
        self._sidecar_marks = _Marks()
        self._group: list[Found] = []

    def groups(self) -> Iterator[list[Found]]:
        """All audio, some at a time, in the order of the directories."""
        yield from self._folder(self._directory.fd, "", 1)
        yield self._group

    def _folder(self, fd: int, prefix: str, level: int) -> Iterator[list[Found]]:
        has_sidecars = self._mark_sidecars(fd)
        with os.scandir(fd) as items:
            for item in items:
                name = item.name
                if name.endswith(self._suffixes) and not item.is_dir(follow_symlinks=False):
                    status = self._audio(item, prefix)
                    if status is None:
                        continue
                    sidecars = self._sidecars(fd, prefix, name) if has_sidecars else ()
                    self._group.append((prefix + name, status, sidecars))
                    if len(self._group) == _GROUP:
                        yield self._group
                        self._group = []
                elif item.is_dir(follow_symlinks=False) and name != OWN_FOLDER:
                    yield from self._subfolder(fd, prefix + name, name, level)

    def _subfolder(self, above: int, path: str, name: str, level: int) -> Iterator[list[Found]]:
        if level >= MOST_LEVELS:
            self._tell("too_deep", f"more than {MOST_LEVELS} folders deep: not looked into", path)
            return
        try:
            fd = open_folder(name, above)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            self._tell("unreadable_folder", f"not looked into: {error.strerror}", path)
            return
        try:
            if os.fstat(fd).st_dev != self._directory.device or path in self._mount_points:
                why = "another file system is mounted there: not looked into"
                self._tell("mount_point", why, path, Severity.WARNING)
                return
            yield from self._folder(fd, f"{path}/", level + 1)
        finally:
            os.close(fd)

    def _audio(self, item: os.DirEntry[str], prefix: str) -> os.stat_result | None:
        """The status of an item that has audio's name; ``None`` where it is no such file."""
        try:
            status = item.stat(follow_symlinks=False)
        except FileNotFoundError:
            return None
        if stat.S_ISREG(status.st_mode) and status.st_dev == self._directory.device:
            return status
        what = "another file system" if stat.S_ISREG(status.st_mode) else what_it_is(status.st_mode)
        why = f"{what} lies where audio should: left alone"
        self._tell("odd_file", why, prefix + item.name, Severity.WARNING)
        return None

    def _mark_sidecars(self, fd: int) -> bool:
        """Note the sidecars of a folder before its audio is met; whether there are any."""
        found = False
        with os.scandir(fd) as items:
            for item in items:
                if item.name.endswith(SIDECAR_SUFFIXES):
                    self._sidecar_marks.add(item.name)
                    found = True
        return found

    def _sidecars(self, fd: int, prefix: str, name: str) -> tuple[tuple[str, os.stat_result], ...]:
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
            if stat.S_ISREG(status.st_mode) and status.st_dev == self._directory.device:
                found.append((prefix + sidecar, status))
        return tuple(found)

    def _tell(self, code: str, why: str, path: str, severity: Severity = Severity.PROBLEM) -> None:
        self._problems.add(Problem(Half.CACHE, code, why, path, severity))
