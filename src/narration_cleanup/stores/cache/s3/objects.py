"""The objects below a place: listed as a stream of pages, or asked about one by one."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import TYPE_CHECKING

import obstore

from narration_cleanup.core.errors import TargetError
from narration_cleanup.core.model import ReadTime, Ref, StoredFile
from narration_cleanup.plan.actions import Outcome
from narration_cleanup.stores.cache import Removal, StoppedError
from narration_cleanup.stores.cache.local.mismatches import NameSums, ScannedNames
from narration_cleanup.stores.cache.local.scan import is_index_temporary
from narration_cleanup.stores.cache.paths import PARTIAL_SUFFIXES, SIDECAR_SUFFIXES
from narration_cleanup.stores.cache.s3.location import OWN_FOLDER, PAGE, S3Location, etag_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from obstore import ObjectMeta

AT_ONCE = 16
"""Questions about single objects that are under way together."""
_WORTH_A_PAGE = 8
"""Single questions that take about as long as one page of a listing."""


def ref_of(metas: Iterable[ObjectMeta]) -> Ref:
    """The handle of an object, or of several together: versions, size, and time in microseconds."""
    known = [(etag_of(m), m["size"], int(m["last_modified"].timestamp() * 1e6)) for m in metas]
    return hash(tuple(known)), sum(each[1] for each in known), max(each[2] for each in known)


def modified_at(meta: ObjectMeta) -> float:
    """When an object was written, by the server's clock: whole seconds with most servers."""
    return meta["last_modified"].timestamp()


def object_times(instant: float | None) -> tuple[ReadTime, ...]:
    """The one time that an object has, as one of an item that is asked about."""
    return (ReadTime("last_modified", "object", instant=instant),)


class Objects:
    """What lies directly below a place that has an index (the ``Files`` of a survey).

    Audio written at ``settled_before`` or later may be that of an entry yet to come.
    """

    def __init__(
        self, place: S3Location, audio_suffixes: tuple[str, ...], index_name: str = ""
    ) -> None:
        self._place = place
        self._suffixes = audio_suffixes
        self._judged = (*map(str.lower, audio_suffixes), *SIDECAR_SUFFIXES, *PARTIAL_SUFFIXES)
        self._index_name = index_name
        self._pages = 1
        self._sizes: dict[str, int] | None = None
        self.settled_before = math.inf

    def pages(self) -> Iterator[Sequence[ObjectMeta]]:
        """Every object below the place, subfolders included, a page at a time."""
        pages = 0
        with self._place.translated_errors():
            for page in obstore.list(self._place.store, chunk_size=PAGE):
                pages += 1
                marks = self._marks(page)
                yield [
                    meta
                    for meta in page
                    if not meta["path"].startswith(OWN_FOLDER)
                    and (meta["size"] or meta["path"] not in marks)
                ]
        self._pages = max(pages, 1)

    def _marks(self, page: Iterable[ObjectMeta]) -> set[str]:
        """The names of folders' marks: ``x.mp3/`` is listed without its slash, as an object is."""
        empty = [m["path"] for m in page if not m["size"]]
        empty = [name for name in empty if name.lower().endswith(self._judged)]
        real = asyncio.run(self._ask(empty)) if empty else {}
        return {name for name in empty if name not in real or real[name]["size"]}

    def find(self, names: Sequence[str]) -> dict[str, ObjectMeta]:
        """Those of ``names`` that are there at this moment."""
        if len(names) > _WORTH_A_PAGE * self._pages:
            wanted = set(names)
            return {m["path"]: m for page in self.pages() for m in page if m["path"] in wanted}
        return asyncio.run(self._ask(names))

    def look(self) -> ScannedNames:
        """Look at everything once."""
        seen = ScannedNames(NameSums(), [], {}, set())
        size, self._sizes = 0, None
        for page in self._flat():
            audio = [meta for meta in page if meta["path"].endswith(self._suffixes)]
            seen.audio.add([meta["path"] for meta in audio])
            size += sum(meta["size"] for meta in audio)
            for meta in audio:
                if not meta["size"]:
                    seen.empty_files[meta["path"]] = modified_at(meta)
                if modified_at(meta) >= self.settled_before:
                    seen.fresh.add(meta["path"])
            seen.partials.extend(m["path"] for m in page if self._is_partial(m["path"]))
        return seen._replace(size_bytes=size)

    def names(self, wanted: Callable[[str], bool]) -> Iterator[str]:
        """The audio that ``wanted`` picks, as it is now."""
        for page in self._flat():
            for meta in page:
                if meta["path"].endswith(self._suffixes) and wanted(meta["path"]):
                    yield meta["path"]

    def stored(self, names: Iterable[str]) -> Iterator[StoredFile]:
        """Those of ``names`` that are there."""
        for name, meta in sorted(self.find(list(names)).items()):
            moment = modified_at(meta)
            yield StoredFile(name, meta["size"], moment, moment, ref_of([meta]))

    def missing(self, names: set[str]) -> set[str]:
        """Those of ``names`` that are not there."""
        return names - self.find(list(names)).keys()

    def times(self, file: StoredFile) -> tuple[ReadTime, ...]:
        """The one time of an object."""
        return object_times(file.modified_at)

    def free_bytes(self) -> int | None:
        """A bucket has no end that is known."""
        return None

    def size_of(self, name: str) -> int:
        """The size of an object; 0 where there is none. The first call lists all."""
        if self._sizes is None:
            self._sizes = {meta["path"]: meta["size"] for page in self._flat() for meta in page}
        return self._sizes.get(name, 0)

    def is_linked(self, name: str) -> bool:
        """Objects have one name."""
        return False

    def _flat(self) -> Iterator[list[ObjectMeta]]:
        for page in self.pages():
            yield [meta for meta in page if "/" not in meta["path"]]

    def _is_partial(self, name: str) -> bool:
        if name.endswith(self._suffixes):
            return False
        return name.endswith(PARTIAL_SUFFIXES) or is_index_temporary(name, self._index_name)

    async def _ask(self, names: Sequence[str]) -> dict[str, ObjectMeta]:
        found: dict[str, ObjectMeta] = {}
        gate = asyncio.Semaphore(AT_ONCE)

        async def ask(name: str) -> None:
            async with gate:
                with contextlib.suppress(FileNotFoundError):
                    found[name] = await obstore.head_async(self._place.store, name)

        with self._place.translated_errors():
            await asyncio.gather(*map(ask, names))
        return found


