"""What goes for size: checked against ten plain lines, and at its edges."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narration_cleanup.core.model import CacheEntry, Unmatched
from narration_cleanup.plan import CachePlan, CachePolicy, plan_cache
from narration_cleanup.plan.actions import Reason
from tests.plan.surveys import DAY, HOUR, MB, NOW, Survey, entry, stored


def reference(entries: Sequence[CacheEntry], above: int, to: int, pinned: str) -> list[str]:
    """The ten lines: oldest use first, until what stays is small enough."""
    staying = [e for e in entries if e.created_at is None or NOW - e.created_at <= 7 * DAY]
    pins = [e for e in entries if e not in staying and e.key.startswith(pinned)]
    size = sum(e.size_bytes for e in staying + pins)
    evicted: list[str] = []
    if size > above:
        for e in sorted(staying, key=lambda e: (e.last_used_at is None, e.last_used_at)):
            if size > to and e.size_bytes and e.last_used_at and not e.key.startswith(pinned):
                evicted.append(e.key)
                size -= e.size_bytes
    return evicted


def evicted(plan: CachePlan) -> list[str]:
    return [str(a.id) for a in plan.actions if a.reason is Reason.EVICTED]


days = st.integers(0, 10).map(lambda number: number * DAY)
caches = st.lists(
    st.tuples(
        st.sampled_from("abp"),
        st.one_of(st.none(), days),
        st.one_of(st.none(), days),
        st.integers(0, 5),
    ),
    max_size=30,
).map(
    lambda made: [
        entry(f"{letter}{number}", age=age, unused=unused, size=size)
        for number, (letter, age, unused, size) in enumerate(made)
    ]
)


@given(caches, st.integers(0, 60), st.integers(0, 100))
def test_the_least_recently_used_go_as_in_the_reference(
    entries: list[CacheEntry], above: int, percent: int
) -> None:
    """The same entries in the same order, whatever is expired, pinned, empty or of unknown use."""
    to = above * percent // 100
    policy = CachePolicy(evict_above=above, evict_to=to, keep=("p*",))
    plan = plan_cache(Survey(entries), policy, NOW)
    assert evicted(plan) == reference(entries, above, to, "p")
    left = plan.totals.total_size_bytes - plan.planned_bytes
    over = plan.totals.total_size_bytes - plan.totals.expired_size_bytes > above
    told = any(problem.code == "over_limit" for problem in plan.problems)
    assert told == (over and left > to)


def test_nothing_goes_at_the_limit_and_down_to_the_mark_above_it() -> None:
    policy = CachePolicy(evict_above=500 * MB, evict_to=450 * MB)
    full = [entry(f"k{n}", age=DAY, unused=n * 60, size=10 * MB) for n in range(50)]
    assert evicted(plan_cache(Survey(full), policy, NOW)) == []
    more = [*full, entry("late", age=0, unused=0, size=1)]
    assert evicted(plan_cache(Survey(more), policy, NOW)) == [f"k{n}" for n in range(49, 43, -1)]


def test_what_expires_is_not_evicted_besides() -> None:
    """Though it is the least recently used: it is no room that could be made once more."""
    old = entry("old", age=8 * DAY, unused=9 * DAY)
    entries = [old, *(entry(f"k{n}", age=DAY, unused=n * DAY) for n in range(3))]
    plan = plan_cache(Survey(entries), CachePolicy(evict_above=2 * MB, evict_to=MB), NOW)
    assert gone(plan) == [
        ("old.mp3", Reason.EXPIRED),
        ("k2.mp3", Reason.EVICTED),
        ("k1.mp3", Reason.EVICTED),
    ]
    assert plan.planned_bytes == 3 * MB


def test_what_expires_makes_room_first() -> None:
    policy = CachePolicy(evict_above=10 * MB, evict_to=9 * MB)
    old = [entry(f"old{n}", age=8 * DAY, unused=0) for n in range(5)]
    young = [entry(f"young{n}", age=DAY, unused=DAY) for n in range(10)]
    plan = plan_cache(Survey(old + young), policy, NOW)
    assert plan.by_reason == {Reason.EXPIRED: 5}
    assert plan_cache(Survey(old + young, free=0), policy, NOW).by_reason == plan.by_reason


def test_dangling_entries_and_shared_files_are_no_way_to_make_room() -> None:
    """One frees nothing; the other's use is not its own: it stays, and that is said."""
    lost, twin = entry("lost", unused=9 * DAY), entry("twin", unused=8 * DAY, file="other.mp3")
    other, used = entry("other", unused=DAY), entry("used", unused=60.0)
    found = Unmatched(dangling=[(lost, (0, 0, 0))], shared=frozenset({"other.mp3"}))
    policy = CachePolicy(evict_above=MB, evict_to=1)
    plan = plan_cache(Survey([lost, twin, other, used], found), policy, NOW, explain=True)
    assert evicted(plan) == ["used"]
    assert plan.held == [
        (key, "its file is shared with an entry that stays") for key in ("twin", "other")
    ]
    assert [problem.code for problem in plan.problems] == ["over_limit"]


