"""A cache in a bucket with an index, as a narration service keeps it there.

Files go first and the index follows, as in a directory, for the same reason: an entry without a
file heals, a file without an entry would leak. There is no staging in a bucket: no rename, and no
deletion on a condition that all servers know. So a window remains: audio that the service writes
anew between the check of an object and its deletion, a few milliseconds later, is lost. Only an
expired entry is ever in it, and it heals: the service regenerates what it does not find. The
index has no such window: it is replaced on the condition that it is the version that was read.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

import obstore
from obstore.exceptions import PreconditionError

from narration_cleanup.core.deadline import Deadline
from narration_cleanup.core.errors import ConfigError, TargetError
from narration_cleanup.core.model import Mark, Ref
from narration_cleanup.core.text import printable
from narration_cleanup.core.zones import IndexTimes
from narration_cleanup.plan.actions import Outcome
from narration_cleanup.stores.cache import CommitReport, FileTarget, Removal, index
from narration_cleanup.stores.cache.index import UnreadableIndexError
from narration_cleanup.stores.cache.local.scan import IN_FLIGHT_NS
from narration_cleanup.stores.cache.members import OWN_FORM, IndexForm, IndexMember
from narration_cleanup.stores.cache.paths import PathResolver
from narration_cleanup.stores.cache.rewrite import without
from narration_cleanup.stores.cache.s3.location import S3Location, etag_of
from narration_cleanup.stores.cache.s3.objects import (
    ABSENT,
    CHANGED,
    BucketCache,
    modified_at,
    ref_of,
    remove_objects,
)
from narration_cleanup.stores.cache.survey import IndexSurvey

if TYPE_CHECKING:
    from obstore import Attributes, ObjectMeta

HELD_WHOLE = 1 << 22
"""An index of up to 4 MiB is held in memory; a larger one in a temporary file without a name."""


class IndexObject:
    """One version of the index. It cannot change: a server hands out whole objects."""

    def __init__(self, place: S3Location, name: str) -> None:
        """Raises ``ConfigError`` where there is no index, ``TargetError`` where it is "
        "unreadable."""
        self._file: IO[bytes] | None = None
        self._whole = b""
        try:
            with place.translated_errors(FileNotFoundError):
                fetched = obstore.get(place.store, name)
        except FileNotFoundError:
            raise ConfigError(missing_index(place, name)) from None
        self.etag = etag_of(fetched.meta)
        self.size = fetched.meta["size"]
        self.attributes: Attributes = fetched.attributes
        with place.translated_errors():
            if self.size <= HELD_WHOLE:
                self._whole = bytes(fetched.bytes())
                return
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed by close)
            for chunk in fetched.stream(min_chunk_size=1 << 20):
                self._file.write(chunk)

    def read(self, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes from ``offset``."""
        if self._file is None:
            return self._whole[offset : offset + size]
        self._file.seek(offset)
        return self._file.read(size)

    def check_unchanged(self) -> None:
        """Nothing: it is one version."""

    def close(self) -> None:
        """Let go of it."""
        if self._file is not None:
            self._file.close()


def missing_index(place: S3Location, name: str) -> str:
    """The message where there is no index."""
    return (
        f"{place.location} has no {printable(name)}: if it is the right place, start the service "
        'once, or say cache.index = "none" for a cache that has none'
    )


IN_FLIGHT = IN_FLIGHT_NS / 1e9
TRY_FOR = 30.0
"""Seconds for which a replacement is tried again when other writers were first."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.5
_FRESH = Removal(
    Outcome.SKIPPED, note="its audio was written less than 5 minutes before the survey, or since"
)


class IndexedBucket(BucketCache):
    """A ``CacheStore``: one prefix in a bucket, one index."""

    has_index = True

    def __init__(
        self,
        url: str,
        *,
        index_name: str,
        audio_suffixes: tuple[str, ...],
        times: IndexTimes,
        dir_in_index: Sequence[str] = (),
        form: IndexForm = OWN_FORM,
    ) -> None:
        """Raises ``ConfigError`` where ``url`` is not ``s3://bucket/prefix``. Asks nothing yet."""
        super().__init__(url, audio_suffixes, index_name)
        self._index_name = index_name
        self._form = form
        self._suffixes = audio_suffixes
        self._times = times
        self._places = PathResolver(self._place, audio_suffixes, dir_in_index)
        self._surveyed: IndexObject | None = None
        self._members_end = 0

    def recover(self) -> int:
        """Nothing is ever staged in a bucket; a run finds out here what the server can do.

        Raises ``ConfigError`` where there is no index, or where it could not be kept whole.
        """
        try:
            with self._place.translated_errors(FileNotFoundError):
                obstore.head(self._place.store, self._index_name)
        except FileNotFoundError:
            raise ConfigError(missing_index(self._place, self._index_name)) from None
        self._place.try_out()
        return 0

    @contextmanager
    def survey(self) -> Iterator[IndexSurvey]:
        """Look at the cache; see ``CacheStore``."""
        self._forget()
        self._objects.settled_before = self._place.server_now() - IN_FLIGHT
        self._surveyed = IndexObject(self._place, self._index_name)
        survey = IndexSurvey(
            self._surveyed, self._objects, self._places, self._suffixes, self._times, self._form
        )
        yield survey
        self._members_end = survey.members_end

    def remove(self, files: Sequence[FileTarget]) -> Sequence[Removal]:
        """Remove objects that are still what was planned on; see ``CacheStore``.

        As in a directory, the audio of an entry is left to the next run where it was written
        shortly before the survey, by the server's clock: its new entry may be yet to come.
        """
        found = self._objects.find(sorted({target.name for target in files}))
        removals = [ABSENT] * len(files)
        doomed: dict[int, list[ObjectMeta]] = {}
        for position, target in enumerate(files):
            meta = found.get(target.name)
            if meta is None:
                continue
            if target.identity is not None and ref_of([meta]) != target.identity:
                removals[position] = CHANGED
            elif target.entry is not None and modified_at(meta) >= self._objects.settled_before:
                removals[position] = _FRESH
            else:
                doomed[position] = [meta]
        return remove_objects(self._place, self._objects, doomed, removals)

    def remove_entries(self, entries: Iterable[tuple[Ref, str]]) -> CommitReport:
        """Take entries whose file is gone out of the index."""
        planned = list(entries)
        kept: set[Mark] = set()
        try:
            there = self._objects.find(sorted({file for _, file in planned})) if planned else {}
            spans = sorted((start, end) for (start, end, _), file in planned if file not in there)
            kept |= {digest for (_, _, digest), file in planned if file in there}
            digests = {digest for (_, _, digest), file in planned if file not in there}
            if digests:
                self._try_until_done(spans, digests, kept)
        except TargetError as error:
            return CommitReport(frozenset(kept), str(error), error.code)
        except UnreadableIndexError as error:
            where = f"{self.location}/{printable(self._index_name)}"
            return CommitReport(frozenset(kept), f"{where} cannot be used any more: {error}")
        return CommitReport(frozenset(kept))

    def close(self) -> None:
        """Let go of what is held here."""
        self._forget()

    def _forget(self) -> None:
        surveyed, self._surveyed = self._surveyed, None
        if surveyed is not None:
            surveyed.close()

    def _try_until_done(
        self, spans: list[tuple[int, int]], digests: set[Mark], kept: set[Mark]
    ) -> None:
        """Replace the index by one without these members, on whichever version is the newest."""
        deadline, pause = Deadline(TRY_FOR), _FIRST_PAUSE
        source, end = self._surveyed, self._members_end
        while True:
            if source is not None and self._replace(source, spans, end):
                return
            if deadline.passed:
                raise TargetError(
                    "index_busy",
                    f"{self.location}/{printable(self._index_name)} could not be replaced for "
                    f"{TRY_FOR:g} s, other writers were always first: its entries stay until the "
                    "next run",
                )
            deadline.pause(random.uniform(0, pause))
            pause = min(2 * pause, _LONGEST_PAUSE)
            self._forget()
            source = self._surveyed = IndexObject(self._place, self._index_name)
            spans, end = self._spans_in(source, digests, kept)
            if not spans:
                return

    def _spans_in(
        self, source: IndexObject, digests: set[Mark], kept: set[Mark]
    ) -> tuple[list[tuple[int, int]], int]:
        """Where the entries are in another version, as far as they are in it unchanged.

        One whose file is there again is kept.
        """
        spans: list[tuple[int, int, Mark, str]] = []
        end = 0
        for members in index.members(source.read, source.size, self._form):
            end = members.starts[-1]
            for position, value in enumerate(members.values):
                digest = members.digest(position)
                if digest in digests and isinstance(value, IndexMember):
                    name = self._places.name_of(value.file_path) or ""
                    at = members.starts
                    spans.append((at[position], at[position + 1], digest, name))
        there = self._objects.find(sorted({name for *_, name in spans})) if spans else {}
        kept |= {digest for *_, digest, name in spans if name in there}
        return [(start, stop) for start, stop, _, name in spans if name not in there], end

    def _replace(self, source: IndexObject, spans: list[tuple[int, int]], end: int) -> bool:
        """Put the new index in the place of ``source``; False where that is not the newest."""
        content = b"".join(without(source.read, source.size, spans, end))
        try:
            with self._place.translated_errors(PreconditionError):
                obstore.put(
                    self._place.store,
                    self._index_name,
                    content,
                    mode={"e_tag": source.etag},
                    attributes=source.attributes,
                )
        except PreconditionError:
            return False
        return True
