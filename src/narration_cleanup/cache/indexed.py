"""A cache directory with an index, as the narration service keeps it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import msgspec

from narration_cleanup.actions import Outcome
from narration_cleanup.cache import DropReport, FileTarget, Removal, index
from narration_cleanup.cache.index import UnreadableIndexError
from narration_cleanup.cache.index_file import (
    HELD_WHOLE,
    NO_VERSION,
    IndexFile,
    foreign_index,
    missing_index,
)
from narration_cleanup.cache.listing import Listing, ref_of
from narration_cleanup.cache.local import LocalCache
from narration_cleanup.cache.places import Places
from narration_cleanup.cache.replace import Replacement
from narration_cleanup.cache.service_lock import check_index_lock, index_lock
from narration_cleanup.cache.staging import FRESH, SETTLE, Staging
from narration_cleanup.cache.survey import IndexSurvey, ReadTime
from narration_cleanup.errors import ConfigError, HalfError, IndexChangedError
from narration_cleanup.escape import shown
from narration_cleanup.model import Mark, Ref
from narration_cleanup.waiting import Deadline

IN_FLIGHT = 2.0
"""Seconds within which the service surely writes the entry of audio that it has written."""
_WALL = time.CLOCK_REALTIME
LOCKED = 1.0
"""Seconds for which a look waits for the service to give back its lock; then it does without."""
CONFIRM_FOR = 10.0
"""Seconds for which an index that is being rewritten is read again to confirm an entry."""


class IndexedDirectory(LocalCache):
    """A ``CacheStore``: one directory, one index."""

    has_index = True

    def __init__(
        self,
        path: Path,
        *,
        index_name: str,
        audio_suffixes: tuple[str, ...],
        read_time: ReadTime,
    ) -> None:
        """Raises ``ConfigError`` where ``path`` is no narration cache."""
        super().__init__(path)
        self._index_name = index_name
        self._suffixes = audio_suffixes
        self._read_time = read_time
        self._staging = Staging(self._directory, self._own)
        self._places = Places(self._directory, audio_suffixes)
        self._version = NO_VERSION
        self._members_end = 0
        self._index_read_ns = 0
        self._may_be_replaced = False
        try:
            self._refuse_missing_index()
        except ConfigError:
            self._directory.close()
            raise

    def _refuse_missing_index(self) -> None:
        try:
            status = self._directory.status(self._index_name)
        except OSError as error:
            where = shown(self._directory.path / self._index_name)
            raise ConfigError(f"{where} cannot be looked at: {error.strerror}") from None
        if status is None:
            raise ConfigError(missing_index(self._directory, self._index_name))

    @contextmanager
    def survey(self) -> Iterator[IndexSurvey]:
        """Look at the cache; see ``CacheStore``."""
        index_file = self._index_held()
        try:
            set_aside, told = self._set_aside()
            looking = IndexSurvey(
                index_file,
                Listing(self._directory, self._suffixes, self._index_name, set_aside),
                self._places,
                self._suffixes,
                self._read_time,
                fork=index_file.size > HELD_WHOLE,
            )
            looking.problems.extend(told)
            with closing(looking) as survey:
                yield survey
            self._version = index_file.version
            self._members_end = survey.members_end
            self._index_read_ns = index_file.read_at_ns
        finally:
            index_file.close()

    def remove(self, files: Sequence[FileTarget]) -> Sequence[Removal]:
        """Remove files through staging, once it is sure that none belongs to a newer entry.

        The service writes audio before its entry. So a file of an entry that is about as young
        as the look at the index may belong to an entry that was not in it yet: the service is
        given time to write it, and the index is read again. Raises ``HalfError`` where the index
        could not follow, before anything is removed.
        """
        if any(target.entry is not None for target in files) and not self._may_be_replaced:
            self._refuse_index_that_cannot_follow()
        settled_before = self._index_read_ns - int(IN_FLIGHT * 1e9)
        removals = self._staging.remove(files, settled_before)
        fresh = [position for position, removal in enumerate(removals) if removal.note == FRESH]
        if fresh:
            try:
                confirmed = self._confirmed([(position, files[position]) for position in fresh])
            except OSError as error:
                for position in fresh:
                    note = f"{shown(files[position].name)}: {error.strerror}"
                    removals[position] = Removal(Outcome.FAILED, note=note)
                return removals
            again = self._staging.remove([target for _, target in confirmed])
            for (position, _), removal in zip(confirmed, again, strict=True):
                removals[position] = removal
        return removals

    def _refuse_index_that_cannot_follow(self) -> None:
        """A new one must have the owner and group of this one, and be put in place under its lock:
        both are tried."""
        index = self._directory.status(self._index_name)
        if index is None:
            return
        try:
            check_index_lock(self._directory, self._index_name)
        except HalfError as error:
            raise HalfError(error.code, f"{error}. Nothing was removed") from None
        with suppress(OSError):  # on a full disk what goes makes the room for the new index
            if not self._own.can_make_for(index.st_uid, index.st_gid):
                why = foreign_index(self._directory.path / self._index_name, index)
                raise HalfError("index_owner", f"{why}. Nothing was removed")
        self._may_be_replaced = True

    def drop_entries(self, entries: Iterable[tuple[Ref, str]]) -> DropReport:
        """Take entries whose file is gone out of the index."""
        replacement = Replacement(self._directory, self._own, self._places, self._index_name)
        report = replacement.drop(entries, self._version, self._members_end)
        self._version = replacement.version or self._version
        return report

    def settled(self, files: Iterable[str]) -> bool:
        """Whether the index is as it was surveyed or replaced, and none of ``files`` is there."""
        try:
            index_file = IndexFile(self._directory, self._index_name)
        except (HalfError, IndexChangedError):
            return False
        with closing(index_file):
            is_same = index_file.is_version(self._version) and index_file.bytes_unchanged()
        return is_same and all(self._directory.status(file) is None for file in files)

    def _index_held(self) -> IndexFile:
        """One version of the index to read; taken while a service that locks is not writing."""
        with ExitStack() as stack:
            with suppress(HalfError):  # a look can do without
                lock = index_lock(self._directory, self._index_name, seconds=LOCKED, shared=True)
                stack.enter_context(lock)
            index_file = IndexFile(self._directory, self._index_name)
            try:
                index_file.hold()
            except BaseException:
                index_file.close()
                raise
        return index_file

    def _confirmed(self, fresh: list[tuple[int, FileTarget]]) -> list[tuple[int, FileTarget]]:
        """Those whose entry is still the old one after the service had time to renew it.

        Each gets the identity that its file has now, so that it goes only while it is that file.
        """
        pinned = []
        for position, target in fresh:
            status = self._directory.status(target.name)
            if status is not None and status.st_mtime_ns <= self._index_read_ns:
                target = msgspec.structs.replace(target, identity=ref_of(status))
                pinned.append((position, target, status.st_mtime_ns))
        if not pinned:
            return []
        in_flight_until = max(mtime for _, _, mtime in pinned) / 1e9 + IN_FLIGHT
        time.sleep(min(max(in_flight_until - time.clock_gettime(_WALL), 0.0), IN_FLIGHT))
        digests = self._digests_among({t.entry[2] for _, t, _ in pinned if t.entry is not None})
        return [
            (position, target)
            for position, target, _ in pinned
            if target.entry is not None and target.entry[2] in digests
        ]

    def _digests_among(self, wanted: set[Mark]) -> set[Mark]:
        """Which of these entries stand in the index as it is now; none if it cannot be read."""
        deadline = Deadline(CONFIRM_FOR)
        while not deadline.passed:
            try:
                index_file = self._index_held()
            except HalfError:
                return set()
            except IndexChangedError:
                deadline.pause(SETTLE)
                continue
            try:
                found = {
                    members.digest(position)
                    for members in index.members(index_file.read, index_file.size)
                    for position in range(len(members.keys))
                } & wanted
                index_file.check_unchanged()
            except (IndexChangedError, UnreadableIndexError):
                deadline.pause(SETTLE)
            else:
                return {*found}
            finally:
                index_file.close()
        return set()
