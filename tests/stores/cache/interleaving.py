"""A service that writes its index between two calls of a commit to the operating system.

It keeps its entries in memory and writes all of them, in place, at each save. In the end
the index must be its last save, less nothing but expired entries whose audio is gone.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import TextIO

from narration_cleanup.core.model import Ref
from narration_cleanup.core.zones import IndexTimes
from narration_cleanup.plan import CachePolicy, plan_cache
from narration_cleanup.plan.actions import (
    Kind,
)
from narration_cleanup.stores.cache import FileTarget
from narration_cleanup.stores.cache.local.indexed import IndexedDirectory
from tests.samples import SAMPLE_NOW, CacheSample, EntrySpec, make_cache, read_index

DAYS = [20, 1, 9, 2]
"""Ages of the entries: two expired, two live."""
Step = Callable[["Service"], None]


class Service:
    """The narration service, as far as it writes the index; on a clock with a grain of 2 s."""

    def __init__(self, cache: CacheSample, *, coarse: bool) -> None:
        self._coarse = coarse
        self._cache = cache
        self._being_written: TextIO | None = None
        self._saves = 0
        self.entries = read_index(cache.index)
        for fields in self.entries.values():  # so that no save changes the size
            for name in ("created_at", "last_accessed"):
                instant = datetime.fromisoformat(str(fields[name]))
                fields[name] = instant.isoformat(timespec="microseconds")
        self.expired = {cache.entries[number].key for number in (0, 2)}
        self.save()

    def save(self) -> None:
        """Write all entries."""
        self.begin()
        self.finish()

    def begin(self) -> None:
        """Open the index and make it empty."""
        self._being_written = self._cache.index.open("w", encoding="utf-8")
        self._set_time()

    def finish(self) -> None:
        """Write into what was opened, wherever that is by now."""
        if self._being_written is not None:
            json.dump(self.entries, self._being_written, indent=2)
            self._being_written.flush()
            self._set_time()
            self._being_written.close()
            self._being_written = None

    def use(self) -> None:
        """Note the use of a live entry and save: the index gets other bytes, and the same size."""
        self._saves += 1
        key = self._cache.entries[1].key
        self.entries[key]["last_accessed"] = f"2026-11-23T11:59:{self._saves:02}.000000"
        self.save()

    def use_slowly(self) -> None:
        """The same up to the opening of the index."""
        self._saves += 1
        key = self._cache.entries[3].key
        self.entries[key]["last_accessed"] = f"2026-11-23T11:58:{self._saves:02}.000000"
        self.begin()

    def make_anew(self) -> None:
        """Replace an expired entry whose audio is asked for; of the same length, at the end."""
        entry = self._cache.entries[0]
        fields = self.entries.pop(entry.key)
        (self._cache.directory / entry.name).write_bytes(b"fresh")
        now = "2026-11-23T11:59:59.000000"
        self.entries[entry.key] = {**fields, "created_at": now, "last_accessed": now}
        self.expired.discard(entry.key)
        self.save()

    def _set_time(self) -> None:
        if self._coarse and self._being_written is not None:
            os.utime(self._being_written.fileno(), (1_795_435_200, 1_795_435_200))

    def check(self) -> None:
        """The index is whole, and what the service saved last, less expired entries."""
        left = read_index(self._cache.index)
        missing = self.entries.keys() - left.keys()
        assert missing <= self.expired
        assert left == {key: value for key, value in self.entries.items() if key not in missing}


def expired_gone(store: IndexedDirectory) -> list[tuple[Ref, str]]:
    """Remove the audio of what is expired; the entries to drop."""
    with store.survey() as survey:
        plan = plan_cache(survey, CachePolicy(), SAMPLE_NOW.timestamp())
    entries = [action for action in plan.actions if action.kind is Kind.REMOVE_ENTRY]
    store.remove([FileTarget(entry.file, entry=entry.ref) for entry in entries])
    return [(entry.ref, entry.file) for entry in entries]


def commit(folder: Path, steps: Mapping[int, Sequence[Step]], *, coarse: bool) -> int:
    """Commit with each of ``steps`` done before the call of that number; how many calls it made."""
    entries = [EntrySpec(age=timedelta(days=days)) for days in DAYS]
    cache = make_cache(folder, entries=entries)
    service = Service(cache, coarse=coarse)
    store = IndexedDirectory(
        cache.directory,
        index_name=cache.index.name,
        audio_suffixes=(".mp3",),
        times=IndexTimes("UTC"),
    )
    calls = itertools.count()

    def before_call(frame: FrameType, event: str, function: object) -> None:
        if event == "c_call" and getattr(function, "__module__", "") == "posix":
            for step in steps.get(next(calls), ()):
                step(service)

    gone = expired_gone(store)
    assert len(gone) == 2
    sys.setprofile(before_call)
    try:
        report = store.remove_entries(gone)
    finally:
        sys.setprofile(None)
        store.close()
    service.finish()
    assert report.error is None
    service.check()
    return next(calls)
