"""The service at work: one short write after another, each one's wait kept.

``python -m benchmarks.writer DATABASE`` writes "ready" once the first writes are through, writes
until its stdin closes, and then prints one JSON object: `writes`, `median`, `worst` (seconds).
A wait is the whole of one transaction: begin, one insert, one update, commit.
"""

import json
import sqlite3
import statistics
import sys
import threading
import time
import uuid
from contextlib import closing
from datetime import datetime

PAUSE_SECONDS = 0.002
WRITES_BEFORE_READY = 20


def write_once(database: sqlite3.Connection) -> None:
    """Queue one request and finish it, as the service does when it serves from its cache."""
    name, now = str(uuid.uuid4()), datetime.now().isoformat()
    database.execute("BEGIN IMMEDIATE")
    database.execute(
        "INSERT INTO requests (request_id, variant_id, voice_style, status, created_at)"
        " VALUES (?, 'live', 'eerie_narrator', 'queued', ?)",
        (name, now),
    )
    database.execute(
        "UPDATE requests SET status = 'completed', progress = 100, completed_at = ?"
        " WHERE request_id = ?",
        (now, name),
    )
    database.execute("COMMIT")


def main(path: str) -> None:
    """Write until stdin closes, then say how long the writes took."""
    stop = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        stop.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    waits: list[float] = []
    with closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as database:
        for _ in range(WRITES_BEFORE_READY):
            write_once(database)
        print("ready", flush=True)
        while not stop.wait(PAUSE_SECONDS) or not waits:
            begun = time.perf_counter()
            write_once(database)
            waits.append(time.perf_counter() - begun)
    print(
        json.dumps(
            {
                "writes": len(waits),
                "median": statistics.median(waits),
                "worst": max(waits),
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    main(sys.argv[1])
