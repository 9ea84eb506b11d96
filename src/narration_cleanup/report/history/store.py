"""Write and read the history. A write that fails is a warning; the clean-up continues."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from narration_cleanup.core.text import storable
from narration_cleanup.report.history import rows
from narration_cleanup.report.history.database import (
    Unusable,
    connect,
    connect_read_only,
    is_damage,
    move_aside,
    why,
)
from narration_cleanup.report.history.process import (
    FILE_NAME,
    ClockMark,
    ProcessMark,
    Start,
    this_process,
)
from narration_cleanup.report.record import (
    ANYWHERE,
    ITEM_BYTES,
    Counters,
    Places,
    RunItem,
    RunRecord,
    storable_name,
)

if TYPE_CHECKING:
    import sqlite3

    from narration_cleanup.core.query_limit import QueryLimit

T = TypeVar("T")
Warn = Callable[[str], None]

MOST_CANCELLED = 10_000
"""Cancelled requests that are remembered, the newest; a later run counts which were overwritten."""
CANCELLED_SECONDS = 7 * 86_400.0
MOST_CLOCK_MARKS = 200
MOST_NAMED = 20
MOST_BEFORE = 10_000
_ODD_VALUES = (msgspec.MsgspecError, TypeError, ValueError, OverflowError)
"""What a value raises that was not written here: a bit may flip in a readable file."""


class History:
    """The history of one state directory, open; asked for the runs on ``places``, or for all.

    No method raises for a broken file or a full disk: what it would have returned is then empty,
    and ``warn`` is called once. A damaged file is moved aside, and a new one takes its place.
    """

    _begin = "BEGIN IMMEDIATE"  # a read that later writes could find another writer in its way

    def __init__(
        self,
        file: Path,
        connection: sqlite3.Connection,
        limit: QueryLimit,
        warn: Warn,
        at: float,
        places: Places,
    ) -> None:
        self.file = file
        self._places = places
        self._connection: sqlite3.Connection | None = connection
        self._limit = limit
        self._warn = warn
        self._at = at
        self._begun: dict[str, str | Places] = {}

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

        def write(connection: sqlite3.Connection) -> int:
            rows.settle_killed(connection)
            rows.adopt(connection, self._places)
            return rows.insert_run(connection, started_at, trigger, version, mark, self._places)

        return self._try(write, None)

    def finish(
        self, run_id: int | None, record: RunRecord, items: Sequence[RunItem] = ()
    ) -> RunRecord:
        """Record how a run ended, and what became of ``items``; the record as it is kept, with its
        id.

        ``run_id`` may be ``None`` (``begin`` failed): the run is then recorded only now.
        """
        record = msgspec.structs.replace(record, **self._begun)

        def write(connection: sqlite3.Connection) -> RunRecord:
            return rows.finish_run(connection, run_id, record, items)

        return self._try(write, record)

    def runs(
        self, limit: int | None = None, since: float | None = None, outcome: str | None = None
    ) -> list[RunRecord]:
        """The runs that began at ``since`` or later and ended as ``outcome``, newest first, at most
        ``limit``."""
        return self._try(lambda c: rows.select_runs(c, limit, since, outcome), [])

    def run(self, run_id: int) -> RunRecord | None:
        """One run, or ``None`` where there is none of that id."""
        return self._try(lambda connection: rows.select_run(connection, run_id), None)

    def last_run(self) -> RunRecord | None:
        """The run that began last and has ended, busy ones aside: those looked at nothing."""
        return self._try(lambda c: rows.select_last(c, self._places, finished=False), None)

    def last_finished(self) -> RunRecord | None:
        """As ``last_run``, but of those that recorded how they ended: a killed one did not."""
        return self._try(lambda c: rows.select_last(c, self._places, finished=True), None)

    def running(self) -> RunRecord | None:
        """The newest run that has begun, has not ended, and whose process is alive."""
        return self._try(lambda c: rows.select_running(c, self._places), None)

    def starts(self) -> list[Start]:
        """When the newest ten runs began, and what started each, newest first; not those that
        found the lock held."""
        return self._try(lambda c: rows.select_starts(c, self._places), [])

    def before(
        self, run_id: int | None = None, *, places: Places | None = None, most: int = MOST_BEFORE
    ) -> list[RunRecord]:
        """The runs before ``run_id`` (``None``: the newest of all), newest first, back to the last
        success, which is among them; at most ``most``, on ``places`` or the history's own."""
        of = self._places if places is None else places
        return self._try(lambda c: rows.select_before(c, of, run_id, most), [])

    def counters(self) -> Counters | None:
        """What the runs add up to, those included that have been forgotten since; ``None`` where
        that cannot be known."""
        return self._try(lambda c: rows.select_counters(c, self._places), None)

    def prune(self, *, keep_days: float, keep_runs: int, keep_items: int, now: float) -> int:
        """Forget runs older than ``keep_days``, and all but the newest ``keep_runs``; how many.

        Their items are forgotten with them, and so are all but the newest ``keep_items``.
        """
        oldest = now - keep_days * 86_400.0

        def delete(connection: sqlite3.Connection) -> int:
            rows.trim_items(connection, keep_items)
            return rows.delete_runs(connection, oldest, keep_runs)

        return self._try(delete, 0)

    def items_of(self, run_id: int) -> list[RunItem]:
        """What became of the items of a run, as far as they are kept, in the order of the work."""
        return self._try(lambda connection: rows.select_items_of(connection, run_id), [])

    def items_named(self, names: Sequence[str]) -> list[RunItem]:
        """What runs did with what has one of these names (keys, files, ids): the newest 20."""
        kept = [storable_name(name) for name in names]
        return self._try(lambda c: rows.select_items_named(c, self._places, kept, MOST_NAMED), [])

    def count_items(self) -> int:
        """How many items are kept of runs on these places."""
        return self._try(lambda connection: rows.count_items(connection, self._places), 0)

    def remember_cancelled(self, place: str, ids: Sequence[str | int], at: float) -> None:
        """Remember requests that were cancelled at ``at`` in the database called ``place``."""
        packed, place = _packed(ids)[-MOST_CANCELLED:], storable(place)

        def write(connection: sqlite3.Connection) -> None:
            rows.insert_cancelled(connection, place, packed, at)
            rows.trim_cancelled(connection, at - CANCELLED_SECONDS, MOST_CANCELLED)

        self._try(write, None)

    def recently_cancelled(self, place: str) -> list[str | int]:
        """The ids that earlier runs cancelled in ``place`` within the last week."""
        nothing: list[str] = []
        place = storable(place)
        found = self._try(lambda connection: rows.select_cancelled(connection, place), nothing)
        return list(_unpacked(found))

    def forget_cancelled(self, place: str, ids: Sequence[str | int]) -> None:
        """Forget ids that have been counted, so that no later run counts them again."""
        packed, place = _packed(ids), storable(place)
        self._try(lambda connection: rows.delete_cancelled(connection, place, packed), None)

    def remember_known(self, place: str, items: Collection[bytes]) -> None:
        """Remember the items of ``place`` that no run can clean, each by its ``ITEM_BYTES``; those
        of earlier runs are forgotten."""
        packed, place = b"".join(sorted(items)), storable(place)

        def write(connection: sqlite3.Connection) -> None:
            if rows.select_known(connection, place) != packed:  # mostly there are none, as before
                rows.replace_known(connection, place, packed)

        self._try(write, None)

    def known_items(self, place: str) -> Collection[bytes]:
        """Those that the last run which looked at ``place`` remembered."""
        place = storable(place)
        packed = self._try(lambda connection: rows.select_known(connection, place), b"")
        starts = range(0, len(packed), ITEM_BYTES)
        return frozenset(packed[start : start + ITEM_BYTES] for start in starts)

    def mark_clock(self, mark: ClockMark) -> None:
        """Record what both clocks showed at the start or end of a run."""
        self._try(lambda connection: rows.insert_clock(connection, mark, MOST_CLOCK_MARKS), None)

    def clock_marks(self) -> list[ClockMark]:
        """The recorded marks, newest first; at most 200."""
        return self._try(lambda connection: rows.select_clock(connection), [])

    def close(self) -> None:
        """Close the file; the history can no longer be used."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _try(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        import sqlite3

        if self._connection is None:
            return otherwise
        self._limit.restart()
        try:
            with _transaction(self._connection, self._begin):
                return work(self._connection)
        except (sqlite3.Error, *_ODD_VALUES) as error:
            return self._recover(error, work, otherwise)

    def _recover(
        self, error: Exception, work: Callable[[sqlite3.Connection], T], otherwise: T
    ) -> T:
        self.close()
        if not is_damage(error):
            self._warn(f"the history {self.file} cannot be used: {why(error)}")
            return otherwise
        self._connection = _replace(self.file, self._limit, error, self._warn, self._at)
        if self._connection is None:
            return otherwise
        import sqlite3

        try:
            with _transaction(self._connection, self._begin):
                return work(self._connection)
        except (sqlite3.Error, *_ODD_VALUES) as again:
            self.close()
            self._warn(f"the history {self.file} cannot be used: {why(again)}")
            return otherwise


def open_history(
    state_dir: Path, *, warn: Warn, at: float, places: Places = ANYWHERE
) -> History | None:
    """Open the history of ``state_dir`` for a run that began at ``at``, making it if needed.

    ``None`` where it cannot be had; then ``warn`` was called with the reason, in one line.
    """
    import sqlite3

    from narration_cleanup.core.query_limit import QueryLimit

    file, limit = state_dir / FILE_NAME, QueryLimit()
    try:
        return History(file, connect(file, limit), limit, warn, at, places)
    except (OSError, sqlite3.Error, Unusable) as error:
        if not is_damage(error):
            warn(f"no history is kept, {file} cannot be used: {why(error)}")
            return None
        connection = _replace(file, limit, error, warn, at)
        return None if connection is None else History(file, connection, limit, warn, at, places)


def open_read_only(file: Path, *, warn: Warn, places: Places) -> History | None:
    """Open a history that is there; see ``read_history``."""
    import sqlite3

    from narration_cleanup.core.query_limit import QueryLimit

    limit = QueryLimit()
    try:
        connection = connect_read_only(file, limit)
        return ReadOnlyHistory(file, connection, limit, warn, 0.0, places)
    except (OSError, sqlite3.Error, Unusable) as error:
        warn(f"the history {file} cannot be read: {why(error)}")
        return None


class ReadOnlyHistory(History):
    """A history that is only read: what is damaged is reported, and left where it is."""

    _begin = "BEGIN"

    def _recover(
        self, error: Exception, work: Callable[[sqlite3.Connection], T], otherwise: T
    ) -> T:
        self.close()
        self._warn(f"the history {self.file} cannot be read: {why(error)}")
        return otherwise


def _packed(ids: Sequence[str | int]) -> list[str]:
    """Ids as the history keeps them; one that is no UTF-8 is not remembered."""
    storable_ids = (each for each in ids if isinstance(each, int) or storable(each) == each)
    return [msgspec.json.encode(each).decode() for each in storable_ids]


def _unpacked(found: Sequence[str]) -> Iterator[str | int]:
    """Remembered ids; a damaged one is passed over, and forgotten with the others of its day."""
    for each in found:
        with suppress(msgspec.MsgspecError, TypeError):
            yield msgspec.json.decode(each, type=str | int)


@contextmanager
def _transaction(connection: sqlite3.Connection, begin: str) -> Iterator[None]:
    connection.execute(begin)
    try:
        yield
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _replace(
    file: Path, limit: QueryLimit, error: Exception, warn: Warn, at: float
) -> sqlite3.Connection | None:
    """A new history in the place of a damaged one."""
    import sqlite3

    try:
        aside = move_aside(file, at)
        connection = connect(file, limit)
    except (OSError, sqlite3.Error, Unusable) as again:
        warn(f"the history {file} is damaged ({why(error)}) and cannot be replaced: {why(again)}")
        return None
    warn(f"the history was damaged ({why(error)}): moved to {aside}, and a new one begun")
    return connection
