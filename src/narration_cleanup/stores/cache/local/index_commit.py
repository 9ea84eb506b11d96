"""Takes entries out of an index that its service rewrites in place: compare, then rename.

Measured with a service that saves 47 times a second: read-modify-write lost 754 of 785 of the
service's updates, compare-then-rename none, with two late writes into the replaced file, both
found by the last check of it.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from narration_cleanup.core.deadline import Deadline, Stopwatch, time_to_write
from narration_cleanup.core.errors import CleanupError, IndexChangedError, TargetError
from narration_cleanup.core.model import Mark, Ref
from narration_cleanup.core.text import printable
from narration_cleanup.stores.cache import CommitReport, index
from narration_cleanup.stores.cache.index import UnreadableIndexError
from narration_cleanup.stores.cache.local.directory import Directory
from narration_cleanup.stores.cache.local.index_file import (
    NO_VERSION,
    TRY_FOR,
    IndexFile,
    Version,
    foreign_index,
    held_for,
    index_lock,
)
from narration_cleanup.stores.cache.local.own_folder import INDEX_FILE_NAME, StagingDir
from narration_cleanup.stores.cache.local.staging import SETTLE
from narration_cleanup.stores.cache.members import IndexForm, IndexMember, MalformedEntry
from narration_cleanup.stores.cache.paths import PathResolver
from narration_cleanup.stores.cache.rewrite import ByteRange, without

_SLOW_SETTLE = 0.1
"""Seconds before the last check where to open a file may take long: up to 37 ms on a busy btrfs."""
_MOST_SETTLE = 0.5
"""The same where the replacement itself took long: a busy disk or processor, which a writer that is
just opening the index has to wait for too. Elsewhere it is four times as long as that took."""
_WITHOUT_XATTRS = (errno.ENOTSUP, errno.EPERM, errno.ENODATA, errno.ENOSYS, errno.EIO)
"""What a file system without extended attributes answers (rclone: EIO)."""
_WITHOUT_FSYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)
"""What a file system answers that cannot sync a folder."""


class _Made(NamedTuple):
    """A new index that waits to be put in place: how many members it is without, and its digest."""

    without: int
    digest: bytes


class _Left(NamedTuple):
    """The entries that are to leave the index, but for those whose file is there again.

    Made anew each time: of a hundred thousand, all that is known would take 30 MB.
    """

    entries: Iterable[tuple[Ref, str]]
    there_again: frozenset[Mark]

    def marks(self) -> frozenset[Mark]:
        """Their digests."""
        return frozenset(mark for (_, _, mark), _ in self.entries).difference(self.there_again)


class IndexCommit:
    """Commits to one index."""

    def __init__(
        self,
        directory: Directory,
        own: StagingDir,
        places: PathResolver,
        index_name: str,
        form: IndexForm,
    ) -> None:
        self._directory = directory
        self._own = own
        self._places = places
        self._name = index_name
        self._form = form
        self.version: Version | None = None
        """Of the index put in place, where it is the surveyed one and nothing but that."""

    def drop(
        self, entries: Iterable[tuple[Ref, str]], surveyed: Version, members_end: int
    ) -> CommitReport:
        """Drop what is still as surveyed and has no file; see ``CommitReport``.

        ``entries`` are gone through repeatedly. ``surveyed`` is the version of the index that their
        refs were made on, ``members_end`` where its last member ends: while it is the newest,
        nothing has to be parsed again.
        """
        if not any(True for _ in entries):
            return CommitReport()
        try:
            with index_lock(self._directory, self._name, seconds=TRY_FOR) as had:
                if not had:
                    raise held_for(self._name, TRY_FOR)
                self._own.descriptor()  # opened here, since here what is left is taken away
                spans, there_again = self._gone(entries)
                if spans:
                    left = _Left(entries, there_again)
                    self._try_until_done(left, spans, surveyed, members_end)
                return CommitReport(there_again)
        except TargetError as error:
            return CommitReport(error=str(error), code=error.code)
        except CleanupError as error:
            return CommitReport(error=str(error))
        except OSError as error:
            where = printable(self._directory.path / self._name)
            return CommitReport(error=f"{where} could not be replaced: {error.strerror}")
        finally:
            self._own.discard_index()

    def _gone(self, entries: Iterable[tuple[Ref, str]]) -> tuple[list[ByteRange], frozenset[Mark]]:
        """Where the entries without a file lie in the surveyed index, in its order; and the digests
        of those whose file is there (again)."""
        spans: list[ByteRange] = []
        there_again = set()
        for (start, end, digest), file in entries:
            if self._directory.status(file) is None:
                spans.append((start, end))
            else:
                there_again.add(digest)
        return sorted(spans), frozenset(there_again)

    def _try_until_done(
        self, left: _Left, spans: Sequence[ByteRange], surveyed: Version, members_end: int
    ) -> None:
        patience = max(TRY_FOR, time_to_write(surveyed.status[1]))
        deadline = Deadline(patience)
        trouble = "it was rewritten all the time"
        while not deadline.passed:
            source = IndexFile(self._directory, self._name)
            try:
                source.hold()
                as_surveyed = source.is_version(surveyed)
                surveyed = NO_VERSION
                if as_surveyed:  # nothing is parsed again
                    made = self._write_without(source, spans, members_end)
                else:
                    made = self._write_other(source, left)
                    if not made.without:
                        return
                if self._replace(source, made, left):
                    if not as_surveyed:
                        self.version = None
                    return
            except (IndexChangedError, UnreadableIndexError) as error:
                trouble = str(error)
            finally:
                source.close()
            deadline.pause(SETTLE)
        raise TargetError(
            "index_busy",
            f"{printable(self._directory.path / self._name)} could not be replaced for "
            f"{patience:.0f} s ({trouble})",
        )

    def _write_other(self, source: IndexFile, left: _Left) -> _Made:
        """Write another version than the surveyed one without those that are in it unchanged."""
        spans: list[ByteRange] = []
        marks = left.marks()
        end = 0
        for members in index.members(source.read, source.size, self._form):
            end = members.starts[-1]
            for position, value in enumerate(members.values):
                if members.digest(position) in marks and self._is_gone(value):
                    spans.append((members.starts[position], members.starts[position + 1]))
        source.check_unchanged()
        return self._write_without(source, spans, end)

    def _is_gone(self, value: IndexMember | MalformedEntry) -> bool:
        if isinstance(value, MalformedEntry):
            return False
        name = self._places.name_of(value.file_path)
        return name is not None and self._directory.status(name) is None

    def _replace(self, source: IndexFile, made: _Made, left: _Left) -> bool:
        """Put the new index in place, if ``source``, which it was made of, is still the newest.

        Whether it was; False asks for another try with a newer one.

        A save between the last comparison and the rename is found in the replaced file. It is the
        newest one while the new index has the bytes that were written here, and is brought in.
        Where the new index has others, those are a newer save, which no older one may replace.
        """
        deadline = Deadline(TRY_FOR)
        replaced: list[IndexFile] = []
        with ExitStack() as opened:
            content = named = source
            while True:
                ours = IndexFile(self._directory, self._name, made_in=self._own.descriptor())
                opened.callback(ours.close)
                ours.digest = made.digest
                self._directory.check_still_there()
                if not named.unchanged():
                    return False
                if content is named or content.bytes_unchanged():
                    if not self._directory.keeps_replaced:
                        # There a file that is open is the one that has its name now: the replaced
                        # one cannot be seen again, and rclone loses one that is open meanwhile.
                        ours.close()
                        source.close()
                        self._put_in_place()
                        return True
                    watch = Stopwatch()
                    self._put_in_place()
                    least = _SLOW_SETTLE if self._directory.opens_slowly else SETTLE
                    settle = max(least, min(_MOST_SETTLE, 4 * watch.seconds))
                    ours.note_status()
                    replaced.append(named)
                    named = ours
                    late = _written_late(replaced, settle)
                    if late is None:
                        self.version = ours.version if len(replaced) == 1 else None
                        return True
                    content = late
                again = self._made_of_late(content, named, left, deadline)
                if again is None:
                    return False
                made = again

    def _made_of_late(
        self, late: IndexFile, ours: IndexFile, left: _Left, deadline: Deadline
    ) -> _Made | None:
        """A new index made of what was written into a replaced one, once that is whole.

        ``None`` where it does not become so, or there is a newer save.
        """
        while ours.unchanged() and not deadline.passed:
            try:
                late.hold()
                return self._write_other(late, left)
            except (IndexChangedError, UnreadableIndexError):
                deadline.pause(SETTLE)
        return None

    def _put_in_place(self) -> None:
        os.rename(
            INDEX_FILE_NAME,
            self._name,
            src_dir_fd=self._own.descriptor(),
            dst_dir_fd=self._directory.fd,
        )
        try:
            os.fsync(self._directory.fd)
        except OSError as error:
            if error.errno not in _WITHOUT_FSYNC:
                raise

    def _write_without(
        self, source: IndexFile, spans: Sequence[ByteRange], members_end: int
    ) -> _Made:
        """Raises ``IndexChangedError`` where ``source`` was not copied as it was parsed."""
        pieces = without(source.read, source.size, spans, members_end)
        digest = self._write(source, pieces)
        source.check_unchanged()
        return _Made(len(spans), digest)

    def _write(self, source: IndexFile, pieces: Iterator[bytes]) -> bytes:
        """Write the new index: whole, on the disk, with the old one's rights; its digest."""
        digest = hashlib.sha256()
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        folder = self._own.descriptor()
        fd = os.open(INDEX_FILE_NAME, flags, 0o600, dir_fd=folder)
        try:
            for piece in pieces:
                digest.update(piece)
                view = memoryview(piece)
                while view:
                    view = view[os.write(fd, view) :]
            self._copy_rights(source, fd)
            os.fsync(fd)
        except BaseException:
            os.unlink(INDEX_FILE_NAME, dir_fd=folder)
            raise
        finally:
            os.close(fd)
        return digest.digest()

    def _copy_rights(self, source: IndexFile, fd: int) -> None:
        """Owner, access list and mode: the service must be able to write the new one as well."""
        ours, theirs = os.fstat(fd), source.status
        if (ours.st_uid, ours.st_gid) != (theirs.st_uid, theirs.st_gid):
            try:
                os.fchown(fd, theirs.st_uid, theirs.st_gid)
            except PermissionError:
                why = foreign_index(self._directory.path / self._name, theirs)
                raise TargetError("index_owner", why) from None
        try:
            for name in os.listxattr(source.fd):
                os.setxattr(fd, name, os.getxattr(source.fd, name))
        except OSError as error:
            if error.errno not in _WITHOUT_XATTRS:
                raise
        os.fchmod(fd, theirs.st_mode & 0o7777)


def _written_late(replaced: Sequence[IndexFile], settle: float) -> IndexFile | None:
    """The newest replaced index into which something was written: looked for by status for
    ``settle`` seconds, and by bytes at their end, which a writer that opened it before the rename
    may need."""
    deadline = Deadline(settle)
    while True:
        for each in reversed(replaced):
            if not each.not_written():
                return each
        if deadline.passed:
            break
        deadline.pause(SETTLE)
    for each in reversed(replaced):
        if not each.bytes_unchanged():
            return each
    return None
