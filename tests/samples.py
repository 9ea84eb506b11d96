"""Makers of small narration caches and request databases, in the very form the service writes.

Everything is made from a fixed moment (`SAMPLE_NOW`) and from numbers, never from chance, so that
two calls make the same sample. Ages are counted back from `now`; times are written as the service
writes them: naive, in the service's own zone (`zone`, UTC unless told).

    sample = make_sample(tmp_path)            # 60 entries, 33 expired; 29 requests, 7 abandoned
    before = tree_digest(sample.root)
    ...
    assert tree_digest(sample.root) == before  # nothing changed
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import stat
import uuid
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Literal

SAMPLE_NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
"""The moment every sample is seen from."""

TTL = timedelta(days=7)
TIMEOUT = timedelta(hours=1)
INDEX_NAME = "cache_index.json"
ENTRY_FIELDS = (
    "narration_id",
    "file_path",
    "created_at",
    "last_accessed",
    "file_size",
    "variant_id",
    "voice_style",
)
"""The seven fields of an entry, in the order the service writes them."""

VOICE_STYLES = (
    "ghostly_whisper",
    "demonic_growl",
    "eerie_narrator",
    "possessed_child",
    "ancient_entity",
)

REQUESTS_SCHEMA = """\
CREATE TABLE requests (
  request_id TEXT PRIMARY KEY,
  variant_id TEXT NOT NULL,
  voice_style TEXT NOT NULL,
  priority INTEGER NOT NULL DEFAULT 2,
  status TEXT NOT NULL,
  progress INTEGER NOT NULL DEFAULT 0,
  created_at TEXT NOT NULL,
  started_at TEXT,
  completed_at TEXT,
  error TEXT,
  result TEXT
)"""
"""The service's table, told apart from the program's own idea of it: its demo is held to this."""

_NAMESPACE = uuid.UUID("6b5f4c0e-5f0e-4a57-9c3e-0d6f5a1c9b11")

PathStyle = Literal["relative", "absolute"]


@dataclass(frozen=True)
class EntrySpec:
    """One cache entry to make: its age at `now`, its audio's size in bytes, and what it narrates.

    `accessed` is the time since the last `get` (the age itself if not given). With `file=False`
    the entry is dangling: in the index, without audio.
    """

    age: timedelta
    size: int = 700
    variant_id: str = ""
    voice_style: str = ""
    accessed: timedelta | None = None
    file: bool = True
    suffix: str = ".mp3"


@dataclass(frozen=True)
class MadeEntry:
    """An entry as it was made: its key, the audio's name in the cache directory, its fields."""

    key: str
    name: str
    size: int
    created_at: datetime
    fields: dict[str, str | int]


@dataclass(frozen=True)
class CacheSample:
    """A cache directory, its index, and its entries in the order of the index."""

    directory: Path
    index: Path
    entries: tuple[MadeEntry, ...]

    def older_than(self, age: timedelta, now: datetime = SAMPLE_NOW) -> tuple[MadeEntry, ...]:
        """The entries whose age at `now` is strictly more than `age`."""
        return tuple(entry for entry in self.entries if now - entry.created_at > age)


@dataclass(frozen=True)
class RequestSpec:
    """One row to make: its status, its age at `now`, and, for ended ones, how long it took."""

    status: str
    age: timedelta
    took: timedelta = timedelta(seconds=42)


@dataclass(frozen=True)
class MadeRequest:
    """A row as it was made."""

    request_id: str
    status: str
    created_at: datetime


@dataclass(frozen=True)
class Sample:
    """The canonical sample: a cache and a request database under one working directory."""

    root: Path
    cache: CacheSample
    database: Path
    requests: tuple[MadeRequest, ...]
    now: datetime = SAMPLE_NOW

    @property
    def expired(self) -> tuple[MadeEntry, ...]:
        """The entries that the default TTL of 7 days has expired: 33 of 60."""
        return self.cache.older_than(TTL, self.now)

    @property
    def kept(self) -> tuple[MadeEntry, ...]:
        """The entries that stay: 27 of 60."""
        return tuple(entry for entry in self.cache.entries if self.now - entry.created_at <= TTL)

    @property
    def abandoned(self) -> tuple[MadeRequest, ...]:
        """The requests that the default timeout of 1 hour calls abandoned: 7."""
        return tuple(
            row
            for row in self.requests
            if row.status in ("queued", "generating") and self.now - row.created_at > TIMEOUT
        )


def cache_key(variant_id: str, voice_style: str) -> str:
    """The service's key of a narration: SHA-256, in hex, of `variant_id:voice_style`."""
    return hashlib.sha256(f"{variant_id}:{voice_style}".encode()).hexdigest()