def test_protected_entries_that_keep_it_above_are_said() -> None:
    policy = CachePolicy(evict_above=3 * MB, evict_to=3 * MB, keep=("pin*",))
    entries = [entry(f"pin{n}", unused=DAY) for n in range(4)]
    entries += [entry("pinned-and-old", age=9 * DAY), entry("blank", unused=None), entry("loose")]
    plan = plan_cache(Survey(entries), policy, NOW, explain=True)
    assert evicted(plan) == ["loose"]
    [problem] = plan.problems
    assert problem.message == (
        "cache over 3 MB, and 3.00 MB more should go than may; "
        "protected: 6 entries of 6.00 MB (dry-run -v says by what)"
    )
    assert dict(plan.held) == {
        **{f"pin{n}": "kept by pin*" for n in range(4)},
        "pinned-and-old": "kept by pin*",
        "blank": "its last use cannot be read",
    }


@pytest.mark.parametrize(
    ("free", "wanted", "count"),
    [
        (10 * MB, 10 * MB, 0),
        (10 * MB - 1, 10 * MB, 1),
        (6 * MB, 10 * MB, 4),
        (0, 20 * MB, 10),
        (0, 20 * MB + 1, 0),  # less than half of it can be reached: that would help nobody
        (None, 100 * MB, 0),
    ],
)
def test_room_on_the_disk_is_made_by_the_least_recently_used(
    free: int | None, wanted: int, count: int
) -> None:
    entries = [entry(f"k{n}", unused=n * 60.0) for n in range(10)]
    plan = plan_cache(Survey(entries, free=free), CachePolicy(min_free=wanted), NOW)
    assert evicted(plan) == [f"k{n}" for n in range(9, 9 - count, -1)]
    is_reached = free is None or free + count * MB >= wanted
    assert [problem.code for problem in plan.problems] == ([] if is_reached else ["over_limit"])


ROOM = CachePolicy(
    evict_above=10 * MB, evict_to=9 * MB, orphan_ttl=7 * DAY, partial_ttl=DAY, keep=("pin*",)
)


def gone(plan: CachePlan) -> list[tuple[str, Reason]]:
    return [(action.file, action.reason) for action in plan.actions]


def test_files_that_no_entry_names_make_room_before_any_entry_does() -> None:
    """The oldest first, and as far as the limit asks; what is pinned or in flight is left."""
    live = [entry(f"live{n}", age=DAY, unused=n * DAY, size=2 * MB) for n in range(4)]
    files = [
        stored("young.mp3", age=2 * HOUR, size=MB),
        stored("older.mp3", age=DAY, size=MB),
        stored("pinned.mp3", age=DAY, size=MB),
        stored("arrived.mp3", age=DAY, size=50 * MB, arrived=HOUR - 1),
    ]
    partials = [stored("upload.part", age=3 * HOUR, size=MB), stored("now.part", age=60, size=MB)]
    survey = Survey(live, Unmatched(files, partials=partials))
    plan = plan_cache(survey, ROOM, NOW, explain=True)
    assert plan.stored_bytes == 12 * MB
    assert gone(plan) == [
        ("older.mp3", Reason.ORPHAN),
        ("upload.part", Reason.PARTIAL),
        ("young.mp3", Reason.ORPHAN),
    ]
    assert plan.actions[0].detail == ("no entry names it, 1.0 days old, cache over 10 MB")
    assert list(plan.problems) == []
    assert plan.held == []


