"""When a run does not trust the clock."""

from __future__ import annotations

import pytest

from narration_cleanup.core.model import Unmatched
from narration_cleanup.plan import CachePolicy, plan_cache
from narration_cleanup.report.history import ClockMark
from narration_cleanup.run.guards import absent, unproved_absence
from tests.plan.surveys import DAY, HOUR, NOW, Survey, entry

LAST = ClockMark("earlier boot", 9 * DAY, NOW - 40 * DAY)
NOW_MARK = ClockMark("this boot", 2 * HOUR, NOW)


def refused(since_boot: float, wall: float, boot: str | None = "this boot") -> ClockMark:
    return ClockMark(boot, since_boot, wall, refused=True)


@pytest.mark.parametrize(
    ("mark", "marks", "days"),
    [
        (NOW_MARK, [LAST], 40),
        (NOW_MARK, [ClockMark("earlier boot", 0, NOW - 30 * DAY)], None),
        (NOW_MARK, [ClockMark(None, 0, NOW - 40 * DAY)], 40),
        (NOW_MARK, [], None),  # nothing to compare with
        (ClockMark("earlier boot", 49 * DAY, NOW), [LAST], None),  # the same boot vouches for it
        (ClockMark(None, 2 * HOUR, NOW), [LAST], None),
        # One refused already: an hour later a clock that kept pace since is believed.
        (NOW_MARK, [refused(HOUR, NOW - HOUR), LAST], None),
        (NOW_MARK, [refused(HOUR + 1, NOW - HOUR + 1), LAST], 40),
        (NOW_MARK, [refused(HOUR, NOW - 9 * DAY), LAST], 40),
        (NOW_MARK, [refused(HOUR, NOW - HOUR, "another boot"), LAST], 40),
        (NOW_MARK, [refused(2 * HOUR - 60, NOW - 60), refused(0, NOW - 2 * HOUR), LAST], None),
    ],
)
def test_a_long_absence_that_only_the_wall_clock_knows_is_not_believed_at_once(
    mark: ClockMark, marks: list[ClockMark], days: int | None
) -> None:
    assert unproved_absence(mark, marks) == (None if days is None else days * DAY)


@pytest.mark.parametrize(
    ("old", "young", "is_most"), [(11, 10, True), (11, 11, False), (10, 0, False), (0, 50, False)]
)
def test_it_matters_where_most_of_the_cache_would_expire(
    old: int, young: int, is_most: bool
) -> None:
    entries = [entry(f"old{n}", age=40 * DAY) for n in range(old)]
    entries += [entry(f"young{n}") for n in range(young)]
    plan = plan_cache(Survey(entries, Unmatched()), CachePolicy(), NOW)
    why = absent(40 * DAY, plan)
    assert (why is not None) is is_most
    if why is not None:
        assert "the last run was 40 days ago" in why
        assert f"{old} of {old + young} entries would expire" in why
    assert absent(None, plan) is None
    assert absent(40 * DAY, None) is None
