"""Changes to a database beside its service: waited for, all of a batch or what is said of it."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from narration_cleanup.core.errors import TargetError
from narration_cleanup.core.query_limit import QueryLimit
from narration_cleanup.plan import RequestPolicy, plan_requests
from narration_cleanup.plan.actions import (
    Action,
    Kind,
    Outcome,
)
from narration_cleanup.run.access import missing_rights
from narration_cleanup.settings import RequestSettings, Settings
from narration_cleanup.stores.requests.batches import BatchEndedError
from narration_cleanup.stores.requests.sqlite import database, table
from narration_cleanup.stores.requests.sqlite.table import Writer
from tests.samples import make_requests, read_requests
from tests.stores.requests.service import INSERT, NOW, Service, cancels, names, service, store_of


class Interrupted(list[Action]):
    """A batch in the middle of which Ctrl-C comes."""

    def __iter__(self) -> Iterator[Action]:
        yield from self[:3]
        raise KeyboardInterrupt


def test_a_run_leaves_no_file_behind(path: Path) -> None:
    store = store_of(path)
    actions = cancels(store)
    assert list(store.cancel(actions, NOW)) == [Outcome.DONE] * 7
    assert cancels(store) == []  # the look after the run, while the store is still open
    store.close()
    assert names(path.parent) == {"requests.db"}
    with closing(sqlite3.connect(path)) as connection:
        mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    assert mode in ("wal", "delete")


def test_a_run_beside_a_live_service_leaves_its_files_to_it(wal: Path) -> None:
    with service(wal) as live:
        live.execute(INSERT)
        store = store_of(wal)
        assert len(store.cancel(cancels(store), NOW)) == 8
        store.close()
        assert names(wal.parent) == {"requests.db", "requests.db-wal", "requests.db-shm"}
        live.execute("UPDATE requests SET priority = 1")
    assert names(wal.parent) == {"requests.db"}
    assert [row[4] for row in read_requests(wal).values()].count("cancelled") == 10


@pytest.mark.parametrize("change", ["cancel", "survey"])
def test_a_locked_database_is_waited_for_and_then_told(
    path: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "WAITS", (0.0, 0.0))
    store = store_of(path)
    actions = cancels(store)
    before = read_requests(path)
    with service(path) as live:
        live.execute("BEGIN EXCLUSIVE")
        if change == "cancel":
            with pytest.raises(TargetError, match="locked for 10 s") as fault:
                store.cancel(actions, NOW)
            assert fault.value.code == "database_locked"
        elif os.path.exists(f"{path}-wal"):
            assert len(cancels(store)) == 7  # a WAL database can be read all the same
        else:
            with pytest.raises(TargetError, match="locked for 10 s"):
                store.survey()
        live.execute("ROLLBACK")
        assert read_requests(path) == before
        # What kept it locked has let go: the same store goes on.
        assert list(store.cancel(actions, NOW)) == [Outcome.DONE] * 7
    store.close()


def test_a_locked_database_is_waited_for_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a run, which looks for what a killed one left and then at the rows, and by a dry run,
    which asks what this user may do."""
    slept: list[float] = []
    monkeypatch.setattr(database, "WAITS", (0.25, 0.5))
    monkeypatch.setattr(time, "sleep", slept.append)
    settings = Settings(requests=RequestSettings(db=str(path)))
    with service(path) as live:
        live.execute("BEGIN EXCLUSIVE")
        list(missing_rights(settings))
        assert slept == []
        if not os.path.exists(f"{path}-wal"):
            with pytest.raises(TargetError, match="locked for 10 s") as fault:
                store_of(path).recover()
            assert fault.value.code == "database_locked"
            assert slept == [0.25, 0.5]
        live.execute("ROLLBACK")


def test_a_busy_database_is_waited_for(path: Path) -> None:
    """The service lets go while we wait."""
    store = store_of(path)
    actions = cancels(store)
    with service(path) as live:
        live.execute("BEGIN EXCLUSIVE")
        waits: list[str] = []

        def let_go(fault: sqlite3.Error) -> bool:
            if not waits:
                live.execute("COMMIT")
            waits.append(str(fault))
            return "locked" in str(fault)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(database, "is_busy", let_go)
            assert list(store.cancel(actions, NOW)) == [Outcome.DONE] * 7
        assert waits == ["database is locked"]
    store.close()


def test_it_waits_ten_seconds() -> None:
    assert sum(database.WAITS) == pytest.approx(10)


