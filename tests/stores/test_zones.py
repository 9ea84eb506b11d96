"""The zone of naive times, found out from real files and a real database."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from narration_cleanup.check import Finding, Status, run_checks
from narration_cleanup.core.model import NoProgress, Problems
from narration_cleanup.run.stores import cache_policy, open_targets, request_policy
from narration_cleanup.run.survey import Plans, survey_and_plan
from narration_cleanup.settings import Settings
from tests.core.test_zones import DAY, HOUR, NOW, ZONES, local, naive, written
from tests.settings_help import load


def make_index(folder: Path, zone: str, ages: Sequence[float], *, now: float = NOW) -> None:
    """A cache whose service is in ``zone``; the key of each entry is its age in seconds."""
    folder.mkdir()
    entries = {}
    for age in ages:
        file = folder / f"{age:.0f}.mp3"
        file.write_bytes(b"audio")
        os.utime(file, (now - age, now - age))
        at = written(now - age + 0.05, zone)
        entries[f"{age:.0f}"] = {
            "narration_id": "1",
            "file_path": str(file),
            "created_at": at,
            "last_accessed": at,
            "file_size": 5,
            "variant_id": "v",
            "voice_style": "eerie_narrator",
        }
    (folder / "cache_index.json").write_text(json.dumps(entries, indent=2))


def make_table(path: Path, rows: Sequence[tuple[str, str]], *, last_write: float) -> None:
    """Requests by id and ``created_at``, all being generated."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TABLE requests (request_id TEXT, status TEXT, created_at TEXT, "
            "completed_at TEXT)"
        )
        for name, created in rows:
            connection.execute(
                "INSERT INTO requests VALUES (?, 'generating', ?, NULL)", (name, created)
            )
        connection.commit()
    os.utime(path, (last_write, last_write))


def settings_of(root: Path, **variables: str) -> Settings:
    found = {"NARRATION_CLEANUP_STATE_DIR": str(root / "state")} | variables
    if (root / "cache").exists():
        found["NARRATION_CACHE_DIR"] = str(root / "cache")
    if (root / "r.db").exists():
        found["NARRATION_REQUESTS_DB"] = str(root / "r.db")
    return load(variables=found)


def plans_of(settings: Settings, now: float = NOW) -> Plans:
    policies = cache_policy(settings.cache), request_policy(settings.requests)
    with open_targets(settings, now, Problems()) as targets:
        return survey_and_plan(targets, policies, now, NoProgress())


def expired(plans: Plans) -> set[str]:
    assert plans.cache is not None
    return {action.file.removesuffix(".mp3") for action in plans.cache.actions}


def abandoned(plans: Plans) -> set[str]:
    assert plans.requests is not None
    return {str(action.id) for action in plans.requests.actions}


def codes(plans: Plans) -> set[str]:
    assert plans.cache is not None
    return {problem.code for problem in plans.cache.problems}


@pytest.mark.parametrize("here", ZONES)
@pytest.mark.parametrize("service", ZONES)
def test_entries_expire_to_the_second_wherever_the_service_is(
    fast_path: Path, here: str, service: str
) -> None:
    ages = [60.0, HOUR, DAY, 3 * DAY, 6 * DAY, 7 * DAY - 1, 7 * DAY + 1, 8 * DAY]
    with local(here):
        make_index(fast_path / "cache", service, ages)
        plans = plans_of(settings_of(fast_path))
        gone = {f"{age:.0f}" for age in ages if age > 7 * DAY}
        assert expired(plans) == gone
        differs = naive(NOW, here) != naive(NOW, service)
        assert codes(plans) == ({"zone_differs"} if differs else set())


def test_restored_files_prove_nothing_and_nothing_is_removed_too_early(fast_path: Path) -> None:
    with local("Asia/Tokyo"):
        make_index(fast_path / "cache", "UTC", [DAY, 7 * DAY - 60, 8 * DAY])
        for file in (fast_path / "cache").glob("*.mp3"):
            os.utime(file, (NOW, NOW))
        plans = plans_of(settings_of(fast_path))
        assert expired(plans) == {str(8 * 86_400)}
        assert not codes(plans)


@pytest.mark.parametrize("here", ZONES)
@pytest.mark.parametrize("service", ["local", "UTC"])
def test_in_an_open_zone_the_least_recently_used_are_evicted(
    fast_path: Path, here: str, service: str
) -> None:
    with local(here):
        ages = [HOUR * hours + 600 for hours in range(12)]
        make_index(fast_path / "cache", here if service == "local" else "UTC", ages)
        for file in (fast_path / "cache").glob("*.mp3"):
            os.utime(file, (NOW - DAY, NOW - DAY))
        variables = {
            "NARRATION_CACHE_ENFORCE_MAX_SIZE": "true",
            "NARRATION_CACHE_MAX_SIZE_MB": str(40 / (1 << 20)),
        }
        evicted = expired(plans_of(settings_of(fast_path, **variables)))
        assert evicted == {f"{age:.0f}" for age in ages[-len(evicted) :]}
        assert len(evicted) >= 4


