"""A writer that had the index open while it was replaced: what it wrote is brought in.

The service opens its index with "w" and writes it whole. If the tool renames a new index over the
name between the two, the service writes into a file that nobody can find any more. The rename is
held up here, so that this happens each time.
"""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.faults.injection import Call, calls_of, run_traced
from tests.faults.server import ToolServer
from tests.samples import CacheSample, EntrySpec, make_cache, read_index

_HELD_UP = 1.0
_DAY = timedelta(days=1)


def _cache(root: Path) -> CacheSample:
    specs = [EntrySpec(age=(20 if number % 2 else 2) * _DAY) for number in range(10)]
    return make_cache(root / "cache" / "narration", now=datetime.now(UTC), entries=specs)


def _arguments(cache: CacheSample) -> list[str]:
    return ["run", "--json", "--cache-dir", str(cache.directory)]


def _replacing(server: ToolServer, root: Path) -> Call:
    """The call that puts the new index in place, as an unharmed run makes it."""
    cache = _cache(root)
    environment = {"NARRATION_CLEANUP_STATE_DIR": str(root / "state")}
    assert run_traced(server, _arguments(cache), root, environment) == 0
    calls = calls_of(root / "trace")
    return next(call for call in calls if "rename" in call.name and "index.json" in call.arguments)


class _Writer(threading.Thread):
    """Opens the index as the service does while its replacement waits; writes when it is done."""

    def __init__(self, cache: CacheSample, writes_after: float) -> None:
        super().__init__()
        self.cache = cache
        self.writes_after = writes_after
        self.entries = read_index(cache.index)
        for key in _live(cache):
            self.entries[key]["last_accessed"] = "2026-11-23T12:00:00.654321"

    def run(self) -> None:
        own = self.cache.directory / ".narration-cleanup" / "index.new"
        while not own.exists():
            time.sleep(0.001)
        time.sleep(_HELD_UP / 4)
        replaced = self.cache.index.stat().st_ino
        with self.cache.index.open("w", encoding="utf-8") as file:
            while self.cache.index.stat().st_ino == replaced:
                time.sleep(0.001)
            time.sleep(self.writes_after)
            json.dump(self.entries, file, indent=2)


@pytest.mark.parametrize("writes_after", [0.0, 0.5], ids=["at once", "half a second later"])
def test_what_a_late_writer_wrote_is_brought_in(
    server: ToolServer, tmp_path: Path, writes_after: float
) -> None:
    call = _replacing(server, tmp_path / "dry")
    root = tmp_path / "root"
    cache = _cache(root)
    writer = _Writer(cache, writes_after)
    held_up = f"inject={call.name}:delay_enter={int(_HELD_UP * 1e6)}:when={call.number}"
    environment = {"NARRATION_CLEANUP_STATE_DIR": str(tmp_path / "state")}
    writer.start()
    code = run_traced(server, _arguments(cache), root, environment, ["-e", held_up])
    writer.join()
    assert code == 0, (root / "errors").read_text()
    assert read_index(cache.index) == {key: writer.entries[key] for key in _live(cache)}


def _live(cache: CacheSample) -> list[str]:
    expired = {entry.key for entry in cache.older_than(7 * _DAY, datetime.now(UTC))}
    return [entry.key for entry in cache.entries if entry.key not in expired]
