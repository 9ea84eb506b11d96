"""Clocks and zones: what the service's naive times mean, and a clock that jumped."""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tests import forked
from tests.faults.server import crashed
from tests.samples import CacheSample, EntrySpec, make_cache, read_index, write_index

EXPIRED, KEPT, PROBLEM = "expired", "kept", "problem"
WEEK = timedelta(days=7)

# Zone, the moment of the run, and what becomes of each `created_at` with a TTL of 7 days. Where
# daylight saving repeats or skips an hour, the later reading counts.
TABLE: dict[str, tuple[str, str, dict[str, str]]] = {
    "utc": (
        "UTC",
        "2026-11-23T12:00:00+00:00",
        {
            "2026-11-16T12:00:00": KEPT,
            "2026-11-16T11:59:59.999999": EXPIRED,
            "2026-11-16T12:00:00.000001": KEPT,
            "2026-11-16T12:00:00+00:00": KEPT,
            "2026-11-16T13:59:59+02:00": EXPIRED,
            "2026-11-16T07:00:01-05:00": KEPT,
            "2026-11-16T11:59:59Z": EXPIRED,
            "2026-11-01 08:00:00": EXPIRED,
            "2026-11-24T12:00:00": PROBLEM,
            "2027-01-01T00:00:00": PROBLEM,
            "9999-12-31T23:59:59.999999": PROBLEM,
            "2026-11-01": PROBLEM,
            "2026-W40-1": PROBLEM,
            "20261101T080000": EXPIRED,
            "yesterday": PROBLEM,
            "": PROBLEM,
            "2026-13-01T00:00:00": PROBLEM,
            "2026-02-30T00:00:00": PROBLEM,
            "1793188800": EXPIRED,
        },
    ),
    "the hour that is repeated in New York": (
        "America/New_York",
        "2026-11-08T06:00:00+00:00",
        {
            "2026-11-01T00:59:59": EXPIRED,
            "2026-11-01T01:00:00": KEPT,
            "2026-11-01T01:30:00": KEPT,
            "2026-11-01T02:00:00": KEPT,
        },
    ),
    "the hour that is skipped in New York": (
        "America/New_York",
        "2026-03-15T07:00:00+00:00",
        {
            "2026-03-08T01:59:59": EXPIRED,
            "2026-03-08T02:30:00": KEPT,
            "2026-03-08T03:00:00": KEPT,
        },
    ),
    "half an hour off, and no daylight saving": (
        "Asia/Kolkata",
        "2026-11-23T12:00:00+00:00",
        {"2026-11-16T17:29:59": EXPIRED, "2026-11-16T17:30:00": KEPT},
    ),
    "half an hour of daylight saving": (
        "Australia/Lord_Howe",
        "2026-04-11T15:00:00+00:00",
        {
            "2026-04-05T01:29:59": EXPIRED,
            "2026-04-05T01:30:00": KEPT,
            "2026-04-05T01:45:00": KEPT,
            "2026-04-05T02:00:00": KEPT,
        },
    ),
    "west of the date line": (
        "Pacific/Kiritimati",
        "2026-11-23T12:00:00+00:00",
        {"2026-11-17T01:59:59": EXPIRED, "2026-11-17T02:00:00": KEPT},
    ),
}


def _run_at(moment: str, folder: Path, *arguments: str, zone: str = "UTC") -> tuple[int, str]:
    environment = {
        **os.environ,
        "NARRATION_CLEANUP_STATE_DIR": str(folder / "state"),
        "NARRATION_CLEANUP_TIMEZONE": zone,
    }
    done = forked.run(moment, *arguments, module="tests.run_at", env=environment)
    assert not crashed(done.stderr), done.stderr
    return done.returncode, done.stdout + done.stderr


def _cache_of(folder: Path, times: list[str], moment: str) -> CacheSample:
    """A cache whose entries have the given times; each audio file is as old as its entry."""
    specs = [EntrySpec(age=timedelta(days=400), suffix=".mp3") for _ in times]
    now = datetime.fromisoformat(moment)
    cache = make_cache(folder / "cache" / "narration", now=now, entries=specs)
    index = read_index(cache.index)
    for fields, time in zip(index.values(), times, strict=True):
        fields["created_at"] = time
    write_index(cache.index, index)
    return cache


@pytest.mark.parametrize("name", TABLE)
def test_what_each_time_means(tmp_path: Path, name: str) -> None:
    zone, moment, expected = TABLE[name]
    cache = _cache_of(tmp_path, list(expected), moment)
    code, said = _run_at(
        moment, tmp_path, "run", "--json", "--cache-dir", str(cache.directory), zone=zone
    )
    document = json.loads(said[said.index("{") : said.rindex("}") + 1])
    left = read_index(cache.index)
    with_problem = {problem["subject"] for problem in document["problems"]}
    found = {}
    for entry, time in zip(cache.entries, expected, strict=True):
        gone = entry.key not in left
        assert (cache.directory / entry.name).exists() is not gone
        found[time] = EXPIRED if gone else PROBLEM if entry.key in with_problem else KEPT
    assert found == expected
    assert code == (3 if PROBLEM in expected.values() else 0)


def test_a_zone_is_what_the_service_had_not_what_the_tool_has(tmp_path: Path) -> None:
    """The same index seen from another zone of the tool's own process gives the same answer."""
    moment = "2026-11-23T12:00:00+00:00"
    cache = _cache_of(tmp_path, ["2026-11-16T20:59:59", "2026-11-16T21:00:00"], moment)
    zone = ZoneInfo("Asia/Tokyo")
    assert datetime(2026, 11, 16, 21, tzinfo=zone) + WEEK == datetime.fromisoformat(moment)
    arguments = ["run", "--json", "--cache-dir", str(cache.directory)]
    code, said = _run_at(moment, tmp_path, *arguments, zone="Asia/Tokyo")
    assert code == 0, said
    assert list(read_index(cache.index)) == [cache.entries[1].key]


def test_a_jumped_clock_is_refused_once_and_can_be_overridden(tmp_path: Path) -> None:
    """Ten minutes on the wall clock within a second of boot time: nothing goes, exit 4."""
    times = ["2026-11-16T12:05:00", "2026-11-20T12:00:00"]
    cache = _cache_of(tmp_path, times, "2026-11-23T12:00:00+00:00")
    arguments = ["run", "--json", "--cache-dir", str(cache.directory)]
    code, said = _run_at("2026-11-23T12:00:00+00:00", tmp_path, *arguments)
    assert code == 0, said
    code, said = _run_at("2026-11-23T12:10:00+00:00", tmp_path, *arguments)
    assert code == 4, said
    assert "clock" in said
    assert len(read_index(cache.index)) == 2
    assert (cache.directory / cache.entries[0].name).exists()
    code, said = _run_at("2026-11-23T12:10:00+00:00", tmp_path, *arguments, "--ignore-clock")
    assert code == 0, said
    assert list(read_index(cache.index)) == [cache.entries[1].key]