@pytest.mark.parametrize("here", ZONES)
@pytest.mark.parametrize("service", ["local", "UTC"])
@pytest.mark.parametrize("separator", ["T", " "])
@pytest.mark.parametrize("fraction", ["seconds", "microseconds"])
@pytest.mark.parametrize("proved", [True, False])
def test_no_live_request_is_cancelled_and_an_old_one_is_to_the_second_or_the_offset(
    fast_path: Path, here: str, service: str, separator: str, fraction: str, proved: bool
) -> None:
    with local(here):
        zone = here if service == "local" else "UTC"
        ages = {"live": 120.0, "over": HOUR + 2, "old": 30 * HOUR}
        rows = [
            (name, naive(NOW - age, zone).isoformat(separator, fraction))
            for name, age in ages.items()
        ]
        make_table(fast_path / "r.db", rows, last_write=NOW - 119 if proved else NOW)
        found = abandoned(plans_of(settings_of(fast_path)))
        assert "live" not in found
        assert "old" in found
        assert "over" in found or not proved
        variables = {"NARRATION_REQUESTS_TIMEZONE": service}
        assert abandoned(plans_of(settings_of(fast_path, **variables))) == {"over", "old"}


@pytest.mark.parametrize("here", ZONES)
@pytest.mark.parametrize("service", ["local", "UTC"])
def test_the_index_proves_the_zone_of_the_same_services_table(
    fast_path: Path, here: str, service: str
) -> None:
    with local(here):
        zone = here if service == "local" else "UTC"
        make_index(fast_path / "cache", zone, [60.0, HOUR, DAY])
        rows = [("live", written(NOW - 120, zone)), ("over", written(NOW - HOUR - 2, zone))]
        make_table(fast_path / "r.db", rows, last_write=NOW)
        assert abandoned(plans_of(settings_of(fast_path))) == {"over"}


def test_entries_that_name_the_cache_by_another_path_prove_the_zone_of_the_table(
    fast_path: Path,
) -> None:
    with local("Europe/Berlin"):
        make_index(fast_path / "cache", "America/New_York", [60.0 + HOUR * n for n in range(30)])
        index = fast_path / "cache" / "cache_index.json"
        index.write_text(index.read_text().replace(str(fast_path), "/app"))
        rows = [
            (name, written(NOW - age, "America/New_York"))
            for name, age in (("live", 120), ("over", 2 * HOUR))
        ]
        make_table(fast_path / "r.db", rows, last_write=NOW)
        plans = plans_of(settings_of(fast_path))
        assert (expired(plans), abandoned(plans)) == (set(), {"over"})
        assert codes(plans) == {"dir_in_index", "zone_differs"}


def test_a_table_in_utc_beside_an_index_in_local_time(fast_path: Path) -> None:
    """The same written form; the last write allows the later reading, so the index proves none."""
    with local("Asia/Tokyo"):
        make_index(fast_path / "cache", "Asia/Tokyo", [60.0, HOUR, DAY])
        make_table(fast_path / "r.db", [("live", written(NOW - 120, "UTC"))], last_write=NOW)
        assert abandoned(plans_of(settings_of(fast_path))) == set()
        variables = {
            "NARRATION_CLEANUP_TIMEZONE": "Asia/Tokyo",
            "NARRATION_REQUESTS_TIMEZONE": "UTC",
        }
        plans = plans_of(settings_of(fast_path, **variables))
        assert (expired(plans), abandoned(plans), codes(plans)) == (set(), set(), set())


def found_by_check(settings: Settings) -> dict[str, Finding]:
    return {finding.check: finding for finding in run_checks(settings, (), NOW)}


def test_check_names_the_zone_that_times_were_read_in(fast_path: Path) -> None:
    with local("Europe/Berlin"):
        make_index(fast_path / "cache", "UTC", [60.0, HOUR, DAY])
        make_table(fast_path / "r.db", [("live", "2026-11-23 11:00:00")], last_write=NOW)
        found = found_by_check(settings_of(fast_path))
        differs = found["cache.zone_differs"]
        assert differs.status is Status.WARNING
        assert 'set cleanup.timezone to "UTC"' in differs.message
        assert "read in UTC, as 3 audio files prove" in found["cache.times"].message
        (row,) = found["requests.times"].details
        assert row.endswith("1.0 h ago, read in UTC or local time (+01:00)")
        assert found["requests.zone_open"].status is Status.WARNING