def test_an_old_partial_that_arrived_within_the_hour_is_counted_as_what_goes() -> None:
    """It would else make room in the reckoning that it does not make in the cache."""
    live = [entry(f"live{n}", age=DAY, unused=n * DAY) for n in range(11)]
    partials = [stored("copied.part", age=2 * DAY, size=5 * MB, arrived=60)]
    plan = plan_cache(Survey(live, Unmatched(partials=partials)), ROOM, NOW)
    assert plan.stored_bytes == 16 * MB
    assert gone(plan) == [
        ("copied.part", Reason.PARTIAL),
        ("live10.mp3", Reason.EVICTED),
        ("live9.mp3", Reason.EVICTED),
    ]


def test_only_what_useless_files_do_not_free_is_evicted() -> None:
    live = [entry(f"live{n}", age=DAY, unused=n * DAY) for n in range(10)]
    found = Unmatched([stored("orphan.mp3", age=DAY, size=2 * MB)])
    plan = plan_cache(Survey(live, found), ROOM, NOW)
    assert gone(plan) == [("orphan.mp3", Reason.ORPHAN), ("live9.mp3", Reason.EVICTED)]
    # For space on the disk too, but for what has other hard links.
    space = CachePolicy(min_free=3 * MB, orphan_ttl=7 * DAY)
    plan = plan_cache(Survey(live, found, free=0), space, NOW)
    assert gone(plan) == [("orphan.mp3", Reason.ORPHAN), ("live9.mp3", Reason.EVICTED)]
    # What went for space, files and entries, counts towards the size.
    both = CachePolicy(evict_above=10 * MB, evict_to=9 * MB, min_free=3 * MB, orphan_ttl=7 * DAY)
    plan = plan_cache(Survey(live, found, free=0), both, NOW)
    assert gone(plan) == [("orphan.mp3", Reason.ORPHAN), ("live9.mp3", Reason.EVICTED)]
    linked = Survey(live, found, free=2 * MB, linked=("orphan.mp3",))
    assert gone(plan_cache(linked, space, NOW)) == [("live9.mp3", Reason.EVICTED)]


def test_nothing_live_goes_for_orphans_that_may_not_go() -> None:
    live = [entry(f"live{n}", age=DAY, unused=n * DAY) for n in range(10)]
    found = Unmatched([stored("foreign.mp3", age=DAY, size=50 * MB)])
    policy = CachePolicy(evict_above=10 * MB, evict_to=9 * MB)
    assert gone(plan_cache(Survey(live, found), policy, NOW)) == []
    found = Unmatched(unjudged_bytes=MB)  # a member that cannot be judged may name it
    assert gone(plan_cache(Survey(live, found), policy, NOW)) == []


@pytest.mark.parametrize("stated", [0, 1, 5 * MB])
def test_sizes_are_those_of_the_files_whatever_the_index_states(stated: int) -> None:
    live = [entry(f"live{n}", age=DAY, unused=n * DAY, size=stated) for n in range(10)]
    old = [entry(f"old{n}", age=8 * DAY, size=stated) for n in range(5)]
    sizes = {each.file: 2 * MB for each in (*live, *old)}
    plan = plan_cache(Survey([*live, *old], sizes=sizes), ROOM, NOW)
    assert plan.stored_bytes == 30 * MB
    assert evicted(plan) == [f"live{n}" for n in range(9, 3, -1)]
    assert plan.planned_bytes == 6 * 2 * MB + sum(each.size_bytes for each in old)
    assert [action.size_bytes for action in plan.actions][5:] == [2 * MB] * 6
    space = CachePolicy(min_free=14 * MB)
    plan = plan_cache(Survey([*live, *old], sizes=sizes, free=0), space, NOW)
    assert evicted(plan) == ["live9", "live8"]


