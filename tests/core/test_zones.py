"""Which zone naive times are in: the evidence, and the reading where there is none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narration_cleanup.core.timestamps import AUTO, FUTURE_TOLERANCE, reader
from narration_cleanup.core.zones import (
    IndexTimes,
    Sample,
    TableTimes,
    named_offset,
    prove_by_files,
    zone_text,
)
from tests.core.test_timestamps import zone_file

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()
HOUR = 3600.0
DAY = 24 * HOUR
ZONES = ("Europe/Berlin", "Asia/Tokyo", "America/New_York", "UTC", "Asia/Kathmandu")
FORMS: tuple[Callable[[datetime], str], ...] = (
    datetime.isoformat,
    lambda it: it.isoformat(" "),
    lambda it: it.isoformat(timespec="seconds"),
    lambda it: it.isoformat(" ", "seconds"),
)


@contextmanager
def local(zone: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", zone_file(zone))
        time.tzset()
        yield
    time.tzset()


def naive(instant: float, zone: str) -> datetime:
    return datetime.fromtimestamp(instant, ZoneInfo(zone)).replace(tzinfo=None)


def written(instant: float, zone: str) -> str:
    return naive(instant, zone).isoformat(timespec="microseconds")


def samples(zone: str, count: int = 40, *, now: float = NOW) -> list[Sample]:
    """A cache in use: each entry is written some milliseconds after its audio."""
    ages = [nth * 3 * HOUR + nth * 7.3 for nth in range(count)]
    return [Sample(written(now - age + 0.05, zone), now - age) for age in ages]


@pytest.mark.parametrize("here", ZONES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("service", ["local", "UTC"])
@pytest.mark.parametrize("age", [0.0, 300.0, HOUR + 1, 3 * HOUR, 20 * HOUR])
def test_an_open_time_is_never_read_as_older_than_it_is(
    here: str, form: Callable[[datetime], str], service: str, age: float
) -> None:
    with local(here):
        ahead = naive(NOW, here) - naive(NOW, "UTC")
        text = form(naive(NOW - age, here if service == "local" else "UTC"))
        instant = TableTimes(AUTO, NOW).read(text)
        assert instant is not None
        assert NOW - age <= instant <= NOW - age + abs(ahead.total_seconds())
        assert instant <= NOW + FUTURE_TOLERANCE


@given(
    st.sampled_from(ZONES),
    st.booleans(),
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)),
    st.floats(-FUTURE_TOLERANCE, 400 * DAY),
    st.sampled_from(FORMS),
)
def test_no_time_of_the_year_is_read_as_older_than_it_is(
    here: str, in_utc: bool, now: datetime, age: float, form: Callable[[datetime], str]
) -> None:
    at = now.replace(tzinfo=UTC).timestamp()
    with local(here):
        text = form(naive(at - age, "UTC" if in_utc else here))
        instant = reader(AUTO, at + FUTURE_TOLERANCE)(text)
        assert instant is not None
        assert instant > at - age - 1.001


def test_what_is_in_the_future_in_both_zones_is_in_the_future() -> None:
    with local("Europe/Berlin"):
        text = written(NOW + 3 * HOUR, "UTC")
        assert TableTimes(AUTO, NOW).read(text) == NOW + 2 * HOUR
        assert IndexTimes(AUTO, NOW).read(text) == NOW + 2 * HOUR


@pytest.mark.parametrize("here", ZONES)
@pytest.mark.parametrize("service", [*ZONES, "Australia/Lord_Howe"])
def test_audio_proves_the_zone_of_an_index(here: str, service: str) -> None:
    with local(here):
        times = IndexTimes(AUTO, NOW)
        times.judge(samples(service))
        for age in (60.0, 3 * DAY):
            assert times.read(written(NOW - age, service)) == pytest.approx(NOW - age, abs=1e-3)
        differs = named_offset(here, NOW) != named_offset(service, NOW)
        assert [problem.code for problem in times.problems] == ["zone_differs"] * differs
        for problem in times.problems:  # an offset alone is wrong for half the year
            assert ("the service's zone by name" in problem.message) is (times.zone != "UTC")
            assert ('set cleanup.timezone to "UTC"' in problem.message) is (times.zone == "UTC")
            assert len(problem.message) <= 150


@pytest.mark.parametrize(
    "evidence",
    [
        [],
        [Sample(each.text, NOW) for each in samples("Asia/Tokyo")],
        [
            Sample(each.text, each.modified_at + 97.3 * nth)
            for nth, each in enumerate(samples("UTC"))
        ],
        samples("Asia/Tokyo", 2),
        [*samples("Asia/Tokyo", 10), *samples("Europe/Berlin", 10)],
        [Sample("2026-11-23T12:00:00Z", NOW)] * 10,
        [Sample("soon", NOW)] * 10,
    ],
    ids=["no files", "restored", "drifting", "too few", "two services", "with offset", "garbage"],
)
def test_what_does_not_agree_proves_nothing(evidence: list[Sample]) -> None:
    with local("Europe/Berlin"):
        times = IndexTimes(AUTO, NOW)
        times.judge(evidence)
        assert (times.proof, times.zone) == (None, AUTO)
        assert times.read(written(NOW - 5 * DAY, "Europe/Berlin")) == NOW - 5 * DAY + HOUR
        assert not times.problems


def test_a_few_files_that_were_touched_do_not_hide_the_proof() -> None:
    touched = [Sample(each.text, NOW) for each in samples("Asia/Tokyo", 5)]
    with local("Europe/Berlin"):
        proof = prove_by_files([*samples("Asia/Tokyo", 100), *touched], ("local", "UTC"))
        assert proof is not None
        assert proof.zone == "+09:00"
        assert prove_by_files([*samples("Asia/Tokyo", 60), *touched], ("local", "UTC")) is None


def test_an_offset_is_proved_for_the_time_of_its_evidence_alone() -> None:
    """The service was in summer time before: an hour later, rather than an hour too old."""
    with local("Asia/Tokyo"):
        times = IndexTimes(AUTO, NOW)
        times.judge(samples("America/New_York", 20))
        text = written(NOW - 100 * DAY, "America/New_York")
        assert times.read(text) == NOW - 100 * DAY + 2 * HOUR
        assert (
            times.read("2026-08-15T12:00:00Z") == datetime(2026, 8, 15, 12, tzinfo=UTC).timestamp()
        )


@pytest.mark.parametrize("newest_audio", [0.0, 1800.0, 5 * HOUR])
def test_an_offset_that_the_clocks_have_left_cancels_nothing_live(newest_audio: float) -> None:
    """The service, in a zone that only its audio shows, has just ended its summer time."""
    changed = NOW - 600.0 - newest_audio
    with local("Europe/Berlin"):
        proof = [written(changed - age, "Asia/Tokyo") for age in (0.0, 900.0, HOUR, DAY)]
        ages = changed, changed - 900, changed - HOUR, changed - DAY
        index = IndexTimes(AUTO, NOW)
        index.judge([Sample(text, at) for text, at in zip(proof, ages, strict=True)])
        times = TableTimes(AUTO, NOW, index)
        live = written(NOW - 120, "Asia/Shanghai")  # where the clocks are an hour behind Tokyo's
        times.judge([("created_at", live)], NOW - 5)
        assert index.zone == "+09:00"
        assert times.read(live) == NOW - 120


@pytest.mark.parametrize("here", ["UTC", "Europe/Berlin"])
@pytest.mark.parametrize("service", ["America/New_York", "America/Los_Angeles"])
@pytest.mark.parametrize("month_and_day", [(11, 1), (3, 8)])
@pytest.mark.parametrize("newer", [1, 2, 3, 20, 37, 38, 39])
def test_audio_on_both_sides_of_a_change_of_the_clocks_proves_the_offset(
    here: str, service: str, month_and_day: tuple[int, int], newer: int
) -> None:
    """So that requests that are minutes old are not cancelled by the zone that this process has."""
    change = datetime(2026, *month_and_day, 2, tzinfo=ZoneInfo(service)).timestamp()
    now = change + 3 * HOUR
    made = [now - (nth + 1) * 2.9 * HOUR / newer for nth in range(newer)]
    made += [change - (nth + 1) * HOUR for nth in range(40 - newer)]
    with local(here):
        index = IndexTimes(AUTO, now)
        index.judge([Sample(written(at + 0.05, service), at) for at in made])
        assert index.proof is not None
        times = TableTimes(AUTO, now, index)
        live = written(now - 720, service)
        times.judge([("created_at", live)], now - 60)
        assert now - 721 < (times.read(live) or 0.0) <= now - 720 + HOUR
        for at in made:
            assert (index.read(written(at, service)) or 0.0) >= at - 1


def test_local_and_utc_that_agree_now_are_not_told_apart_for_the_summer() -> None:
    with local("Europe/London"):
        times = IndexTimes(AUTO, NOW)
        times.judge(samples("UTC"))
        assert times.zone == AUTO
        assert times.read("2026-07-01T12:00:00") == datetime(2026, 7, 1, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize("here", ZONES)
@pytest.mark.parametrize("service", ["local", "UTC"])
def test_the_last_write_proves_the_zone_of_a_table(here: str, service: str) -> None:
    zone = here if service == "local" else "UTC"
    with local(here):
        times = TableTimes(AUTO, NOW)
        newest = [("created_at", written(NOW - age, zone)) for age in (60.0, DAY)]
        times.judge(newest, NOW - 59.5)
        assert times.read(written(NOW - DAY, zone)) == NOW - DAY
        assert not list(times.problems)


@pytest.mark.parametrize("here", ["Europe/Berlin", "Asia/Tokyo", "America/New_York"])
@pytest.mark.parametrize("made_in", ["local", "UTC"])
@pytest.mark.parametrize("age", [5.0, 600.0])
def test_a_proof_by_one_column_is_none_for_another_that_may_be_later(
    here: str, made_in: str, age: float
) -> None:
    """Created by the service and kept alive by a trigger, or the other way round, in one form."""

    def seconds(instant: float, zone: str) -> str:
        return naive(instant, zone).isoformat(" ", "seconds")

    beaten_in, created_in = ("UTC", here) if made_in == "local" else (here, "UTC")
    with local(here):
        created, beat = seconds(NOW - age, created_in), seconds(NOW, beaten_in)
        times = TableTimes(AUTO, NOW)
        times.judge([("created_at", created), ("heartbeat_at", beat)], NOW)
        for text, column, instant in (
            (created, "created_at", NOW - age),
            (beat, "heartbeat_at", NOW),
        ):
            assert (times.read(text, column) or 0.0) >= instant
        # Both in one zone: what is too new for any other reading is read to the second.
        times = TableTimes(AUTO, NOW)
        same = seconds(NOW - age, beaten_in)
        times.judge([("created_at", same), ("heartbeat_at", beat)], NOW)
        assert times.read(seconds(NOW - DAY, beaten_in)) == NOW - DAY


def test_a_proof_holds_for_one_written_form() -> None:
    """A worker writes local times, the database itself CURRENT_TIMESTAMP."""
    with local("Asia/Tokyo"):
        times = TableTimes(AUTO, NOW)
        forms = written(NOW, "Asia/Tokyo"), "2026-11-23 11:59:59"
        times.judge([("created_at", text) for text in forms], NOW)
        assert times.zone_of(written(NOW, "UTC")) == "local"
        assert times.zone_of("2026-11-23 12:00:00") == "UTC"
        assert times.zone_of("2026-11-23 12:00:00.5") == AUTO


@pytest.mark.parametrize(
    ("index", "table", "age", "expected"),
    [
        # No later reading is possible: the time would be after the last write.
        ("Asia/Tokyo", "Asia/Tokyo", 600.0, 600.0),
        ("UTC", "UTC", 600.0, 600.0),
        ("America/New_York", "America/New_York", 600.0, 600.0),
        # A table in another zone than its index: not older than it is.
        ("Asia/Tokyo", "UTC", 600.0, 600.0),
        ("UTC", "Asia/Tokyo", 600.0, 600.0),
        # A later reading is possible.
        ("Asia/Tokyo", "Asia/Tokyo", 10 * HOUR, HOUR),
    ],
)
def test_the_zone_of_the_index_is_used_for_a_table_unless_it_contradicts(
    index: str, table: str, age: float, expected: float
) -> None:
    with local("Asia/Tokyo"):
        of_index = IndexTimes(AUTO, NOW)
        of_index.judge(samples(index))
        times = TableTimes(AUTO, NOW, of_index)
        newest = written(NOW - age, table)
        times.judge([("created_at", newest)], NOW - 30)
        assert times.read(newest) == NOW - expected


def test_where_nothing_is_proved_one_line_names_the_setting() -> None:
    with local("Europe/Berlin"):
        times = TableTimes(AUTO, NOW)
        times.judge([("created_at", "2026-11-23T09:00:00")], NOW)
        assert not list(times.problems)
        times.read("2026-11-23T09:00:00")
        (problem,) = times.problems
        assert problem.code == "zone_open"
        assert "UTC or local time (+01:00)" in problem.message
        assert "requests.timezone" in problem.message


def test_a_proof_that_contradicts_the_setting_is_a_problem() -> None:
    with local("Europe/Berlin"):
        index = IndexTimes("Asia/Tokyo", NOW)
        index.judge(samples("UTC"))
        table = TableTimes("Asia/Tokyo", NOW, index)
        table.judge([("created_at", written(NOW, "Europe/Berlin"))], NOW)
        assert [each.code for each in (*index.problems, *table.problems)] == [
            "zone_contradicted",
            "zone_contradicted",
        ]
        assert index.read(written(NOW - DAY, "UTC")) == NOW - DAY
        assert table.read(written(NOW - HOUR, "Europe/Berlin")) == NOW - HOUR


def test_a_setting_by_which_times_are_younger_than_by_the_proof_is_used() -> None:
    with local("Europe/Berlin"):
        index = IndexTimes("America/New_York", NOW)
        index.judge(samples("UTC"))
        table = TableTimes("America/New_York", NOW, index)
        table.judge([("created_at", written(NOW - HOUR, "UTC"))], NOW - HOUR)
        assert [each.code for each in (*index.problems, *table.problems)] == [
            "zone_contradicted",
            "zone_contradicted",
        ]
        for times in (index, table):
            assert times.read(written(NOW - DAY, "America/New_York")) == NOW - DAY


@pytest.mark.parametrize("zone", ["Europe/Berlin", "local", "+01:00", "UTC"])
def test_a_setting_that_the_proof_confirms_is_none(zone: str) -> None:
    with local("Europe/Berlin"):
        index = IndexTimes(zone, NOW)
        index.judge(samples("UTC" if zone == "UTC" else "Europe/Berlin"))
        assert index.proof is not None
        assert not index.problems


def test_zones_are_shown_with_their_offset() -> None:
    with local("Asia/Kathmandu"):
        shown = [zone_text(zone, NOW) for zone in ("local", "UTC", "-03:30", "Europe/Berlin", AUTO)]
    assert shown == [
        "local time (+05:45)",
        "UTC",
        "-03:30",
        "Europe/Berlin (+01:00)",
        "UTC or local time (+05:45)",
    ]
    with local("UTC"):
        assert zone_text(AUTO, NOW) == "UTC"


@pytest.mark.parametrize("here", ZONES)
def test_what_is_written_is_read_by_the_next_run(here: str) -> None:
    with local(here):
        times = TableTimes(AUTO, NOW)
        for like in ("2026-11-20T08:00:00.5", "2026-11-20 08:00:00"):
            zone = times.zone_to_write(like)
            text = written(NOW, here if zone == "local" else zone)
            assert times.read(text) == NOW


def test_the_hour_that_is_repeated_is_its_first_pass_while_that_lasts() -> None:
    """The second pass would lie in the future."""
    first = datetime(2026, 10, 25, 0, 20, tzinfo=UTC).timestamp()
    with local("Europe/Berlin"):
        read = reader("local", first + FUTURE_TOLERANCE)
        assert read("2026-10-25T02:10:00") == first - 600
        later = reader("local", first + timedelta(hours=1).total_seconds())
        assert later("2026-10-25T02:10:00") == first - 600 + HOUR


def test_in_its_first_pass_a_local_time_is_not_read_in_the_zone_of_another_column() -> None:
    """West of Greenwich, where that would make it older."""
    created = datetime(2026, 11, 1, 5, 15, 13, tzinfo=UTC).timestamp()
    with local("America/New_York"):
        times = TableTimes(AUTO, created + 700)
        texts = [
            naive(at, zone).isoformat(" ", "seconds")
            for at, zone in (
                (created, "America/New_York"),
                (created + 50, "UTC"),
            )
        ]
        times.judge(zip(("created_at", "started_at"), texts, strict=True), created + 51)
        assert times.zone_of(texts[1], "started_at") == "UTC"
        assert times.read(texts[0]) == created
