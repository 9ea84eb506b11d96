"""A cache in a bucket without an index: every audio object is an entry, aged by its last change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import TYPE_CHECKING

import obstore

from narration_cleanup.core.model import (
    CacheEntry,
    FileRole,
    Found,
    Problems,
    Ref,
    Sighting,
    StoredFile,
    Unmatched,
)
from narration_cleanup.stores.cache import CommitReport, FileTarget, Removal
from narration_cleanup.stores.cache.local.mismatches import NO_RULE
from narration_cleanup.stores.cache.s3.location import S3Location
from narration_cleanup.stores.cache.s3.objects import (
    ABSENT,
    CHANGED,
    BucketCache,
    Objects,
    modified_at,
    object_times,
    ref_of,
    remove_objects,
)
from narration_cleanup.stores.cache.sidecars import LARGEST_SIDECAR, NameForms, Names, stem_of

if TYPE_CHECKING:
    from obstore import ObjectMeta

_GROUP = 1_000
_NO_NAMES = frozenset({"", ".", ".."})
"""Parts that no object's name has."""


class ObjectBatch:
    """Entries of some audio; the key of each is its name below the place."""

    __slots__ = ("_found", "entries")

    unjudged = more_bytes = 0

    def __init__(self, found: Sequence[Sequence[ObjectMeta]], *, last_used: bool) -> None:
        self._found = found
        self.entries = [_entry(metas, last_used=last_used) for metas in found]

    def whole(self, position: int) -> tuple[CacheEntry, Ref]:
        """The entry at ``position``, and the handle of its audio and sidecars together."""
        return self.entries[position], ref_of(self._found[position])


class PlainSurvey:
    """A ``CacheSurvey``; every pass lists the objects anew, as a stream."""

    def __init__(
        self, objects: Objects, place: S3Location, known: Names, *, with_sidecars: bool
    ) -> None:
        self.problems = Problems()
        self.empty_files: dict[str, float] = {}
        self._objects = objects
        self._place = place
        self._known = known
        self._with_sidecars = with_sidecars
        self._partials: list[ObjectMeta] = []
        self._sidecars: list[ObjectMeta] = []
        self._forms = NameForms()
        self._passes = 0

    def free_bytes(self) -> int | None:
        """A bucket has no end that is known."""
        return None

    def stored_bytes(self) -> None:
        """Nothing: the entries' sizes are those of their files."""

    def size_of(self, file: str, stated: int) -> int:
        return stated

    def is_linked(self, file: str) -> bool:
        """Objects have one name."""
        return False

    def batches(self, *, last_used: bool = False) -> Iterator[ObjectBatch]:
        """Every audio object below the place."""
        found: list[Sequence[ObjectMeta]] = []
        first_pass = not self._passes
        self._passes += 1
        metas = (meta for page in self._objects.pages() for meta in page)
        # Names that begin alike up to a dot lie side by side: a listing is in order.
        for _, near in groupby(metas, key=_up_to_a_dot):
            group = list(near)
            audio = list(_with_sidecars(group, self._known))
            if first_pass:
                self._note(group, audio)
            found.extend(audio)
            if len(found) >= _GROUP:
                yield ObjectBatch(found, last_used=last_used)
                found = []
        yield ObjectBatch(found, last_used=last_used)

    def times_changed(self) -> bool:
        """See ``CacheSurvey``; times of files are instants."""
        return False

    def find(self, spellings: Sequence[str]) -> Found:
        """See ``CacheSurvey``."""
        names = set(spellings)
        for folder in self._place.names():
            names |= {each.removeprefix(f"{folder}/") for each in spellings}
        sightings: list[Sighting] = []
        for batch in self.batches(last_used=True):
            for entry in batch.entries:
                for name in names.intersection(entry.sidecars):
                    sightings.append(
                        Sighting(file=name, role=FileRole.SIDECAR, goes_with=entry.file)
                    )
                if entry.file in names or not names.isdisjoint(entry.sidecars):
                    times = object_times(entry.created_at)
                    sightings.append(
                        Sighting(key=entry.key, file=entry.file, entry=entry, times=times)
                    )
        here = {each.file for each in sightings}
        others = [name for name in sorted(names - here) if _NO_NAMES.isdisjoint(name.split("/"))]
        for name, meta in sorted(self._objects.find(others).items()):
            role = FileRole.SIDECAR if self._known.is_sidecar(name) else FileRole.OTHER
            role = FileRole.PARTIAL if self._known.is_partial(name) else role
            stored = _stored(meta)
            why = NO_RULE if role is FileRole.OTHER else None
            times = object_times(stored.modified_at)
            sightings.append(
                Sighting(file=name, stored=stored, role=role, times=times, unjudged=why)
            )
        return Found(frozenset(names), tuple(sightings))

    def unmatched(self) -> Unmatched:
        """Half-written audio, and sidecars whose audio is gone; the audio is the entries."""
        sidecars = map(_stored, filter(self._is_left, self._sidecars))
        return Unmatched(partials=list(map(_stored, self._partials)), sidecars=list(sidecars))

    def _note(self, group: Sequence[ObjectMeta], audio: Sequence[Sequence[ObjectMeta]]) -> None:
        """Take note of what is besides whole audio."""
        for meta, *_ in audio:
            if not meta["size"]:
                self.empty_files[meta["path"]] = modified_at(meta)
            if self._with_sidecars:
                folder, _, name = meta["path"].rpartition("/")
                self._forms.add(folder, name)
        self._partials += [meta for meta in group if self._known.is_partial(meta["path"])]
        if self._with_sidecars:
            there = {meta["path"].lower() for meta, *_ in audio}
            self._sidecars += [
                meta
                for meta in group
                if self._known.is_sidecar(meta["path"])
                and there.isdisjoint(map(str.lower, self._known.audio_of(meta["path"])))
            ]

    def _is_left(self, meta: ObjectMeta) -> bool:
        folder, _, name = meta["path"].rpartition("/")
        has_form = self._forms.has(folder, self._known, name)
        if not has_form or meta["size"] >= LARGEST_SIDECAR:
            return False
        try:
            with self._place.translated_errors(FileNotFoundError):
                content = bytes(obstore.get(self._place.store, meta["path"]).bytes())
        except FileNotFoundError:
            return False
        return not self._known.lists_audio(content, name)


