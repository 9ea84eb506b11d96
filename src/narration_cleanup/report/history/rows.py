"""The history's statements: rows in, records out. Each is called inside a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from narration_cleanup.apply.result import RunOutcome
from narration_cleanup.report.history.process import ClockMark, ProcessMark, is_alive
from narration_cleanup.report.record import (
    KILLED,
    RUNNING,
    Counters,
    Places,
    RunItem,
    RunRecord,
)

if TYPE_CHECKING:
    import sqlite3

_RUN = (
    "id, started_at, finished_at, outcome, exit_code, trigger, version, pid, pid_started,"
    " boot_id, cache, requests, story"
)
_Row = tuple[
    int, float, float | None, str | None, int | None, str, str, int, int | None, str | None,
    str | None, str | None, str | None,
]  # fmt: skip
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
    connection.execute(
        "UPDATE runs SET finished_at = ?, outcome = ?, exit_code = ?, removed_count = ?,"
        " freed_bytes = ?, cancelled_count = ?, problem_count = ?, story = ? WHERE id = ?",
        (
            kept.finished_at,
            kept.outcome,
            kept.exit_code,
            kept.removed_count,
            kept.freed_bytes,
            kept.cancelled_count,
            kept.problem_count,
            msgspec.json.encode(kept).decode(),
            run_id,
        ),
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
    for row in connection.execute(f"SELECT {_RUN} FROM runs WHERE outcome IS NULL").fetchall():
        if not is_alive(_mark(row)):
            connection.execute("UPDATE runs SET outcome = ? WHERE id = ?", (KILLED, row[0]))
            _count(connection, Places(row[10], row[11]), _RUNS + KILLED, 1)


def select_runs(
    connection: sqlite3.Connection, limit: int | None, since: float | None, outcome: str | None
) -> list[RunRecord]:
    """Newest first. Whether one without an outcome runs or was killed, its process shows."""
    found = connection.execute(
        f"SELECT {_RUN} FROM runs WHERE started_at >= ?1"
        " AND (?2 IS NULL OR outcome IS NULL OR outcome = ?2) ORDER BY id DESC",
        (since if since is not None else float("-inf"), outcome),
    )
    records = (_record(row) for row in found)
    return list(islice((each for each in records if outcome in (None, each.outcome)), limit))


def select_run(connection: sqlite3.Connection, run_id: int) -> RunRecord | None:
    """One run by its id."""
    row = connection.execute(f"SELECT {_RUN} FROM runs WHERE id = ?", (run_id,)).fetchone()
    return None if row is None else _record(row)


def select_last(
    connection: sqlite3.Connection, places: Places, *, finished: bool
) -> RunRecord | None:
    """The newest run that has ended, one way or another; if ``finished``, that recorded how."""
    here, of = _here(places)
    found = connection.execute(
        f"SELECT {_RUN} FROM runs WHERE outcome IS NOT ? AND (finished_at IS NOT NULL OR NOT ?)"
        f" AND {here} ORDER BY id DESC LIMIT 20",
        (RunOutcome.BUSY.value, finished, *of),
    )
    records = (_record(row) for row in found.fetchall())
    return next((record for record in records if record.outcome != RUNNING), None)


def select_before(
    connection: sqlite3.Connection, places: Places, run_id: int | None, most: int
) -> list[RunRecord]:
    """The ``most`` runs before ``run_id`` (``None``: the newest of all), newest first, back to the
    last success and no further."""
    here, of = _here(places)
    earlier = f"FROM runs WHERE {here} AND id < coalesce(?, 9e18)"
    found = connection.execute(
        f"SELECT {_RUN} {earlier} AND id >= coalesce("
        f"(SELECT max(id) {earlier} AND outcome = 'success'), 0) ORDER BY id DESC LIMIT ?",
        (*of, run_id, *of, run_id, most),
    )
    return [_record(row) for row in found.fetchall()]


def select_starts(connection: sqlite3.Connection, places: Places) -> list[tuple[float, str]]:
    """When the newest runs began, and what started each."""
    here, of = _here(places)
    found = connection.execute(
        f"SELECT started_at, trigger FROM runs WHERE outcome IS NOT ? AND {here}"
        " ORDER BY id DESC LIMIT 10",
        (RunOutcome.BUSY.value, *of),
    )
    return msgspec.convert(found.fetchall(), list[tuple[float, str]])


def select_running(connection: sqlite3.Connection, places: Places) -> RunRecord | None:
    """The newest run that is still at work."""
    here, of = _here(places)
    found = connection.execute(
        f"SELECT {_RUN} FROM runs WHERE outcome IS NULL AND {here} ORDER BY id DESC", of
    )
    records = (_record(row) for row in found.fetchall())
    return next((record for record in records if record.outcome == RUNNING), None)


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
    here, of = _here(places)
    open_runs = connection.execute(
        f"SELECT {_RUN} FROM runs WHERE outcome IS NULL AND {here}", of
    ).fetchall()
    unsettled = sum(not is_alive(_mark(row)) for row in open_runs)
    if unsettled:
        runs[KILLED] = runs.get(KILLED, 0) + unsettled
    return Counters(
        runs=runs,
        removed_bytes=int(found.get("removed_bytes", 0)),
        last_success_at=found.get(_LAST_SUCCESS),
    )


def delete_runs(connection: sqlite3.Connection, oldest: float, keep_runs: int) -> int:
    """Forget what is older than ``oldest``, or beyond the newest ``keep_runs``."""
    done = connection.execute(
        "DELETE FROM runs WHERE outcome IS NOT NULL AND (started_at < ? OR id <="
        " (SELECT id FROM runs ORDER BY id DESC LIMIT 1 OFFSET ?))",
        (oldest, keep_runs),
    )
    if done.rowcount:
        connection.execute("DELETE FROM items WHERE run NOT IN (SELECT id FROM runs)")
    return done.rowcount


def trim_items(connection: sqlite3.Connection, most: int) -> None:
    """Forget all items but the newest ``most``."""
    connection.execute(
        "DELETE FROM items WHERE id <= (SELECT id FROM items ORDER BY id DESC LIMIT 1 OFFSET ?)",
        (most,),
    )


def select_items_of(connection: sqlite3.Connection, run_id: int) -> list[RunItem]:
    """The items that are kept of a run, in the order of the work."""
    return _items(connection, "run = ? ORDER BY items.id", (run_id,))


def select_items_named(
    connection: sqlite3.Connection, places: Places, names: Sequence[str], most: int
) -> list[RunItem]:
    """The newest ``most`` items whose name or file is one of ``names``, the newest first."""
    here, of = _here(places)
    marks = ", ".join("?" * len(names))
    condition = (
        f"(name IN ({marks}) OR file IN ({marks})) AND {here} ORDER BY items.id DESC LIMIT ?"
    )
    return _items(connection, condition, (*names, *names, *of, most))


def count_items(connection: sqlite3.Connection, places: Places) -> int:
    """How many items are kept of runs on ``places``."""
    here, of = _here(places)
    joined = "SELECT count(*) FROM items JOIN runs ON runs.id = run"
    (found,) = connection.execute(f"{joined} WHERE {here}", of).fetchone()
    return int(found)


def _items(
    connection: sqlite3.Connection, condition: str, values: Sequence[str | int]
) -> list[RunItem]:
    names = ("run", "at", *_ITEM.split(", "))
    selected = ", ".join(f"items.{name}" for name in names[2:])
    joined = f"SELECT run, started_at, {selected} FROM items JOIN runs ON runs.id = run"
    found = connection.execute(f"{joined} WHERE {condition}", values)
    return [msgspec.convert(dict(zip(names, row, strict=True)), RunItem) for row in found]


def insert_cancelled(
    connection: sqlite3.Connection, place: str, ids: Sequence[str], at: float
) -> None:
    """Remember cancelled requests."""
    found = [(place, each, at) for each in ids]
    connection.executemany("INSERT OR REPLACE INTO cancelled VALUES (?, ?, ?)", found)


def trim_cancelled(connection: sqlite3.Connection, oldest: float, most: int) -> None:
    """Keep the memory of cancelled requests bounded."""
    connection.execute("DELETE FROM cancelled WHERE at < ?", (oldest,))
    connection.execute(
        "DELETE FROM cancelled WHERE (place, id) IN"
        " (SELECT place, id FROM cancelled ORDER BY at DESC LIMIT -1 OFFSET ?)",
        (most,),
    )


def select_cancelled(connection: sqlite3.Connection, place: str) -> list[str]:
    """Remembered ids, oldest first."""
    found = connection.execute("SELECT id FROM cancelled WHERE place = ? ORDER BY at", (place,))
    return [each for (each,) in found.fetchall()]


def delete_cancelled(connection: sqlite3.Connection, place: str, ids: Sequence[str]) -> None:
    """Forget these."""
    connection.executemany(
        "DELETE FROM cancelled WHERE place = ? AND id = ?", [(place, each) for each in ids]
    )


def replace_known(connection: sqlite3.Connection, place: str, items: bytes) -> None:
    """Remember the items that no run can clean, instead of those of an earlier run."""
    connection.execute("INSERT OR REPLACE INTO known (place, items) VALUES (?, ?)", (place, items))


def select_known(connection: sqlite3.Connection, place: str) -> bytes:
    """The remembered items; what is not as it was written is none."""
    known = "SELECT items FROM known WHERE place = ? AND typeof(items) = 'blob'"
    return next((bytes(items) for (items,) in connection.execute(known, (place,))), b"")


def insert_clock(connection: sqlite3.Connection, mark: ClockMark, most: int) -> None:
    """Add a pair of clock readings, and forget all but the newest ``most``."""
    connection.execute(
        "INSERT INTO clock (boot_id, since_boot, wall, refused) VALUES (?, ?, ?, ?)",
        (mark.boot_id, mark.since_boot, mark.wall, mark.refused),
    )
    connection.execute("DELETE FROM clock WHERE id <= (SELECT max(id) FROM clock) - ?", (most,))


def select_clock(connection: sqlite3.Connection) -> list[ClockMark]:
    """Newest first."""
    found = connection.execute(
        "SELECT boot_id, since_boot, wall, refused FROM clock ORDER BY id DESC"
    )
    return [
        ClockMark(boot, float(since), float(wall), bool(no))
        for boot, since, wall, no in found.fetchall()
    ]


def _here(places: Places) -> tuple[str, tuple[str, ...]]:
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


def _mark(row: _Row) -> ProcessMark:
    return ProcessMark(row[7], row[8], row[9])


def _record(row: _Row) -> RunRecord:
    if row[-1] is not None:
        with suppress(msgspec.MsgspecError, TypeError):  # then the columns say what they can
            return msgspec.json.decode(row[-1], type=RunRecord)
    (
        run_id,
        started_at,
        finished_at,
        outcome,
        exit_code,
        trigger,
        version,
        *_,
        cache,
        requests,
    ) = msgspec.convert((*row[:-1], None), _Row)[:-1]
    if outcome is None:
        outcome = RUNNING if is_alive(_mark(row)) else KILLED
    return RunRecord(
        id=run_id,
        outcome=outcome,
        exit_code=exit_code,
        message=_KILLED_MESSAGE if outcome == KILLED else "",
        trigger=trigger,
        version=version,
        places=Places(cache, requests),
        started_at=started_at,
        finished_at=finished_at,
    )
