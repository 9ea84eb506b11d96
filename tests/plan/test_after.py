"""What a plan leaves is what a second survey finds, or it is not known without one."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from narration_cleanup.core.model import Problem, Problems, Target, Unmatched
from narration_cleanup.plan import (
    CachePlan,
    CachePolicy,
    RequestPlan,
    plan_after,
    plan_cache,
    requests_after,
)
from narration_cleanup.plan.actions import Reason
from narration_cleanup.plan.requests import FUTURE
from narration_cleanup.plan.types import CacheTotals, RequestTotals
from tests.plan.surveys import DAY, HOUR, MB, NOW, Survey, entry, stored

POLICY = CachePolicy(
    orphan_ttl=7 * DAY, partial_ttl=DAY, sidecar_ttl=7 * DAY, evict_above=50 * MB, evict_to=MB
)


def test_what_is_left_is_what_a_second_survey_finds() -> None:
    lost, lost_and_old = entry("lost", age=DAY), entry("lost-and-old", age=8 * DAY)
    going = [entry("old", age=9 * DAY, size=70), lost_and_old, entry("empty", age=3 * DAY, size=0)]
    kept = [entry("young", age=2 * DAY), lost, entry("odd", age=None, voice="another", size=3)]
    young, partial = stored("young.mp3", age=5 * HOUR, size=11), stored("new.part", age=2 * HOUR)
    orphans = [stored("o1.mp3", age=8 * DAY, size=100), stored("o2.mp3", age=9 * DAY, size=20)]
    before = Survey(
        [*going, *kept],
        Unmatched(
            [young, *orphans],
            dangling=[(lost, (1, 0, 0)), (lost_and_old, (2, 0, 0))],
            partials=[partial, stored("old.part", age=3 * DAY, size=5)],
            sidecars=[stored("alone.json", age=8 * DAY, size=7)],
        ),
        empty_files={"empty.mp3": NOW - 2 * HOUR},
        problems=[Problem(Target.CACHE, "malformed_entry", "cannot be read", "x")],
        unjudged=1,
        more_bytes=40,
        whole_sizes={"old": 100},
    )
    plan = plan_cache(before, POLICY, NOW, explain=True)
    assert Counter(action.reason for action in plan.actions) == plan.by_reason
    assert plan.by_reason == {
        Reason.EXPIRED: 2,
        Reason.EMPTY: 1,
        Reason.ORPHAN: 3,
        Reason.PARTIAL: 1,
    }
    after = replace(
        before,
        entries=kept,
        found=Unmatched([young], dangling=[(lost, (1, 0, 0))], partials=[partial]),
        empty_files={},
        more_bytes=10,
    )
    left = plan_after(plan)
    assert left is not None
    assert left.totals == plan_cache(after, POLICY, NOW).totals
    assert left.totals.dangling_count == 1
    assert (left.totals.orphan_count, left.totals.orphan_size_bytes) == (1, 11)
    assert left.totals.entry_count == 4
    assert len(left.actions) == 0
    assert left.explain
    assert left.problems is plan.problems


def test_where_nothing_was_an_orphan_none_is_taken_off() -> None:
    partial = stored("old.part", age=3 * DAY, size=5)
    found = Unmatched([stored("young.mp3", age=5 * HOUR, size=11)], partials=[partial])
    left = plan_after(plan_cache(Survey(found=found), POLICY, NOW))
    assert left is not None
    assert (left.totals.orphan_count, left.totals.orphan_size_bytes) == (1, 11)


def test_evictions_dropped_entries_and_shared_sidecars_need_a_second_survey() -> None:
    old, lost = entry("old", age=8 * DAY), entry("lost", age=DAY)
    evicting = CachePolicy(evict_above=1, evict_to=1)
    assert plan_after(plan_cache(Survey([entry("k")]), evicting, NOW)) is None
    dropping = CachePolicy(remove_dangling=True)
    dangling = Unmatched(dangling=[(lost, (0, 0, 0))])
    assert plan_after(plan_cache(Survey([lost], dangling), dropping, NOW)) is None
    for shares, known in ((True, False), (False, True)):
        shared = entry("both", age=8 * DAY, sidecars=("both.json",), shares_sidecars=shares)
        plan = plan_cache(Survey([shared, old]), POLICY, NOW)
        assert (plan_after(plan) is not None) is known
    unplanned = CachePlan(CacheTotals(7 * DAY))
    assert plan_after(unplanned) is None, "nothing is known of the entries that stay"


BY_STATUS = {"queued": 5, "generating": 2, "completed": 4, "failed": 1, "odd": 3}


def test_requests_are_cancelled_or_gone() -> None:
    kept = Problems()
    kept.add(Problem(Target.REQUESTS, "unknown_status", "an unknown status", "7"))
    plan = RequestPlan(RequestTotals(dict(BY_STATUS), {"queued": 2, "generating": 1}), kept)
    left = requests_after(plan, {"queued": 2, "generating": 1}, {"failed": 1, "completed": 2})
    assert left is not None
    assert left.totals == RequestTotals(
        {"queued": 3, "generating": 1, "completed": 2, "odd": 3, "cancelled": 3}
    )
    assert left.problems is kept
    assert len(left.actions) == 0
    stopped = requests_after(plan, {"queued": 1}, {})
    assert stopped is not None
    assert stopped.totals.abandoned_by_status == {"queued": 1, "generating": 1}
    again = requests_after(
        RequestPlan(RequestTotals({"queued": 2, "cancelled": 4})), {"queued": 1}, {}
    )
    assert again is not None
    assert again.totals.by_status == {"queued": 1, "cancelled": 5}
    nothing = requests_after(RequestPlan(RequestTotals(dict(BY_STATUS))), {}, {})
    assert nothing is not None
    assert nothing.totals.by_status == BY_STATUS


@pytest.mark.parametrize(
    ("cancelled", "codes"),
    [({"queued": 6}, []), ({"queued": 1}, ["odd", FUTURE]), ({"queued": 1}, [FUTURE])],
)
def test_more_than_there_were_or_a_time_in_the_future_needs_a_second_survey(
    cancelled: dict[str, int], codes: list[str]
) -> None:
    """The problem may be that of a row which was cancelled, and the count that of another time."""
    plan = RequestPlan(RequestTotals(dict(BY_STATUS)))
    plan.problems.extend(Problem(Target.REQUESTS, code, "", "7") for code in codes)
    assert requests_after(plan, cancelled, {}) is None