@pytest.mark.parametrize(("free", "count"), [(95 * MB, 5), (92 * MB, 8), (200 * MB, 2)])
def test_of_two_limits_the_one_that_asks_for_more_counts(free: int, count: int) -> None:
    entries = [entry(f"k{n}", unused=n * 60.0) for n in range(10)]
    policy = CachePolicy(evict_above=9 * MB, evict_to=8 * MB, min_free=100 * MB)
    assert len(plan_cache(Survey(entries, free=free), policy, NOW).actions) == count


def test_what_expires_counts_towards_the_free_space() -> None:
    entries = [entry("old", age=8 * DAY), entry("a", unused=2.0), entry("b", unused=1.0)]
    plan = plan_cache(Survey(entries, free=8 * MB), CachePolicy(min_free=10 * MB), NOW)
    assert plan.by_reason == {Reason.EXPIRED: 1, Reason.EVICTED: 1}
    assert evicted(plan) == ["a"]


def test_what_has_other_hard_links_is_no_way_to_make_space() -> None:
    """A backup of hard links keeps the bytes: the cache would be lost for nothing."""
    entries = [entry(f"k{n}", unused=n * DAY) for n in range(6)]
    linked = {"k5.mp3", "k3.mp3"}
    wanted = CachePolicy(min_free=3 * MB)
    plan = plan_cache(Survey(entries, free=0, linked=linked), wanted, NOW, explain=True)
    assert evicted(plan) == ["k4", "k2", "k1"]
    why = "its file has other hard links, and would free no space"
    assert plan.held == [("k3", why), ("k5", why)]
    assert list(plan.problems) == []
    plan = plan_cache(Survey(entries, free=0, linked={e.file for e in entries}), wanted, NOW)
    assert evicted(plan) == []
    assert [problem.code for problem in plan.problems] == ["over_limit"]
    # Of the cache's own size they are a part, whatever else is wanted.
    size = CachePolicy(evict_above=5 * MB, evict_to=5 * MB)
    assert evicted(plan_cache(Survey(entries, linked=linked), size, NOW)) == ["k5"]
    both = CachePolicy(evict_above=3 * MB, evict_to=3 * MB, min_free=MB)
    plan = plan_cache(Survey(entries, free=0, linked=linked), both, NOW, explain=True)
    assert evicted(plan) == ["k4", "k5", "k3"]
    assert plan.held == [], "none is said to be kept that goes after all"
    assert [action.detail.rpartition(", ")[2] for action in plan.actions] == [
        "less than 1 MB free on the disk",
        *["cache over 3 MB"] * 2,
    ]


@given(caches, st.integers(0, 60), st.integers(0, 100), st.integers(0, 80))
def test_both_limits_together_go_as_far_as_the_one_that_asks_for_more(
    entries: list[CacheEntry], above: int, percent: int, free: int
) -> None:
    to = above * percent // 100
    size = CachePolicy(evict_above=above, evict_to=to)
    plans = [
        plan_cache(Survey(entries, free=0), policy, NOW)
        for policy in (size, CachePolicy(min_free=free))
    ]
    both = CachePolicy(evict_above=above, evict_to=to, min_free=free)
    one, other = (evicted(plan) for plan in plans)
    together = evicted(plan_cache(Survey(entries, free=0), both, NOW))
    assert together == max(one, other, key=len)


def test_of_both_limits_each_entry_is_said_to_be_kept_once() -> None:
    entries = [entry(f"pin{n}", unused=DAY) for n in range(3)]
    both = CachePolicy(evict_above=MB, evict_to=MB, min_free=MB, keep=("pin*",))
    plan = plan_cache(Survey(entries, free=0), both, NOW, explain=True)
    assert plan.held == [(f"pin{n}", "kept by pin*") for n in range(3)]
    assert [problem.code for problem in plan.problems] == ["over_limit"] * 2


