"""A look at a database beside its service: nothing made, nothing left, nothing missed."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from narration_cleanup.plan.actions import Outcome
from narration_cleanup.stores.requests.sqlite.database import journal_mode, look
from tests.samples import make_requests, tree_digest
from tests.stores.requests.service import INSERT, NOW, cancels, names, service, store_of, total


def test_a_look_at_a_database_that_nobody_has_open_changes_nothing(path: Path) -> None:
    before = tree_digest(path.parent)
    store = store_of(path)
    assert len(cancels(store)) == 7
    assert store.count_completed(["nobody"]) == 0
    assert store.free_pages() == 0
    store.close()
    assert tree_digest(path.parent) == before


@pytest.mark.parametrize("left", [(), ("-wal",), ("-wal", "-shm")])
def test_the_journal_mode_is_known_of_a_closed_database(path: Path, left: tuple[str, ...]) -> None:
    with closing(sqlite3.connect(path)) as connection:
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    for ending in left:
        Path(f"{path}{ending}").touch()
    before = tree_digest(path.parent)
    assert journal_mode(path) == mode
    assert tree_digest(path.parent) == before


def test_a_look_beside_a_live_service_sees_what_it_wrote_and_changes_nothing(path: Path) -> None:
    with service(path) as live:
        live.execute(INSERT)
        before = tree_digest(path.parent)
        assert len(cancels(store_of(path))) == 8
        assert tree_digest(path.parent) == before
        live.execute("DELETE FROM requests WHERE request_id = 'new'")
        assert len(cancels(store_of(path))) == 7
    assert names(path.parent) == {"requests.db"}


def test_a_look_at_what_a_killed_service_left_sees_all_and_changes_nothing(wal: Path) -> None:
    """Its last rows are in the -wal alone."""
    with service(wal) as live:
        live.execute(INSERT)
        live.die()
    assert names(wal.parent) == {"requests.db", "requests.db-wal", "requests.db-shm"}
    before = tree_digest(wal.parent)
    assert len(cancels(store_of(wal))) == 8
    assert tree_digest(wal.parent) == before


def test_a_look_at_a_wal_without_its_shm_sees_all_and_changes_nothing(wal: Path) -> None:
    """As in a copy of two of the three files."""
    with service(wal) as live:
        live.execute(INSERT)
        live.die()
    Path(f"{wal}-shm").unlink()
    before = tree_digest(wal.parent)
    assert len(cancels(store_of(wal))) == 8
    assert tree_digest(wal.parent) == before


def test_a_look_leaves_an_empty_wal_of_a_live_service_its_mode(wal: Path) -> None:
    """SQLite gives an empty -wal that it opens the mode of the database."""
    with service(wal) as live:
        live.execute(INSERT)
        live.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        wal.chmod(0o600)
        beside = Path(f"{wal}-wal")
        beside.chmod(0o640)
        before = tree_digest(wal.parent)
        assert beside.stat().st_size == 0
        assert len(cancels(store_of(wal))) == 8
        assert tree_digest(wal.parent) == before
        live.execute("DELETE FROM requests WHERE request_id = 'new'")
        assert len(cancels(store_of(wal))) == 7


@pytest.mark.parametrize("then", ["PRAGMA busy_timeout", "PRAGMA wal_checkpoint(TRUNCATE)"])
def test_a_look_at_an_empty_wal_is_repeated_when_the_service_comes_in_the_middle(
    wal: Path, then: str
) -> None:
    """Whether its change is still in the -wal, or in the database already."""
    answers: list[int] = []
    with service(wal) as live:
        live.execute("DELETE FROM requests WHERE request_id = 'nobody'")
        live.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        wal.chmod(0o600)
        Path(f"{wal}-wal").chmod(0o640)

        def query(connection: sqlite3.Connection) -> int:
            if not answers:
                live.execute(INSERT)
                live.execute(then)
            answers.append(connection.execute("SELECT count(*) FROM requests").fetchone()[0])
            return answers[-1]

        assert look(wal, query) == 30
        assert len(answers) == 2


@pytest.mark.parametrize("kept", ["nothing", "no commit", "no wal"])
def test_a_look_leaves_a_wal_in_which_there_is_no_commit(wal: Path, kept: str) -> None:
    """SQLite removes it when it closes a database that nobody else has open."""
    beside = Path(f"{wal}-wal")
    with service(wal) as live:
        live.execute("PRAGMA cache_size=1")
        live.execute("BEGIN")
        live.execute("CREATE TABLE large(x)")
        live.execute("INSERT INTO large VALUES (zeroblob(100000))")
        left, whole = beside.read_bytes(), wal.read_bytes()
    assert len(left) > 50_000
    wal.write_bytes(whole)
    beside.write_bytes({"nothing": b"", "no commit": left, "no wal": b"x" * 5000}[kept])
    before = tree_digest(wal.parent)
    assert len(cancels(store_of(wal))) == 7
    assert tree_digest(wal.parent) == before


def test_a_wal_of_any_length_is_read_and_written_as_sqlite_itself_reads_it(wal: Path) -> None:
    """What a process that was killed as it wrote its first commit leaves, cut at each border."""
    folder = wal.parent
    before = {each.name: each.read_bytes() for each in folder.iterdir()}
    with service(wal) as live:
        live.execute("PRAGMA busy_timeout")
        live.execute("SELECT * FROM requests")
        opened = {each.name: each.read_bytes() for each in folder.iterdir()}
        live.execute(INSERT)
        whole = Path(f"{wal}-wal").read_bytes()
        live.die()
    assert {"requests.db-shm", "requests.db-wal"} < opened.keys() | {"requests.db-wal"}
    frame = 24 + 4096
    cuts = [0, 1, 31, 32, 33, 32 + 24, 32 + frame - 1, 32 + frame, len(whole) - 1, len(whole)]
    for shm in (opened["requests.db-shm"], None):
        for cut in cuts:
            for each in folder.iterdir():
                each.unlink()
            wal.write_bytes(before["requests.db"])
            Path(f"{wal}-wal").write_bytes(whole[:cut])
            if shm is not None:
                Path(f"{wal}-shm").write_bytes(shm)
            left = tree_digest(folder)
            store = store_of(wal)
            found = cancels(store)
            assert tree_digest(folder) == left, cut
            assert len(found) == (8 if cut == len(whole) else 7), cut
            assert not store.recover()
            assert set(store.cancel(found, NOW)) == {Outcome.DONE}, cut
            assert cancels(store) == []
            store.close()


def test_a_look_leaves_an_empty_shm_as_it_is(wal: Path) -> None:
    """As the power left it: what the disk never got."""
    with service(wal) as live:
        live.execute(INSERT)
        live.die()
    shm = Path(f"{wal}-shm")
    shm.write_bytes(b"")
    shm.chmod(0o640)
    before = tree_digest(wal.parent)
    assert len(cancels(store_of(wal))) == 8
    assert tree_digest(wal.parent) == before


def test_a_look_is_repeated_when_the_service_comes_in_the_middle(wal: Path) -> None:
    """The whole answer is from after its change, never from both sides of it."""
    answers: list[int] = []

    with service(wal) as live:

        def query(connection: sqlite3.Connection) -> int:
            before = connection.execute("SELECT count(*) FROM requests").fetchone()[0]
            if not answers:
                live.execute(INSERT)
            answers.append(before)
            return int(before)

        assert look(wal, query) == 30
        assert answers == [29, 30]


def test_the_locks_of_this_process_survive_a_look(wal: Path) -> None:
    """Closing any descriptor of a file drops a process's locks on it, unless SQLite does it."""
    with closing(sqlite3.connect(wal, isolation_level=None)) as own:
        own.execute("BEGIN IMMEDIATE")
        assert total(wal) == 29
        with service(wal) as live:
            live.execute("PRAGMA busy_timeout=0")
            assert live.process.stdin
            live.process.stdin.write("BEGIN IMMEDIATE\n")
            live.process.stdin.close()
            live.process.wait()
            assert live.process.returncode == 1  # database is locked
            live.process.stdin = None


def test_a_database_behind_a_link_has_its_files_beside_the_real_one(
    wal: Path, tmp_path: Path
) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(wal)
    with service(wal) as live:
        live.execute(INSERT)
        assert len(cancels(store_of(link))) == 8
    assert names(tmp_path) == {"data", "link.db"}


def test_odd_characters_in_a_path_are_no_options_of_the_database(tmp_path: Path) -> None:
    folder = tmp_path / "a?mode=memory&b#c%41"
    make_requests(folder / "requests.db", wal=True)
    store = store_of(folder / "requests.db")
    assert len(store.cancel(cancels(store), NOW)) == 7
    store.close()
    assert names(tmp_path) == {folder.name}
    assert names(folder) == {"requests.db"}
