"""The service's side of the work, as the example has it, beside real runs of the tool."""

import itertools
import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

from examples.cooperating_service import CacheIndex, complete, index_lock
from tests.samples import SAMPLE_NOW, Sample, make_sample, read_index

ROOT = Path(__file__).resolve().parent.parent
SAVE_EVERY = 0.02
"""Seconds between two saves of the service: as often as a busy one."""


def start_run(sample: Sample) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "tests.run_at", SAMPLE_NOW.isoformat(), "run"),
            *("--cache-dir", str(sample.cache.directory)),
            *("--requests-db", str(sample.database)),
        ],
        cwd=ROOT,
        env={**os.environ, "TZ": "UTC", "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
    )


def test_a_service_that_locks_loses_no_update_and_brings_nothing_back(tmp_path: Path) -> None:
    """It saves 50 times a second while a run is at work; what it put stays, what expired goes."""
    sample = make_sample(tmp_path)
    service = CacheIndex(sample.cache.directory)
    young = {**sample.kept[0].fields, "narration_id": ""}
    put = []
    with start_run(sample) as run:
        for number in itertools.count():
            key = f"{number:064x}"
            audio = tmp_path / f"{key}.mp3"
            audio.write_bytes(b"audio")
            os.utime(audio, (SAMPLE_NOW.timestamp(),) * 2)  # by the run's clock, not ahead of it
            audio.rename(sample.cache.directory / audio.name)  # and never seen ahead of it
            service.entries[key] = young | {"file_path": f"cache/narration/{key}.mp3"}
            service.save()
            put.append(key)
            if run.poll() is not None:
                break
            time.sleep(SAVE_EVERY)
    assert run.returncode == 0
    service.save()
    left = read_index(sample.cache.index)
    assert list(left) == [entry.key for entry in sample.kept] + put
    assert all((sample.cache.directory / f"{key}.mp3").exists() for key in left)


def test_a_look_finds_a_whole_index_between_two_saves_that_follow_at_once(tmp_path: Path) -> None:
    """The lock is given back and taken again; without it there is never time for a look."""
    sample = make_sample(tmp_path)
    whole = sample.cache.index.read_bytes()
    stop = threading.Event()

    def save_all_the_time() -> None:
        while not stop.is_set():
            with index_lock(sample.cache.directory):
                sample.cache.index.write_bytes(whole[:50])
                time.sleep(SAVE_EVERY)
                sample.cache.index.write_bytes(whole)
            time.sleep(SAVE_EVERY / 40)

    saving = threading.Thread(target=save_all_the_time)
    with index_lock(sample.cache.directory):
        saving.start()
    try:
        found = subprocess.run(
            [
                *(sys.executable, "-m", "tests.run_at", SAMPLE_NOW.isoformat(), "dry-run"),
                *("--json", "--cache-dir", str(sample.cache.directory)),
            ],
            cwd=ROOT,
            env={**os.environ, "TZ": "UTC", "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
            capture_output=True,
            check=False,
        )
    finally:
        stop.set()
        saving.join()
    assert found.returncode == 0, found
    assert len(json.loads(found.stdout)["actions"]) == len(sample.expired)


def test_the_tool_waits_for_the_lock(tmp_path: Path) -> None:
    """While the service holds the lock nothing is removed, and then it is."""
    sample = make_sample(tmp_path)
    before = sample.cache.index.read_bytes()
    at_work = threading.Event()

    def watch() -> None:
        while not (sample.cache.directory / ".narration-cleanup" / "run.lock").exists():
            pass
        at_work.set()

    with index_lock(sample.cache.directory):
        run = start_run(sample)
        threading.Thread(target=watch, daemon=True).start()
        assert at_work.wait(timeout=30)
        assert sample.cache.index.read_bytes() == before
        assert all((sample.cache.directory / entry.name).exists() for entry in sample.expired)
        assert run.poll() is None
    assert run.wait() == 0
    assert list(read_index(sample.cache.index)) == [entry.key for entry in sample.kept]


def test_a_worker_notices_that_its_request_was_cancelled(tmp_path: Path) -> None:
    sample = make_sample(tmp_path)
    abandoned = next(row for row in sample.abandoned if row.status == "generating")
    working = next(
        row for row in sample.requests if row.status == "generating" and row not in sample.abandoned
    )
    assert start_run(sample).wait() == 0
    with closing(sqlite3.connect(sample.database)) as database:
        assert not complete(database, abandoned.request_id, "2026-11-23T12:00:01")
        assert complete(database, working.request_id, "2026-11-23T12:00:01")
        found = dict(database.execute("SELECT request_id, status FROM requests"))
    assert found[abandoned.request_id] == "cancelled"
    assert found[working.request_id] == "completed"