def test_a_pinned_entry_without_a_file_takes_up_no_room() -> None:
    """Expired or not: no live audio goes for bytes that nothing has."""
    lost = entry("pinned", age=9 * DAY, size=3 * MB)
    live = [entry(f"live{n}", age=DAY, unused=DAY, size=MB) for n in range(2)]
    found = Unmatched(dangling=[(lost, (0, 0, 0))])
    policy = CachePolicy(evict_above=3 * MB, evict_to=3 * MB, keep=("pinned",))
    plan = plan_cache(Survey([lost, *live], found), policy, NOW)
    assert evicted(plan) == []
    assert list(plan.problems) == []


def test_an_eviction_says_when_it_was_last_used_and_what_for() -> None:
    entries = [
        entry("a", unused=9.26 * DAY, size=2 * MB, sidecars=("a.json",)),
        entry("b", unused=HOUR, size=2 * MB, voice="eerie", variant="v9"),
    ]
    policy = CachePolicy(evict_above=3 * MB, evict_to=2 * MB)
    plan = plan_cache(Survey(entries, whole_sizes={"a": 2 * MB + 5}), policy, NOW)
    (action,) = plan.actions
    assert action.detail == "last used 9.3 days ago, cache over 3 MB, with its sidecar"
    assert (action.id, action.file, action.size_bytes) == ("a", "a.mp3", 2 * MB + 5)
    assert plan.planned_bytes == 2 * MB + 5
    assert plan.by_reason == {Reason.EVICTED: 1}


def test_of_what_was_used_at_one_moment_the_first_goes_first() -> None:
    entries = [entry(f"k{number}", unused=DAY) for number in range(5)]
    policy = CachePolicy(evict_above=4 * MB, evict_to=3 * MB)
    assert evicted(plan_cache(Survey(entries), policy, NOW)) == ["k0", "k1"]


def test_no_live_audio_goes_for_what_goes_anyway() -> None:
    """Exactly at the limit once the rest has gone: the file of two entries counts once."""
    live = [entry(f"live{n}", unused=DAY) for n in range(3)]
    old = [entry("old", age=8 * DAY, file="x.mp3"), entry("older", age=9 * DAY, file="x.mp3")]
    found = Unmatched([stored("orphan.mp3", age=8 * DAY, size=MB)], shared=frozenset({"x.mp3"}))
    policy = CachePolicy(evict_above=3 * MB, evict_to=MB, orphan_ttl=7 * DAY)
    sizes, linked = {"x.mp3": MB}, {"x.mp3", "orphan.mp3"}
    plan = plan_cache(Survey([*live, *old], found, sizes=sizes, linked=linked), policy, NOW)
    assert plan.stored_bytes == 5 * MB
    assert plan.by_reason == {Reason.EXPIRED: 2, Reason.ORPHAN: 1}
    one = entry("one", size=1, unused=0)
    over = plan_cache(Survey([*live, *old, one], found, sizes=sizes), policy, NOW)
    assert over.by_reason == {Reason.EXPIRED: 2, Reason.ORPHAN: 1, Reason.EVICTED: 3}


def test_what_goes_with_other_hard_links_leaves_the_space_wanted() -> None:
    """Removed or not, its bytes stay on the disk."""
    live = [entry(f"live{n}", unused=n * DAY) for n in range(4)]
    old = [entry("old", age=8 * DAY), entry("linked", age=8 * DAY)]
    wanted = CachePolicy(min_free=3 * MB)
    survey = Survey([*live, *old], free=0, linked={"linked.mp3"})
    assert evicted(plan_cache(survey, wanted, NOW)) == ["live3", "live2"]
    enough = Survey([*live, *old], free=3 * MB - 1)
    assert evicted(plan_cache(enough, wanted, NOW)) == []


