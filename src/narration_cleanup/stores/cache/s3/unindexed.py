"""A cache in a bucket without an index: every audio object is an entry, aged by its last change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import groupby
from typing import TYPE_CHECKING

from narration_cleanup.core.model import CacheEntry, Ref, Unmatched
from narration_cleanup.core.problems import Problems
from narration_cleanup.stores.cache import CommitReport, FileTarget, Removal
from narration_cleanup.stores.cache.local.walk import SIDECAR_SUFFIXES
from narration_cleanup.stores.cache.s3.location import S3Location
from narration_cleanup.stores.cache.s3.objects import (
    ABSENT,
    CHANGED,
    Objects,
    ref_of,
    remove_objects,
)

if TYPE_CHECKING:
    from obstore import ObjectMeta

_GROUP = 1_000


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

    def __init__(self, objects: Objects, audio_suffixes: tuple[str, ...]) -> None:
        self.problems = Problems()
        self.empty_files: Mapping[str, float] = {}
        self._objects = objects
        self._suffixes = audio_suffixes

    def free_bytes(self) -> int | None:
        """A bucket has no end that is known."""
        return None

    def stored_bytes(self) -> None:
        """Nothing: the entries' sizes are those of their files."""

    def size_of(self, file: str, stated: int) -> int:
        """See ``CacheSurvey``."""
        return stated

    def is_linked(self, file: str) -> bool:
        """Objects have one name."""
        return False

    def batches(self, *, last_used: bool = False) -> Iterator[ObjectBatch]:
        """Every audio object below the place."""
        found: list[Sequence[ObjectMeta]] = []
        metas = (meta for page in self._objects.pages() for meta in page)
        # Names that begin alike up to a dot lie side by side: a listing is in order.
        for _, near in groupby(metas, key=_up_to_a_dot):
            found.extend(_with_sidecars(list(near), self._suffixes))
            if len(found) >= _GROUP:
                yield ObjectBatch(found, last_used=last_used)
                found = []
        yield ObjectBatch(found, last_used=last_used)

    def times_changed(self) -> bool:
        """See ``CacheSurvey``; times of files are instants."""
        return False

    def unmatched(self) -> Unmatched:
        """Nothing: the objects are the entries."""
        return Unmatched()


class PlainBucket:
    """A ``CacheStore``: one prefix in a bucket, and all below it."""

    has_index = has_lock = False

    def __init__(self, url: str, *, audio_suffixes: tuple[str, ...]) -> None:
        """Raises ``ConfigError`` where ``url`` is not ``s3://bucket/prefix``. Asks nothing yet."""
        self._place = S3Location(url)
        self._suffixes = audio_suffixes
        self._objects = Objects(self._place, audio_suffixes)

    @property
    def location(self) -> str:
        """``s3://bucket/prefix``."""
        return self._place.location

    def locked(self) -> AbstractContextManager[None]:
        """Nothing: an object goes only while it is what was planned on, whoever else runs."""
        return nullcontext()

    def in_progress(self) -> bool:
        """Not known of a bucket."""
        return False

    def recover(self) -> int:
        """Nothing is ever staged in a bucket."""
        return 0

    @contextmanager
    def survey(self) -> Iterator[PlainSurvey]:
        """Look at the cache; see ``CacheStore``."""
        yield PlainSurvey(self._objects, self._suffixes)

    def remove(self, files: Sequence[FileTarget]) -> Sequence[Removal]:
        """Remove objects, with their sidecars, that are still what was planned on."""
        found = self._objects.find(
            sorted({name for target in files for name in (target.name, *target.sidecars)})
        )
        removals = [ABSENT] * len(files)
        doomed: dict[int, list[ObjectMeta]] = {}
        for position, target in enumerate(files):
            names = (target.name, *target.sidecars)
            metas = [found[name] for name in names if name in found]
            if target.name not in found:
                continue
            if ref_of(metas) == target.identity:
                doomed[position] = metas
            else:
                removals[position] = CHANGED
        return remove_objects(self._place, self._objects, doomed, removals)

    def remove_entries(self, entries: Iterable[tuple[Ref, str]]) -> CommitReport:
        """Nothing to do: there is no index."""
        return CommitReport()

    def unchanged_since(self, files: Iterable[str]) -> bool:
        """Not to be told without another survey."""
        return False

    def count_older(self, files: Iterable[str], instant: float) -> int:
        """See ``CacheStore``."""
        return self._place.count_older(files, instant)

    def close(self) -> None:
        """Nothing is held."""


def _entry(metas: Sequence[ObjectMeta], *, last_used: bool) -> CacheEntry:
    name, *sidecars = (meta["path"] for meta in metas)
    changed = metas[0]["last_modified"].timestamp()
    size = sum(meta["size"] for meta in metas)
    used = changed if last_used else None
    return CacheEntry(name, name, size, changed, used, "", "", tuple(sidecars))


def _up_to_a_dot(meta: ObjectMeta) -> str:
    folder, slash, name = meta["path"].rpartition("/")
    return f"{folder}{slash}{name.partition('.')[0]}"


def _with_sidecars(
    near: Sequence[ObjectMeta], audio_suffixes: tuple[str, ...]
) -> Iterator[Sequence[ObjectMeta]]:
    """Each audio with the sidecars of its stem, unless it shares the stem with other audio."""
    audio = [meta for meta in near if meta["path"].endswith(audio_suffixes)]
    stems = [meta["path"].rpartition(".")[0] for meta in audio]
    for meta, stem in zip(audio, stems, strict=True):
        names = {stem + suffix for suffix in SIDECAR_SUFFIXES} if stems.count(stem) == 1 else set()
        yield [meta, *(each for each in near if each["path"] in names)]