def test_a_disk_that_refuses_the_commit_means_that_nothing_is_done(path: Path) -> None:
    """No more pages may be had: the database is full."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE note (text)")
        connection.execute(
            "CREATE TRIGGER grow AFTER UPDATE ON requests BEGIN "
            "INSERT INTO note VALUES (randomblob(40000)); END"
        )
        connection.commit()
    before = read_requests(path)
    store = store_of(path)
    actions = cancels(store)
    opened = database.open_to_write(path, QueryLimit())
    opened.execute("PRAGMA max_page_count = 40")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "narration_cleanup.stores.requests.sqlite.table.open_to_write", lambda *_: opened
        )
        with pytest.raises(TargetError) as fault:
            store.cancel(actions, NOW)
    assert fault.value.code == "disk_full"
    assert read_requests(path) == before
    store.close()
    assert list(store.cancel(actions, NOW)) == [Outcome.DONE] * 7
    store.close()


@pytest.mark.parametrize("raising", ["ABORT", "FAIL", "ROLLBACK"])
def test_a_trigger_that_refuses_one_row_stops_no_other(path: Path, raising: str) -> None:
    store = store_of(path)
    actions = cancels(store)
    refused = actions[3]
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TRIGGER no BEFORE UPDATE ON requests "
            f"WHEN old.request_id = '{refused.id}' BEGIN SELECT RAISE({raising}, 'not this'); END"
        )
        connection.commit()
    before = read_requests(path)
    expected = [Outcome.FAILED if each is refused else Outcome.DONE for each in actions]
    assert list(store.cancel(actions, NOW)) == expected
    after = read_requests(path)
    cancelled = {each.id for each in actions if each is not refused}
    assert {name for name in after if after[name] != before[name]} == cancelled
    (problem,) = store.problems
    assert problem.subject == refused.id
    assert problem.message.endswith("not this")
    store.close()


def test_a_foreign_key_that_holds_a_finished_row_stops_no_other(path: Path) -> None:
    """Deferred: it is found only when the whole batch is committed."""
    with closing(sqlite3.connect(path)) as connection:
        ended = [
            row[0]
            for row in connection.execute(
                "SELECT request_id FROM requests WHERE completed_at IS NOT NULL"
            )
        ]
        connection.execute(
            "CREATE TABLE plays (request_id TEXT REFERENCES requests DEFERRABLE INITIALLY DEFERRED)"
        )
        connection.execute("INSERT INTO plays VALUES (?)", (ended[1],))
        connection.commit()
    store = store_of(path)
    policy = RequestPolicy(delete_finished_after=1.0)
    actions = [
        each
        for each in plan_requests(store.survey(), policy, NOW).actions
        if each.kind is not Kind.CANCEL_REQUEST
    ]
    outcomes = {each.id: what for each, what in zip(actions, store.delete(actions), strict=True)}
    assert outcomes == dict.fromkeys(ended, Outcome.DONE) | {ended[1]: Outcome.FAILED}
    assert set(ended) & set(read_requests(path)) == {ended[1]}
    store.close()


def test_a_change_that_the_disk_does_not_confirm_is_not_done(
    wal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows may be on the disk or not; the run must not end well, and the next one converges."""
    store = store_of(wal)
    actions = cancels(store)

    def refuse(_: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(table, "_sync", refuse)
        with pytest.raises(TargetError, match="did not confirm a change") as fault:
            store.cancel(actions, NOW)
    assert fault.value.code == "database_io_error"
    store.close()
    assert cancels(store) == []


def test_an_interrupt_in_the_middle_of_a_batch_leaves_no_lock_and_no_half(path: Path) -> None:
    store = store_of(path)
    actions = cancels(store)
    before = read_requests(path)
    with pytest.raises(KeyboardInterrupt):
        store.cancel(Interrupted(actions), NOW)
    assert read_requests(path) == before
    with service(path) as live:
        live.execute("PRAGMA busy_timeout=0")
        live.execute("BEGIN EXCLUSIVE")
    assert list(store.cancel(actions, NOW)) == [Outcome.DONE] * 7
    store.close()


def test_a_change_that_a_trigger_ignores_is_tried_once(path: Path) -> None:
    """The row is where it was: to look for it elsewhere may take a pass over the whole table."""
    store = store_of(path)
    actions = cancels(store)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE asked (request_id TEXT)")
        connection.execute(
            "CREATE TRIGGER no BEFORE UPDATE ON requests BEGIN "
            "INSERT INTO asked VALUES (old.request_id); SELECT RAISE(IGNORE); END"
        )
        connection.commit()
    before = read_requests(path)
    assert list(store.cancel(actions, NOW)) == [Outcome.SKIPPED] * 7
    assert read_requests(path) == before
    with closing(sqlite3.connect(path)) as connection:
        asked = [row[0] for row in connection.execute("SELECT request_id FROM asked")]
    assert asked == [each.id for each in actions]
    store.close()


def test_a_lock_met_while_a_refused_row_is_looked_for_is_waited_for_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(path)
    actions = cancels(store)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TRIGGER no BEFORE UPDATE ON requests "
            f"WHEN old.request_id = '{actions[1].id}' BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        connection.commit()
    monkeypatch.setattr(database, "WAITS", ())
    transaction, tried = Writer.transaction, 0
    with service(path) as live:

        def then_locked(it: Writer, work: Callable[[sqlite3.Connection], object]) -> object:
            nonlocal tried
            tried += 1
            if tried == 4:  # all of them; the first three; of these, the first
                live.execute("BEGIN IMMEDIATE")
            return transaction(it, work)

        monkeypatch.setattr(Writer, "transaction", then_locked)
        with pytest.raises(BatchEndedError) as ended:
            store.cancel(actions, NOW)
        assert (ended.value.code, ended.value.outcomes) == ("database_locked", [Outcome.DONE])
        assert tried == 4
        live.execute("ROLLBACK")
    found = read_requests(path)
    assert [found[str(each.id)][4] == "cancelled" for each in actions] == [True] + [False] * 6
    assert list(store.problems) == [], "none of the others was refused: they were not tried"
    store.close()


@pytest.mark.parametrize(("worked", "sizes"), [(1.0, [50, 25, 12]), (0.0001, [100, 100, 100])])
def test_batches_are_smaller_than_the_first_only_where_the_work_is_slow(
    path: Path, worked: float, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is the commit that takes long, a smaller one takes as long."""
    transaction = Writer.transaction

    def slow(it: Writer, work: Callable[[sqlite3.Connection], object]) -> object:
        done = transaction(it, work)
        it.held, it.worked = 1.0, worked
        return done

    monkeypatch.setattr(Writer, "transaction", slow)
    store = store_of(path)
    (action, *_) = cancels(store)
    found = []
    for _ in sizes:
        store.cancel([action] * store.batch_size, NOW)
        found.append(store.batch_size)
    assert found == sizes
    store.close()


def test_what_the_work_took_is_told_apart_from_the_commit(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0

    def working(_: sqlite3.Connection) -> None:
        nonlocal now
        now += 3.0

    def committing(connection: sqlite3.Connection, _: int) -> None:
        nonlocal now
        connection.execute("COMMIT")
        now += 2.0

    opened = Writer(path)
    with monkeypatch.context() as patch:
        patch.setattr(time, "perf_counter", lambda: now)
        patch.setattr(table, "_commit", committing)
        opened.transaction(working)
    assert (opened.worked, opened.held) == (3.0, 5.0)
    opened.close()


@contextmanager
def long_reader(path: Path) -> Iterator[Service]:
    """Somebody in the middle of reading, as a backup is."""
    with service(path) as live:
        live.execute("BEGIN")
        live.execute("SELECT * FROM requests LIMIT 1")
        yield live


def test_a_commit_that_waits_for_a_reader_lets_others_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a rollback journal, a commit that cannot be made keeps new readers out meanwhile."""
    path = tmp_path / "requests.db"
    make_requests(path, wal=False)
    store = store_of(path)
    actions = cancels(store)
    before = read_requests(path)
    left_alone: list[object] = []
    with long_reader(path) as live:

        def meanwhile(seconds: float) -> None:
            if seconds == table._PAUSE:
                left_alone.append(read_requests(path))
                if len(left_alone) == 3:
                    live.execute("COMMIT")

        monkeypatch.setattr(time, "sleep", meanwhile)
        assert list(store.cancel(actions, NOW)) == [Outcome.DONE] * 7
    assert left_alone == [before] * 3
    assert [row[4] for row in read_requests(path).values()].count("cancelled") >= 7
    store.close()


def test_a_reader_that_never_ends_is_told_of_after_ten_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "requests.db"
    make_requests(path, wal=False)
    store = store_of(path)
    actions = cancels(store)
    before = read_requests(path)
    waited: list[float] = []
    with long_reader(path):
        monkeypatch.setattr(time, "sleep", waited.append)
        with pytest.raises(TargetError, match="locked for 10 s"):
            store.cancel(actions, NOW)
        assert sum(waited) == pytest.approx(10, rel=0.02)
        assert waited[:21] == [table._LOOK] * 20 + [table._PAUSE]
        assert waited[-1] == table._PAUSE
        assert read_requests(path) == before
    store.close()
