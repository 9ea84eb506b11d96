"""Times as services write them, read as instants; and instants written in a column's own form."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from zoneinfo import TZPATH, ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narration_cleanup.core.errors import ConfigError
from narration_cleanup.core.timestamps import format_like, from_number, iso, reader
from tests.run_at import stopped_clock
from tests.settings_help import load

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",  # changed its clocks at a minute past midnight
    "Australia/Lord_Howe",  # half an hour of daylight saving
    "Asia/Kathmandu",
    "Pacific/Apia",  # left out a whole day
)


def instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def zone_file(zone: str) -> str:
    """For $TZ: a zone by its file, since a machine without tzdata has it in a package at most."""
    folders = [*map(Path, TZPATH), Path(str(files("tzdata"))) / "zoneinfo"]
    return f":{next(folder / zone for folder in folders if (folder / zone).is_file())}"


def later_reading(naive: datetime, zone: str) -> float:
    """What the standard library says, both folds considered."""
    aware = naive.replace(tzinfo=ZoneInfo(zone))
    return max(aware.replace(fold=fold).timestamp() for fold in (0, 1))


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("2026-11-23T12:00:00", "UTC", "2026-11-23T12:00:00+00:00"),
        ("2026-11-23T12:00:00.000001", "UTC", "2026-11-23T12:00:00.000001+00:00"),
        ("2026-11-23 12:00:00", "Europe/Berlin", "2026-11-23T11:00:00+00:00"),
        ("2026-07-23T12:00:00", "Europe/Berlin", "2026-07-23T10:00:00+00:00"),
        ("2026-11-23T12:00:00Z", "Europe/Berlin", "2026-11-23T12:00:00+00:00"),
        ("2026-11-23T12:00:00.5+05:45", "UTC", "2026-11-23T06:15:00.5+00:00"),
        # The hour that the end of daylight saving repeats: its second pass.
        ("2026-10-25T02:30:00", "Europe/Berlin", "2026-10-25T01:30:00+00:00"),
        ("2026-10-25T01:59:59", "Europe/Berlin", "2026-10-24T23:59:59+00:00"),
        ("2026-10-25T03:00:00", "Europe/Berlin", "2026-10-25T02:00:00+00:00"),
        # The hour that its beginning skips: as the clock showed it before the change.
        ("2026-03-29T02:30:00", "Europe/Berlin", "2026-03-29T01:30:00+00:00"),
        ("2026-03-29T01:59:59", "Europe/Berlin", "2026-03-29T00:59:59+00:00"),
        ("2026-03-29T03:00:00", "Europe/Berlin", "2026-03-29T01:00:00+00:00"),
        # Half an hour repeated.
        ("2026-04-05T01:45:00", "Australia/Lord_Howe", "2026-04-04T15:15:00+00:00"),
        ("2026-04-05T01:15:00", "Australia/Lord_Howe", "2026-04-04T14:15:00+00:00"),
        ("2000-01-01T00:00:00", "UTC", "2000-01-01T00:00:00+00:00"),
        ("20261123T120000", "Europe/Berlin", "2026-11-23T11:00:00+00:00"),
        ("20261123 120000.5", "UTC", "2026-11-23T12:00:00.5+00:00"),
        ("20261123T120000z", "Europe/Berlin", "2026-11-23T12:00:00+00:00"),
        ("2026-11-23T12:00:00z", "Europe/Berlin", "2026-11-23T12:00:00+00:00"),
        ("2026-11-23T12:00:00", "+05:45", "2026-11-23T06:15:00+00:00"),
        ("2026-11-23T12:00:00", "-03:30", "2026-11-23T15:30:00+00:00"),
    ],
)
def test_texts_are_read_in_their_zone(text: str, zone: str, expected: str) -> None:
    assert reader(zone)(text) == instant(expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-23",
        "20261123",
        "2026-W48-1",
        "2026-W48-1T12:00:00",
        "2026-W48-1T12:00:00Z",
        "20261123T240000",
        "202611-23T120000",
        "2026-11-23T24:30:00",
        "2026-02-30T12:00:00",
        "2026-11-23x12:00:00",
        "2026-11-23T12:00:00 and more",
        "２０２６-11-23T12:00:00",
        "0001-01-01T00:00:00",
        "0001-01-01T00:00:00Z",
        "1970-01-01T00:00:00Z",
        "1970-01-01 01:00:00",
        "1999-12-31T23:59:59",
        "9999-12-31T23:59:59",
        "yesterday",
        "\ud800",
        "1795521600",
        "2026-11-23T12:00:00\n",
    ],
)
def test_what_is_no_time_of_day_is_unreadable(text: str) -> None:
    """Also after a good time of the same hour has been read, which is remembered."""
    read = reader("Europe/Berlin")
    assert read("2026-11-23T12:00:00") is not None
    assert read(text) is None
    assert read(text) is None


@pytest.mark.parametrize("zone", ZONES)
@given(st.datetimes(datetime(2000, 1, 2), datetime(2037, 1, 1)))
def test_any_time_is_read_as_the_standard_library_reads_its_later_fold(
    zone: str, naive: datetime
) -> None:
    assert reader(zone)(naive.isoformat()) == later_reading(naive, zone)


@pytest.mark.parametrize("zone", ZONES)
def test_every_quarter_of_an_hour_of_a_year_is_read_right(zone: str) -> None:
    """All changes of the clocks in a year lie in it; 2011 is when Apia left out a day."""
    read = reader(zone)
    begin = datetime(2011 if zone == "Pacific/Apia" else 2026, 1, 1)
    for number in range(365 * 96):
        naive = begin + timedelta(minutes=15 * number)
        assert read(naive.isoformat()) == later_reading(naive, zone), naive


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
def test_local_is_the_zone_of_the_process(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone_file(zone))
    time.tzset()
    local, named = reader("local"), reader(zone)
    for number in range(365 * 24):
        text = (datetime(2026, 1, 1) + timedelta(minutes=60 * number + 45)).isoformat()
        assert local(text) == named(text), text


def test_local_is_the_zone_of_the_process_at_a_frozen_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TZ", zone_file("Asia/Kathmandu"))
    time.tzset()
    with stopped_clock():
        assert reader("local")("2026-11-23T12:00:00") == instant("2026-11-23T06:15:00+00:00")


def test_a_million_different_hours_do_not_fill_the_memory() -> None:
    """Hostile input; what is remembered is bounded, and the answers stay right."""
    read = reader("UTC")
    for number in range(50_000):
        moment = datetime(2000, 1, 1) + timedelta(hours=number)
        assert read(moment.isoformat()) == moment.replace(tzinfo=UTC).timestamp()


def test_utc_needs_no_time_zone_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small Debian has none; the whole of SQLite's CURRENT_TIMESTAMP is read as UTC."""

    def unknown(zone: str) -> ZoneInfo:
        raise KeyError(zone)

    monkeypatch.setattr("zoneinfo.ZoneInfo", unknown)
    assert (
        reader("UTC")("2026-11-23 12:00:00") == datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()
    )
    assert load(variables={"NARRATION_CLEANUP_TIMEZONE": "UTC"}).cleanup.timezone == "UTC"
    with pytest.raises(ConfigError, match="does not know the time zone"):
        reader("Europe/Berlin")


