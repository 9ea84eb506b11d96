"""Write and read the history. A write that fails is a warning; the clean-up continues."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

import msgspec

from narration_cleanup.apply.result import RunOutcome
from narration_cleanup.core.query_limit import QueryLimit
from narration_cleanup.core.text import storable
from narration_cleanup.report.history import rows
from narration_cleanup.report.history.database import (
    HistoryFile,
    ReadOnlyFile,
    Unusable,
    Warn,
    connect,
    connect_read_only,
    in_transaction,
    is_damage,
    nothing,
    replace_damaged,
    why,
)
from narration_cleanup.report.history.process import (
    FILE_NAME,
    ClockMark,
    ProcessMark,
    Start,
    this_process,
)
from narration_cleanup.report.run_record import (
    ANYWHERE,
    ITEM_BYTES,
    RUNNING,
    Counters,
    Places,
    RunItem,
    RunRecord,
    storable_name,
)

MOST_CANCELLED = 10_000
"""Cancelled requests that are remembered, the newest; a later run counts which were overwritten."""
CANCELLED_SECONDS = 7 * 86_400.0
MOST_CLOCK_MARKS = 200
MOST_NAMED = 20
MOST_BEFORE = 10_000


class History(HistoryFile):
    """The history of one state directory, open; asked for the runs on ``places``, or for all.

    No method raises for a broken file or a full disk: what it would have returned is then empty,
    and ``warn`` is called once. A damaged file is moved aside, and a new one takes its place.
    """

    def begin(
        self,
        started_at: float,
        *,
        trigger: str,
        version: str,
        process: ProcessMark | None = None,
    ) -> int | None:
        """Record that a run has begun, and settle those that were killed; the new run's id."""
        mark = process or this_process()
        self._begun = {"trigger": trigger, "version": version, "places": self._places}

        def write() -> int:
            rows.settle_killed(self.db)
            rows.adopt(self.db, self._places)
            return rows.insert_run(self.db, started_at, trigger, version, mark, self._places)

        return self.attempt(write, nothing)

    def finish(
        self, run_id: int | None, record: RunRecord, items: Sequence[RunItem] = ()
    ) -> RunRecord:
        """Record how a run ended, and what became of ``items``; the record as it is kept, with its
        id.

        ``run_id`` may be ``None`` (``begin`` failed): the run is then recorded only now.
        """
        record = msgspec.structs.replace(record, **self._begun)
        return self.attempt(lambda: rows.finish_run(self.db, run_id, record, items), lambda: record)

    @in_transaction(list[RunRecord])
    def runs(
        self, limit: int | None = None, since: float | None = None, outcome: str | None = None
    ) -> list[RunRecord]:
        """The runs that began at ``since`` or later and ended as ``outcome``, newest first, at most
        ``limit``. Whether one without an outcome runs or was killed, its process shows."""
        found = rows.select_runs(
            self.db,
            "started_at >= ?1 AND (?2 IS NULL OR outcome IS NULL OR outcome = ?2)",
            (since if since is not None else float("-inf"), outcome),
        )
        return list(islice((each for each in found if outcome in (None, each.outcome)), limit))

    @in_transaction(nothing)
    def run(self, run_id: int) -> RunRecord | None:
        """One run, or ``None`` where there is none of that id."""
        return next(rows.select_runs(self.db, "id = ?", (run_id,)), None)

    @in_transaction(nothing)
    def last_run(self, *, finished: bool = False) -> RunRecord | None:
        """The run that began last and has ended, busy ones aside: those looked at nothing.

        ``finished``: of those that recorded how they ended; a killed one did not.
        """
        here, of = rows.here(self._places)
        condition = f"{here} AND outcome IS NOT ? AND (finished_at IS NOT NULL OR NOT ?)"
        found = rows.select_runs(self.db, condition, (*of, RunOutcome.BUSY.value, finished))
        return next((record for record in found if record.outcome != RUNNING), None)

    @in_transaction(nothing)
    def running(self) -> RunRecord | None:
        """The newest run that has begun, has not ended, and whose process is alive."""
        here, of = rows.here(self._places)
        found = rows.select_runs(self.db, f"{here} AND outcome IS NULL", of)
        return next((record for record in found if record.outcome == RUNNING), None)

    @in_transaction(list[Start])
    def starts(self) -> list[Start]:
        """When the newest ten runs began, and what started each, newest first; not those that
        found the lock held."""
        here, of = rows.here(self._places)
        found = self.db.execute(
            f"SELECT started_at, trigger FROM runs WHERE {here} AND outcome IS NOT ?"
            " ORDER BY id DESC LIMIT 10",
            (*of, RunOutcome.BUSY.value),
        )
        return msgspec.convert(found.fetchall(), list[Start])

    @in_transaction(list[RunRecord])
    def before(
        self, run_id: int | None = None, *, places: Places | None = None, most: int = MOST_BEFORE
    ) -> list[RunRecord]:
        """The runs before ``run_id`` (``None``: the newest of all), newest first, back to the last
        success, which is among them; at most ``most``, on ``places`` or the history's own."""
        here, of = rows.here(self._places if places is None else places)
        earlier = f"{here} AND id < coalesce(?, 9e18)"
        last_success = f"SELECT max(id) FROM runs WHERE {earlier} AND outcome = 'success'"
        condition = f"{earlier} AND id >= coalesce(({last_success}), 0)"
        return list(islice(rows.select_runs(self.db, condition, (*of, run_id) * 2), most))

    @in_transaction(nothing)
    def counters(self) -> Counters | None:
        """What the runs add up to, those included that have been forgotten since; ``None`` where
        that cannot be known."""
        return rows.select_counters(self.db, self._places)

    @in_transaction(int)
    def prune(self, *, keep_days: float, keep_runs: int, keep_items: int, now: float) -> int:
        """Forget runs older than ``keep_days``, and all but the newest ``keep_runs``; how many.

        Their items are forgotten with them, and so are all but the newest ``keep_items``.
        """
        self.db.execute(
            "DELETE FROM items WHERE id <="
            " (SELECT id FROM items ORDER BY id DESC LIMIT 1 OFFSET ?)",
            (keep_items,),
        )
        done = self.db.execute(
            "DELETE FROM runs WHERE outcome IS NOT NULL AND (started_at < ? OR id <="
            " (SELECT id FROM runs ORDER BY id DESC LIMIT 1 OFFSET ?))",
            (now - keep_days * 86_400.0, keep_runs),
        )
        if done.rowcount:
            self.db.execute("DELETE FROM items WHERE run NOT IN (SELECT id FROM runs)")
        return done.rowcount

    @in_transaction(list[RunItem])
    def items_of(self, run_id: int) -> list[RunItem]:
        """What became of the items of a run, as far as they are kept, in the order of the work."""
        return rows.select_items(self.db, "run = ? ORDER BY items.id", (run_id,))

    @in_transaction(list[RunItem])
    def items_named(self, names: Sequence[str]) -> list[RunItem]:
        """What runs did with what has one of these names (keys, files, ids): the newest 20."""
        here, of = rows.here(self._places)
        marks, kept = ", ".join("?" * len(names)), list(map(storable_name, names))
        condition = f"{here} AND (name IN ({marks}) OR file IN ({marks}))"
        newest = f"{condition} ORDER BY items.id DESC LIMIT {MOST_NAMED}"
        return rows.select_items(self.db, newest, (*of, *kept, *kept))

    @in_transaction(int)
    def count_items(self) -> int:
        """How many items are kept of runs on these places."""
        here, of = rows.here(self._places)
        joined = "SELECT count(*) FROM items JOIN runs ON runs.id = run"
        (found,) = self.db.execute(f"{joined} WHERE {here}", of).fetchone()
        return int(found)

    @in_transaction(nothing)
    def remember_cancelled(self, place: str, ids: Sequence[str | int], at: float) -> None:
        """Remember requests that were cancelled at ``at`` in the database called ``place``."""
        found = [(storable(place), each, at) for each in _packed(ids)[-MOST_CANCELLED:]]
        self.db.executemany("INSERT OR REPLACE INTO cancelled VALUES (?, ?, ?)", found)
        self.db.execute("DELETE FROM cancelled WHERE at < ?", (at - CANCELLED_SECONDS,))
        self.db.execute(
            "DELETE FROM cancelled WHERE (place, id) IN"
            " (SELECT place, id FROM cancelled ORDER BY at DESC LIMIT -1 OFFSET ?)",
            (MOST_CANCELLED,),
        )

    @in_transaction(list[str | int])
    def recently_cancelled(self, place: str) -> list[str | int]:
        """The ids that earlier runs cancelled in ``place`` within the last week, oldest first.

        A damaged one is passed over, and forgotten with the others of its day.
        """
        query = "SELECT id FROM cancelled WHERE place = ? ORDER BY at"
        found = list[str | int]()
        for (each,) in self.db.execute(query, (storable(place),)):
            with suppress(msgspec.MsgspecError, TypeError):
                found.append(msgspec.json.decode(each, type=str | int))
        return found

    @in_transaction(nothing)
    def forget_cancelled(self, place: str, ids: Sequence[str | int]) -> None:
        """Forget ids that have been counted, so that no later run counts them again."""
        found = [(storable(place), each) for each in _packed(ids)]
        self.db.executemany("DELETE FROM cancelled WHERE place = ? AND id = ?", found)

    @in_transaction(nothing)
    def remember_known(self, place: str, items: Collection[bytes]) -> None:
        """Remember the items of ``place`` that no run can clean, each by its ``ITEM_BYTES``; those
        of earlier runs are forgotten."""
        packed, place = b"".join(sorted(items)), storable(place)
        if rows.select_known(self.db, place) != packed:  # mostly there are none, as before
            self.db.execute("INSERT OR REPLACE INTO known VALUES (?, ?)", (place, packed))

    @in_transaction(frozenset[bytes])
    def known_items(self, place: str) -> frozenset[bytes]:
        """Those that the last run which looked at ``place`` remembered."""
        packed = rows.select_known(self.db, storable(place))
        starts = range(0, len(packed), ITEM_BYTES)
        return frozenset(packed[start : start + ITEM_BYTES] for start in starts)

    @in_transaction(nothing)
    def mark_clock(self, mark: ClockMark) -> None:
        """Record what both clocks showed at the start or end of a run."""
        self.db.execute(
            "INSERT INTO clock (boot_id, since_boot, wall, refused) VALUES (?, ?, ?, ?)",
            (mark.boot_id, mark.since_boot, mark.wall, mark.refused),
        )
        oldest = "(SELECT max(id) FROM clock) - ?"
        self.db.execute(f"DELETE FROM clock WHERE id <= {oldest}", (MOST_CLOCK_MARKS,))

    @in_transaction(list[ClockMark])
    def clock_marks(self) -> list[ClockMark]:
        """The recorded marks, newest first; at most 200."""
        found = self.db.execute(
            "SELECT boot_id, since_boot, wall, refused FROM clock ORDER BY id DESC"
        )
        return [
            ClockMark(boot, float(since), float(wall), bool(no)) for boot, since, wall, no in found
        ]


