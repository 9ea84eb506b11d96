"""Tables of every kind of key are passed over whole, and rows named exactly."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from narration_cleanup.plan.actions import Outcome
from tests.stores.requests.service import NOW, cancels, store_of


@pytest.mark.parametrize(
    "ddl",
    [
        "CREATE TABLE requests (request_id TEXT, part INTEGER, status TEXT, created_at TEXT, "
        "PRIMARY KEY (part DESC, request_id)) WITHOUT ROWID",
        'CREATE TABLE requests (request_id TEXT, "rowid" INTEGER, status TEXT, created_at TEXT)',
        "CREATE TABLE requests (request_id TEXT, oid, status TEXT, created_at TEXT, rowid, _rowid_,"
        " n INTEGER PRIMARY KEY)",
        "CREATE TABLE requests (request_id TEXT COLLATE NOCASE PRIMARY KEY, part INTEGER, "
        "status TEXT COLLATE NOCASE, created_at TEXT COLLATE RTRIM)",
    ],
)
def test_a_table_of_any_key_is_passed_over_page_by_page(
    tmp_path: Path, ddl: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("narration_cleanup.stores.requests.sqlite.survey.PAGE", 7)
    path = tmp_path / "requests.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(ddl)
        connection.executemany(
            "INSERT INTO requests (request_id, status, created_at) VALUES (?, ?, ?)"
            if "part" not in ddl
            else "INSERT INTO requests (request_id, part, status, created_at) VALUES (?, 1, ?, ?)",
            [
                (f"r{number}", "queued" if number % 3 else "Queued", "2026-11-23T09:00:00")
                for number in range(50)
            ],
        )
        connection.commit()
    store = store_of(path)
    survey = store.survey()
    assert survey.by_status() == {"queued": 33, "Queued": 17}
    actions = cancels(store)
    assert {each.id for each in actions} == {f"r{number}" for number in range(50) if number % 3}
    assert set(store.cancel(actions, NOW)) == {Outcome.DONE}
    assert store.survey().by_status() == {"cancelled": 33, "Queued": 17}
    store.close()


def test_a_guard_is_exact_where_the_column_is_lax(tmp_path: Path) -> None:
    """'ID' is another row than 'id', though the column's collation calls them equal."""
    path = tmp_path / "requests.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TABLE requests (request_id TEXT COLLATE NOCASE, status TEXT, created_at TEXT)"
        )
        old = "2026-11-23T09:00:00"
        connection.executemany(
            "INSERT INTO requests VALUES (?, 'queued', ?)", [("id", old), ("ID", old)]
        )
        connection.commit()
    store = store_of(path)
    (first, _) = cancels(store)
    assert list(store.cancel([first], NOW)) == [Outcome.DONE]
    assert store.survey().by_status() == {"cancelled": 1, "queued": 1}
    store.close()


def test_rows_that_have_moved_are_left_to_the_next_run(tmp_path: Path) -> None:
    """A VACUUM may give rows other rowids."""
    path = tmp_path / "requests.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TABLE requests (request_id TEXT PRIMARY KEY, status TEXT, created_at TEXT)"
        )
        connection.executemany(
            "INSERT INTO requests VALUES (?, ?, '2026-11-23T09:00:00')",
            [(f"r{number}", "queued" if number % 2 else "other") for number in range(20)],
        )
        connection.commit()
        store = store_of(path)
        actions = cancels(store)
        connection.execute("UPDATE requests SET rowid = rowid + 5 WHERE rowid > 15")
        connection.execute("UPDATE requests SET rowid = rowid + 90 WHERE rowid < 11")
        connection.commit()
    outcomes = list(store.cancel(actions, NOW))
    assert outcomes.count(Outcome.SKIPPED) == 8
    assert outcomes.count(Outcome.DONE) == 2
    assert not store.unchanged_since(actions)  # a new survey must tell
    assert list(store.cancel(cancels(store), NOW)) == [Outcome.DONE] * 8
    assert store.survey().by_status() == {"cancelled": 10, "other": 10}
    store.close()


def test_a_row_in_the_place_of_another_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "requests.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE requests (request_id TEXT, status TEXT, created_at TEXT)")
        row = ("queued", "2026-11-23T09:00:00")
        connection.executemany("INSERT INTO requests VALUES (?, ?, ?)", [("a", *row), ("b", *row)])
        connection.commit()
        store = store_of(path)
        actions = cancels(store)
        connection.execute("DELETE FROM requests WHERE request_id = 'b'")
        connection.execute("INSERT INTO requests VALUES ('new', ?, ?)", row)
        connection.commit()
        assert list(store.cancel(actions, NOW)) == [Outcome.DONE, Outcome.SKIPPED]
        assert connection.execute("SELECT request_id, status FROM requests").fetchall() == [
            ("a", "cancelled"),
            ("new", "queued"),
        ]
    store.close()


def test_a_key_that_is_not_utf_8_is_passed_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each page but the first begins after such a key, or one that is not ASCII."""
    monkeypatch.setattr("narration_cleanup.stores.requests.sqlite.survey.PAGE", 2)
    path = tmp_path / "requests.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TABLE requests (request_id TEXT PRIMARY KEY, status TEXT, created_at TEXT) "
            "WITHOUT ROWID"
        )
        for raw in (
            b"a",
            b"b\xff",
            b"c\xfe",
            b"d\xc3\xa9",
            "\u00e9".encode(),
            b"\xff",
            b"\xff\xff",
        ):
            connection.execute(
                "INSERT INTO requests VALUES (CAST(? AS TEXT), 'queued', '2026-11-23T09:00:00')",
                (raw,),
            )
        connection.commit()
    store = store_of(path)
    survey = store.survey()
    assert survey.by_status() == {"queued": 7}
    actions = cancels(store)
    assert {each.id for each in actions} == {"a", "d\u00e9", "\u00e9"}
    assert set(store.cancel(actions, NOW)) == {Outcome.DONE}
    assert store.survey().by_status() == {"cancelled": 3, "queued": 4}
    store.close()