def test_an_unknown_zone_is_a_fault_in_the_settings() -> None:
    with pytest.raises(ConfigError, match=r"cleanup\.timezone: .*'Europe/Atlantis'"):
        reader("Europe/Atlantis")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1795521600, 1795521600.0),
        (1795521600.25, 1795521600.25),
        (1795521600250, 1795521600.25),
        (0, None),
        (946684800, 946684800.0),
        (946684799, None),
        (946684799999, None),
        (2461368.0, None),  # a Julian day
        (1795521600000000, 1795521600.0),
        (1795521600000000000, 1795521600.0),
        (17955216000000000000000, None),  # microseconds
        (-1795521600, None),
        (float("nan"), None),
        (float("inf"), None),
    ],
)
def test_numbers_have_the_unit_that_their_size_shows(value: float, expected: float | None) -> None:
    assert from_number(value) == expected


def test_iso_has_the_offset() -> None:
    assert iso(instant("2026-11-23T13:00:00+01:00")) == "2026-11-23T12:00:00+00:00"


@pytest.mark.parametrize(
    ("examples", "expected"),
    [
        (["2026-11-20T08:00:00.123456"], "2026-11-23T13:00:00.250000"),
        (["2026-11-20T08:00:00", "2026-11-20T08:00:00.123456"], "2026-11-23T13:00:00.250000"),
        (["2026-11-20T08:00:00"], "2026-11-23T13:00:00"),
        (["2026-11-20 08:00:00.123456"], "2026-11-23 13:00:00.250000"),
        (["2026-11-20 08:00:00"], "2026-11-23 17:45:00"),
        (["2026-11-20T08:00:00Z"], "2026-11-23T12:00:00Z"),
        (["2026-11-20T08:00:00.123Z"], "2026-11-23T12:00:00.250Z"),
        (["2026-11-20T08:00:00+00:00"], "2026-11-23T12:00:00+00:00"),
        (["2026-11-20T08:00:00+01:00", "2026-07-20T08:00:00+02:00"], "2026-11-23T13:00:00+01:00"),
        ([1795521600], 1795435200),
        ([1795521600.5], 1795435200.25),
        ([1795521600000], 1795435200250),
        ([1795521600000000], 1795435200250000),
        ([1795521600000000000], 1795435200250000000),
        (["1795521600"], "1795435200"),
        (["1795521600.5", "1795521600.4691238"], "1795435200.2500000"),
        (["1795521600000000"], "1795435200250000"),
        (["2026-11-20T08:00:00,123Z"], "2026-11-23T12:00:00,250Z"),
        (["2026-11-20T08:00:00,123"], "2026-11-23T13:00:00,250"),
        (["2026-11-20 08:00:00+00"], "2026-11-23 12:00:00+00"),
        (["2026-11-20 08:00:00.5+0000"], "2026-11-23 12:00:00.2+0000"),
        (["2026-11-20T08:00:00+09"], "2026-11-23T21:00:00+09"),
        (["2026-11-20T08:00:00+0530"], "2026-11-23T17:30:00+0530"),
        (["2026-11-20T08:00:00-08:00"], "2026-11-23T04:00:00-08:00"),
        (
            ["2026-11-20T08:00:00+01:00", *["2026-07-20T08:00:00+02:00"] * 2],
            "2026-11-23T14:00:00+02:00",
        ),
        (["2026-11-20T08:00:00+99"], None),
        (["2026-11-20T08:00"], "2026-11-23T13:00"),
        (["2026-11-20T080000Z"], "2026-11-23T120000Z"),
        (["20261120T080000"], "20261123T130000"),
        (["20261120 080000.5"], "20261123 130000.2"),
        (["20261120T080000z"], "20261123T120000z"),
        (["2026-11-20T08:00:00.123z"], "2026-11-23T12:00:00.250z"),
        ([None, "nonsense", b"2026-11-20T08:00:00".decode(), 3], "2026-11-23T13:00:00"),
        ([1795521600, "2026-11-20T08:00:00", "2026-11-21T08:00:00"], "2026-11-23T13:00:00"),
        ([], None),
        ([None, "nonsense", 0], None),
    ],
)
def test_a_time_is_written_in_the_form_that_the_others_have(
    examples: Sequence[str | int | float | None], expected: str | int | float | None
) -> None:
    moment = instant("2026-11-23T12:00:00.25+00:00")
    written = format_like(
        examples,
        moment,
        lambda like: "+05:45" if len(like) == 19 and " " in like else "Europe/Berlin",
    )
    assert (written, type(written)) == (expected, type(expected))
