"""What must hold of a sample after anything at all has happened to a run over it."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.samples import (
    TIMEOUT,
    TTL,
    CacheSample,
    EntrySpec,
    MadeRequest,
    RequestSpec,
    make_cache,
    make_requests,
    read_index,
    read_requests,
)

TOOL_FOLDER = ".narration-cleanup"


@dataclass(frozen=True)
class Truth:
    """A sample as it was made: what must stay byte for byte, and what should go."""

    root: Path
    cache: CacheSample
    database: Path
    requests: tuple[MadeRequest, ...]
    now: datetime
    audio: dict[str, bytes]
    entries: dict[str, dict[str, str | int]]
    rows: dict[str, tuple[str | int | None, ...]]

    @property
    def expired(self) -> set[str]:
        """The keys of the expired entries."""
        return {entry.key for entry in self.cache.older_than(TTL, self.now)}

    @property
    def abandoned(self) -> set[str]:
        """The ids of the abandoned requests."""
        return {
            row.request_id
            for row in self.requests
            if row.status in ("queued", "generating") and self.now - row.created_at > TIMEOUT
        }

    def moved(self, root: Path) -> Truth:
        """The same sample, to be looked at elsewhere: its paths are relative."""
        directory = root / self.cache.directory.relative_to(self.root)
        cache = replace(self.cache, directory=directory, index=directory / self.cache.index.name)
        database = root / self.database.relative_to(self.root)
        return replace(self, root=root, cache=cache, database=database)

    def losses(self) -> list[str]:
        """What was lost or spoilt, in words; empty is what must be, whatever happened."""
        return [*self._lost_files(), *self._lost_entries(), *self._lost_rows()]

    def unfinished(self) -> list[str]:
        """What is left to do, in words; empty after a run that says it has done everything."""
        left = [f"file {name}" for name in self._names() if name not in self._kept_names()]
        try:
            left += [f"entry {key}" for key in self._index() if key in self.expired]
        except ValueError as error:
            left.append(f"index: {error}")
        rows = self._rows()[1]
        left += [f"row {key} {rows[key][4]}" for key in self.abandoned if not _cancelled(rows[key])]
        staging = self.cache.directory / TOOL_FOLDER
        left += [f"staged {path.name}" for path in staging.rglob("*.mp3")]
        return left

    def _kept_names(self) -> set[str]:
        live = {entry.name for entry in self.cache.entries if entry.key not in self.expired}
        return live | {self.cache.index.name, TOOL_FOLDER}

    def _names(self) -> list[str]:
        return [path.name for path in self.cache.directory.iterdir()]

    def _index(self) -> dict[str, dict[str, str | int]]:
        return read_index(self.cache.index)

    def _lost_files(self) -> list[str]:
        lost = []
        for entry in self.cache.entries:
            path = self.cache.directory / entry.name
            if entry.key in self.expired and not path.exists():
                continue
            if not path.is_file() or path.read_bytes() != self.audio[entry.name]:
                lost.append(f"audio {entry.name} of {entry.created_at}")
        return lost

    def _lost_entries(self) -> list[str]:
        try:
            found = self._index()
        except (ValueError, OSError) as error:
            return [f"index: {error}"]
        lost = [
            f"entry {key}"
            for key, fields in self.entries.items()
            if found.get(key) != fields and (key in found or key not in self.expired)
        ]
        if list(found) != [key for key in self.entries if key in found]:
            lost.append("order of the index, or an entry that nobody wrote")
        return lost

    def _rows(self) -> tuple[list[str], dict[str, tuple[str | int | None, ...]]]:
        """What SQLite says of the database as a whole, and its rows.

        Of a copy with its journal: opening the database itself would roll back what a killed run
        left unfinished, which is for the next run to do.
        """
        with tempfile.TemporaryDirectory() as folder:
            copied = shutil.copytree(self.database.parent, Path(folder) / "copy")
            copy = copied / self.database.name
            with closing(sqlite3.connect(copy)) as connection:
                checked = connection.execute("PRAGMA integrity_check").fetchall()
            return [line for (line,) in checked], read_requests(copy)

    def _lost_rows(self) -> list[str]:
        checked, found = self._rows()
        lost = [f"database: {line}" for line in checked if line != "ok"]
        for key, row in self.rows.items():
            if found.get(key) != row and not (
                key in self.abandoned and key in found and _only_cancelled(row, found[key])
            ):
                lost.append(f"row {key}: {row} is now {found.get(key)}")
        if found.keys() != self.rows.keys():
            lost.append("rows that nobody wrote")
        return lost


def make_truth(root: Path, *, wal: bool, expired: int = 5, live: int = 4) -> Truth:
    """A small sample around the present moment, with nothing near a cutoff.

    One of the expired entries has lost its file already.
    """
    now = datetime.now(UTC)
    hour, day = timedelta(hours=1), timedelta(days=1)
    specs = [
        *(EntrySpec(age=(9 + number) * day, file=number != 1) for number in range(expired)),
        *(EntrySpec(age=(1 + number % 5) * day) for number in range(live)),
    ]
    # Live and expired entries alternate, so that members are dropped from between others.
    specs = specs[::2] + specs[1::2]
    rows = [
        *(RequestSpec("queued", age * hour) for age in (5, 0.2, 3, 0.5)),
        *(RequestSpec("generating", age * hour) for age in (2, 0.1, 30)),
        *(RequestSpec(status, 4 * hour) for status in ("completed", "failed", "cancelled")),
    ]
    cache = make_cache(root / "cache" / "narration", now=now, entries=specs)
    database = root / "db" / "requests.db"
    requests = make_requests(database, now=now, rows=rows, wal=wal)
    audio = {
        entry.name: (cache.directory / entry.name).read_bytes()
        for entry in cache.entries
        if (cache.directory / entry.name).exists()
    }
    entries = read_index(cache.index)
    return Truth(root, cache, database, requests, now, audio, entries, read_requests(database))


def result_of(output: Path) -> dict[str, object] | None:
    """The JSON document that a run printed, if it came to that."""
    try:
        document = json.loads(output.read_text())
    except ValueError:
        return None
    assert isinstance(document, dict)
    return document


def _cancelled(row: tuple[str | int | None, ...]) -> bool:
    return row[4] == "cancelled" and row[8] is not None


def _only_cancelled(before: tuple[object, ...], after: tuple[str | int | None, ...]) -> bool:
    untouched = [number for number in range(len(before)) if number not in (4, 8)]
    return _cancelled(after) and all(before[number] == after[number] for number in untouched)
