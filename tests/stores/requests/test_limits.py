"""A database that makes a query endless or huge is ended, and changes nothing."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from narration_cleanup.core import query_limit, signals
from narration_cleanup.core.errors import TargetError
from narration_cleanup.core.signals import stop_on_signals
from tests.samples import make_requests, read_requests
from tests.stores.requests.service import NOW, cancels, store_of

_SLOW = "length(replace(hex(zeroblob(120000)), '0', '1'))"
_HUGE = "hex(zeroblob(400000))"


def generated(path: Path, value: str, rows: int) -> None:
    """A table whose `created_at` is computed from `value` whenever it is read."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE requests (request_id TEXT, status TEXT)")
        some = ((str(number), "queued") for number in range(rows))
        connection.executemany("INSERT INTO requests VALUES (?, ?)", some)
        column = f"created_at TEXT GENERATED ALWAYS AS ({value}) VIRTUAL"
        connection.execute(f"ALTER TABLE requests ADD COLUMN {column}")
        connection.commit()


def endless(path: Path) -> None:
    """A trigger that never ends."""
    make_requests(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TRIGGER t BEFORE UPDATE ON requests BEGIN SELECT count(*) FROM"
            " (WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c);"
            " END"
        )


def test_a_slow_query_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_limit, "SECONDS", 0.005)
    path = tmp_path / "requests.db"
    generated(path, _SLOW, rows=10_000)
    with pytest.raises(TargetError, match="was ended") as fault:
        cancels(store_of(path))
    assert fault.value.code == "query_too_costly"


def test_a_query_with_huge_values_is_ended(tmp_path: Path) -> None:
    path = tmp_path / "requests.db"
    generated(path, _HUGE, rows=10_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(TargetError) as fault:
        cancels(store_of(path))
    assert fault.value.code == "query_too_costly"
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown * 1024 < 3 * query_limit.MEMORY


def test_a_value_that_is_too_long_to_be_any_time_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "requests.db"
    generated(path, "hex(zeroblob(600000))", rows=1)
    with pytest.raises(TargetError, match="larger than any should be"):
        cancels(store_of(path))


def test_long_values_in_other_columns_are_no_obstacle(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE requests SET error = hex(zeroblob(2000000))")
        connection.commit()
    store = store_of(path)
    found = cancels(store)
    assert len(found) == 7
    store.cancel(found, NOW)
    assert cancels(store) == []


def test_an_endless_trigger_is_ended_and_nothing_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query_limit, "SECONDS", 0.5)
    path = tmp_path / "requests.db"
    endless(path)
    rows = read_requests(path)
    store = store_of(path)
    with pytest.raises(TargetError, match="was ended"):
        store.cancel(cancels(store), NOW)
    store.close()
    assert read_requests(path) == rows


def test_a_change_that_was_asked_to_stop_is_ended_and_rolled_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "GRACE", 0.1)
    path = tmp_path / "requests.db"
    endless(path)
    rows = read_requests(path)
    store = store_of(path)
    found = cancels(store)
    with stop_on_signals() as (stop, _):
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(TargetError, match="asked to stop"):
            store.cancel(found, NOW)
        assert stop.asked
    store.close()
    assert read_requests(path) == rows
    assert len(cancels(store_of(path))) == 7


def test_a_lock_that_is_not_waited_for_since_a_stop_was_asked_is_no_fault_of_who_holds_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "GRACE", 0.0)
    store = store_of(path)
    found = cancels(store)
    with closing(sqlite3.connect(path)) as holder, stop_on_signals():
        holder.execute("BEGIN IMMEDIATE")
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(TargetError, match="asked to stop") as fault:
            store.cancel(found, NOW)
    assert fault.value.code == signals.STOPPED
    store.close()
    assert len(cancels(store_of(path))) == len(found)


def test_a_command_that_looks_ends_in_the_middle_of_a_query(tmp_path: Path) -> None:
    path = tmp_path / "requests.db"
    generated(path, _SLOW, rows=20_000)
    command = [sys.executable, "-m", "narration_cleanup", "dry-run", "--requests-db", str(path)]
    environment = {"PATH": os.defpath, "NARRATION_CLEANUP_STATE_DIR": str(tmp_path / "state")}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        while not _has_open(process.pid, path):
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=10)
    assert process.returncode == 143
    assert output == b""


def _has_open(process: int, path: Path) -> bool:
    found = []
    for link in Path(f"/proc/{process}/fd").iterdir():
        try:
            found.append(link.readlink())
        except OSError:  # closed meanwhile
            continue
    return path in found


def test_a_schema_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[sqlite3.Connection] = []
    guard = query_limit.QueryLimit.guard

    def noting(limit: query_limit.QueryLimit, connection: sqlite3.Connection, longest: int) -> None:
        guard(limit, connection, longest)
        seen.append(connection)
        settings = ("trusted_schema", "cell_size_check", "writable_schema")
        found = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in settings]
        assert found == [0, 1, 0]
        assert connection.getlimit(sqlite3.SQLITE_LIMIT_ATTACHED) == 0

    monkeypatch.setattr(query_limit.QueryLimit, "guard", noting)
    path = tmp_path / "requests.db"
    make_requests(path)
    store = store_of(path)
    store.cancel(cancels(store), NOW)
    assert len(seen) > 2