class BucketCache:
    """One prefix in a bucket: a part of every ``CacheStore`` here."""

    has_lock = False

    def __init__(self, url: str, audio_suffixes: tuple[str, ...], index_name: str = "") -> None:
        """Raises ``ConfigError`` where ``url`` is not ``s3://bucket/prefix``. Asks nothing yet."""
        self._place = S3Location(url)
        self._objects = Objects(self._place, audio_suffixes, index_name)

    @property
    def location(self) -> str:
        """``s3://bucket/prefix``."""
        return self._place.location

    def locked(self) -> AbstractContextManager[None]:
        """Nothing: of two runs at once each removes and replaces only what it planned on."""
        return nullcontext()

    def in_progress(self) -> bool:
        """Not known of a bucket."""
        return False

    def recover(self) -> int:
        """Nothing is ever staged in a bucket."""
        return 0

    def unchanged_since(self, files: Iterable[str]) -> bool:
        """Not known without another survey."""
        return False

    def count_older(self, files: Iterable[str], instant: float) -> int:
        return self._place.count_older(files, instant)

    def close(self) -> None:
        """Let go of what is held here: nothing."""


ABSENT = Removal(Outcome.DONE)
CHANGED = Removal(Outcome.SKIPPED, note="it changed since planning")


def remove_objects(
    place: S3Location,
    objects: Objects,
    doomed: Mapping[int, Sequence[ObjectMeta]],
    removals: list[Removal],
) -> Sequence[Removal]:
    """Remove objects; ``removals`` gets, at each position, the outcome of those together.

    An object that is at several positions counts as freed at the first. Raises
    ``StoppedError``.
    """
    freed: set[str] = set()
    waiting = iter(doomed.items())
    while group := dict(_up_to(waiting, PAGE)):
        names = {meta["path"] for metas in group.values() for meta in metas} - freed
        left: Mapping[str, ObjectMeta] = {}
        why = ""
        try:
            with place.translated_errors():
                if names:
                    obstore.delete(place.store, sorted(names))
        except TargetError as error:
            why = str(error)
            try:
                left = objects.find(sorted(names))
            except TargetError:  # what is left cannot be asked: all of it counts
                for position in [*group, *dict(waiting)]:
                    removals[position] = Removal(Outcome.FAILED, note=why)
                raise StoppedError(error, removals) from None
        for position, metas in group.items():
            fresh = [meta for meta in metas if meta["path"] not in freed]
            if any(meta["path"] in left for meta in metas):
                removals[position] = Removal(Outcome.FAILED, note=why)
            else:
                freed |= {meta["path"] for meta in fresh}
                removals[position] = Removal(Outcome.DONE, sum(meta["size"] for meta in fresh))
    return removals


def _up_to(
    places: Iterator[tuple[int, Sequence[ObjectMeta]]], most: int
) -> Iterator[tuple[int, Sequence[ObjectMeta]]]:
    """Positions with at most about ``most`` objects in all."""
    count = 0
    for position, metas in islice(places, most):
        yield position, metas
        count += len(metas)
        if count >= most:
            return
