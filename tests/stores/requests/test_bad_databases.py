"""Databases that cannot be used, and rows that cannot be judged: told, and left alone."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from narration_cleanup.apply.result import Result
from narration_cleanup.core.errors import TargetError
from narration_cleanup.core.model import NoProgress, Target
from narration_cleanup.core.query_limit import QueryLimit
from narration_cleanup.core.signals import Stop
from narration_cleanup.plan import RequestPolicy, plan_requests
from narration_cleanup.plan.actions import (
    Kind,
    Outcome,
)
from narration_cleanup.run.run import Work, clean_requests
from narration_cleanup.stores.requests.sqlite import database
from narration_cleanup.stores.requests.sqlite.errors import to_target_error
from tests.run.test_run import Silent
from tests.samples import make_requests, make_sample, read_requests, tree_digest
from tests.stores.requests.service import NOW, cancels, names, service, store_of


def not_a_database(path: Path) -> None:
    path.write_bytes(b"This is a letter, not a database. " * 200)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def corrupt(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[100:] = b"\xff" * (len(data) - 100)
    path.write_bytes(data)


def damaged_rows(path: Path) -> None:
    """The table's own pages, not the first one."""
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def virtual(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE requests")
        connection.execute("CREATE VIRTUAL TABLE requests USING fts4(request_id)")
        connection.commit()


@pytest.mark.parametrize(
    ("harm", "code"),
    [
        (Path.unlink, "database_missing"),
        (not_a_database, "not_a_database"),
        (empty, "no_such_table"),
        (corrupt, "database_corrupt"),
        (damaged_rows, "database_corrupt"),
        (a_folder, "not_a_database"),
        (a_pipe, "not_a_database"),
        (a_loop, "database_unreadable"),
        (virtual, "not_a_table"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_stays_as_it_is(
    path: Path, harm: Callable[[Path], None], code: str
) -> None:
    harm(path)
    before = tree_digest(path.parent)
    with pytest.raises(TargetError) as fault:
        cancels(store_of(path))
    message = str(fault.value)
    assert fault.value.code == code
    assert "\n" not in message
    assert str(path) in message
    assert tree_digest(path.parent) == before


def pipe(place: Path) -> None:
    os.mkfifo(place)


def link(place: Path) -> None:
    """To a file that SQLite would truncate or remove."""
    target = place.parent.with_name("elsewhere")
    target.write_bytes(b"kept")
    place.symlink_to(target)


def endless(place: Path) -> None:
    """A device that can always be read."""
    place.symlink_to("/dev/zero")


def listening(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place))


@pytest.mark.parametrize("ending", ["-wal", "-shm", "-journal"])
@pytest.mark.parametrize("make", [pipe, link, endless, listening, Path.mkdir])
def test_what_is_no_file_under_the_name_of_a_file_of_sqlite_is_refused_unopened(
    path: Path, ending: str, make: Callable[[Path], None]
) -> None:
    place = Path(f"{path}{ending}")
    make(place)
    before = tree_digest(path.parent.parent)
    store = store_of(path)
    assert not store.recover()
    with pytest.raises(TargetError) as fault:
        store.survey()
    assert fault.value.code == "irregular_file"
    assert str(place) in str(fault.value)
    assert tree_digest(path.parent.parent) == before


@pytest.mark.parametrize("command", ["run", "dry-run", "stats", "check"])
def test_a_pipe_where_sqlite_keeps_its_journal_does_not_stop_the_cache(
    tmp_path: Path, command: str
) -> None:
    sample = make_sample(tmp_path)
    os.mkfifo(f"{sample.database}-journal")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "narration_cleanup", command, "--json"),
            *("--cache-dir", str(sample.cache.directory), "--requests-db", str(sample.database)),
        ],
        env={"PATH": os.defpath, "NARRATION_CLEANUP_STATE_DIR": str(tmp_path / "state")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "irregular_file" in done.stdout, done.stderr
    assert done.returncode in (1, 3)
    if command != "check":
        document = json.loads(done.stdout)
        assert (document["cache"] is None, document["requests"] is None) == (False, True)


@pytest.mark.parametrize("place", range(0, 24_000, 997))
def test_any_flipped_byte_ends_in_an_answer_or_one_line(tmp_path: Path, place: int) -> None:
    path = tmp_path / "requests.db"
    make_requests(path)
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= 0xFF
    path.write_bytes(data)
    store = store_of(path)
    told = ""
    try:
        store.cancel(cancels(store)[:100], NOW)
    except TargetError as fault:
        told = str(fault)
    store.close()
    assert "\n" not in told
    assert names(tmp_path) <= {"requests.db"}


def test_a_crash_in_the_middle_of_a_commit_is_rolled_back_by_a_run_alone(tmp_path: Path) -> None:
    """A hot rollback journal: looking reports it and changes nothing."""
    path = tmp_path / "requests.db"
    make_requests(path)
    rows = read_requests(path)
    with service(path) as live:
        live.execute("PRAGMA cache_size=1")
        live.execute("PRAGMA cache_spill=1")
        live.execute("BEGIN IMMEDIATE")
        live.execute("CREATE TABLE filler AS SELECT randomblob(90000) AS a")
        live.execute("UPDATE requests SET result = randomblob(9000)")
        live.die()
    assert names(tmp_path) == {"requests.db", "requests.db-journal"}
    before = tree_digest(tmp_path)
    store = store_of(path)
    with pytest.raises(TargetError, match="run rolls it back") as fault:
        store.survey()
    assert fault.value.code == "database_unclean"
    assert tree_digest(tmp_path) == before
    assert store.recover()
    assert names(tmp_path) == {"requests.db"}
    assert read_requests(path) == rows
    assert not store.recover()
    assert len(cancels(store)) == 7


def test_a_run_reports_the_change_that_it_rolled_back(tmp_path: Path) -> None:
    path = tmp_path / "requests.db"
    make_requests(path)
    with service(path) as live:
        live.execute("PRAGMA cache_size=1")
        live.execute("BEGIN IMMEDIATE")
        live.execute("UPDATE requests SET result = randomblob(90000)")
        live.die()
    result = Result(NOW, dry_run=False)
    store = store_of(path)
    clean_requests(store, RequestPolicy(), Work(result, Stop(), NoProgress(), Silent()))
    assert [(each.code, each.target) for each in result.problems] == [
        ("recovered", Target.REQUESTS)
    ]
    assert result.requests is not None
    assert result.requests.cancelled_count == 7


def test_of_statuses_in_free_text_the_largest_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "requests.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE requests (request_id, status, created_at)")
        rows = [(n, f"failed: after {n % 500} ms", "2026-11-23T09:00:00") for n in range(999)]
        connection.executemany("INSERT INTO requests VALUES (?, ?, ?)", rows)
        connection.execute("INSERT INTO requests VALUES ('x', 'completed', '2026-11-23T09:00:00')")
        connection.commit()
    store = store_of(path)
    planned = plan_requests(store.survey(), RequestPolicy(), NOW)
    store.close()
    totals = planned.totals.by_status
    assert sum(totals.values()) == 1_000
    assert totals["completed"] == 1
    assert totals["other"] == 999 - 20 * 2
    assert len([name for name in totals if name.startswith("failed: ")]) == 20
    assert "one of 480 more statuses" in [problem.message for problem in planned.problems][-1]


def test_ids_that_are_not_text_and_odd_values_are_left_alone_and_told(tmp_path: Path) -> None:
    path = tmp_path / "requests.db"
    old = "2026-11-23T09:00:00"
    rows = [
        ("text", "queued", old),
        (7, "queued", old),
        (None, "queued", old),
        (1.5, "queued", old),
        (b"blob", "queued", old),
        ("blob time", "queued", old.encode()),
        ("number time", "queued", 0),
    ]
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE requests (request_id, status, created_at)")
        connection.executemany("INSERT INTO requests VALUES (?, ?, ?)", rows)
        not_utf8 = "INSERT INTO requests VALUES (CAST(x'ff41' AS TEXT), 'queued', ?)"
        connection.execute(not_utf8, (old,))
        connection.execute("INSERT INTO requests VALUES ('odd', CAST(x'ff' AS TEXT), ?)", (old,))
        connection.execute("INSERT INTO requests VALUES ('none', NULL, ?)", (old,))
        connection.execute("INSERT INTO requests VALUES ('bytes', x'00', ?)", (old,))
        connection.commit()
    store = store_of(path)
    planned = plan_requests(store.survey(), RequestPolicy(), NOW)
    actions = [each for each in planned.actions if each.kind is Kind.CANCEL_REQUEST]
    assert [each.id for each in actions] == ["text", 7]
    codes = [(each.code, each.subject) for each in planned.problems]
    assert sorted(codes, key=str) == sorted(
        [
            ("unreadable_id", "NULL"),
            ("unreadable_id", "1.5"),
            ("unreadable_id", "X'626c6f62'"),
            ("unreadable_id", "\\udcffA"),
            ("unreadable_value", "blob time"),
            ("unreadable_time", "number time"),
            ("unknown_status", "NULL"),
            ("unknown_status", "\\udcff"),
            ("unknown_status", r"b'\x00'"),
        ],
        key=str,
    )
    assert set(store.cancel(actions, NOW)) == {Outcome.DONE}
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.text_factory = bytes
        cancelled = connection.execute(
            "SELECT request_id FROM requests WHERE status = 'cancelled'"
        ).fetchall()
    assert sorted(cancelled, key=str) == [(7,), (b"text",)]


def test_a_number_of_any_length_is_an_unreadable_value_and_no_more(path: Path) -> None:
    """Python refuses to convert more than 4,300 digits."""
    digits = "9" * 5_000
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "UPDATE requests SET completed_at = ? WHERE completed_at > ''", (digits,)
        )
        insert = "INSERT INTO requests (request_id, variant_id, voice_style, status, created_at)"
        row = ("one", "v", "s", "queued", digits)
        connection.execute(f"{insert} VALUES (?, ?, ?, ?, ?)", row)
        row = (digits, "v", "s", digits, "2026-11-23T09:00:00")
        connection.execute(f"{insert} VALUES (?, ?, ?, ?, ?)", row)
        connection.commit()
    store = store_of(path)
    planned = plan_requests(store.survey(), RequestPolicy(delete_finished_after=1.0), NOW)
    found = [each for each in planned.actions if each.kind is Kind.CANCEL_REQUEST]
    assert len(found) == len(planned.actions) == 7
    codes = {each.code for each in planned.problems}
    assert codes == {"unreadable_time", "unknown_status"}
    assert set(store.cancel(found, NOW)) == {Outcome.DONE}
    assert cancels(store) == []


