"""A column of times, by the format that is set or by what its values look like."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narration_cleanup.core.errors import TargetError
from narration_cleanup.core.zones import TableTimes
from narration_cleanup.stores.requests.column_times import ColumnTimes
from narration_cleanup.stores.requests.mapping import RequestMapping, TimeFormat

NOON = datetime.fromisoformat("2026-11-23T12:00:00+00:00").timestamp()


def column(time_format: TimeFormat, zone: str = "Europe/Berlin") -> ColumnTimes:
    mapping = RequestMapping(time_format=time_format, timezone=zone)
    return ColumnTimes("made", mapping, "requests.db", TableTimes(zone, NOON))


@pytest.mark.parametrize(
    ("time_format", "value", "expected"),
    [
        ("auto", "2026-11-23T13:00:00", NOON),
        ("auto", "2026-11-23 13:00:00.000", NOON),
        ("auto", "2026-11-23 13:00:00", NOON),
        ("auto", "2026-11-23T12:00:00Z", NOON),
        ("auto", "2026-11-23 12:00:00+00:00", NOON),
        ("auto", int(NOON), NOON),
        ("auto", NOON + 0.5, NOON + 0.5),
        ("auto", int(NOON) * 1000, NOON),
        ("auto", str(int(NOON)), NOON),
        ("auto", f"{NOON}", NOON),
        ("auto", 2461368.0, None),
        ("auto", "20261123", None),
        ("iso", "2026-11-23 13:00:00", NOON),
        ("iso", "2026-11-23T12:00:00Z", NOON),
        ("iso", str(int(NOON)), None),
        ("iso", int(NOON), None),
        ("unix", int(NOON), NOON),
        ("unix", str(int(NOON)), NOON),
        ("unix", 86_400, None),
        ("unix", 946_684_800, 946_684_800.0),
        ("unix", -1, None),
        ("unix_ms", int(NOON), None),
        ("auto", "0001-01-01T00:00:00Z", None),
        ("iso", "1970-01-01T00:00:00Z", None),
        ("unix", "2026-11-23T12:00:00Z", None),
        ("unix", float("inf"), None),
        ("unix_ms", int(NOON) * 1000, NOON),
        ("unix_ms", NOON * 1000 + 0.5, NOON + 0.0005),
        ("unix_ms", "2026-11-23T12:00:00Z", None),
        ("auto", None, None),
        ("auto", b"2026-11-23T12:00:00Z", None),
        ("unix", "1" * 5000, None),
        ("auto", "1" * 5000, None),
        ("auto", "\udcff", None),
    ],
)
def test_a_value_is_read(
    time_format: TimeFormat, value: str | float | bytes | None, expected: float | None
) -> None:
    assert column(time_format)(value) == expected


@pytest.mark.parametrize(
    ("zone", "values"),
    [
        ("Europe/Berlin", [1795430000, "2026-11-23T12:00:00"]),
        ("Europe/Berlin", ["2026-11-23T12:00:00Z", "1795430000"]),
        ("Europe/Berlin", ["2026-11-23 12:00:00", 1795430000.5]),
    ],
)
def test_a_mixture_that_cannot_be_told_apart_is_refused(
    zone: str, values: Sequence[str | float | None]
) -> None:
    read = column("auto", zone)
    with pytest.raises(TargetError, match=r"requests\.db: column made holds both ") as fault:
        list(map(read, values))
    assert fault.value.code == "mixed_times"
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize(
    ("zone", "values"),
    [
        # Each says for itself what it is.
        ("Europe/Berlin", ["2026-11-23T12:00:00", "2026-11-23T12:00:00Z", "2026-11-23 12:00:00"]),
        ("Europe/Berlin", [1795430000, 1795430000000, "1795430000", 1795430000.5]),
        ("auto", ["2026-11-23 12:00:00", "2026-11-23 12:00:00.25"]),
        # What is no time is no form of one.
        ("Europe/Berlin", ["2026-11-23T12:00:00", 0, "soon", None, 12345]),
    ],
)
def test_a_mixture_that_can_be_told_apart_is_read_value_by_value(
    zone: str, values: Sequence[str | float | None]
) -> None:
    read = column("auto", zone)
    assert [read(value) for value in values] == [column("auto", zone)(each) for each in values]


@given(st.one_of(st.text(), st.integers(), st.floats(), st.binary(), st.none()))
def test_anything_at_all_is_read_or_not(value: str | float | bytes | None) -> None:
    formats: tuple[TimeFormat, ...] = ("auto", "iso", "unix", "unix_ms")
    for time_format in formats:
        found = column(time_format)(value)
        assert found is None or isinstance(found, float)
