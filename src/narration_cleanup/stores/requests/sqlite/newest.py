"""What proves the zone of a table's times: the newest of them, and the database's last write."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from narration_cleanup.core.model import RequestStatus
from narration_cleanup.stores.requests.mapping import RequestMapping
from narration_cleanup.stores.requests.sqlite.layout import Layout

_TIMES = ("created_at", "started_at", "completed_at", "heartbeat_at")
_ROWS = 2_000
"""Rows looked at, those with the highest keys: a few milliseconds."""


def newest_times(
    connection: sqlite3.Connection, layout: Layout, mapping: RequestMapping
) -> Sequence[str]:
    """The times written as text in the newest rows, cancelled ones aside: those may be ours."""
    columns = [layout.column(role) for role in ("status", *_TIMES)]
    latest = ", ".join(f"{key} DESC" for key in layout.keys)
    words = mapping.statuses.words()
    rows = connection.execute(
        f"SELECT {layout.filter}, {', '.join(columns)} FROM {layout.table} "
        f"ORDER BY {latest} LIMIT {_ROWS}"
    )
    return [
        value
        for is_ours, status, *values in rows
        if is_ours and words.get(status) is not RequestStatus.CANCELLED
        for value in values
        if isinstance(value, str)
    ]


def last_write(path: Path) -> float | None:
    """When the database was last written (an instant): its mtime, or that of its ``-wal`` file."""
    found = []
    for ending in ("", "-wal"):
        with suppress(OSError):
            found.append(Path(f"{path.resolve()}{ending}").stat().st_mtime)
    return max(found, default=None)
