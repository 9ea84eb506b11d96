"""The makers make what their descriptions promise; the other tests lean on it."""

from __future__ import annotations

import os
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from sqlite3 import connect
from zoneinfo import ZoneInfo

from tests.samples import (
    ENTRY_FIELDS,
    TTL,
    EntrySpec,
    make_cache,
    make_requests,
    make_sample,
    read_index,
    read_requests,
    strict_load,
    tree_digest,
)


def test_canonical_sample_has_the_counts_it_names(tmp_path: Path) -> None:
    sample = make_sample(tmp_path)
    assert (len(sample.cache.entries), len(sample.expired), len(sample.kept)) == (60, 33, 27)
    assert [entry.created_at for entry in sample.kept].count(sample.now - TTL) == 1
    statuses = [row.status for row in sample.abandoned]
    assert (statuses.count("queued"), statuses.count("generating")) == (4, 3)
    active = [row for row in sample.requests if row.status in ("queued", "generating")]
    assert [row.created_at for row in active].count(sample.now - timedelta(hours=1)) == 1
    assert len(read_requests(sample.database)) == len(sample.requests) == 29


def test_index_is_what_the_services_loader_accepts(tmp_path: Path) -> None:
    sample = make_sample(tmp_path)
    entries = strict_load(sample.cache.index)
    assert entries == read_index(sample.cache.index)
    assert list(entries) == [entry.key for entry in sample.cache.entries]
    for fields in entries.values():
        assert tuple(fields) == ENTRY_FIELDS
        audio = tmp_path / str(fields["file_path"])
        created = datetime.fromisoformat(f"{fields['created_at']}+00:00")
        assert audio.stat().st_size == fields["file_size"]
        assert abs(audio.stat().st_mtime - created.timestamp()) < 1e-5


def test_options_of_the_makers(tmp_path: Path) -> None:
    zone = ZoneInfo("America/New_York")
    specs = [EntrySpec(age=timedelta(days=1)), EntrySpec(age=timedelta(days=9), file=False)]
    cache = make_cache(tmp_path / "flat", entries=specs, paths="absolute", zone=zone)
    first, second = read_index(cache.index).values()
    assert first["created_at"] == "2026-11-22T07:00:00"
    assert Path(str(first["file_path"])).is_file()
    assert not Path(str(second["file_path"])).exists()
    make_requests(tmp_path / "wal.db", wal=True)
    with closing(connect(tmp_path / "wal.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_same_sample_twice_and_digest_sees_each_kind_of_change(tmp_path: Path) -> None:
    one, two = make_sample(tmp_path / "one"), make_sample(tmp_path / "two")
    assert one.cache.index.read_bytes() == two.cache.index.read_bytes()
    before = tree_digest(one.root)
    assert tree_digest(one.root) == before
    audio = one.cache.directory / one.kept[0].name
    times = audio.stat()
    audio.write_bytes(b"x" * times.st_size)
    os.utime(audio, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert list(_changed(before, tree_digest(one.root))) == [str(audio.relative_to(one.root))]
    before = tree_digest(one.root)
    audio.chmod(0o600)
    assert tree_digest(one.root) != before
    before = tree_digest(one.root)
    os.utime(audio, (0, 0))
    assert tree_digest(one.root) != before


def _changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before | after if before.get(name) != after.get(name)}