def test_useless_files_without_a_byte_are_left() -> None:
    found = Unmatched([stored("empty.mp3", age=2 * HOUR, size=0)])
    policy = CachePolicy(evict_above=MB, evict_to=MB, orphan_ttl=7 * DAY, remove_empty=False)
    entries = [
        entry("a", unused=DAY),
        entry("b", unused=HOUR),
        entry("nil", size=0, unused=9 * DAY),
    ]
    plan = plan_cache(Survey(entries, found), policy, NOW, explain=True)
    assert gone(plan) == [("a.mp3", Reason.EVICTED)]
    assert plan.held == []


def test_what_is_protected_is_counted_without_what_has_no_byte() -> None:
    entries = [
        entry("pin-empty", size=0, unused=DAY),
        entry("pin", size=MB, unused=DAY),
        entry("pin-old", age=9 * DAY, size=2 * MB),
    ]
    policy = CachePolicy(evict_above=MB, evict_to=MB, keep=("pin*",))
    plan = plan_cache(Survey(entries), policy, NOW, explain=True)
    (problem,) = plan.problems
    assert "2.00 MB more should go than may; protected: 2 entries of 3.00 MB" in problem.message
    assert plan.held == [("pin-old", "kept by pin*"), ("pin", "kept by pin*")], "each once"


def test_how_far_evictions_would_go_is_said_where_it_helps_nobody() -> None:
    entries = [entry("k", unused=DAY), entry("l", unused=DAY)]
    plan = plan_cache(Survey(entries, free=MB), CachePolicy(min_free=6 * MB), NOW)
    (problem,) = plan.problems
    assert problem.message.startswith(
        "less than 6 MB free on the disk, and all that may be evicted would close less than half "
        "of the gap (2.00 of 5.00 MB)"
    )
    assert len(plan.actions) == 0
    # What useless files free is counted first, and the rest of the gap is what evictions close.
    policy = CachePolicy(min_free=6 * MB, orphan_ttl=7 * DAY)
    found = Unmatched([stored("orphan.mp3", age=DAY, size=MB)])
    plan = plan_cache(Survey(entries, found, free=MB), policy, NOW)
    assert gone(plan) == [
        ("orphan.mp3", Reason.ORPHAN),
        ("k.mp3", Reason.EVICTED),
        ("l.mp3", Reason.EVICTED),
    ]
    (problem,) = plan.problems
    assert "2.00 MB more should go than may; nothing else may be evicted" in problem.message


def test_files_and_entries_that_went_for_space_count_for_the_size() -> None:
    """The same file is not planned twice, and an entry may have the name of one as its key."""
    live = [entry(f"live{n}", unused=n * DAY) for n in range(3)]
    live.append(entry("o0.mp3", unused=3 * DAY, file="live3.mp3"))
    files = [stored(f"o{n}.mp3", age=(5 - n) * DAY, size=MB) for n in range(3)]
    both = CachePolicy(evict_above=4 * MB, evict_to=2 * MB, min_free=2 * MB, orphan_ttl=7 * DAY)
    for linked, expected in (
        ((), ["o0.mp3", "o1.mp3", "o2.mp3", "live3.mp3", "live2.mp3"]),
        (("o0.mp3",), ["o1.mp3", "o2.mp3", "o0.mp3", "live3.mp3", "live2.mp3"]),
    ):
        survey = Survey(live, Unmatched(files), free=0, linked=linked)
        plan = plan_cache(survey, both, NOW)
        assert [file for file, _ in gone(plan)] == expected
        assert list(plan.problems) == []


def test_files_that_need_not_go_for_either_limit_stay() -> None:
    live = [entry(f"live{n}", unused=n * DAY) for n in range(2)]
    files = [stored(f"o{n}.mp3", age=(5 - n) * DAY, size=MB) for n in range(4)]
    both = CachePolicy(evict_above=3 * MB, evict_to=3 * MB, min_free=2 * MB, orphan_ttl=7 * DAY)
    plan = plan_cache(Survey(live, Unmatched(files), free=0), both, NOW)
    assert [file for file, _ in gone(plan)] == ["o0.mp3", "o1.mp3", "o2.mp3"]


