"""A worker that completes the requests the tool is about to cancel, as a process.

`python -m tests.faults.completer DATABASE SEED` reads the rows, says "ready", and then completes
them in an order of its own, as a worker does that never looks at the status. When standard input
closes, it stops and prints the ids it completed.
"""

from __future__ import annotations

import json
import random
import select
import sqlite3
import sys
from contextlib import closing
from datetime import datetime


def main() -> None:
    """Complete rows until standard input closes or all are completed."""
    database, seed = sys.argv[1:]
    chance = random.Random(int(seed))
    with closing(sqlite3.connect(database, timeout=60, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        rows = [row[0] for row in connection.execute("SELECT request_id FROM requests")]
        chance.shuffle(rows)
        print("ready", flush=True)
        completed = []
        for request_id in rows:
            connection.execute(
                "UPDATE requests SET status = 'completed', progress = 100, completed_at = ?"
                " WHERE request_id = ?",
                (datetime.now().isoformat(), request_id),
            )
            completed.append(request_id)
            if select.select([sys.stdin], [], [], 0)[0]:
                break
    print(json.dumps(completed), flush=True)


if __name__ == "__main__":
    main()
