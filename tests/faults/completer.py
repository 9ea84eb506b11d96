"""A worker that completes the requests the tool is about to cancel, as a process.

`python -m tests.faults.completer DATABASE SEED WHEN` reads the rows, says "ready", and then
completes half of them in an order of its own, as a worker does that never looks at the status:
"at-once", or "late", from the moment that another has written. It tries again at once where the
database is busy: SQLite's own waiting sleeps, and would hardly ever find a lock free that another
takes again and again. When standard input closes, it stops and prints the ids it completed.
"""

from __future__ import annotations

import json
import os
import random
import select
import sqlite3
import sys
from contextlib import closing, suppress
from datetime import datetime


def main() -> None:
    """Complete rows until standard input closes or half of all are completed."""
    database, seed, when = sys.argv[1:]
    chance = random.Random(int(seed))
    with closing(sqlite3.connect(database, timeout=0, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        rows = [row[0] for row in connection.execute("SELECT request_id FROM requests")]
        half = chance.sample(rows, len(rows) // 2)
        untouched = _traces(database)
        print("ready", flush=True)
        while when == "late" and _traces(database) == untouched and not _is_over():
            pass
        completed = []
        for request_id in half:
            while not (done := _complete(connection, request_id)) and not _is_over():
                pass
            if done:
                completed.append(request_id)
            if _is_over():
                break
    print(json.dumps(completed), flush=True)


def _complete(connection: sqlite3.Connection, request_id: str) -> bool:
    try:
        connection.execute(
            "UPDATE requests SET status = 'completed', progress = 100, completed_at = ?"
            " WHERE request_id = ?",
            (datetime.now().isoformat(), request_id),
        )
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise
        return False
    return True


def _traces(database: str) -> list[tuple[int, int]]:
    """Size and time of the files that a change to the database shows in: to look takes no lock."""
    found = []
    for suffix in ("", "-wal", "-journal"):
        with suppress(FileNotFoundError):
            status = os.stat(database + suffix)
            found.append((status.st_size, status.st_mtime_ns))
    return found


def _is_over() -> bool:
    return bool(select.select([sys.stdin], [], [], 0)[0])


if __name__ == "__main__":
    main()
