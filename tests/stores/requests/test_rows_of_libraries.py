"""Requests that libraries make by their own code, in the service's zone, and a run in that zone."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

import narration_cleanup
from tests.stores.requests.library_rows import MAKERS, OLD, TABLES

LIMIT = timedelta(hours=1)
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module", params=["Europe/Berlin", "Asia/Tokyo", "America/New_York", "UTC"])
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """The zone of a service, and the folder with what each library made there just now."""
    folder = tmp_path_factory.mktemp("libraries")
    made = subprocess.run(
        [sys.executable, "-m", "tests.stores.requests.library_rows", str(folder)],
        cwd=ROOT,
        env={"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(sys.path), "TZ": request.param},
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    return request.param, folder


@pytest.fixture
def databases(
    service: tuple[str, Path], fast_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A copy of them for one test, which is in the zone of the service."""
    zone, folder = service
    copied = shutil.copytree(folder, fast_path / "databases")
    with monkeypatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        yield copied
    time.tzset()


def rows(database: Path, library: str) -> list[tuple[object, ...]]:
    """The whole table, in the order in which the rows were made."""
    with closing(sqlite3.connect(database)) as connection:
        table = f'"{TABLES[library][1]["table"]}"'
        return connection.execute(f"SELECT * FROM {table} ORDER BY rowid").fetchall()


def run(database: Path, library: str, zone: str | None = None) -> int:
    """Run over one table; how many requests were cancelled."""
    requests: dict[str, object] = {"db": str(database)} | TABLES[library][1]
    if zone is not None:
        requests["timezone"] = zone
    state = {"state_dir": str(database.with_suffix(".state"))}
    document = narration_cleanup.run({"requests": requests, "cleanup": state})
    assert document["exit_code"] == 0, document
    actions = document["actions"]
    assert isinstance(actions, list)
    return len(actions)


@pytest.mark.parametrize("library", MAKERS)
def test_what_was_made_just_now_is_left(databases: Path, library: str) -> None:
    database = databases / f"{library}-fresh.db"
    before = rows(database, library)
    assert len(before) == 1
    for zone in {None, TABLES[library][0]}:
        assert run(database, library, zone) == 0
    assert rows(database, library) == before


@pytest.mark.parametrize("library", MAKERS)
def test_what_is_three_hours_old_is_cancelled_at_once_where_the_zone_is_set(
    databases: Path, library: str
) -> None:
    database = databases / f"{library}-old.db"
    assert run(database, library, TABLES[library][0]) == 1
    assert run(database, library, TABLES[library][0]) == 0


@pytest.mark.parametrize("library", MAKERS)
def test_else_when_it_is_older_than_limit_and_offset_together(
    databases: Path, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = databases / f"{library}-old.db"
    offset = datetime.now().astimezone().utcoffset() or timedelta()
    wait = max(LIMIT + abs(offset) - OLD, timedelta()).total_seconds()
    later = time.time() + wait
    monkeypatch.setattr(time, "time", lambda: later)
    assert run(database, library) == 1


@pytest.mark.parametrize("library", MAKERS)
def test_beside_one_of_now_the_old_one_alone_is_cancelled(databases: Path, library: str) -> None:
    """The newest time, and that of the last write, prove the zone."""
    database = databases / f"{library}-both.db"
    before = rows(database, library)
    assert len(before) == 2
    assert run(database, library) == 1
    after = rows(database, library)
    assert after[1] == before[1]
    assert after[0] != before[0]
