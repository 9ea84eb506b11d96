"""Surveys made by hand, so that the planner can be asked without a disk."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from narration_cleanup.core.model import (
    CacheEntry,
    Found,
    Problem,
    Ref,
    Sighting,
    StoredFile,
    Unmatched,
)

NOW = 1_795_435_200.0
"""2026-11-23 12:00 UTC."""
MB = 1024 * 1024
HOUR = 3_600.0
DAY = 86_400.0


def entry(
    key: str,
    *,
    age: float | None = 0.0,
    unused: float | None = 0.0,
    size: int = MB,
    voice: str = "ghostly_whisper",
    variant: str = "variant-1",
    file: str | None = None,
    sidecars: tuple[str, ...] = (),
    shares_sidecars: bool = False,
) -> CacheEntry:
    """An entry; ``age`` and ``unused`` in seconds before ``NOW``, ``None`` for unreadable."""
    created_at = None if age is None else NOW - age
    used_at = None if unused is None else NOW - unused
    name = f"{key}.mp3" if file is None else file
    what = key, name, size, created_at, used_at, voice, variant, sidecars
    return CacheEntry(*what, shares_sidecars)


def stored(
    name: str,
    *,
    age: float,
    size: int = 1000,
    arrived: float | None = None,
    by_ctime: bool = False,
) -> StoredFile:
    """A file without an entry; it arrived so many seconds before ``NOW``, else as old as it is."""
    arrived_at = NOW - (age if arrived is None else arrived)
    return StoredFile(name, size, NOW - age, arrived_at, (1, size, 1), by_ctime)


@dataclass
class Entries:
    """An ``EntryBatch`` whose refs are made of positions in the survey.

    ``whole_sizes`` has the sizes, with those of sidecars, of entries that are asked for whole.
    """

    entries: Sequence[CacheEntry]
    first: int
    unjudged: int = 0
    more_bytes: int = 0
    whole_sizes: Mapping[str, int] = field(default_factory=dict)

    def whole(self, position: int) -> tuple[CacheEntry, Ref]:
        entry = self.entries[position]
        size_bytes = self.whole_sizes.get(entry.key, entry.size_bytes)
        entry = msgspec.structs.replace(entry, size_bytes=size_bytes)
        return entry, (self.first + position, 0, 0)


@dataclass
class Survey:
    """A ``CacheSurvey`` that says what it is told; entries come two at a time."""

    entries: Sequence[CacheEntry] = ()
    found: Unmatched = field(default_factory=Unmatched)
    empty_files: Mapping[str, float] = field(default_factory=dict)
    free: int | None = None
    problems: Sequence[Problem] = ()
    linked: Collection[str] = ()
    sightings: tuple[Sighting, ...] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Of files whose size is not what their entry states."""
    unjudged: int = 0
    more_bytes: int = 0
    """Both are of the first batch."""
    whole_sizes: Mapping[str, int] = field(default_factory=dict)
    has_sizes_of_files: bool = False
    """The sizes of entries are those of their files, as in a cache without an index."""
    then: Sequence[CacheEntry] | None = None
    """The entries by the times as a second pass reads them, once the first has proved a zone."""

    def batches(self, *, last_used: bool = False) -> Iterator[Entries]:
        for first in range(0, len(self.entries), 2):
            unjudged, more_bytes = (0, 0) if first else (self.unjudged, self.more_bytes)
            some = self.entries[first : first + 2]
            if not last_used:
                some = [msgspec.structs.replace(entry, last_used_at=None) for entry in some]
            yield Entries(some, first, unjudged, more_bytes, self.whole_sizes)

    def times_changed(self) -> bool:
        changed = self.then is not None
        self.entries, self.then = self.then or self.entries, None
        return changed

    def unmatched(self) -> Unmatched:
        return self.found

    def find(self, spellings: Sequence[str]) -> Found:
        return Found(frozenset(spellings), self.sightings)

    def stored_bytes(self) -> int | None:
        if self.has_sizes_of_files or self.more_bytes:
            return None
        files = {entry.file: entry.size_bytes for entry in self.entries}
        files |= {file.name: file.size_bytes for file in self.found.files}
        stored = sum(self.size_of(file, size) for file, size in files.items())
        return stored + self.found.unjudged_bytes

    def size_of(self, file: str, stated: int) -> int:
        missing = {entry.file for entry, _ in self.found.dangling}
        return 0 if file in missing else self.sizes.get(file, stated)

    def is_linked(self, file: str) -> bool:
        return file in self.linked

    def free_bytes(self) -> int | None:
        return self.free
