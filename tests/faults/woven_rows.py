"""Every interleaving of one run with a worker: between each two SQL statements of the run, each
thing that a worker does to a row. Afterwards the worker's rows are as it left them.

Where the run has the lock, the worker waits: it tries again before each later statement.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing, suppress
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from narration_cleanup.apply.result import Result
from narration_cleanup.core.errors import CleanupError
from narration_cleanup.core.model import NoProgress
from narration_cleanup.core.signals import Stop
from narration_cleanup.report.log import Log
from narration_cleanup.run.run import run
from narration_cleanup.settings import Settings, load_settings
from tests.faults.tally import Tally, tried
from tests.samples import SAMPLE_NOW, RequestSpec, make_requests, service_time

Program = Callable[[Path], None]
_HOUR = timedelta(hours=1)
_NOW = service_time(SAMPLE_NOW)
_AT_THE_END = 1 << 30
_ENDS = ("COMMIT", "ROLLBACK", "close")
_SAME_BEHIND = re.compile(
    "SELECT 1 |close|PRAGMA (cache_size|cell_size_check|foreign_keys|hard_heap_limit|journal_mode"
    "|schema_version|synchronous|trusted_schema|wal_autocheckpoint)"
)
"""Statements that look at no row and hold no lock: to change a row before one of them is to change
it behind it."""

QUEUED, GENERATING, FINISHED = 0, 1, 4
"""The rows that a worker works on: two that are abandoned, and one that finished long ago."""
ROWS = (
    RequestSpec("queued", 3 * _HOUR),
    RequestSpec("generating", 3 * _HOUR),
    RequestSpec("queued", 5 * _HOUR),
    RequestSpec("generating", 5 * _HOUR),
    RequestSpec("completed", 24 * 40 * _HOUR),
    RequestSpec("queued", _HOUR / 2),
    RequestSpec("generating", _HOUR / 2),
    RequestSpec("failed", 24 * _HOUR),
)
ABANDONED = (0, 1, 2, 3)
_OVER = f"progress = 100, completed_at = '{_NOW}'"
_WHERE = "WHERE request_id = :id"
THINGS: dict[str, tuple[int, Sequence[str]]] = {
    "start": (
        QUEUED,
        [
            f"UPDATE requests SET status = 'generating', started_at = '{_NOW}',"
            f" heartbeat_at = '{_NOW}' {_WHERE} AND status = 'queued'"
        ],
    ),
    "beat": (
        GENERATING,
        [f"UPDATE requests SET heartbeat_at = '{_NOW}' {_WHERE} AND status = 'generating'"],
    ),
    "complete": (GENERATING, [f"UPDATE requests SET status = 'completed', {_OVER} {_WHERE}"]),
    "fail": (GENERATING, [f"UPDATE requests SET status = 'failed', {_OVER} {_WHERE}"]),
    "cancel": (QUEUED, [f"UPDATE requests SET status = 'cancelled', {_OVER} {_WHERE}"]),
    "delete": (QUEUED, [f"DELETE FROM requests {_WHERE}"]),
    "insert": (
        len(ROWS),
        [
            "INSERT OR IGNORE INTO requests"
            " (request_id, variant_id, voice_style, status, created_at)"
            f" VALUES (:id, 'v', 'w', 'queued', '{_NOW}')"
        ],
    ),
    "ask again": (
        QUEUED,
        [
            f"DELETE FROM requests {_WHERE}",
            "INSERT INTO requests (request_id, variant_id, voice_style, status, created_at)"
            f" VALUES (:id, 'v', 'w', 'queued', '{_NOW}')",
        ],
    ),
    "run again": (
        FINISHED,
        [
            f"UPDATE requests SET status = 'queued', completed_at = NULL, created_at = '{_NOW}'"
            f" {_WHERE}"
        ],
    ),
}


class Move(NamedTuple):
    """A worker's thing, before statement `at`; its commit not before `commit_at`."""

    thing: str
    at: int
    commit_at: int = 0

    def __str__(self) -> str:
        return f"{self.thing} at {self.at}" + f", committed at {self.commit_at}" * bool(
            self.commit_at
        )


@cache
def _settings(database: Path) -> Settings:
    flags = {
        "requests.db": str(database),
        "requests.delete_finished_after_days": 30,
        "requests.columns.heartbeat_at": "heartbeat_at",
        "cleanup.state_dir": str(database.parent / "state"),
    }
    return load_settings(flags=flags, config_file=None, environ={})


def the_tool(database: Path) -> None:
    """One run, as the command does it, without history and messages."""
    result = Result(SAMPLE_NOW.timestamp(), dry_run=False)
    with suppress(CleanupError):  # it may refuse
        run(_settings(database), result, Stop(), NoProgress(), Log(muted=True), None)


