"""A database that is locked, corrupt, missing or strange: the cache half still runs."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.figures import Figures
from tests.faults.server import ToolServer
from tests.faults.trial import arguments_for, environment_for
from tests.faults.truth import Truth, make_truth
from tests.samples import read_requests, tree_digest


def _cache_left(truth: Truth) -> list[str]:
    return [left for left in truth.unfinished() if not left.startswith("row")]


def _cut(database: Path) -> None:
    database.write_bytes(database.read_bytes()[:5000])


def _no_table(database: Path) -> None:
    database.unlink()
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE other (id)")


def _no_column(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("ALTER TABLE requests DROP COLUMN created_at")


def _a_directory(database: Path) -> None:
    database.unlink()
    database.mkdir()


BROKEN: dict[str, Callable[[Path], object]] = {
    "missing": lambda database: database.unlink(),
    "empty": lambda database: database.write_bytes(b""),
    "not a database": lambda database: database.write_bytes(b"not a database" * 1000),
    "cut short": _cut,
    "without the table": _no_table,
    "without a column": _no_column,
    "a directory": _a_directory,
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_database_is_told_and_left_as_it_is(
    server: ToolServer, tmp_path: Path, name: str
) -> None:
    truth = make_truth(tmp_path / "root", wal=False)
    BROKEN[name](truth.database)
    before = tree_digest(truth.database.parent)
    run = server.run(arguments_for(truth), tmp_path, environment_for(truth))
    assert run.code in (3, 78), run.said
    assert "requests.db" in run.said
    assert tree_digest(truth.database.parent) == before
    if run.code == 3:
        assert _left_of_cache(truth) == []


def _left_of_cache(truth: Truth) -> list[str]:
    left = [e.name for e in truth.cache.entries if e.key in truth.expired]
    return [name for name in left if (truth.cache.directory / name).exists()]


@pytest.mark.faults
def test_a_locked_database_does_not_stop_the_cache(server: ToolServer, tmp_path: Path) -> None:
    """Waited for, given up, told; and the next run finishes it."""
    truth = make_truth(tmp_path / "root", wal=True)
    with closing(sqlite3.connect(truth.database, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        run = server.run(arguments_for(truth), tmp_path, environment_for(truth))
        holder.execute("ROLLBACK")
    assert run.code == 3, run.said
    assert (truth.losses(), _cache_left(truth)) == ([], []), run.said
    assert len(truth.unfinished()) == len(truth.abandoned)
    assert "locked" in run.said or "busy" in run.said
    run = server.run(arguments_for(truth), tmp_path, environment_for(truth))
    assert (run.code, truth.losses(), truth.unfinished()) == (0, [], []), run.said


def test_strange_rows_are_left_alone(server: ToolServer, tmp_path: Path) -> None:
    """Unknown statuses, NULLs, times that are none, ids that are numbers or blobs."""
    truth = make_truth(tmp_path / "root", wal=False)
    old = "2020-01-01T00:00:00"
    strange = [
        ("paused", "paused", old),
        ("null-like", "", old),
        ("capitals", "QUEUED", old),
        ("no time", "queued", ""),
        ("garbage", "generating", "last week"),
        ("future", "generating", "2999-01-01T00:00:00"),
        (b"\xff\x00blob", "completed", old),
        ("\x1b[31mred\u202e", "paused", old),
    ]
    with closing(sqlite3.connect(truth.database)) as connection:
        for request_id, status, created in strange:
            connection.execute(
                "INSERT INTO requests (request_id, variant_id, voice_style, status, created_at)"
                " VALUES (?, 'v', 's', ?, ?)",
                (request_id, status, created),
            )
        connection.commit()
    before = read_requests(truth.database)
    run = server.run(arguments_for(truth), tmp_path, environment_for(truth))
    assert run.code in (0, 3), run.said
    after = read_requests(truth.database)
    for row_id in before:
        if row_id in truth.abandoned:
            assert after[row_id][4] == "cancelled"
        else:
            assert after[row_id] == before[row_id]
    assert not {"\x1b", "\u202e"} & set(run.said)


@pytest.mark.faults
def test_flipped_bytes(
    server: ToolServer, tmp_path: Path, figures: Figures, tries: Callable[[int, int], int]
) -> None:
    """A byte flipped anywhere: never a traceback, never a second file, the cache is cleaned."""
    count = tries(60, 1_000)
    truth = make_truth(tmp_path / "root", wal=False)
    original = truth.database.read_bytes()
    index = truth.cache.index.read_bytes()
    wrong = []
    for number in range(count):
        position = number * 7919 % len(original)
        flipped = bytearray(original)
        flipped[position] ^= 1 << number % 8
        truth.database.write_bytes(flipped)
        truth.cache.index.write_bytes(index)
        run = server.run(arguments_for(truth), tmp_path, environment_for(truth))
        if run.code not in (0, 3):
            wrong.append(f"bit {number % 8} of byte {position}: exit {run.code}: {run.errors}")
        if [path.name for path in truth.database.parent.iterdir()] != ["requests.db"]:
            wrong.append(f"byte {position}: {list(truth.database.parent.iterdir())}")
        if _left_of_cache(truth) or json.loads(run.output)["cache"] is None:
            wrong.append(f"byte {position}: the cache was not cleaned")
    figures.record(31, "a bit flipped in the database", count, len(wrong))
    assert wrong == []
