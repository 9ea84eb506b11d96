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
from narration_cleanup.stores.cache.paths import stem_of
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
from narration_cleanup.stores.cache.sidecars import LARGEST_SIDECAR, NameForms, Names

if TYPE_CHECKING:
    from obstore import ObjectMeta

_Audio = tuple[CacheEntry, list["ObjectMeta"]]
"""Audio as an entry, and what is known of its object and then of its sidecars."""
_GROUP = 1_000
_NO_NAMES = frozenset({"", ".", ".."})
"""Parts that no object's name has."""


class ObjectBatch:
    """Entries of some audio; the key of each is its name below the place."""

    __slots__ = ("_found", "entries")

    unjudged = more_bytes = 0

    def __init__(self, found: Sequence[_Audio]) -> None:
        self._found = found
        self.entries = [entry for entry, _ in found]

    def whole(self, position: int) -> tuple[CacheEntry, Ref]:
        """The entry at ``position``, and the handle of its audio and sidecars together."""
        entry, metas = self._found[position]
        return entry, ref_of(metas)


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
        found: list[_Audio] = []
        first_pass = not self._passes
        self._passes += 1
        metas = (meta for page in self._objects.pages() for meta in page)
        # Names that begin alike up to a dot lie side by side: a listing is in order.
        for _, near in groupby(metas, key=_up_to_a_dot):
            group = list(near)
            audio = list(_with_sidecars(group, self._known, last_used=last_used))
            if first_pass:
                self._note(group, audio)
            found.extend(audio)
            if len(found) >= _GROUP:
                yield ObjectBatch(found)
                found = []
        yield ObjectBatch(found)

    def times_changed(self) -> bool:
        """See ``CacheSurvey``; times of files are instants."""
        return False

    def find(self, spellings: Sequence[str]) -> Found:
        """See ``CacheSurvey``."""
        names = set(spellings)
        for folder in self._place.names():
            names |= {each.removeprefix(f"{folder}/") for each in spellings}
        entries = [
            entry
            for batch in self.batches(last_used=True)
            for entry in batch.entries
            if not names.isdisjoint((entry.file, *entry.sidecars))
        ]
        sightings: list[Sighting] = []
        for name in sorted(names):
            if audio := " and ".join(each.file for each in entries if name in each.sidecars):
                sightings.append(Sighting(file=name, role=FileRole.SIDECAR, goes_with=audio))
        for entry in entries:
            times = object_times(entry.created_at)
            sightings.append(Sighting(key=entry.key, file=entry.file, entry=entry, times=times))
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

    def _note(self, group: Sequence[ObjectMeta], audio: Sequence[_Audio]) -> None:
        """Take note of what is besides whole audio."""
        for _, (meta, *_) in audio:
            if not meta["size"]:
                self.empty_files[meta["path"]] = modified_at(meta)
            if self._with_sidecars:
                folder, _, name = meta["path"].rpartition("/")
                self._forms.add(folder, name)
        self._partials += [meta for meta in group if self._known.is_partial(meta["path"])]
        if self._with_sidecars:
            there = {entry.file.lower() for entry, _ in audio}
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
        """Remove objects that are still as planned on; sidecars go with the last of their audio."""
        audio_of = self._known.audio_of
        names = {name for target in files for name in _all(target)}
        found = self._objects.find(sorted(names.union(*map(audio_of, names))))
        removals = [ABSENT] * len(files)
        doomed: dict[int, list[ObjectMeta]] = {}
        for position, target in enumerate(files):
            metas = [found[name] for name in _all(target) if name in found]
            if target.name not in found:
                continue
            removals[position] = CHANGED
            if ref_of(metas) == target.identity:
                del found[target.name]
                if free := [m for m in metas if found.keys().isdisjoint(audio_of(m["path"]))]:
                    doomed[position] = free
        return remove_objects(self._place, self._objects, doomed, removals)

    def remove_entries(self, entries: Iterable[tuple[Ref, str]]) -> CommitReport:
        """Nothing to do: there is no index."""
        return CommitReport()


def _up_to_a_dot(meta: ObjectMeta) -> str:
    folder, slash, name = meta["path"].rpartition("/")
    return f"{folder}{slash}{name.partition('.')[0]}"


def _with_sidecars(
    near: Sequence[ObjectMeta], known: Names, *, last_used: bool
) -> Iterator[_Audio]:
    """Each audio with its sidecars; the size counts those that it shares with the first of it."""
    known.note(meta["path"] for meta in near)
    audio = [meta for meta in near if known.is_audio(meta["path"])]
    names = {meta["path"] for meta in audio}
    sidecars: dict[str, list[ObjectMeta]] = {}
    for meta in near:
        if known.is_sidecar(meta["path"]):
            sidecars.setdefault(stem_of(meta["path"]), []).append(meta)
    uncounted = dict(sidecars)
    for meta in audio:
        name = meta["path"]
        bases = name, stem_of(name)
        own = [each for base in bases for each in sidecars.get(base, ())]
        size = meta["size"] + sum(m["size"] for base in bases for m in uncounted.pop(base, ()))
        texts = tuple(each["path"] for each in own)
        shares = any(len(names.intersection(known.audio_of(text))) > 1 for text in texts)
        at = modified_at(meta)
        used = at if last_used else None
        yield CacheEntry(name, name, size, at, used, "", "", texts, shares), [meta, *own]


def _all(target: FileTarget) -> tuple[str, ...]:
    return target.name, *target.sidecars


def _stored(meta: ObjectMeta) -> StoredFile:
    moment = modified_at(meta)
    return StoredFile(meta["path"], meta["size"], moment, moment, ref_of([meta]))
