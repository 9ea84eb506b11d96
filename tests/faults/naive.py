"""What one would write at first, to try the proofs on: they must find that it loses things.

It removes files by their path, rewrites the index from what it read before, and cancels by id.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import sys
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path


def understood() -> argparse.Namespace:
    """Just enough of the tool's command line, for clean-ups that stand in for it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("command")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--cache-dir", type=Path)
    parser.add_argument("--requests-db", type=Path)
    return parser.parse_args()


def main() -> None:
    """Clean what is named, and say so in the tool's form."""
    options = understood()
    removed = _clean_cache(options.cache_dir) if options.cache_dir else 0
    cancelled = _cancel(options.requests_db) if options.requests_db else 0
    actions = [{"outcome": "done"}] * (removed + cancelled)
    print(json.dumps({"cache": {"removed_count": removed}, "actions": actions, "problems": []}))
    sys.exit(0)


def _clean_cache(directory: Path, now: datetime | None = None) -> int:
    index = directory / "cache_index.json"
    entries = json.loads(index.read_text())
    limit = ((now or datetime.now()) - timedelta(days=7)).isoformat()
    expired = [key for key, fields in entries.items() if fields["created_at"] < limit]
    for key in expired:
        (directory / os.path.basename(entries.pop(key)["file_path"])).unlink(missing_ok=True)
    index.write_text(json.dumps(entries, indent=2))
    return len(expired)


def _cancel(database: Path, now: datetime | None = None) -> int:
    limit = ((now or datetime.now()) - timedelta(hours=1)).isoformat()
    with closing(sqlite3.connect(database, timeout=60, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        found = connection.execute(
            "SELECT request_id FROM requests"
            " WHERE status IN ('queued', 'generating') AND created_at < ?",
            (limit,),
        ).fetchall()
        for (request_id,) in found:
            connection.execute(
                "UPDATE requests SET status = 'cancelled', completed_at = ? WHERE request_id = ?",
                (datetime.now().isoformat(), request_id),
            )
    return len(found)
