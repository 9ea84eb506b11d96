"""An interval, as timers and cron say it."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narration_cleanup.systemd.interval import calendar_of, cron_times_of, delay_of, span, timing_of


@pytest.mark.parametrize(
    ("hours", "expression"),
    [
        (6, "*-*-* 00/6:00:00"),
        (24, "*-*-* 00:00:00"),
        (12, "*-*-* 00/12:00:00"),
        (1, "*-*-* *:00:00"),
        (0.5, "*-*-* *:00/30:00"),
        (1 / 60, "*-*-* *:*:00"),
        (1 / 3, "*-*-* *:00/20:00"),
    ],
)
def test_what_divides_the_day_or_the_hour_is_a_calendar(hours: float, expression: str) -> None:
    assert calendar_of(hours) == expression
    assert timing_of(hours).lines == (f"OnCalendar={expression}", "Persistent=true")


@pytest.mark.parametrize(
    ("hours", "after"),
    [(5, "5h"), (7, "7h"), (1.5, "5400s"), (48, "48h"), (0.0125, "45s"), (1e-9, "1s")],
)
def test_what_a_calendar_cannot_say_counts_from_the_last_run(hours: float, after: str) -> None:
    timing = timing_of(hours)
    assert timing.lines == ("OnActiveSec=15min", f"OnUnitActiveSec={after}")
    assert not timing.on_calendar
    assert "a calendar cannot say this evenly" in timing.words
    # systemd has Persistent= for calendars alone, and ignores it silently beside anything else.
    assert not any(line.startswith("Persistent") for line in timing.lines)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
@pytest.mark.parametrize("hours", [1 / 60, 0.25, 0.5, 1, 2, 3, 4, 6, 8, 12, 24])
def test_systemd_steps_as_the_interval_says(hours: float) -> None:
    expression = calendar_of(hours)
    assert expression is not None
    shown = subprocess.run(
        [
            *("systemd-analyze", "calendar", "--base-time=2026-03-01 00:00:01"),
            *("--iterations=30", expression),
        ],
        env={"PATH": "/usr/bin:/bin", "TZ": "UTC"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    words = [line.split() for line in shown.splitlines() if "UTC" in line]
    stamps = [f"{each[-3]}T{each[-2]}" for each in words]
    times = [datetime.fromisoformat(stamp) for stamp in stamps]
    steps = {later - earlier for earlier, later in itertools.pairwise(times)}
    assert len(times) == 30
    assert steps == {timedelta(hours=hours)}


@given(st.floats(min_value=1e-6, max_value=8_760_000, allow_nan=False))
def test_every_interval_has_a_timing_and_a_delay_well_within_it(hours: float) -> None:
    timing = timing_of(hours)
    assert timing.on_calendar == (calendar_of(hours) is not None)
    if not timing.on_calendar:  # no "1e-05s": systemd would not read it
        assert re.fullmatch(r"OnUnitActiveSec=[0-9]+(\.[0-9]+)?[hs]", timing.lines[1])
    assert 0 <= delay_of(hours) <= min(1800, hours * 3600 / 12)


@pytest.mark.parametrize(
    ("hours", "times", "even"),
    [
        (6, "17 */6 * * *", True),
        (1, "17 * * * *", True),
        (24, "17 0 * * *", True),
        (0.5, "*/30 * * * *", True),
        (5, "17 */4 * * *", False),
        (7, "17 */6 * * *", False),
        (48, "17 0 * * *", False),
        (0.001, "* * * * *", False),
    ],
)
def test_cron_says_it_or_the_next_shorter_one(hours: float, times: str, even: bool) -> None:
    assert cron_times_of(hours) == (times, even)


@pytest.mark.parametrize(
    ("hours", "words"),
    [
        (6, "6 hours"),
        (1, "1 hour"),
        (1.5, "90 minutes"),
        (1 / 60, "1 minute"),
        (0.01, "36 seconds"),
    ],
)
def test_an_interval_in_words(hours: float, words: str) -> None:
    assert span(hours) == words
