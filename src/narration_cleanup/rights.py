"""What a run as this user would not be allowed to do, asked without trying it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from narration_cleanup.cache.index_file import foreign_index, may_be_replaced
from narration_cleanup.errors import HalfError
from narration_cleanup.escape import shown
from narration_cleanup.model import Half, Problem, Severity
from narration_cleanup.permissions import (
    described,
    is_read_only,
    may_read,
    may_write,
    may_write_in,
    me,
)
from narration_cleanup.requests import is_postgres
from narration_cleanup.settings import Settings


def missing_rights(settings: Settings) -> Iterator[Problem]:
    """A warning for each half that a run as this user could not change.

    Local places alone: a server or a bucket tells its rights when it is asked, and not before.
    What is not there is told by the survey.
    """
    cache, requests = settings.cache.dir, settings.requests.db
    if cache is not None and not cache.startswith("s3://"):
        folder = Path(cache)
        if not may_write_in(folder):
            yield _warning(Half.CACHE, folder, "remove nothing")
        elif settings.cache.index is not None:
            yield from _foreign_index(folder / settings.cache.index)
            if why := lock_out_of_reach(folder / f"{settings.cache.index}.lock"):
                message = f"{why}: a run as this user could remove nothing"
                yield Problem(Half.CACHE, "not_writable", message, severity=Severity.WARNING)
    if requests is not None and not is_postgres(requests):
        try:
            # SQLite writes its journal beside the file itself, not beside a link to it.
            file = Path(os.path.realpath(requests))
        except OSError:  # a link that is being swapped
            return
        if not os.path.exists(file):
            return
        beside = (file.with_name(file.name + ending) for ending in _endings_beside(file))
        files = [file, *(each for each in beside if os.path.lexists(each))]
        places = [(each, may_write(each)) for each in files]
        for place, may in (*places, (file.parent, may_write_in(file.parent))):
            if not may:
                yield _warning(Half.REQUESTS, place, "cancel nothing")
                return


def _endings_beside(database: Path) -> tuple[str, ...]:
    """Of the files that SQLite keeps beside it, which a process of another user may have left."""
    from narration_cleanup.requests.database import journal_mode

    try:
        mode = journal_mode(database)
    except HalfError:  # the survey says what is wrong with it
        return ()
    return ("-wal", "-shm") if mode == "wal" else ("-journal",)


def lock_out_of_reach(lock: Path) -> str | None:
    """Why the lock that the service offers could not be taken; ``None`` where there is none too."""
    try:
        status = lock.lstat()
    except OSError:
        return None
    if stat.S_ISLNK(status.st_mode) or stat.S_ISSOCK(status.st_mode):
        return f"{shown(lock)} is no file that can be locked"
    if not may_read(lock):
        return f"{me()} may not read {shown(lock)} ({described(status)})"
    return None


def _foreign_index(file: Path) -> Iterator[Problem]:
    try:
        index, folder = file.lstat(), file.parent.stat()
    except OSError:
        return
    if stat.S_ISREG(index.st_mode) and not may_be_replaced(index, folder):
        message = f"{foreign_index(file, index)}: a run as this user could remove nothing"
        yield Problem(Half.CACHE, "not_writable", message, severity=Severity.WARNING)


def _warning(half: Half, place: Path, what: str) -> Problem:
    try:
        why = f"{me()} may not write to {shown(place)} ({described(os.stat(place))})"
    except OSError:
        why = f"{me()} may not reach {shown(place)}"
    if is_read_only(place):
        why = f"{shown(place)} is on a file system that is read-only"
    message = f"{why}: a run as this user could {what}"
    return Problem(half, "not_writable", message, severity=Severity.WARNING)
