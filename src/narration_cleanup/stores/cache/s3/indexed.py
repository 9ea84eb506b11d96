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
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

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
from narration_cleanup.stores.cache.members import IndexMember
from narration_cleanup.stores.cache.paths import PathResolver
from narration_cleanup.stores.cache.s3.index_object import IndexObject, missing_index
from narration_cleanup.stores.cache.s3.location import S3Location
from narration_cleanup.stores.cache.s3.objects import Objects, modified_at, ref_of
from narration_cleanup.stores.cache.s3.removal import ABSENT, CHANGED, Remover
from narration_cleanup.stores.cache.survey import IndexSurvey

if TYPE_CHECKING:
    from obstore import ObjectMeta

IN_FLIGHT = IN_FLIGHT_NS / 1e9
TRY_FOR = 30.0
"""Seconds for which a replacement is tried again when other writers were first."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.5
_FRESH = Removal(
    Outcome.SKIPPED, note="its audio was written less than 5 minutes before the survey, or since"
)


class IndexedBucket:
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
    ) -> None:
        """Raises ``ConfigError`` where ``url`` is not ``s3://bucket/prefix``. Asks nothing yet."""
        self._place = S3Location(url)
        self._index_name = index_name
        self._suffixes = audio_suffixes
        self._times = times
        self._places = PathResolver(self._place, audio_suffixes, dir_in_index)
        self._objects = Objects(self._place, audio_suffixes, index_name)
        self._remover = Remover(self._place, self._objects)
        self._surveyed: IndexObject | None = None
        self._members_end = 0

    @property
    def location(self) -> str:
        """``s3://bucket/prefix``."""
        return self._place.location

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lease; raises ``BusyError``, and ``ConfigError`` where there is no index."""
        try:
            with self._place.told(FileNotFoundError):
                obstore.head(self._place.store, self._index_name)
        except FileNotFoundError:
            raise ConfigError(missing_index(self._place, self._index_name)) from None
        except TargetError:
            pass  # the lease will say so too, and stop this half alone
        with self._remover.locked(needs_conditions=True):
            yield

    def in_progress(self) -> bool:
        """Whether a run holds the lease now."""
        return self._remover.lease.is_held_by_anyone()

    def recover(self) -> int:
        """Nothing is ever staged in a bucket."""
        return 0

    @contextmanager
    def survey(self) -> Iterator[IndexSurvey]:
        """Look at the cache; see ``CacheStore``."""
        self._remover.check()
        self._forget()
        self._objects.settled_before = self._remover.lease.server_now() - IN_FLIGHT
        self._surveyed = IndexObject(self._place, self._index_name)
        survey = IndexSurvey(
            self._surveyed, self._objects, self._places, self._suffixes, self._times
        )
        yield survey
        self._members_end = survey.members_end

    def remove(self, files: Sequence[FileTarget]) -> Sequence[Removal]:
        """Remove objects that are still what was planned on; see ``CacheStore``.

        As in a directory, the audio of an entry is left to the next run where it was written
        shortly before the survey, by the server's clock: its new entry may be yet to come.
        """
        self._remover.check()
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
        return self._remover.remove(doomed, removals)

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

    def unchanged_since(self, files: Iterable[str]) -> bool:
        """Not to be told without another survey."""
        return False

    def count_older(self, files: Iterable[str], instant: float) -> int:
        """See ``CacheStore``."""
        return self._place.count_older(files, instant)

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
            self._remover.check()
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
        """Where the entries stand in another version, as far as they are in it unchanged.

        One whose file is there again is kept.
        """
        spans: list[tuple[int, int, Mark, str]] = []
        end = 0
        for members in index.members(source.read, source.size):
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
        content = b"".join(index.without(source.read, source.size, spans, end))
        try:
            with self._place.told(PreconditionError):
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
