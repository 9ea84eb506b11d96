"""What lies in the cache directory itself: one pass over its names."""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from narration_cleanup.core.model import ReadTime, Ref, StoredFile
from narration_cleanup.core.signals import end_survey_if_overdue
from narration_cleanup.core.timestamps import YEAR_2000
from narration_cleanup.stores.cache.local.directory import Directory
from narration_cleanup.stores.cache.local.mismatches import NameSums, ScannedNames, file_times
from narration_cleanup.stores.cache.paths import PARTIAL_SUFFIXES

_VISIBLE_TEMPORARY = re.compile(r"\.(new|temp|tmp[\w.-]*)")
_RANDOM = r"(?=\w*(\d[A-Za-z_]|[a-z_][A-Z]))(\w{6}|\w{8})"
"""Six characters (rsync) or eight (``mkstemp``), mixed as only a program mixes them."""
_HIDDEN_TEMPORARY = re.compile(rf"\.(new|temp|tmp[\w.-]*|{_RANDOM})")
_GROUP = 4096
IN_FLIGHT_NS = 300_000_000_000
"""The service writes an entry after its audio. Within five minutes it surely has."""
AHEAD_NS = 3_600_000_000_000
"""Longer than any run: audio that is so much younger than the survey has a time in the future."""


def is_index_temporary(name: str, index_name: str) -> bool:
    """Whether a program that replaces the index left ``name``; copies made by hand are not meant.

    ``<index>.new``, ``<index>.tmp…``, and the same with a leading dot, where most of
    ``mkstemp``'s and rsync's random endings count too.
    """
    if name.startswith(index_name):
        return _VISIBLE_TEMPORARY.fullmatch(name, len(index_name)) is not None
    if name.startswith(f".{index_name}"):
        return _HIDDEN_TEMPORARY.fullmatch(name, len(index_name) + 1) is not None
    return False


def ref_of(directory: Directory, status: os.stat_result) -> Ref:
    """The handle of a file in ``directory``: (inode, see ``inode_of``; size; mtime in ns)."""
    return directory.inode_of(status), status.st_size, status.st_mtime_ns


def group_ref(
    directory: Directory,
    audio: os.stat_result,
    sidecars: Iterable[os.stat_result] = (),
    *,
    by_atime: bool = False,
) -> Ref:
    """The handle of audio and its sidecars together; with ``by_atime`` a use changes it too."""
    inode, size, mtime = ref_of(directory, audio)
    marks = [ref_of(directory, sidecar) for sidecar in sidecars]
    if not marks and not by_atime:
        return inode, size, mtime
    size += sum(mark[1] for mark in marks)
    return inode, size, hash((mtime, audio.st_atime_ns if by_atime else 0, *marks))


def modified_at(status: os.stat_result) -> float:
    """The mtime (instant); before 2000 it means "not set", and the ctime counts instead."""
    return status.st_mtime if status.st_mtime >= YEAR_2000 else status.st_ctime


def stored_file(directory: Directory, name: str, status: os.stat_result) -> StoredFile:
    """A file in ``directory`` as its status describes it."""
    by_ctime = status.st_mtime < YEAR_2000
    times = modified_at(status), status.st_ctime
    return StoredFile(name, status.st_size, *times, ref_of(directory, status), by_ctime)


def regular(directory: Directory, name: str) -> StoredFile | None:
    """The regular file of that name, if there is one now."""
    status = directory.status(name)
    if status is None or not stat.S_ISREG(status.st_mode):
        return None
    return stored_file(directory, name, status)


class DirectoryScan:
    """The names in a directory that are audio (of whatever kind of file), or partials."""

    def __init__(
        self,
        directory: Directory,
        audio_suffixes: tuple[str, ...],
        index_name: str,
        set_aside: Iterable[str] = (),
        *,
        settled_before: float = math.inf,
    ) -> None:
        """``set_aside``: files that are not there, but will be before anything is removed; audio
        with an mtime not before ``settled_before`` may belong to an entry yet to be written."""
        self._settled_before = settled_before
        self._set_aside = [
            name for name in set_aside if name.endswith(audio_suffixes) and "/" not in name
        ]
        self._directory = directory
        self._suffixes = audio_suffixes
        self._index_name = index_name

    def look(self) -> ScannedNames:
        """Look at everything once."""
        seen = ScannedNames(NameSums(), [], {}, set())
        size = 0
        for group in self._groups(seen.partials):
            seen.audio.add(group)
            size += self._note(group, seen)
        seen.audio.add(self._set_aside)
        return seen._replace(size_bytes=size)

    def names(self, wanted: Callable[[str], bool]) -> Iterator[str]:
        """The audio names that ``wanted`` picks, as they are now."""
        with self._directory.scan() as found:
            for item in found:
                name = item.name
                if name.endswith(self._suffixes) and wanted(name):
                    yield name
        yield from filter(wanted, self._set_aside)

    def stored(self, names: Iterable[str]) -> Iterator[StoredFile]:
        """Those of ``names`` that are regular files here."""
        for name in sorted(names):
            if found := regular(self._directory, name):
                yield found

    def missing(self, names: set[str]) -> set[str]:
        """Those of ``names`` that nothing has."""
        missing = {name for name in names if self._directory.status(name) is None}
        return missing.difference(self._set_aside)

    def times(self, file: StoredFile) -> tuple[ReadTime, ...]:
        """The times of a file."""
        return file_times(file)

    def free_bytes(self) -> int:
        """Bytes free on the file system."""
        return self._directory.free_bytes()

    def size_of(self, name: str) -> int:
        """The size of a regular file; 0 where there is none."""
        status = self._directory.status(name)
        return status.st_size if status is not None and stat.S_ISREG(status.st_mode) else 0

    def is_linked(self, name: str) -> bool:
        """Whether a file has other hard links."""
        return self._directory.is_linked(name)

    def _groups(self, partials: list[str]) -> Iterator[list[str]]:
        """Audio names in groups; fills ``partials`` on the way."""
        suffixes = self._suffixes
        with self._directory.scan() as found:
            while names := [item.name for item in islice(found, _GROUP)]:
                end_survey_if_overdue()
                audio = [name for name in names if name.endswith(suffixes)]
                yield audio
                if len(audio) < len(names):
                    partials.extend(filter(self._is_partial, names))

    def _is_partial(self, name: str) -> bool:
        if name.endswith(self._suffixes):
            return False
        return name.endswith(PARTIAL_SUFFIXES) or is_index_temporary(name, self._index_name)

    def _note(self, group: list[str], seen: ScannedNames) -> int:
        """Note which audio is fresh or empty; the size of all of it."""
        fd, look, is_regular = self._directory.fd, os.stat, stat.S_ISREG
        first, last = self._settled_before, self._settled_before + AHEAD_NS / 1e9
        size = 0
        for name in group:
            try:
                status = look(name, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                continue
            if not is_regular(status.st_mode):
                continue
            size += (own := status.st_size)
            if first <= status.st_mtime <= last:
                seen.fresh.add(name)
            if not own:
                seen.empty_files[name] = modified_at(status)
        return size