class ReadOnlyHistory(ReadOnlyFile, History):
    """A history that is only read: what is damaged is reported, and left where it is."""


def open_history(
    state_dir: Path, *, warn: Warn, at: float, places: Places = ANYWHERE
) -> History | None:
    """Open the history of ``state_dir`` for a run that began at ``at``, making it if needed.

    ``None`` where it cannot be had; then ``warn`` was called with the reason, in one line.
    """
    file, limit = state_dir / FILE_NAME, QueryLimit()
    try:
        found: sqlite3.Connection | None = connect(file, limit)
    except (OSError, sqlite3.Error, Unusable) as error:
        if not is_damage(error):
            warn(f"no history is kept, {file} cannot be used: {why(error)}")
            return None
        found = replace_damaged(file, limit, error, warn, at)
    return None if found is None else History(file, found, limit, warn, at, places)


def open_read_only(file: Path, *, warn: Warn, places: Places) -> History | None:
    """Open a history that is there; see ``read_history``."""
    limit = QueryLimit()
    try:
        connection = connect_read_only(file, limit)
        return ReadOnlyHistory(file, connection, limit, warn, 0.0, places)
    except (OSError, sqlite3.Error, Unusable) as error:
        warn(f"the history {file} cannot be read: {why(error)}")
        return None


def _packed(ids: Sequence[str | int]) -> list[str]:
    """Ids as the history keeps them; one that is no UTF-8 is not remembered."""
    storable_ids = (each for each in ids if isinstance(each, int) or storable(each) == each)
    return [msgspec.json.encode(each).decode() for each in storable_ids]