def test_space_that_is_out_of_reach_takes_nothing_off_the_other_limit() -> None:
    entries = [entry(f"k{n}", unused=(9 - n) * DAY) for n in range(3)]
    entries.append(entry("one", unused=0.0, size=1))
    both = CachePolicy(evict_above=2 * MB, evict_to=2 * MB, min_free=100 * MB)
    plan = plan_cache(Survey(entries, free=0), both, NOW)
    assert evicted(plan) == ["k0", "k1"]


def test_what_protects_an_entry_is_said_also_once_enough_is_found() -> None:
    """And it is what protects it: not that its use cannot be read besides."""
    entries = [
        entry("a", unused=9 * DAY, size=5 * MB),
        entry("pin", unused=DAY),
        entry("pin-blank", unused=None),
        entry("blank", unused=None),
    ]
    policy = CachePolicy(evict_above=4 * MB, evict_to=4 * MB, keep=("pin*",))
    plan = plan_cache(Survey(entries), policy, NOW, explain=True)
    assert evicted(plan) == ["a"]
    assert plan.held == [
        ("pin", "kept by pin*"),
        ("pin-blank", "kept by pin*"),
        ("blank", "its last use cannot be read"),
    ]


def test_a_pin_is_what_keeps_an_entry_with_other_hard_links() -> None:
    entries = [entry("pin", unused=9 * DAY), entry("k", unused=DAY)]
    policy = CachePolicy(min_free=MB, keep=("pin",))
    plan = plan_cache(Survey(entries, free=0, linked={"pin.mp3"}), policy, NOW, explain=True)
    assert evicted(plan) == ["k"]
    assert plan.held == [("pin", "kept by pin")]


def test_the_least_recently_used_is_found_wherever_it_is() -> None:
    """Also after others that were used later, of which enough could go."""
    entries = [
        entry("a", unused=9 * DAY, size=5 * MB),
        entry("b", unused=DAY),
        entry("c", unused=2 * DAY),
        entry("d", unused=10 * DAY, size=5 * MB),
    ]
    policy = CachePolicy(evict_above=8 * MB, evict_to=8 * MB)
    assert evicted(plan_cache(Survey(entries), policy, NOW)) == ["d"]


def test_a_use_at_the_first_moment_of_all_is_the_least_recent() -> None:
    """A file whose times were lost reads as 1970."""
    entries = [entry("b", unused=NOW - 1), entry("a", unused=NOW)]
    policy = CachePolicy(evict_above=MB, evict_to=MB)
    assert evicted(plan_cache(Survey(entries), policy, NOW)) == ["a"]


@pytest.mark.parametrize("unused", [DAY, 9 * DAY])
def test_nothing_is_said_to_be_kept_by_its_links_that_need_not_go(unused: float) -> None:
    entries = [entry("old", unused=9 * DAY), entry("linked", unused=unused)]
    survey = Survey(entries, free=0, linked={"linked.mp3"})
    plan = plan_cache(survey, CachePolicy(min_free=MB), NOW, explain=True)
    assert evicted(plan) == ["old"]
    assert plan.held == []


def test_what_is_pinned_and_expired_is_said_to_be_kept_once() -> None:
    entries = [entry("pin", age=9 * DAY, unused=9 * DAY), entry("k", unused=DAY)]
    policy = CachePolicy(min_free=MB, keep=("pin",))
    plan = plan_cache(Survey(entries, free=0), policy, NOW, explain=True)
    assert evicted(plan) == ["k"]
    assert plan.held == [("pin", "kept by pin")]


def test_one_entry_that_keeps_it_above_is_one_and_the_limit_is_rounded() -> None:
    limit = int(2.12344 * MB)
    policy = CachePolicy(evict_above=limit, evict_to=limit, keep=("pin",))
    (problem,) = plan_cache(Survey([entry("pin", size=3 * MB)]), policy, NOW).problems
    assert problem.message == (
        "cache over 2.1234 MB, and 0.88 MB more should go than may; "
        "protected: 1 entry of 3.00 MB (dry-run -v says by what)"
    )
