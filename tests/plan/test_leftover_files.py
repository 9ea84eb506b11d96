"""Files without an entry: their times, what protects them, and their part of the cache's size."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from narration_cleanup.core.model import NO_MTIME, Problem, Severity, StoredFile, Target, Unmatched
from narration_cleanup.core.timestamps import FUTURE_TOLERANCE
from narration_cleanup.plan import CachePlan, CachePolicy, plan_cache
from narration_cleanup.plan.actions import Reason
from tests.plan.surveys import DAY, HOUR, MB, NOW, Survey, entry, stored

POLICY = CachePolicy(orphan_ttl=7 * DAY, partial_ttl=DAY, sidecar_ttl=7 * DAY)


def planned(survey: Survey, policy: CachePolicy = POLICY) -> CachePlan:
    return plan_cache(survey, policy, NOW, explain=True)


def told(plan: CachePlan) -> list[tuple[str, str | None, str]]:
    return [
        (each.code, each.subject, each.message.partition(" lies in the future, ")[0])
        for each in plan.problems
    ]


LATE = -FUTURE_TOLERANCE - 1


@pytest.mark.parametrize(
    ("file", "as_audio", "as_other"),
    [
        (stored("f", age=-FUTURE_TOLERANCE), None, None),
        (stored("f", age=LATE), "its mtime", "its mtime"),
        (stored("f", age=LATE, by_ctime=True), "its ctime", "its ctime"),
        (stored("f", age=DAY, arrived=LATE), "its ctime", None),
        (stored("f", age=DAY, arrived=-FUTURE_TOLERANCE), None, None),
        (stored("f", age=LATE, arrived=DAY), "its mtime", "its mtime"),
        (stored("f", age=DAY), None, None),
    ],
)
def test_a_time_in_the_future_is_a_problem_where_it_keeps_the_file(
    file: StoredFile, as_audio: str | None, as_other: str | None
) -> None:
    """What was written while the run is at work lies a little in the future, and is none."""
    for found, expected in (
        (Unmatched([file]), as_audio),
        (Unmatched(partials=[file]), as_other),
        (Unmatched(sidecars=[file]), as_other),
    ):
        reported = [each for each in told(planned(Survey(found=found))) if each[0] != "no_mtime"]
        assert reported == ([("created_in_future", "f", expected)] if expected else [])


def test_that_files_have_no_mtime_is_said_once_of_the_first() -> None:
    none = [stored(name, age=DAY, by_ctime=True) for name in ("b.mp3", "c.part", "d.json")]
    files = [stored("a.mp3", age=DAY)]
    warning = Problem(Target.CACHE, "no_mtime", NO_MTIME, "b.mp3", severity=Severity.WARNING)
    found = Unmatched([*files, none[0]], partials=[none[1]], sidecars=[none[2]])
    assert list(planned(Survey(found=found)).problems) == [warning]
    for found, first in (
        (Unmatched(files, partials=none[1:2], sidecars=none[2:]), "c.part"),
        (Unmatched(files, sidecars=none[2:]), "d.json"),
    ):
        assert [each.subject for each in planned(Survey(found=found)).problems] == [first]


def test_the_problems_of_a_survey_are_those_of_the_plan_and_come_first() -> None:
    problem = Problem(Target.CACHE, "malformed_entry", "cannot be read", "k")
    found = Unmatched([stored("f", age=LATE)])
    codes = [each.code for each in planned(Survey(found=found, problems=[problem])).problems]
    assert codes == ["malformed_entry", "created_in_future"]


def test_each_file_is_judged_whatever_came_before_it() -> None:
    """What is pinned, young or in flight does not end the list."""
    files = [
        stored("pin.mp3", age=9 * DAY, size=1, arrived=60),
        stored("moving.mp3", age=9 * DAY, size=2, arrived=60),
        stored("young.mp3", age=DAY, size=4),
        stored("old.mp3", age=9 * DAY, size=8),
    ]
    partials = [
        stored("pin.part", age=9 * DAY, size=16),
        stored("young.part", age=2 * HOUR, size=32),
        stored("old.part", age=9 * DAY, size=64),
    ]
    sidecars = [
        stored("young.json", age=DAY, size=128),
        stored("pin.json", age=9 * DAY, size=256),
        stored("old.json", age=9 * DAY, size=512),
        stored("older.json", age=10 * DAY, size=1024),
    ]
    policy = replace(POLICY, keep=("pin*",))
    plan = planned(Survey(found=Unmatched(files, partials=partials, sidecars=sidecars)), policy)
    assert [(action.id, action.file, action.size_bytes) for action in plan.actions] == [
        ("old.json", "old.json", 512),
        ("older.json", "older.json", 1024),
        ("old.mp3", "old.mp3", 8),
        ("old.part", "old.part", 64),
    ]
    assert [action.created_at for action in plan.actions] == [
        file.modified_at for file in (sidecars[2], sidecars[3], files[3], partials[2])
    ]
    assert [action.ref for action in plan.actions] == [(1, size, 1) for size in (512, 1024, 8, 64)]
    assert plan.by_reason == {Reason.ORPHAN: 3, Reason.PARTIAL: 1}
    assert plan.planned_bytes == 8 + 64 + 512 + 1024
    assert plan.stored_bytes == 4 + 8 + 16 + 32 + 64 + 512 + 1024
    assert plan.totals.orphan_count == 8
    assert plan.totals.orphan_size_bytes == 15 + 128 + 256 + 512 + 1024
    assert plan.held == [
        ("pin.json", "kept by pin*"),
        ("pin.mp3", "kept by pin*"),
        ("moving.mp3", "it arrived less than an hour ago: a later run judges it"),
        ("pin.part", "kept by pin*"),
    ]
    assert [action.detail for action in plan.actions] == [
        "its audio is gone, 9.0 days old, limit 7",
        "its audio is gone, 10.0 days old, limit 7",
        "no entry names it, 9.0 days old, limit 7",
        "left half-written, 9.0 days old, limit 24 h",
    ]


def test_a_sidecar_is_kept_by_the_name_of_its_audio_and_of_its_entry() -> None:
    names = ("pinned.mp3.json", "named.mp3.json", "whole.mp3.json", "gone.mp3.json")
    found = Unmatched(sidecars=[stored(name, age=9 * DAY) for name in names])
    keep = ("pinned", "named.mp3", "whole.mp3.json", "gone.mp3.json.")
    plan = planned(Survey(found=found), CachePolicy(sidecar_ttl=7 * DAY, keep=keep))
    assert [action.id for action in plan.actions] == ["gone.mp3.json"]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (POLICY, 100 + 8 + 32 + 64 + 512),
        (CachePolicy(), 100),
        (CachePolicy(orphan_ttl=7 * DAY), 100 + 8),
        (CachePolicy(partial_ttl=DAY), 100 + 32 + 64),
        (CachePolicy(sidecar_ttl=7 * DAY), 100 + 512),
    ],
)
@pytest.mark.parametrize("has_index", [True, False])
def test_the_size_is_that_of_entries_and_of_files_that_may_go(
    policy: CachePolicy, expected: int, *, has_index: bool
) -> None:
    """Not of what is in flight, or of what a member that cannot be judged may name."""
    found = Unmatched(
        [stored("old.mp3", age=9 * DAY, size=8), stored("moving.mp3", age=DAY, size=2, arrived=60)],
        partials=[
            stored("young.part", age=2 * HOUR, size=32),
            stored("old.part", age=9 * DAY, size=64),
            stored("moving.part", age=60, size=128),
        ],
        sidecars=[
            stored("old.json", age=9 * DAY, size=512),
            stored("young.json", age=DAY, size=1024),
        ],
        unjudged_bytes=2048 if has_index else 0,
    )
    if not has_index:  # then all audio is an entry
        found = Unmatched(partials=found.partials, sidecars=found.sidecars)
        expected -= 8 if policy.orphan_ttl is not None else 0
    entries = [entry("a", size=60), entry("b", size=40)]
    survey = Survey(entries, found, has_sizes_of_files=not has_index)
    assert planned(survey, policy).stored_bytes == expected


def test_sidecars_that_go_make_no_audio_go() -> None:
    live = [entry(f"live{number}", unused=DAY) for number in range(3)]
    found = Unmatched(sidecars=[stored("old.json", age=9 * DAY, size=5 * MB)])
    policy = CachePolicy(sidecar_ttl=7 * DAY, evict_above=3 * MB, evict_to=MB)
    assert [action.id for action in planned(Survey(live, found), policy).actions] == ["old.json"]


def test_a_partial_of_exactly_its_limit_goes_for_room_alone() -> None:
    """And two of one time go in the order they were found in."""
    partials = [stored(name, age=DAY, size=MB) for name in ("z.part", "a.part")]
    survey = Survey([entry("k")], Unmatched(partials=partials))
    assert len(planned(survey, CachePolicy(partial_ttl=DAY)).actions) == 0
    policy = CachePolicy(partial_ttl=DAY, evict_above=MB, evict_to=MB)
    assert [(action.id, action.detail) for action in planned(survey, policy).actions] == [
        ("z.part", "left half-written, cache over 1 MB"),
        ("a.part", "left half-written, cache over 1 MB"),
    ]
    one = CachePolicy(partial_ttl=DAY, evict_above=2 * MB, evict_to=2 * MB)
    assert [action.id for action in planned(survey, one).actions] == ["z.part"]


@pytest.mark.parametrize("age", [2 * HOUR, DAY])
def test_a_partial_that_arrived_within_the_hour_is_no_room_and_makes_none(age: float) -> None:
    """It may be written to yet, whatever its mtime; of exactly its limit it is not too old."""
    partials = [stored("moving.part", age=age, size=2 * MB, arrived=60)]
    entries = [entry(f"k{number}", unused=number * DAY) for number in range(3)]
    survey = Survey(entries, Unmatched(partials=partials))
    plan = planned(survey, CachePolicy(partial_ttl=DAY, evict_above=2 * MB, evict_to=2 * MB))
    assert plan.stored_bytes == 3 * MB
    assert [action.id for action in plan.actions] == ["k2"]


def test_a_file_that_goes_for_room_has_its_age_in_tenths_of_days() -> None:
    found = Unmatched([stored("a.mp3", age=1.26 * DAY, size=MB)])
    policy = CachePolicy(orphan_ttl=7 * DAY, evict_above=MB, evict_to=MB)
    (action,) = planned(Survey([entry("k")], found), policy).actions
    assert action.detail == "no entry names it, 1.3 days old, cache over 1 MB"


def test_files_that_may_not_go_are_not_taken_for_room() -> None:
    """Audio that no entry names may be another program's, or that of an entry yet to come."""
    files = [stored("a.mp3", age=9 * DAY, size=MB), stored("b.mp3", age=DAY, size=MB, arrived=60)]
    entries = [entry("k", unused=DAY), entry("l", unused=HOUR)]
    survey = Survey(entries, Unmatched(files))
    policy = CachePolicy(evict_above=MB, evict_to=MB)
    plan = planned(survey, policy)
    assert [action.id for action in plan.actions] == ["k"]
    assert (plan.totals.orphan_count, plan.totals.orphan_size_bytes) == (2, 2 * MB)
    younger = Survey(entries, Unmatched(files[1:]))
    policy = replace(policy, orphan_ttl=7 * DAY)
    assert [action.id for action in planned(younger, policy).actions] == ["k"]


def test_a_pattern_that_keeps_a_partial_or_a_sidecar_has_matched_something() -> None:
    found = Unmatched(
        partials=[stored("a.mp3.part", age=DAY)], sidecars=[stored("b.mp3.json", age=9 * DAY)]
    )
    for pattern in ("a.mp3", "a.mp3.part", "b", "b.mp3", "b.mp3.json"):
        policy = replace(POLICY, keep=(pattern,))
        assert list(planned(Survey(found=found), policy).problems) == []
    missed = planned(Survey(found=found), replace(POLICY, keep=("c",)))
    assert [each.code for each in missed.problems] == ["keep_matches_nothing"]