class Rows:
    """A small table that is made anew for each run."""

    def __init__(self, root: Path, program: Program = the_tool, *, wal: bool) -> None:
        self.database = root / "requests.db"
        self.program = program
        made = make_requests(self.database, now=SAMPLE_NOW, rows=ROWS, wal=wal)
        self.ids = [*(row.request_id for row in made), "00000000-0000-0000-0000-000000000000"]
        with closing(sqlite3.connect(self.database)) as connection:
            connection.execute("ALTER TABLE requests ADD COLUMN heartbeat_at TEXT")
            connection.execute("UPDATE requests SET heartbeat_at = started_at")
            connection.commit()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._content = self.database.read_bytes()
        self.statements = self.run()[1]

    def run(self, moves: Sequence[Move] = ()) -> tuple[list[str], list[str]]:
        """What was lost by a run with these moves in it, and the run's statements."""
        for path in self.database.parent.glob("requests.db*"):
            path.unlink()
        self.database.write_bytes(self._content)
        statements: list[str] = []
        faults: list[str] = []
        steps = [
            step
            for move in moves
            for step in (
                (move.at, move.thing, False),
                (max(move.at, move.commit_at), move.thing, True),
            )
        ]
        with closing(Worker(self.database, self.ids)) as worker:

            def before(number: int) -> None:
                while steps and steps[0][0] <= number and worker.does(*steps[0][1:]):
                    del steps[0]

            def point(statement: str) -> None:
                before(len(statements))
                statements.append(statement)

            try:
                with _woven(point):
                    self.program(self.database)
            except Exception as error:
                faults.append(f"crash: {error!r}")
            before(_AT_THE_END)
            faults += [f"never done: {thing}" for _, thing, _ in steps]
            return faults + worker.judge(), statements


class Worker:
    """The service's side of the table: its connection stays open, and waits for no lock."""

    def __init__(self, database: Path, ids: Sequence[str]) -> None:
        self._ids = ids
        self._connection = sqlite3.connect(database, timeout=0, isolation_level=None)
        self._connection.execute("PRAGMA synchronous=OFF")
        self._before = self._rows()
        self._changed = 0
        self._left: dict[str, object] = {}
        """The rows that it changed, as it left them."""

    def close(self) -> None:
        self._connection.close()

    def does(self, thing: str, commits: bool) -> bool:
        """Change a row, or commit that; whether the table was free."""
        place, statements = THINGS[thing]
        identity = self._ids[place]
        try:
            if commits:
                self._connection.execute("COMMIT")
            else:
                self._connection.execute("BEGIN IMMEDIATE")
                self._changed = sum(
                    self._connection.execute(statement, {"id": identity}).rowcount
                    for statement in statements
                )
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            return False
        if commits and self._changed:
            self._left[identity] = self._rows().get(identity)
        return True

    def judge(self) -> list[str]:
        """What is lost, once the run has ended."""
        found = self._rows()
        lost = []
        for place, identity in enumerate(self._ids):
            row = found.get(identity)
            if identity in self._left:
                if row != self._left[identity]:
                    lost.append(f"the worker's row {place}: {self._left[identity]} is {row}")
            elif row != self._before.get(identity) and not (
                (place == FINISHED and row is None)
                or (place in ABANDONED and row is not None and row["status"] == "cancelled")
            ):
                lost.append(f"row {place} is {row}")
        if found.keys() - set(self._ids):
            lost.append("rows that nobody wrote")
        checked = self._connection.execute("PRAGMA integrity_check").fetchall()
        return lost + [f"torn: {line}" for (line,) in checked if line != "ok"]

    def _rows(self) -> dict[str, dict[str, object]]:
        cursor = self._connection.execute("SELECT * FROM requests")
        names = [column[0] for column in cursor.description]
        return {row[0]: dict(zip(names, row, strict=True)) for row in cursor}


def _woven(point: Callable[[str], None]) -> ExitStack:
    """While this is entered, `point` is called before each statement; no sleep is waited for."""

    class Woven(sqlite3.Connection):
        def execute(self, *arguments: Any) -> sqlite3.Cursor:
            point(arguments[0])
            return super().execute(*arguments)

        def close(self) -> None:
            point("close")
            super().close()

    stack = ExitStack()
    stack.enter_context(
        mock.patch.object(sqlite3, "connect", partial(sqlite3.connect, factory=Woven))
    )
    stack.enter_context(mock.patch.object(time, "sleep"))
    return stack


def points(statements: Sequence[str], first: int = 0) -> list[int]:
    """The statements from `first` on that are worth doing something before; the end is one.

    A transaction sees the table as it was at its first look, or keeps writers out: what is done
    within it is the same as behind it.
    """
    found, inside = [], False
    for at, statement in enumerate(statements):
        if not inside and not _SAME_BEHIND.match(statement):
            found.append(at)
        inside = statement.startswith("BEGIN") or (inside and statement not in _ENDS)
    return [at for at in (*found, len(statements)) if at >= first]


def single(rows: Rows, ats: Iterable[int] = ()) -> Tally:
    """Each thing before each statement that is worth it, or before those at `ats`."""
    ats = list(ats) or points(rows.statements)
    return tried(rows.run, ((Move(thing, at),) for thing in THINGS for at in ats))


def cut(rows: Rows, window: int = 12) -> Tally:
    """Each thing before each statement, and its commit before each of the next ones."""
    ats = points(rows.statements)
    return tried(
        rows.run,
        (
            (Move(thing, at, end),)
            for thing in THINGS
            for at in ats
            for end in range(at + 1, at + 1 + window)
        ),
    )


def pairs(rows: Rows, firsts: Iterable[str] = THINGS, seconds: Iterable[str] = THINGS) -> Tally:
    """Each of the first things before each statement, and each of the second there or later."""
    tally = Tally()
    for first in firsts:
        for at in points(rows.statements):
            one = Move(first, at)
            ends = points(rows.run([one])[1], at)
            more = ((one, Move(second, end)) for second in seconds for end in ends)
            tally.add(tried(rows.run, more))
    return tally
