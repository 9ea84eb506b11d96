"""Entries that have no file: what is counted, dropped, held and said of them."""

from __future__ import annotations

import pytest

from narration_cleanup.core.model import CacheEntry, Unmatched
from narration_cleanup.plan import CachePlan, CachePolicy, plan_cache
from narration_cleanup.plan.actions import Kind, Reason
from tests.plan.surveys import DAY, MB, NOW, Survey, entry

DROPPING = CachePolicy(remove_dangling=True, keep=("pin*",))


def plan_of(
    entries: list[CacheEntry],
    lost: list[CacheEntry],
    policy: CachePolicy = DROPPING,
    *,
    shared: frozenset[str] = frozenset(),
) -> CachePlan:
    found = Unmatched(dangling=[(each, (7, 8, 9)) for each in lost], shared=shared)
    return plan_cache(Survey(entries, found), policy, NOW, explain=True)


def test_of_entries_without_a_file_each_is_counted_once_by_what_becomes_of_it() -> None:
    live = entry("live", age=DAY, size=5)
    young = entry("young", age=DAY, size=10)
    old = [entry(f"old{number}", age=8 * DAY, size=100) for number in range(2)]
    pinned, pinned_and_old = entry("pin", age=DAY), entry("pin-old", age=9 * DAY)
    there = entry("there", age=8 * DAY, size=1000)
    lost = [young, *old, pinned, pinned_and_old]
    plan = plan_of([live, there, *lost], lost)
    assert plan.by_reason == {Reason.EXPIRED: 3, Reason.DANGLING: 1}
    assert (plan.totals.missing_count, plan.totals.missing_size_bytes) == (2, 200)
    assert plan.without_file == 3, "with the one that is dropped"
    assert [action.lacks_file for action in plan.actions] == [False, True, True, True]
    assert plan.totals.dangling_count == 5
    assert plan.planned_bytes == 1000
    assert (plan.totals.expired_count, plan.totals.expired_size_bytes) == (3, 1200)
    assert plan.held == [("pin-old", "kept by pin*"), ("pin", "kept by pin*")], "each once"
    dropped = plan.actions[3]
    assert dropped.kind is Kind.DROP_ENTRY
    assert (dropped.id, dropped.file, dropped.size_bytes) == ("young", "young.mp3", 0)
    assert (dropped.detail, dropped.ref) == ("its file is gone", (7, 8, 9))
    assert (dropped.voice_style, dropped.variant_id) == ("ghostly_whisper", "variant-1")
    assert dropped.created_at == young.created_at


def test_what_is_kept_is_only_said_where_entries_without_a_file_are_dropped() -> None:
    pinned = entry("pin", age=DAY)
    assert plan_of([pinned, entry("live")], [pinned], CachePolicy(keep=("pin*",))).held == []


@pytest.mark.parametrize("drops", [True, False])
def test_most_of_the_live_entries_without_a_file_are_a_problem(*, drops: bool) -> None:
    """Those that go, with their files or without, are no part of either number."""
    live = [entry(f"live{number}", age=DAY) for number in range(21)]
    old = [entry(f"old{number}", age=8 * DAY) for number in range(40)]
    policy = CachePolicy(remove_dangling=drops)
    plan = plan_of([*live, *old], [*live[:11], old[0]], policy)
    (problem,) = plan.problems
    assert problem.code == "most_files_missing"
    assert problem.message.startswith("11 of 21 entries have no audio file")
    assert plan.by_reason == {Reason.EXPIRED: 40}
    some = plan_of([*live, *old], [*live[:10], old[0]], policy)
    assert list(some.problems) == []
    assert some.by_reason.get(Reason.DANGLING, 0) == (10 if drops else 0)


def test_none_is_dropped_while_most_of_all_entries_have_no_file() -> None:
    """Where some are dropped at once, expired ones without a file are a sign of a restore too."""
    live = [entry(f"live{number}", age=DAY) for number in range(20)]
    old = [entry(f"old{number}", age=8 * DAY) for number in range(30)]
    policy = CachePolicy(remove_dangling=True)
    plan = plan_of([*live, *old], [live[0], *old], policy)
    (problem,) = plan.problems
    assert problem.message.startswith("1 of 20 entries have no audio file")
    assert plan.by_reason == {Reason.EXPIRED: 30}
    nothing_kept = plan_of([*live, *old], old, policy)
    assert list(nothing_kept.problems) == [], "all of them go, so none is kept"


def test_an_entry_that_is_dropped_keeps_its_reason_beside_one_that_expires() -> None:
    """Both name the same file, which is gone."""
    young, old = entry("young", age=DAY, file="x.mp3"), entry("old", age=8 * DAY, file="x.mp3")
    others = [entry("a", age=8 * DAY, size=3), entry("live")]
    plan = plan_of([*others, old, young], [old, young])
    assert [(action.id, action.detail, action.size_bytes) for action in plan.actions] == [
        ("a", "8.0 days old, limit 7", 3),
        ("old", "8.0 days old, limit 7, its file is gone", 0),
        ("young", "its file is gone", 0),
    ]
    assert plan.planned_bytes == 3


def test_a_file_that_is_gone_is_not_counted_as_shared() -> None:
    old = [entry(f"old{number}", age=8 * DAY, file="x.mp3") for number in range(3)]
    other = [entry(f"other{number}", age=8 * DAY, file="y.mp3", size=6) for number in range(3)]
    alone = entry("alone", age=8 * DAY, size=2)
    shared = frozenset({"x.mp3", "y.mp3"})
    plan = plan_of([*old, *other, alone, entry("live")], old, shared=shared)
    assert [action.size_bytes for action in plan.actions] == [0, 0, 0, 6, 0, 0, 2]
    assert [action.detail.rpartition(", ")[2] for action in plan.actions] == [
        *["its file is gone"] * 3,
        "limit 7",
        *["its file is removed with another entry"] * 2,
        "limit 7",
    ]
    assert [action.lacks_file for action in plan.actions] == [*[True] * 3, *[False] * 4]
    assert plan.planned_bytes == 8
    assert plan.totals.missing_count == 3


def test_no_room_is_made_by_an_entry_that_is_dropped() -> None:
    lost = entry("lost", age=DAY, unused=9 * DAY, size=5 * MB)
    live = [entry(f"live{number}", age=DAY, unused=number * DAY) for number in range(3)]
    policy = CachePolicy(remove_dangling=True, evict_above=2 * MB, evict_to=2 * MB)
    plan = plan_of([lost, *live], [lost], policy)
    assert plan.by_reason == {Reason.DANGLING: 1, Reason.EVICTED: 1}
    assert plan.planned_bytes == MB
