"""Takes entries out of an index that its service rewrites in place: compare, then rename.

Measured beside a service that saves 47 times a second: read-modify-write lost 754 of 785 of the
service's updates, compare-then-rename none, with two late writes into the replaced file, both
found by the last look at it.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial

from narration_cleanup.beside import Beside
from narration_cleanup.cache import DropReport, index
from narration_cleanup.cache.directory import Directory
from narration_cleanup.cache.index import Span, UnreadableIndexError
from narration_cleanup.cache.index_file import IndexFile, Version, foreign_index, version_of
from narration_cleanup.cache.members import IndexMember, MalformedEntry
from narration_cleanup.cache.own_folder import INDEX_FILE_NAME, OwnFolder
from narration_cleanup.cache.places import Places
from narration_cleanup.cache.service_lock import index_lock
from narration_cleanup.cache.staging import SETTLE
from narration_cleanup.errors import CleanupError, HalfError, IndexChangedError
from narration_cleanup.escape import shown
from narration_cleanup.model import Ref
from narration_cleanup.waiting import Deadline

TRY_FOR = 10.0
"""Seconds for which a replacement is tried again when the service was faster."""

MANY = 1_000
"""From so many entries on a second process is worth its making."""

_NO_VERSION: Version = (0, 0, 0, 0)


class Replacement:
    """Commits to one index."""

    def __init__(
        self, directory: Directory, own: OwnFolder, places: Places, index_name: str
    ) -> None:
        self._directory = directory
        self._own = own
        self._places = places
        self._name = index_name
        self.version: Version | None = None
        """Of the index put in place, where it is the surveyed one and nothing but that."""

    def drop(
        self, entries: Iterable[tuple[Ref, str]], surveyed: Version, members_end: int
    ) -> DropReport:
        """Drop what is still as surveyed and has no file; see ``DropReport``.

        ``entries`` are gone through twice. ``surveyed`` is the version of the index that their
        refs were made on, ``members_end`` where its last member ends: while it is the newest,
        nothing has to be parsed again.
        """
        refs = sorted(ref for ref, _ in entries)
        if not refs:
            return DropReport()
        # What should be gone is left out of the new index while it is seen that it is gone.
        write = partial(self._write_surveyed, refs, surveyed, members_end)
        try:
            with index_lock(self._directory, self._name, seconds=TRY_FOR) as had:
                if not had:
                    raise self._locked()
                self._own.descriptor()  # opened here, since here what is left is taken away
                with closing(Beside(write, fork=len(refs) >= MANY)) as written:
                    there_again = self._there_again(entries)
                    left = [ref for ref in refs if ref[2] not in there_again]
                    if left:
                        self._try_until_done(left, written, surveyed, members_end)
                return DropReport(there_again)
        except HalfError as error:
            return DropReport(error=str(error), code=error.code)
        except CleanupError as error:
            return DropReport(error=str(error))
        except OSError as error:
            where = shown(self._directory.path / self._name)
            return DropReport(error=f"{where} could not be replaced: {error.strerror}")
        finally:
            self._own.discard_index()

    def _locked(self) -> HalfError:
        return HalfError(
            "index_locked",
            f"the service held {shown(self._name)}.lock for {TRY_FOR:g} s: its entries stay until "
            "the next run",
        )

    def _there_again(self, entries: Iterable[tuple[Ref, str]]) -> frozenset[int]:
        """The digests of the entries whose file is there (again)."""
        status = self._directory.status
        return frozenset(digest for (_, _, digest), file in entries if status(file) is not None)

    def _try_until_done(
        self,
        refs: Sequence[Ref],
        written: Beside[int],
        surveyed: Version,
        members_end: int,
    ) -> None:
        """``written`` writes the index without all that were to go: ``refs``, and maybe more."""
        deadline = Deadline(TRY_FOR)
        trouble = "it was rewritten all the time"
        while not deadline.passed:
            source = IndexFile(self._directory, self._name)
            try:
                source.hold()
                if source.version == surveyed:
                    # Nothing is parsed again.
                    if written.result() != len(refs):
                        self._write_without(source, refs, members_end)
                    done = self._replace(source, partial(_digests, refs))
                else:
                    written.close()
                    done = self._replace_other(source, _digests(refs))
                if done:
                    return
                surveyed = _NO_VERSION
            except (IndexChangedError, UnreadableIndexError) as error:
                trouble = str(error)
            finally:
                source.close()
            deadline.pause(SETTLE)
        raise HalfError(
            "index_busy",
            f"{shown(self._directory.path / self._name)} could not be replaced for "
            f"{TRY_FOR:g} s ({trouble}): its entries stay until the next run",
        )

    def _write_surveyed(self, refs: Sequence[Ref], surveyed: Version, members_end: int) -> int:
        """Write the surveyed version without ``refs``; how many those are, 0 where it is gone."""
        source = IndexFile(self._directory, self._name)
        try:
            if source.version != surveyed:
                return 0
            self._write_without(source, refs, members_end)
            return len(refs)
        finally:
            source.close()

    def _replace_other(self, source: IndexFile, digests: frozenset[int]) -> bool:
        """Replace another version, whose service has written since."""
        spans, members_end = self._spans_of(source.read, source.size, digests)
        if not spans:
            return True
        self._write_without(source, spans, members_end)
        replaced = self._replace(source, lambda: digests)
        if replaced:
            self.version = None
        return replaced

    def _spans_of(
        self, read: index.Read, size: int, digests: frozenset[int]
    ) -> tuple[list[Span], int]:
        """Where the entries stand in another version, as far as they are in it unchanged."""
        spans: list[Span] = []
        end = 0
        for members in index.members(read, size):
            end = members.starts[-1]
            for position, (key, value) in enumerate(zip(members.keys, members.values, strict=True)):
                if index.digest_of(key, value) in digests and self._is_gone(value):
                    spans.append((members.starts[position], members.starts[position + 1]))
        return spans, end

    def _is_gone(self, value: IndexMember | MalformedEntry) -> bool:
        if isinstance(value, MalformedEntry):
            return False
        name = self._places.name_of(value.file_path)
        return name is not None and self._directory.status(name) is None

    def _replace(self, source: IndexFile, digests: Callable[[], frozenset[int]]) -> bool:
        """Put the new index in place, if ``source``, which it was made of, is still the newest.

        Whether it was; False asks for another try with a newer one.
        """
        self._directory.check_still_there()
        if not source.unchanged():
            return False
        ours = self._put_in_place()
        self.version = ours
        for _ in range(2):
            late = os.fstat(source.fd)
            if (late.st_size, late.st_mtime_ns) != source.version[1:3]:
                self._rescue(source, ours, digests())
                return False
            time.sleep(SETTLE)
        return True

    def _rescue(self, source: IndexFile, ours: Version | None, digests: frozenset[int]) -> None:
        """Bring in what a late writer, that had the replaced file open, wrote into it.

        That is the newest index of all, unless the service has saved again since.
        """
        deadline = Deadline(TRY_FOR)
        while ours is not None and self._named_version() == ours and not deadline.passed:
            size = os.fstat(source.fd).st_size
            read = partial(_read_from, source.fd)
            try:
                spans, end = self._spans_of(read, size, digests)
                self._write(source, index.without(read, size, spans, end))
            except UnreadableIndexError:
                deadline.pause(SETTLE)
                continue
            if self._named_version() == ours:
                self._put_in_place()
            return

    def _named_version(self) -> Version | None:
        named = self._directory.status(self._name)
        return version_of(named) if named is not None else None

    def _put_in_place(self) -> Version | None:
        os.rename(
            INDEX_FILE_NAME,
            self._name,
            src_dir_fd=self._own.descriptor(),
            dst_dir_fd=self._directory.fd,
        )
        ours = self._named_version()
        os.fsync(self._directory.fd)
        return ours

    def _write_without(self, source: IndexFile, spans: Sequence[Span], members_end: int) -> None:
        self._write(source, index.without(source.read, source.size, spans, members_end))

    def _write(self, source: IndexFile, pieces: Iterator[bytes]) -> None:
        """The new index beside the old one: whole, on the disk, with the old one's rights."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        folder = self._own.descriptor()
        fd = os.open(INDEX_FILE_NAME, flags, 0o600, dir_fd=folder)
        try:
            for piece in pieces:
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

    def _copy_rights(self, source: IndexFile, fd: int) -> None:
        """Owner, access list and mode: the service must be able to write the new one as well."""
        ours, theirs = os.fstat(fd), source.status
        if (ours.st_uid, ours.st_gid) != (theirs.st_uid, theirs.st_gid):
            try:
                os.fchown(fd, theirs.st_uid, theirs.st_gid)
            except PermissionError:
                why = foreign_index(self._directory.path / self._name, theirs)
                raise HalfError("index_owner", why) from None
        try:
            for name in os.listxattr(source.fd):
                os.setxattr(fd, name, os.getxattr(source.fd, name))
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.EPERM, errno.ENODATA):
                raise
        os.fchmod(fd, theirs.st_mode & 0o7777)


def _digests(refs: Iterable[Ref]) -> frozenset[int]:
    return frozenset(digest for _, _, digest in refs)


def _read_from(fd: int, offset: int, size: int) -> bytes:
    return os.pread(fd, size, offset)