def test_a_proof_that_contradicts_the_setting_fails_check(fast_path: Path) -> None:
    with local("Europe/Berlin"):
        make_index(fast_path / "cache", "UTC", [60.0, HOUR, DAY])
        make_table(fast_path / "r.db", [("live", written(NOW, "UTC"))], last_write=NOW)
        found = found_by_check(settings_of(fast_path, NARRATION_CLEANUP_TIMEZONE="local"))
        assert found["cache.zone_contradicted"].status is Status.FAILED
        assert found["requests.zone_contradicted"].status is Status.FAILED
        found = found_by_check(settings_of(fast_path, NARRATION_CLEANUP_TIMEZONE="UTC"))
        assert not [name for name in found if "zone" in name]


@pytest.mark.parametrize("here", ["Europe/Berlin", "UTC", "Europe/London"])
@pytest.mark.parametrize("setting", ZONES)
@pytest.mark.parametrize("service", ZONES)
@pytest.mark.parametrize("is_quiet", [False, True])
def test_a_wrong_setting_costs_nothing_that_lives(
    fast_path: Path, here: str, setting: str, service: str, is_quiet: bool
) -> None:
    """Also where the table proves nothing, since something else was written last."""
    with local(here):
        make_index(fast_path / "cache", service, [60.0, HOUR, DAY, 6.9 * DAY, 8 * DAY])
        rows = [("live", written(NOW - 60, service)), ("old", written(NOW - 20 * HOUR, service))]
        make_table(fast_path / "r.db", rows, last_write=NOW - (0 if is_quiet else 60))
        plans = plans_of(settings_of(fast_path, NARRATION_CLEANUP_TIMEZONE=setting))
        assert expired(plans) == {f"{8 * DAY:.0f}"}
        assert abandoned(plans) == {"old"}


@pytest.mark.parametrize("here", ["UTC", "Europe/London"])
def test_a_wrong_setting_costs_nothing_in_the_hours_after_clocks_change(
    fast_path: Path, here: str
) -> None:
    """By the setting the time is as in the proved zone by now, but was older an hour ago."""
    now = datetime(2026, 10, 25, 1, 10, tzinfo=UTC).timestamp()
    with local(here):
        make_index(fast_path / "cache", "UTC", [HOUR * n + 400 for n in range(30)], now=now)
        ages = {"new": 60.0, "live": 3000.0, "old": 2 * HOUR}
        rows = [(name, written(now - age, "UTC")) for name, age in ages.items()]
        make_table(fast_path / "r.db", rows, last_write=now - 60)
        settings = settings_of(fast_path, NARRATION_CLEANUP_TIMEZONE="Europe/London")
        plans = plans_of(settings, now)
        assert abandoned(plans) == {"old"}
        assert codes(plans) == {"zone_contradicted"}


@pytest.mark.parametrize(
    ("value", "is_reported"),
    [
        ("Foo/Bar", True),
        ("Europe/Berln", True),
        (":Foo", True),
        ("", False),
        ("UTC", False),
        ("UTC0", False),
        ("CET-1CEST,M3.5.0,M10.5.0/3", False),
        ("<+0545>-5:45", False),
    ],
)
def test_a_tz_that_names_no_zone_is_reported(value: str, is_reported: bool) -> None:
    warnings = load(variables={"TZ": value}).warnings
    assert bool(warnings) is is_reported
    assert not warnings or "TZ" in warnings[0]


@pytest.mark.parametrize(
    ("zone", "setting"),
    [("Europe/Berlin", "auto"), ("Europe/Berlin", "local"), ("UTC", "Europe/Berlin")],
)
@pytest.mark.parametrize("month", [3, 10])
def test_no_entry_expires_before_the_services_own_rule_when_clocks_change(
    fast_path: Path, zone: str, setting: str, month: int
) -> None:
    """The service subtracts naive times: after the end of daylight saving an entry is an hour
    younger by its clock than it is, after its beginning an hour older."""
    now = datetime(2026, month, 30 if month == 3 else 28, 12, tzinfo=UTC).timestamp()
    ages = [7 * DAY + minutes * 60.0 for minutes in range(-90, 100, 30)]
    with local(zone):
        make_index(fast_path / "cache", "Europe/Berlin", ages, now=now)
        settings = settings_of(fast_path, NARRATION_CLEANUP_TIMEZONE=setting)
        by_clock = {
            f"{age:.0f}"
            for age in ages
            if naive(now, "Europe/Berlin") - naive(now - age, "Europe/Berlin") > timedelta(days=7)
        }
        elapsed = {f"{age:.0f}" for age in ages if age > 7 * DAY}
        assert by_clock != elapsed
        assert expired(plans_of(settings, now)) == by_clock & elapsed