def service_time(moment: datetime, zone: tzinfo = UTC) -> str:
    """`moment` as the service writes it: naive, in the service's zone, microseconds if any."""
    return moment.astimezone(zone).replace(tzinfo=None).isoformat()


def audio(number: int, size: int) -> bytes:
    """`size` bytes that begin as an MP3 with an ID3 tag does; different for each number."""
    tag = b"ID3\x04\x00\x00\x00\x00\x00\x00" + number.to_bytes(4, "big")
    frame = b"\xff\xfb\x90\x00" + bytes((number + step) % 251 for step in range(100))
    return (tag + frame * (size // len(frame) + 1))[:size]


def evenly_aged(count: int, oldest: timedelta, youngest: timedelta) -> list[EntrySpec]:
    """`count` entries with ages from `oldest` to `youngest`, in equal steps."""
    step = (oldest - youngest) / max(1, count - 1)
    return [EntrySpec(age=oldest - step * number) for number in range(count)]


def make_cache(
    directory: Path,
    *,
    now: datetime = SAMPLE_NOW,
    entries: Iterable[EntrySpec] | None = None,
    paths: PathStyle = "relative",
    working_directory: Path | None = None,
    zone: tzinfo = UTC,
) -> CacheSample:
    """Make a cache directory with audio and an index; the canonical 60 entries unless told.

    `paths` says how `file_path` is written: relative to the service's working directory (by
    default two folders up, as with `cache/narration`), or absolute. The modification time of each
    audio file is the entry's `created_at`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    root = directory.parent.parent if working_directory is None else working_directory
    made = [
        _make_entry(directory, number, spec, now, paths, root, zone)
        for number, spec in enumerate(canonical_entries() if entries is None else entries)
    ]
    index = directory / INDEX_NAME
    write_index(index, {entry.key: entry.fields for entry in made})
    return CacheSample(directory, index, tuple(made))


def write_index(index: Path, entries: object) -> None:
    """Write an index as the service does: UTF-8 JSON, `indent=2`, no newline at the end."""
    with index.open("w", encoding="utf-8") as file:
        json.dump(entries, file, indent=2)


def read_index(index: Path) -> dict[str, dict[str, str | int]]:
    """The entries in an index, in its order."""
    with index.open(encoding="utf-8") as file:
        entries: dict[str, dict[str, str | int]] = json.load(file)
    return entries


def strict_load(index: Path) -> dict[str, dict[str, str | int]]:
    """The entries as the service's strict loader sees them: none at all if one is not exact.

    For "the service would accept this index" assertions: compare with `read_index`.
    """
    entries = read_index(index)
    exact = all(
        isinstance(fields, dict) and set(fields) == set(ENTRY_FIELDS) for fields in entries.values()
    )
    return entries if exact else {}


def make_requests(
    path: Path,
    *,
    now: datetime = SAMPLE_NOW,
    rows: Iterable[RequestSpec] | None = None,
    wal: bool = False,
    zone: tzinfo = UTC,
) -> tuple[MadeRequest, ...]:
    """Make a request database with the service's schema; the canonical 29 rows unless told.

    With `wal` the database is left in WAL mode, as the running service has it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    specs = list(canonical_requests() if rows is None else rows)
    made = tuple(
        MadeRequest(str(uuid.uuid5(_NAMESPACE, f"request {number}")), spec.status, now - spec.age)
        for number, spec in enumerate(specs)
    )
    with closing(sqlite3.connect(path)) as connection:
        if wal:
            connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(REQUESTS_SCHEMA)
        connection.executemany(
            f"INSERT INTO requests VALUES ({', '.join('?' * 11)})",
            [_row(number, row, specs[number], zone) for number, row in enumerate(made)],
        )
        connection.commit()
    return made


def read_requests(path: Path) -> dict[str, tuple[str | int | None, ...]]:
    """Every row, whole, by `request_id`; the database is not written to."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        found = connection.execute("SELECT * FROM requests ORDER BY request_id").fetchall()
    return {row[0]: tuple(row) for row in found}


def make_sample(
    root: Path,
    *,
    now: datetime = SAMPLE_NOW,
    paths: PathStyle = "relative",
    wal: bool = False,
    zone: tzinfo = UTC,
) -> Sample:
    """Make the canonical sample: `root/cache/narration` and `root/requests.db`.

    60 entries, of which 33 are expired (one by a microsecond) and 27 stay (one is exactly 7 days
    old); 29 requests, of which 7 are abandoned (4 queued, 3 generating) and one generating is
    exactly an hour old, and stays.
    """
    cache = make_cache(root / "cache" / "narration", now=now, paths=paths, zone=zone)
    database = root / "requests.db"
    return Sample(root, cache, database, make_requests(database, now=now, wal=wal, zone=zone), now)


def canonical_entries() -> list[EntrySpec]:
    """33 expired, the last of them by a microsecond; one exactly 7 days old; 26 younger."""
    hour = timedelta(hours=1)
    ages = [TTL + timedelta(days=13) - 9 * hour * number for number in range(32)]
    ages += [TTL + timedelta(microseconds=1), TTL]
    ages += [TTL - 6 * hour * number - timedelta(microseconds=86_400) for number in range(1, 27)]
    return [
        EntrySpec(age=age, size=400 + 37 * number, accessed=age / (1 + number % 4))
        for number, age in enumerate(ages)
    ]


def canonical_requests() -> list[RequestSpec]:
    """7 abandoned (4 queued, 3 generating), 8 still young, 14 ended."""
    minute = timedelta(minutes=1)
    specs = [RequestSpec("queued", age * minute) for age in (4400, 600, 61, 2, 9, 31, 45, 59)]
    specs.append(RequestSpec("queued", TIMEOUT + timedelta(microseconds=1)))
    specs += [RequestSpec("generating", age * minute) for age in (1440, 300, 90, 1, 14)]
    specs.append(RequestSpec("generating", TIMEOUT))
    specs += [RequestSpec("completed", (50 + 700 * number) * minute) for number in range(10)]
    specs += [RequestSpec("failed", age * minute) for age in (300, 8640)]
    specs += [RequestSpec("cancelled", age * minute) for age in (700, 9000)]
    return specs


def tree_digest(root: Path) -> dict[str, str]:
    """What lies under `root`, by relative name: type, mode, owner, time, and content's SHA-256.

    Made to be compared: equal before and after means that nothing was added, removed, written,
    or touched (access times, which reading alone may change, are left out). Symlinks are not
    followed; pipes, sockets and devices are not opened.
    """
    found = {".": _digest(root)}
    for folder, folders, files in os.walk(root):
        for name in sorted(folders + files):
            path = Path(folder, name)
            found[str(path.relative_to(root))] = _digest(path)
    return found


def _make_entry(
    directory: Path,
    number: int,
    spec: EntrySpec,
    now: datetime,
    paths: PathStyle,
    root: Path,
    zone: tzinfo,
) -> MadeEntry:
    voice = spec.voice_style or VOICE_STYLES[number % len(VOICE_STYLES)]
    variant = spec.variant_id or f"variant-{number:04d}"
    key = cache_key(variant, voice)
    path = directory.absolute() / f"{key}{spec.suffix}"
    created = now - spec.age
    accessed = now - (spec.age if spec.accessed is None else spec.accessed)
    if spec.file:
        path.write_bytes(audio(number, spec.size))
        nanoseconds = _nanoseconds(created)
        os.utime(path, ns=(nanoseconds, nanoseconds))
    fields: dict[str, str | int] = {
        "narration_id": str(uuid.uuid5(_NAMESPACE, f"narration {number}")),
        "file_path": str(path if paths == "absolute" else path.relative_to(root.absolute())),
        "created_at": service_time(created, zone),
        "last_accessed": service_time(accessed, zone),
        "file_size": spec.size,
        "variant_id": variant,
        "voice_style": voice,
    }
    return MadeEntry(key, path.name, spec.size, created, fields)


def _nanoseconds(moment: datetime) -> int:
    return (moment - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1) * 1000


def _row(
    number: int, row: MadeRequest, spec: RequestSpec, zone: tzinfo
) -> Sequence[str | int | None]:
    started = row.created_at + timedelta(seconds=1)
    ended = started + spec.took
    waits = spec.status in ("queued", "cancelled")
    over = spec.status in ("completed", "failed", "cancelled")
    progress = {"completed": 100, "generating": 20 + number}.get(spec.status, 0)
    return (
        row.request_id,
        f"variant-{number:04d}",
        VOICE_STYLES[number % len(VOICE_STYLES)],
        1 + number % 3,
        spec.status,
        progress,
        service_time(row.created_at, zone),
        None if waits else service_time(started, zone),
        service_time(ended, zone) if over else None,
        "TTS API returned 503" if spec.status == "failed" else None,
        None,
    )


def _digest(path: Path) -> str:
    found = path.lstat()
    content = ""
    if stat.S_ISLNK(found.st_mode):
        content = os.readlink(path)
    elif stat.S_ISREG(found.st_mode):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    owner = f"{found.st_uid}:{found.st_gid}"
    return f"{stat.filemode(found.st_mode)} {owner} {found.st_mtime_ns} {content}"
