"""Surveys made by hand, so that the planner can be asked without a disk."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

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
) -> CacheEntry:
    """An entry; ``age`` and ``unused`` in seconds before ``NOW``, ``None`` for unreadable."""
    created_at = None if age is None else NOW - age
    used_at = None if unused is None else NOW - unused
    name = f"{key}.mp3" if file is None else file
    return CacheEntry(key, name, size, created_at, used_at, voice, variant, sidecars)


def stored(name: str, *, age: float, size: int = 1000, arrived: float | None = None) -> StoredFile:
    """A file without an entry; it arrived so many seconds before ``NOW``, else as old as it is."""
    return StoredFile(
        name, size, NOW - age, NOW - (age if arrived is None else arrived), (1, size, 1)
    )


@dataclass
class Entries:
    """An ``EntryBatch`` whose refs are made of positions in the survey."""

    entries: Sequence[CacheEntry]
    first: int
    unjudged: int = 0
    more_bytes: int = 0

    def whole(self, position: int) -> tuple[CacheEntry, Ref]:
        return self.entries[position], (self.first + position, 0, 0)


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

    def batches(self, *, last_used: bool = False) -> Iterator[Entries]:
        for first in range(0, len(self.entries), 2):
            yield Entries(self.entries[first : first + 2], first)

    def times_changed(self) -> bool:
        return False

    def unmatched(self) -> Unmatched:
        return self.found

    def find(self, spellings: Sequence[str]) -> Found:
        return Found(frozenset(spellings), self.sightings)

    def stored_bytes(self) -> int:
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