@pytest.mark.parametrize(
    ("code", "free", "writable", "expected"),
    [
        (sqlite3.SQLITE_IOERR_SHMSIZE, 0, True, "disk_full"),
        (sqlite3.SQLITE_IOERR_SHMSIZE, 10**9, True, "database_io_error"),
        (sqlite3.SQLITE_IOERR_WRITE, 10**9, True, "database_io_error"),
        (sqlite3.SQLITE_CANTOPEN, 0, True, "database_unreadable"),
        (sqlite3.SQLITE_CANTOPEN, 0, False, "database_read_only"),
        (sqlite3.SQLITE_READONLY_DBMOVED, 0, True, "database_read_only"),
        (sqlite3.SQLITE_BUSY_RECOVERY, 0, True, "database_locked"),
        (sqlite3.SQLITE_NOMEM, 0, True, "database_error"),
    ],
)
def test_a_fault_is_named_by_its_cause(
    path: Path,
    code: int,
    free: int,
    writable: bool,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where SQLite's own word for it would lead an operator astray, the disk is looked at."""
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    monkeypatch.setattr(os, "access", lambda _, mode, **_how: writable or mode == os.R_OK)
    fault = sqlite3.OperationalError("told by SQLite\nin two lines")
    fault.sqlite_errorcode = code
    told = to_target_error(fault, path)
    assert told.code == expected
    assert "\n" not in str(told)
    assert str(path) in str(told)


def test_nothing_is_left_beside_a_database_that_may_not_be_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite gives its -shm the mode of the database: the service could not write that either."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    monkeypatch.setattr(database, "can_write", lambda _: False)
    with pytest.raises(TargetError, match="may not write") as caught:
        database.open_to_write(path, QueryLimit())
    assert caught.value.code == "database_read_only"
    assert [each.name for each in path.parent.iterdir()] == [path.name]
