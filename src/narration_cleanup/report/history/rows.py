"""The history's statements: rows in, records out. Each is called inside a transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

import msgspec

from narration_cleanup.report.history.process import ProcessMark, is_alive
from narration_cleanup.report.run_record import (
    KILLED,
    RUNNING,
    Counters,
    Places,
    RunItem,
    RunRecord,
)


class _Row(NamedTuple):
    """A run as its table has it; what it did is in the ``story``."""

    id: int
    started_at: float
    finished_at: float | None
    outcome: str | None
    exit_code: int | None
    trigger: str
    version: str
    pid: int
    pid_started: int | None
    boot_id: str | None
    cache: str | None
    requests: str | None
    story: str | None

    @property
    def is_alive(self) -> bool:
        return is_alive(ProcessMark(self.pid, self.pid_started, self.boot_id))


_RUN = ", ".join(_Row._fields)
_ITEM = "kind, name, file, size_bytes, reason, detail, outcome, note"
_RUNS = "runs:"
_LAST_SUCCESS = "last_success_at"
_UNKNOWN = "(cache IS NULL AND requests IS NULL)"
_KILLED_MESSAGE = "The run was killed, or the machine went down: it never said how it ended"


def insert_run(
    connection: sqlite3.Connection,
    started_at: float,
    trigger: str,
    version: str,
    mark: ProcessMark,
    places: Places,
) -> int:
    """Add a run that has begun; its id."""
    done = connection.execute(
        "INSERT INTO runs"
        " (started_at, trigger, version, pid, pid_started, boot_id, cache, requests)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(started_at, trigger, version, mark.pid, mark.pid_started, mark.boot_id),
            *(places.cache, places.requests),
        ),
    )
    assert done.lastrowid is not None
    return done.lastrowid


def finish_run(
    connection: sqlite3.Connection,
    run_id: int | None,
    record: RunRecord,
    items: Sequence[RunItem] = (),
) -> RunRecord:
    """Fill in how a run ended and its items, and add it to the counters; the record as kept."""
    found = None
    if run_id is not None:
        found = connection.execute(
            "SELECT trigger, version, outcome FROM runs WHERE id = ?", (run_id,)
        ).fetchone()
    if found is None:  # its beginning was lost with a damaged file, or could not be written
        mark = ProcessMark(0, None, None)
        began = (record.started_at, record.trigger, record.version)
        run_id = insert_run(connection, *began, mark, record.places)
        found = (record.trigger, record.version, None)
    trigger, version, already = found
    kept = msgspec.structs.replace(record, id=run_id, trigger=trigger, version=version)
    story = msgspec.json.encode(kept).decode()
    connection.execute(
        "UPDATE runs SET finished_at = ?, outcome = ?, exit_code = ?, story = ? WHERE id = ?",
        (kept.finished_at, kept.outcome, kept.exit_code, story, run_id),
    )
    connection.executemany(
        f"INSERT INTO items (run, {_ITEM}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        ((run_id, *msgspec.structs.astuple(item)[: _ITEM.count(",") + 1]) for item in items),
    )
    if already is not None:  # taken for killed in the meantime
        _count(connection, kept.places, _RUNS + already, -1)
    _count(connection, kept.places, _RUNS + kept.outcome, 1)
    _count(connection, kept.places, "removed_bytes", kept.freed_bytes)
    if kept.success and kept.finished_at is not None:
        _set(connection, kept.places, _LAST_SUCCESS, kept.finished_at)
    return kept


def adopt(connection: sqlite3.Connection, places: Places) -> None:
    """Ascribe to ``places`` the runs of which it is not known what they worked on: those of an
    earlier version, and those whose settings could not be read."""
    if places == Places():
        return
    connection.execute(
        f"UPDATE runs SET cache = ?, requests = ? WHERE {_UNKNOWN}",
        (places.cache, places.requests),
    )
    for name, value in connection.execute("SELECT name, value FROM sums WHERE place = ''"):
        (_set if name == _LAST_SUCCESS else _count)(connection, places, name, value)
    connection.execute("DELETE FROM sums WHERE place = ''")


def settle_killed(connection: sqlite3.Connection) -> None:
    """Give the runs that began, never ended, and are no longer alive their outcome: killed."""
    found = connection.execute(f"SELECT {_RUN} FROM runs WHERE outcome IS NULL").fetchall()
    for row in map(_Row._make, found):
        if not row.is_alive:
            connection.execute("UPDATE runs SET outcome = ? WHERE id = ?", (KILLED, row.id))
            _count(connection, Places(row.cache, row.requests), _RUNS + KILLED, 1)


def select_runs(
    connection: sqlite3.Connection, condition: str, values: Sequence[str | float | None]
) -> Iterator[RunRecord]:
    """The runs for which ``condition`` holds, newest first."""
    query = f"SELECT {_RUN} FROM runs WHERE {condition} ORDER BY id DESC"
    return map(_record, connection.execute(query, values))


def select_counters(connection: sqlite3.Connection, places: Places) -> Counters:
    """The sums over all runs; a run that was killed and is not yet settled counts as killed."""
    found: dict[str, float] = dict(
        connection.execute(
            "SELECT name, iif(name = ?, max(value), sum(value)) FROM sums"
            " WHERE place IN (?, '') AND typeof(name) = 'text' AND typeof(value) = 'real'"
            " GROUP BY name",
            (_LAST_SUCCESS, places.keys[0]),
        )
    )
    runs = {name.removeprefix(_RUNS): int(n) for name, n in found.items() if name[:5] == _RUNS}
    condition, of = here(places)
    at_work = select_runs(connection, f"{condition} AND outcome IS NULL", of)
    unsettled = sum(run.outcome == KILLED for run in at_work)
    if unsettled:
        runs[KILLED] = runs.get(KILLED, 0) + unsettled
    return Counters(
        runs=runs,
        removed_bytes=int(found.get("removed_bytes", 0)),
        last_success_at=found.get(_LAST_SUCCESS),
    )


def select_items(
    connection: sqlite3.Connection, condition: str, values: Sequence[str | int]
) -> list[RunItem]:
    """The items for which ``condition`` holds; it may say their order and number, too."""
    names = ("run", "at", *_ITEM.split(", "))
    selected = ", ".join(f"items.{name}" for name in names[2:])
    joined = f"SELECT run, started_at, {selected} FROM items JOIN runs ON runs.id = run"
    found = connection.execute(f"{joined} WHERE {condition}", values)
    return [msgspec.convert(dict(zip(names, row, strict=True)), RunItem) for row in found]


def select_known(connection: sqlite3.Connection, place: str) -> bytes:
    """The remembered items; what is not as it was written is none."""
    known = "SELECT items FROM known WHERE place = ? AND typeof(items) = 'blob'"
    return next((bytes(items) for (items,) in connection.execute(known, (place,))), b"")


def here(places: Places) -> tuple[str, tuple[str, ...]]:
    """The condition that a run worked on ``places``, with its values: the cache decides, if there
    is one. Nothing configured asks for all runs."""
    if places == Places():
        return "1", ()
    column = "cache" if places.cache else "requests"
    return f"({column} = ? OR {_UNKNOWN})", (places.keys[0],)


def _count(connection: sqlite3.Connection, places: Places, name: str, amount: float) -> None:
    connection.executemany(
        "INSERT INTO sums (place, name, value) VALUES (?, ?, ?)"
        " ON CONFLICT (place, name) DO UPDATE SET value = value + excluded.value",
        [(key, name, amount) for key in places.keys],
    )


def _set(connection: sqlite3.Connection, places: Places, name: str, value: float) -> None:
    connection.executemany(
        "INSERT INTO sums (place, name, value) VALUES (?, ?, ?)"
        " ON CONFLICT (place, name) DO UPDATE SET value = excluded.value",
        [(key, name, value) for key in places.keys],
    )


def _record(found: tuple[object, ...]) -> RunRecord:
    if found[-1] is not None:
        with suppress(msgspec.MsgspecError, TypeError):  # then the columns say what they can
            return msgspec.json.decode(str(found[-1]), type=RunRecord)
    row = msgspec.convert((*found[:-1], None), _Row)
    outcome = row.outcome or (RUNNING if row.is_alive else KILLED)
    return RunRecord(
        id=row.id,
        outcome=outcome,
        exit_code=row.exit_code,
        message=_KILLED_MESSAGE if outcome == KILLED else "",
        trigger=row.trigger,
        version=row.version,
        places=Places(row.cache, row.requests),
        started_at=row.started_at,
        finished_at=row.finished_at,
    )
