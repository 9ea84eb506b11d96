"""What one query may cost: the schema and the values of a database are not ours.

A generated column, a trigger or a CHECK can make any statement endless or huge. What
https://www.sqlite.org/security.html advises for such files is set on each connection.
"""

from __future__ import annotations

import resource
import sqlite3
import time

from narration_cleanup.core import signals
from narration_cleanup.core.deadline import Deadline

SECONDS = 15.0
"""How long the statements between two calls of ``restart`` may take."""
MEMORY = 128 * 1024 * 1024
"""Bytes by which they may raise the most memory that this process has had. The rows of the largest
page take about 20 MB."""
_STEPS = 5_000
"""Instructions of SQLite's machine between two checks: a page of a survey has about 300,000."""
LONGEST_READ = 250_000
"""Bytes of a value that is read. Values of other columns in the same row may be longer."""
LONGEST_ROW = 256 * 1024 * 1024
"""Bytes of a row that is changed: SQLite writes it anew with all its values."""
_LIMITS = {
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 1_000_000,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 1_000,
    sqlite3.SQLITE_LIMIT_VDBE_OP: 250_000,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 20,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
}


class QueryLimit:
    """Ends a query of the connection that it guards with ``SQLITE_INTERRUPT``.

    When it takes too long or too much memory, or continues for long when this process was asked to
    end.
    """

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Measure from now on."""
        self._began = time.monotonic()
        self._deadline = Deadline(SECONDS)
        self._memory = _most_memory() + MEMORY

    def guard(self, connection: sqlite3.Connection, longest: int) -> None:
        """Limit all that ``connection`` does, its values and rows to ``longest`` bytes, and trust
        its schema with nothing."""
        for limit, most in _LIMITS.items():
            connection.setlimit(limit, most)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, longest)
        connection.set_progress_handler(self._must_end, _STEPS)
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA cell_size_check=ON")
        connection.execute(f"PRAGMA hard_heap_limit={4 * MEMORY}")

    def _must_end(self) -> bool:
        overdue = self._deadline.passed or signals.is_overdue(self._began)
        return overdue or _most_memory() > self._memory


def _most_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