class PlainBucket(BucketCache):
    """A ``CacheStore``: one prefix in a bucket, and all below it."""

    has_index = False

    def __init__(
        self, url: str, *, audio_suffixes: tuple[str, ...], remove_sidecars: bool = False
    ) -> None:
        """Raises ``ConfigError`` where ``url`` is not ``s3://bucket/prefix``. Asks nothing yet."""
        super().__init__(url, audio_suffixes)
        self._known = Names(audio_suffixes)
        self._remove_sidecars = remove_sidecars

    @contextmanager
    def survey(self) -> Iterator[PlainSurvey]:
        """Look at the cache; see ``CacheStore``."""
        yield PlainSurvey(
            self._objects, self._place, self._known, with_sidecars=self._remove_sidecars
        )

    def remove(self, files: Sequence[FileTarget]) -> Sequence[Removal]:
        """Remove objects, with their sidecars, that are still what was planned on."""
        found = self._objects.find(
            sorted({name for target in files for name in (*self._audio_of(target), *_all(target))})
        )
        removals = [ABSENT] * len(files)
        doomed: dict[int, list[ObjectMeta]] = {}
        for position, target in enumerate(files):
            metas = [found[name] for name in _all(target) if name in found]
            if target.name not in found:
                continue
            is_needed = not found.keys().isdisjoint(self._audio_of(target))
            if ref_of(metas) == target.identity and not is_needed:
                doomed[position] = metas
            else:
                removals[position] = CHANGED
        return remove_objects(self._place, self._objects, doomed, removals)

    def _audio_of(self, target: FileTarget) -> Iterable[str]:
        """What needs the target: of a sidecar whose audio was gone, that audio."""
        return self._known.audio_of(target.name) if self._known.is_sidecar(target.name) else ()

    def remove_entries(self, entries: Iterable[tuple[Ref, str]]) -> CommitReport:
        """Nothing to do: there is no index."""
        return CommitReport()


def _entry(metas: Sequence[ObjectMeta], *, last_used: bool) -> CacheEntry:
    name, *sidecars = (meta["path"] for meta in metas)
    changed = metas[0]["last_modified"].timestamp()
    size = sum(meta["size"] for meta in metas)
    used = changed if last_used else None
    return CacheEntry(name, name, size, changed, used, "", "", tuple(sidecars))


def _up_to_a_dot(meta: ObjectMeta) -> str:
    folder, slash, name = meta["path"].rpartition("/")
    return f"{folder}{slash}{name.partition('.')[0]}"


def _with_sidecars(near: Sequence[ObjectMeta], known: Names) -> Iterator[Sequence[ObjectMeta]]:
    """Each audio with its sidecars; those of a stem that it shares with other audio are kept."""
    known.note(meta["path"] for meta in near)
    audio = [meta for meta in near if known.is_audio(meta["path"])]
    stems = [stem_of(meta["path"]) for meta in audio]
    for meta, stem in zip(audio, stems, strict=True):
        bases = {meta["path"], stem} if stems.count(stem) == 1 else {meta["path"]}
        sidecars = (each for each in near if known.is_sidecar(each["path"]))
        yield [meta, *(each for each in sidecars if stem_of(each["path"]) in bases)]


def _all(target: FileTarget) -> tuple[str, ...]:
    return target.name, *target.sidecars


def _stored(meta: ObjectMeta) -> StoredFile:
    moment = modified_at(meta)
    return StoredFile(meta["path"], meta["size"], moment, moment, ref_of([meta]))
