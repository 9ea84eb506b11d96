"""An age that made something go reads as past its limit, however little it is past it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narration_cleanup.plan.rules import DAYS, HOURS, MINUTES, Unit, age_past

DAY, HOUR = 86_400.0, 3_600.0
IN_SECONDS = {"s": 1, "min": 60, "h": HOUR, "day": DAY, "days": DAY}


@pytest.mark.parametrize(
    ("age", "limit", "unit", "text"),
    [
        (20.5 * DAY, 7 * DAY, DAYS, "20.5 days"),
        (7 * DAY + 0.01, 7 * DAY, DAYS, "7 days and 1 s"),
        (7 * DAY + 59.9 * 60, 7 * DAY, DAYS, "7 days and 59 min"),
        (7 * DAY + 72 * 60 + 1, 7 * DAY, DAYS, "7.1 days"),
        (DAY + 12 * 60, DAY, DAYS, "1 day and 12 min"),
        (DAY + 60 * 60, DAY, DAYS, "1 day and 1 h"),
        (2.6 * HOUR, HOUR, HOURS, "2.6 h"),
        (HOUR + 2 * 60, HOUR, HOURS, "1 h and 2 min"),
        (HOUR + 30, HOUR, HOURS, "1 h and 30 s"),
        (HOUR + 59.7, HOUR, HOURS, "1 h and 59 s"),
        (1.22 * HOUR, 1.21 * HOUR, HOURS, "1.21 h and 36 s"),
        (300 + 2, 300, MINUTES, "5 min and 2 s"),
        (60 + 2, 60, MINUTES, "1 min and 2 s"),
    ],
)
def test_an_age_in_words(age: float, limit: float, unit: Unit, text: str) -> None:
    assert age_past(age, limit, unit) == text


@given(
    st.floats(0.01, 1_000),
    st.sampled_from([DAYS, HOURS, MINUTES]),
    st.floats(1e-6, 1e6) | st.floats(1e-6, 7_200),
)
def test_what_is_past_reads_as_past(allowed: float, unit: Unit, past: float) -> None:
    limit = round(allowed, 2) * unit.seconds
    parts = re.findall(r"([\d.]+) (\w+)", age_past(limit + past, limit, unit))
    said = sum(float(amount) * IN_SECONDS[name] for amount, name in parts)
    assert said > float(f"{limit / unit.seconds:g}") * unit.seconds
