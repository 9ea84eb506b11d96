"""How a narration service can cooperate with narration-cleanup. Copy what you need.

None of it is necessary: the clean-up is safe beside a service that knows nothing of it. With the
lock, the service and the clean-up never write the index at the same time, and entries that were
removed do not come back from the service's memory. With the guarded update, a worker notices that
its request was cancelled.
"""

from __future__ import annotations

import fcntl
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

Entry = dict[str, str | int]


@contextmanager
def index_lock(cache_dir: Path) -> Iterator[None]:
    """Hold the lock that narration-cleanup takes as well, once the file is there.

    Never remove the file: a lock on a removed file excludes no one.
    """
    with open(cache_dir / "cache_index.json.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class CacheIndex:
    """The service's copy of the index, which follows what the clean-up has removed."""

    def __init__(self, cache_dir: Path) -> None:
        self.cache_dir = cache_dir
        self.path = cache_dir / "cache_index.json"
        with index_lock(cache_dir):
            self.entries = self._on_disk()
        self._last_saved = set(self.entries)

    def save(self) -> None:
        """Write the index; entries that are no longer in the file have been removed meanwhile."""
        with index_lock(self.cache_dir):
            for key in self._last_saved - self._on_disk().keys():
                self.entries.pop(key, None)
            with open(self.path, "w") as file:
                json.dump(self.entries, file, indent=2)
        self._last_saved = set(self.entries)

    def _on_disk(self) -> dict[str, Entry]:
        entries: dict[str, Entry] = json.loads(self.path.read_text())
        return entries


def complete(database: sqlite3.Connection, request_id: str, completed_at: str) -> bool:
    """Set a request to completed if it is still being generated.

    False: it was cancelled meanwhile, and its audio is not wanted any more.
    """
    with database:
        changed = database.execute(
            "UPDATE requests SET status = 'completed', completed_at = ?, progress = 100 "
            "WHERE request_id = ? AND status = 'generating'",
            (completed_at, request_id),
        )
    return changed.rowcount == 1
