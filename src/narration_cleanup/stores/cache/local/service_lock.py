"""The lock file that a service may offer beside its index; a service need not know of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from narration_cleanup.core.errors import TargetError
from narration_cleanup.core.locks import wait_for_lock
from narration_cleanup.core.text import printable
from narration_cleanup.stores.cache.local.directory import Directory

_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@contextmanager
def index_lock(
    directory: Directory, index_name: str, *, seconds: float, shared: bool = False
) -> Iterator[bool]:
    """Hold ``<index>.lock`` where the service offers that file; False where it could not be had.

    That is where the service held it for all of ``seconds``. Raises ``TargetError`` where the file
    cannot be opened or locked.
    """
    fd = _open(directory, index_name, to_write=not shared)
    if fd is None:
        yield True
        return
    try:
        try:
            had = wait_for_lock(fd, seconds, shared=shared)
        except OSError as error:
            raise _unusable(directory, index_name, error) from None
        yield had
    finally:
        os.close(fd)


def held_for(index_name: str, seconds: float) -> TargetError:
    """The error where a service has held the lock for all that time."""
    return TargetError(
        "index_locked",
        f"another program has held {printable(index_name)}.lock for {seconds:g} s: if it is not "
        "the service at work, end that program",
    )


def _open(directory: Directory, index_name: str, *, to_write: bool) -> int | None:
    name = f"{index_name}.lock"
    try:
        if to_write:  # as NFS needs it to let nobody else have the lock
            with suppress(PermissionError, IsADirectoryError):
                return os.open(name, os.O_RDWR | _FLAGS, dir_fd=directory.fd)
        return os.open(name, os.O_RDONLY | _FLAGS, dir_fd=directory.fd)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(directory, index_name, error) from None


def _unusable(directory: Directory, index_name: str, error: OSError) -> TargetError:
    return TargetError(
        "index_lock",
        f"{printable(directory.path / index_name)}.lock cannot be locked ({error.strerror}): it "
        "must "
        "be a file that this user may read; or take it away, if the service does not use it",
    )
