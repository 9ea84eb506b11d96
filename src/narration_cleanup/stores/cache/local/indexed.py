"""A cache directory with an index, as the narration service keeps it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from narration_cleanup.core.deadline import Deadline
from narration_cleanup.core.errors import ConfigError, IndexChangedError, TargetError
from narration_cleanup.core.model import Ref
from narration_cleanup.core.text import printable
from narration_cleanup.core.zones import IndexTimes
from narration_cleanup.stores.cache import CommitReport, FileTarget, Removal
from narration_cleanup.stores.cache.local.base import LocalCache
from narration_cleanup.stores.cache.local.index_file import (
    NO_VERSION,
    TRY_FOR,
    IndexFile,
    fixed_index,
    foreign_index,
    held_for,
    index_lock,
    missing_index,
)
from narration_cleanup.stores.cache.local.scan import IN_FLIGHT_NS, DirectoryScan
from narration_cleanup.stores.cache.members import OWN_FORM, IndexForm
from narration_cleanup.stores.cache.paths import PathResolver
from narration_cleanup.stores.cache.survey import IndexSurvey

if TYPE_CHECKING:
    from narration_cleanup.stores.cache.local.staging import Staging

_MISSING_FOR = 0.25
"""Seconds without an index before it is missing: some services move the old one away to save."""
_LOOK_EVERY = 0.005
LOCKED = 1.0
"""Seconds for which a survey waits for the service's lock; then it reads without it."""


class IndexedDirectory(LocalCache):
    """A ``CacheStore``: one directory, one index."""

    has_index = True

    def __init__(
        self,
        path: Path,
        *,
        index_name: str,
        audio_suffixes: tuple[str, ...],
        times: IndexTimes,
        dir_in_index: Sequence[str] = (),
        form: IndexForm = OWN_FORM,
    ) -> None:
        """Raises ``ConfigError`` where ``path`` is no narration cache."""
        super().__init__(path, audio_suffixes)
        self._index_name = index_name
        self._form = form
        self._suffixes = audio_suffixes
        self._times = times
        self._places = PathResolver(self._directory, audio_suffixes, dir_in_index)
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
        deadline = Deadline(_MISSING_FOR)
        try:
            while self._directory.status(self._index_name) is None:
                if deadline.passed:
                    raise ConfigError(missing_index(self._directory, self._index_name))
                deadline.pause(_LOOK_EVERY)
        except OSError as error:
            where = printable(self._directory.path / self._index_name)
            raise ConfigError(f"{where} cannot be looked at: {error.strerror}") from None

    @contextmanager
    def survey(self) -> Iterator[IndexSurvey]:
        """Look at the cache; see ``CacheStore``."""
        index_file = self._index_held()
        try:
            set_aside, problems = self._set_aside()
            survey = IndexSurvey(
                index_file,
                DirectoryScan(
                    self._directory,
                    self._suffixes,
                    self._index_name,
                    set_aside,
                    settled_before=(index_file.read_at_ns - IN_FLIGHT_NS) / 1e9,
                ),
                self._places,
                self._suffixes,
                self._times,
                self._form,
            )
            survey.problems.extend(problems)
            yield survey
            self._version = index_file.version
            self._members_end = survey.members_end
            self._index_read_ns = index_file.read_at_ns
        finally:
            index_file.close()

    def remove(self, files: Sequence[FileTarget]) -> Sequence[Removal]:
        """Remove files through staging.

        The service writes audio before its entry: audio written shortly before the survey may
        belong to an entry that was not in the index yet, and is left to the next run. Raises
        ``TargetError`` where the index could not follow, before anything is removed.
        """
        if any(target.entry is not None for target in files) and not self._may_be_replaced:
            self._refuse_index_that_cannot_follow()
        return self._staging.remove(files, self._index_read_ns - IN_FLIGHT_NS)

    @cached_property
    def _staging(self) -> Staging:
        from narration_cleanup.stores.cache.local.staging import Staging

        return Staging(self._directory, self._own)

    def _refuse_index_that_cannot_follow(self) -> None:
        """A new one must have the owner and group of this one, and be put in place under its lock:
        all is tried."""
        index = self._directory.status(self._index_name)
        if index is None:
            return
        if why := fixed_index(self._directory.path, self._index_name, self._directory.fd):
            raise TargetError("index_fixed", f"{why}. Nothing was removed")
        try:
            with index_lock(self._directory, self._index_name, seconds=TRY_FOR) as had:
                if not had:
                    raise held_for(self._index_name, TRY_FOR)
        except TargetError as error:
            raise TargetError(error.code, f"{error}. Nothing was removed") from None
        with suppress(OSError):  # on a full disk what is removed frees space for the new index
            if not self._own.can_make_for(index.st_uid, index.st_gid):
                why = foreign_index(self._directory.path / self._index_name, index)
                raise TargetError("index_owner", f"{why}. Nothing was removed")
        self._may_be_replaced = True

    def remove_entries(self, entries: Iterable[tuple[Ref, str]]) -> CommitReport:
        """Take entries whose file is gone out of the index."""
        from narration_cleanup.stores.cache.local.index_commit import IndexCommit

        replacement = IndexCommit(
            self._directory, self._own, self._places, self._index_name, self._form
        )
        report = replacement.drop(entries, self._version, self._members_end)
        self._version = replacement.version or self._version
        return report

    def unchanged_since(self, files: Iterable[str]) -> bool:
        """Whether the index is as it was surveyed or replaced, and none of ``files`` is there."""
        try:
            index_file = IndexFile(self._directory, self._index_name)
        except (TargetError, IndexChangedError):
            return False
        with closing(index_file):
            is_same = index_file.is_version(self._version) and index_file.bytes_unchanged()
        return is_same and all(self._directory.status(file) is None for file in files)

    def _index_held(self) -> IndexFile:
        """One version of the index to read; taken while a service that locks is not writing."""
        with ExitStack() as stack:
            with suppress(TargetError):  # a survey can do without
                lock = index_lock(self._directory, self._index_name, seconds=LOCKED, shared=True)
                stack.enter_context(lock)
            index_file = IndexFile(self._directory, self._index_name)
            try:
                index_file.hold()
            except BaseException:
                index_file.close()
                raise
        return index_file
