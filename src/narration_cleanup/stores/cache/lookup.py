"""What a cache has of one name, a key or a file, that somebody asks about."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

from narration_cleanup.core.model import (
    CacheEntry,
    FileRole,
    Found,
    ReadTime,
    Sighting,
    StoredFile,
)
from narration_cleanup.core.timestamps import AUTO, reader
from narration_cleanup.core.zones import IndexTimes, known_by
from narration_cleanup.stores.cache.index import Members
from narration_cleanup.stores.cache.local.mismatches import NO_RULE, NOT_REGULAR, Files
from narration_cleanup.stores.cache.members import (
    TWICE,
    IndexMember,
    MalformedEntry,
    malformed,
    time_text,
    unjudged,
    unreadable_time,
)
from narration_cleanup.stores.cache.paths import PathResolver, names_meant, other_spellings

IN_SUBFOLDER = "it is in a subfolder, and a cache with an index is flat: no rule is about it"
MAY_BE_NEEDED = "the index has a member whose file is not known, and this may be that file"

Member = tuple[str, IndexMember | MalformedEntry]


class IndexLookup:
    """Finds a name in an index or in its folder, after a survey.

    ``double`` are the hashes of keys that occur twice, ``spellings`` how the directory lists names
    that the index spells otherwise, ``partials`` the incomplete files, ``encoded`` those that a
    percent-encoded name of the index may mean. Without ``is_determined``
    any file may be that of a member which is not understood.
    """

    def __init__(
        self,
        files: Files,
        places: PathResolver,
        audio_suffixes: tuple[str, ...],
        times: IndexTimes,
        double: frozenset[int],
        *,
        has_sizes: bool = True,
    ) -> None:
        """``has_sizes``: the index states them."""
        self._files = files
        self._places = places
        self._suffixes = audio_suffixes
        self._times = times
        self._double = double
        self._has_sizes = has_sizes
        self.spellings: Mapping[str, str] = {}
        self.is_determined = True
        self.partials: frozenset[str] = frozenset()
        self.encoded: frozenset[str] = frozenset()

    def find(self, asked: Sequence[str], members: Callable[[], Iterator[Members]]) -> Found:
        """The entries that have the name as their key or file, those that share their file, and
        the files of that name that no entry has."""
        files = {name for each in asked if (name := self._places.file_of(each))} - {".", ".."}
        found = self._search(set(asked), files, members)
        if not found and files == self._files.missing(files):
            files |= set(other_spellings(files, self._files.names).values())
            found = self._search(set(), files, members)
        named = {name for key, value in found if (name := self._name(value))} - files
        if named:  # who shares the file
            found += [each for each in self._search(set(), named, members) if each not in found]
        entries = [self._entry(key, value) for key, value in found]
        claimed = {entry.file for entry in entries}
        alone = [self._file(name) for name in sorted((files - claimed) - self._missing(files))]
        if not found and not alone:
            alone = list(self._in_subfolders(asked))
        names = files.union(asked, named, (key for key, _ in found))
        return Found(frozenset(names), (*entries, *alone))

    def _in_subfolders(self, asked: Sequence[str]) -> Iterator[Sighting]:
        for name in dict.fromkeys(map(self._places.below, asked)):
            with suppress(OSError, ValueError):
                if stored := self._stored(name):
                    times, role = self._times_of(stored), FileRole.OTHER
                    yield Sighting(
                        file=name, stored=stored, role=role, times=times, unjudged=IN_SUBFOLDER
                    )

    def _missing(self, files: set[str]) -> set[str]:
        return self._files.missing(files) if files else set()

    def _search(
        self, keys: set[str], files: set[str], members: Callable[[], Iterator[Members]]
    ) -> list[Member]:
        endings = tuple({*files, *(name for name, own in self.spellings.items() if own in files)})
        return [
            (key, value)
            for batch in members()
            for key, value in zip(batch.keys, batch.values, strict=True)
            if key in keys
            or value.file_path in keys  # as it is in the index: of another folder, perhaps
            or (
                value.file_path is not None
                and value.file_path.endswith(endings)
                and self._name(value) in files
            )
        ]

    def _name(self, value: IndexMember | MalformedEntry) -> str | None:
        """The file of a member, as the directory lists it; one that is not known has none."""
        name = None if value.file_path is None else self._places.name_of(value.file_path)
        return name and self.spellings.get(name, name)

    def _stored(self, name: str | None) -> StoredFile | None:
        return next(iter(self._files.stored([name])), None) if name else None

    def _times_of(self, stored: StoredFile | None) -> tuple[ReadTime, ...]:
        return () if stored is None else self._files.times(stored)

    def _entry(self, key: str, found: IndexMember | MalformedEntry) -> Sighting:
        value = malformed(TWICE, found.file_path) if hash(key) in self._double else found
        name = self._name(value)
        stored = self._stored(name)
        times = (*self._written(found), *self._times_of(stored))
        if isinstance(value, MalformedEntry) or name is None:
            is_determined = bool([name] if name else names_meant(value.file_path, self._suffixes))
            why = unjudged(key, value, is_determined=is_determined).message.removeprefix("kept: ")
            return Sighting(key=key, file=name, stored=stored, times=times, unjudged=why)
        size = value.file_size
        if not self._has_sizes:
            size = 0 if stored is None else stored.size_bytes
        created_at, used_at = self._read(value.created_at), self._read(value.last_accessed)
        voice, variant = value.voice_style, value.variant_id
        entry = CacheEntry(key, name, size, created_at, used_at, voice, variant)
        why = unreadable_time(key, value).message
        return Sighting(
            key=key,
            file=name,
            entry=entry,
            stored=stored,
            times=times,
            unjudged=why if entry.created_at is None else None,
            later=self._later(value.created_at),
        )

    def _later(self, text: str) -> float | None:
        """The reading of a time in an open zone that is in the future still."""
        if self._times.zone != AUTO:
            return None
        latest = reader(AUTO)(time_text(text))
        return latest if latest is not None and latest > self._times.latest else None

    def _read(self, text: str) -> float | None:
        return self._times.read(time_text(text))

    def _written(self, value: IndexMember | MalformedEntry) -> Iterator[ReadTime]:
        if isinstance(value, IndexMember):
            for name in ("created_at", "last_accessed"):
                text: str = getattr(value, name)
                if text:
                    instant, times = self._read(text), self._times
                    zone, how = known_by(times.setting, times.zone, time_text(text))
                    known = instant is not None
                    yield ReadTime(name, "index", text, instant, zone, how if known else None)

    def _file(self, name: str) -> Sighting:
        stored = self._stored(name)
        is_audio = name.endswith(self._suffixes)
        role = FileRole.AUDIO if is_audio else FileRole.OTHER
        if name in self.partials:
            role = FileRole.PARTIAL
        why = MAY_BE_NEEDED if name in self.encoded or not self.is_determined else None
        if stored is None:
            why = NOT_REGULAR
        elif role is FileRole.OTHER:
            why = NO_RULE
        return Sighting(
            file=name, stored=stored, role=role, times=self._times_of(stored), unjudged=why
        )
