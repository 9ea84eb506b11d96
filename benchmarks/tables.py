"""Makes request tables as the live service leaves them, and checks what a clean-up left."""

import hashlib
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from benchmarks.measure import BenchmarkError
from benchmarks.report import JournalMode
from benchmarks.trees import VOICES
from tests.samples import REQUESTS_SCHEMA

DATABASE = Path("requests.db")
ROW_BYTES = 330
HOUR = 3_600.0
ABANDONED_SHARE = 100
_OWN = "SELECT count(*) FROM requests WHERE variant_id LIKE 'variant-%'"

Row = tuple[str, str, str, int, str, int, str, str | None, str | None, str | None, str | None]


@dataclass(frozen=True)
class Table:
    """What was made: how many rows, how many of them abandoned, and how many cancelled before."""

    rows: int
    abandoned: int
    cancelled: int


def make_table(root: Path, rows: int, now: float, mode: JournalMode) -> Table:
    """Make `requests.db` under `root`: one row in a hundred abandoned, the rest ended long ago."""
    with closing(sqlite3.connect(root / DATABASE)) as database:
        database.execute(f"PRAGMA journal_mode = {mode}")
        database.execute(REQUESTS_SCHEMA)
        with database:
            database.executemany(
                "INSERT INTO requests VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                generated_rows(rows, now),
            )
        (cancelled,) = database.execute(f"{_OWN} AND status = 'cancelled'").fetchone()
    return Table(rows, rows // ABANDONED_SHARE, cancelled)


def generated_rows(rows: int, now: float) -> Iterator[Row]:
    """The rows, the abandoned ones scattered evenly by chance and 2 hours to 3 days old."""
    chance = random.Random(rows)
    abandoned = set(chance.sample(range(rows), rows // ABANDONED_SHARE))
    for number in range(rows):
        digest = hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()
        name = "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:]))
        old = number in abandoned
        created = now - (chance.uniform(2, 72) if old else chance.uniform(72, 720)) * HOUR
        started = datetime.fromtimestamp(created + 5).isoformat()
        if old:
            status = chance.choice(("queued", "generating"))
        else:
            status = chance.choices(("completed", "failed", "cancelled"), (8, 1, 1))[0]
        yield (
            name,
            f"variant-{number // 5:06d}",
            VOICES[number % 5],
            2,
            status,
            100 if status == "completed" else 0,
            datetime.fromtimestamp(created).isoformat(),
            None if status == "queued" else started,
            None if old else datetime.fromtimestamp(created + 65).isoformat(),
            "the synthesiser ran out of memory" if status == "failed" else None,
            f"cache/narration/{digest}{digest}.mp3" if status == "completed" else None,
        )


def check_cancelled(root: Path, table: Table) -> None:
    """Fail unless exactly the abandoned rows were cancelled, and no row is gone; those that a
    writer added meanwhile are left aside."""
    with closing(sqlite3.connect(root / DATABASE)) as database:
        counts = (
            database.execute(f"{_OWN} AND {which}").fetchone()[0]
            for which in ("TRUE", "status IN ('queued', 'generating')", "status = 'cancelled'")
        )
        rows, left, cancelled = counts
    if (rows, left, cancelled) != (table.rows, 0, table.cancelled + table.abandoned):
        raise BenchmarkError(
            f"{left} of {table.abandoned} abandoned rows are left, {cancelled - table.cancelled} "
            f"more are cancelled, and of {table.rows} rows there are {rows}"
        )


def warm(root: Path) -> None:
    """Read the database file once, so that each contender finds it in memory."""
    with (root / DATABASE).open("rb") as file:
        while file.read(1 << 20):
            pass
