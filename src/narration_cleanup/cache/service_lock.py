"""The lock file that a service may offer beside its index; a service need not know of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from narration_cleanup.cache.directory import Directory
from narration_cleanup.locking import wait_for_lock


@contextmanager
def index_lock(
    directory: Directory, index_name: str, *, seconds: float, shared: bool = False
) -> Iterator[bool]:
    """Hold ``<index>.lock`` where the service offers that file; False where it could not be had.

    That is where the service held it for all of ``seconds``. Raises ``OSError`` where the file
    cannot be opened or locked.
    """
    access = os.O_RDONLY if shared else os.O_RDWR
    flags = access | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(f"{index_name}.lock", flags, dir_fd=directory.fd)
    except FileNotFoundError:
        yield True
        return
    try:
        yield wait_for_lock(fd, seconds, shared=shared)
    finally:
        os.close(fd)
