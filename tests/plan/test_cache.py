"""What goes from a cache and why: a table of constructed values, what stays beside what goes."""

from typing import Literal
from unicodedata import normalize

import pytest

from narration_cleanup.core.model import CacheEntry, Severity, StoredFile, Unmatched
from narration_cleanup.plan import CachePlan, CachePolicy, plan_cache
from narration_cleanup.plan.actions import (
    Kind,
    Reason,
)
from narration_cleanup.plan.rules import Rules
from tests.plan.surveys import DAY, HOUR, NOW, Survey, entry, stored

WEEK = 7 * DAY
LEFTOVERS = CachePolicy(orphan_ttl=WEEK, partial_ttl=24 * HOUR, remove_dangling=True)
MOMENT = 1e-6


def reasons(plan: CachePlan) -> dict[str, Reason]:
    """What goes, by key or name, and why."""
    return {str(action.id): action.reason for action in plan.actions}


def planned(survey: Survey, policy: CachePolicy = LEFTOVERS) -> CachePlan:
    return plan_cache(survey, policy, NOW, explain=True)


@pytest.mark.parametrize(
    ("age", "goes"),
    [
        (WEEK + 1, True),
        (WEEK + MOMENT, True),
        (WEEK, False),
        (WEEK - 1, False),
        (0, False),
        (-4 * 60, False),
        (-400 * DAY, False),
        (None, False),
    ],
)
def test_expired_is_strictly_older_than_the_ttl(age: float | None, *, goes: bool) -> None:
    """An entry of exactly the TTL stays, as in the service itself; so does one without a time."""
    plan = planned(Survey([entry("fresh", age=1), entry("it", age=age)]))
    assert reasons(plan) == ({"it": Reason.EXPIRED} if goes else {})
    assert plan.totals.entry_count == 2
    assert plan.totals.expired_count == goes


def test_a_creation_in_the_future_is_told() -> None:
    plan = planned(Survey([entry("k", age=-DAY)]))
    (problem,) = plan.problems
    assert (problem.code, problem.subject) == ("created_in_future", "k")
    assert problem.message == (
        "created_at lies in the future, so it does not expire: is the clock or cleanup.timezone "
        "wrong?"
    )


@pytest.mark.parametrize(
    ("voice", "age", "goes", "held"),
    [
        ("eerie_narrator", 31 * DAY, True, None),
        ("eerie_narrator", 30 * DAY, False, "voice style eerie_narrator has 30 days"),
        ("eerie_narrator", 8 * DAY, False, "voice style eerie_narrator has 30 days"),
        ("eerie_narrator", 6 * DAY, False, None),
        ("demonic_growl", 2 * DAY, True, None),
        ("demonic_growl", 0.5 * DAY, False, None),
        ("another", 8 * DAY, True, None),
        ("another", 2 * DAY, False, None),
    ],
)
def test_a_voice_style_may_have_a_ttl_of_its_own(
    voice: str, age: float, *, goes: bool, held: str | None
) -> None:
    """A longer or a shorter one; where it alone keeps an entry, that is said."""
    policy = CachePolicy(ttl_by_voice_style={"eerie_narrator": 30 * DAY, "demonic_growl": DAY})
    plan = planned(Survey([entry("k", age=age, voice=voice)]), policy)
    assert reasons(plan) == ({"k": Reason.EXPIRED} if goes else {})
    assert plan.held == ([("k", held)] if held else [])


@pytest.mark.parametrize(
    "pattern", ["intro-7", "intro-*", "intro-?", "?ntro-*", "chapter-*", "eerie*", "*"]
)
def test_keep_pins_by_key_variant_or_voice(pattern: str) -> None:
    old = entry("intro-7", age=90 * DAY, voice="eerie_narrator", variant="chapter-1")
    other = entry("outro-7", age=90 * DAY, voice="another", variant="variant-1")
    plan = planned(Survey([old, other]), CachePolicy(keep=(pattern,)))
    kept = {"intro-7"} | ({"outro-7"} if pattern == "*" else set())
    assert set(reasons(plan)) == {"intro-7", "outro-7"} - kept
    assert dict(plan.held) == dict.fromkeys(kept, f"kept by {pattern}")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_an_accent_is_kept_in_either_of_its_forms(form: Literal["NFC", "NFD"]) -> None:
    other: Literal["NFC", "NFD"] = "NFD" if form == "NFC" else "NFC"
    old = entry(normalize(form, "élan-é"), age=8 * DAY)
    plan = planned(Survey([old]), CachePolicy(keep=(normalize(other, "élan-?"),)))
    assert len(plan.actions) == 0


@pytest.mark.parametrize("pattern", ["intro", "Intro-*", "intro-7.mp3", "intro-??", ""])
def test_a_pattern_that_does_not_match_the_whole_name_keeps_nothing(pattern: str) -> None:
    plan = planned(Survey([entry("intro-7", age=8 * DAY)]), CachePolicy(keep=(pattern,)))
    assert set(reasons(plan)) == {"intro-7"}
    assert plan.held == []


def test_what_is_held_is_only_gathered_where_it_is_asked_for() -> None:
    survey = Survey([entry("k", age=8 * DAY)])
    plan = plan_cache(survey, CachePolicy(keep=("*",)), NOW)
    assert len(plan.actions) == 0
    assert plan.held == []


@pytest.mark.parametrize(
    ("age", "empty_for", "reason"),
    [
        (DAY, 2 * HOUR, Reason.EMPTY),
        (DAY, HOUR + MOMENT, Reason.EMPTY),
        (DAY, HOUR, None),
        (8 * DAY, 8 * DAY, Reason.EXPIRED),
    ],
)
def test_empty_audio_goes_once_an_hour_old(
    age: float, empty_for: float, reason: Reason | None
) -> None:
    entries = [entry("whole", age=age if reason is not Reason.EXPIRED else 0), entry("k", age=age)]
    survey = Survey(entries, empty_files={"k.mp3": NOW - empty_for})
    plan = planned(survey)
    assert reasons(plan) == ({"k": reason} if reason else {})
    assert plan.totals.expired_count == (reason is Reason.EXPIRED)
    off = CachePolicy(remove_empty=False)
    assert reasons(planned(survey, off)) == ({"k": reason} if reason is Reason.EXPIRED else {})


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (stored("k.mp3", age=WEEK + 1), Reason.ORPHAN),
        (stored("k.mp3", age=WEEK), None),
        (stored("k.mp3", age=-DAY), None),
        (stored("k.mp3", age=2 * HOUR, size=0), Reason.ORPHAN),
        (stored("k.mp3", age=HOUR, size=0), None),
        (stored("k.mp3", age=8 * DAY, size=0), Reason.ORPHAN),
        (stored("pinned.mp3", age=8 * DAY), None),
    ],
)
def test_an_orphan_goes_once_older_than_the_ttl(file: StoredFile, reason: Reason | None) -> None:
    survey = Survey([entry("k")], Unmatched(files=[file]))
    policy = CachePolicy(orphan_ttl=WEEK, keep=("pinned",))
    plan = planned(survey, policy)
    assert reasons(plan) == ({file.name: reason} if reason else {})
    assert (plan.totals.orphan_count, plan.totals.orphan_size_bytes) == (1, file.size_bytes)
    assert reasons(planned(survey, CachePolicy(orphan_ttl=None))) == {}


@pytest.mark.parametrize(
    ("age", "goes"), [(24 * HOUR + 1, True), (24 * HOUR, False), (HOUR, False), (-DAY, False)]
)
def test_a_partial_goes_once_older_than_its_hours(age: float, *, goes: bool) -> None:
    survey = Survey(found=Unmatched(partials=[stored("k.mp3.part", age=age)]))
    plan = planned(survey)
    assert reasons(plan) == ({"k.mp3.part": Reason.PARTIAL} if goes else {})
    assert plan.totals.orphan_count == 0
    assert reasons(planned(survey, CachePolicy(partial_ttl=None))) == {}


@pytest.mark.parametrize(
    ("policy", "lost", "reason"),
    [
        (LEFTOVERS, entry("k", age=DAY), Reason.DANGLING),
        (LEFTOVERS, entry("k", age=8 * DAY), Reason.EXPIRED),
        (LEFTOVERS, entry("k", age=None), Reason.DANGLING),
        (CachePolicy(), entry("k", age=DAY), None),
        (CachePolicy(), entry("k", age=8 * DAY), Reason.EXPIRED),
        (CachePolicy(remove_dangling=True, keep=("k",)), entry("k", age=DAY), None),
        (CachePolicy(keep=("k",)), entry("k", age=8 * DAY), None),
    ],
)
def test_an_entry_without_a_file_goes_at_its_expiry_or_at_once_if_asked(
    policy: CachePolicy, lost: CacheEntry, reason: Reason | None
) -> None:
    """An expired one goes as expired; each frees nothing, and is counted once."""
    survey = Survey([entry("fresh"), lost], Unmatched(dangling=[(lost, (1, 0, 0))]))
    plan = planned(survey, policy)
    assert reasons(plan) == ({"k": reason} if reason else {})
    kind = Kind.REMOVE_ENTRY if reason is Reason.EXPIRED else Kind.DROP_ENTRY
    assert all(action.kind is kind for action in plan.actions)
    assert plan.totals.dangling_count == 1
    assert plan.totals.missing_count == (reason is Reason.EXPIRED)
    assert list(plan.problems) == []


@pytest.mark.parametrize(("missing", "dropped"), [(10, 10), (11, 0), (21, 0)])
def test_nothing_is_dropped_while_most_entries_miss_their_file(missing: int, dropped: int) -> None:
    """A restore may have brought the index before the audio; what has expired goes all the same."""
    entries = [entry(f"k{number}", age=DAY) for number in range(21)]
    entries[0] = entry("k0", age=8 * DAY)
    found = Unmatched(dangling=[(lost, (0, 0, 0)) for lost in entries[:missing]])
    plan = planned(Survey(entries, found), CachePolicy(remove_dangling=True))
    assert plan.by_reason.get(Reason.DANGLING, 0) == max(dropped - 1, 0)
    assert plan.by_reason[Reason.EXPIRED] == 1
    assert plan.totals.dangling_count == missing
    assert [(problem.code, problem.severity) for problem in plan.problems] == (
        [] if dropped else [("most_files_missing", Severity.WARNING)]
    )


def test_entries_that_a_service_wrote_back_are_no_sign_of_a_restore() -> None:
    """They miss their files, since an earlier run removed those, and are past their time."""
    live = [entry(f"live{number}", age=DAY) for number in range(12)]
    back = [entry(f"back{number}", age=8 * DAY) for number in range(30)]
    found = Unmatched(dangling=[(each, (0, 0, 0)) for each in (live[0], *back)])
    plan = planned(Survey([*live, *back], found), CachePolicy())
    assert plan.by_reason == {Reason.EXPIRED: 30}
    assert plan.totals.dangling_count == 31
    assert list(plan.problems) == []


@pytest.mark.parametrize(("arrived", "goes"), [(HOUR, False), (HOUR + 1, True), (-DAY, False)])
@pytest.mark.parametrize(("age", "size"), [(30 * DAY, 1000), (2 * HOUR, 0)])
def test_what_arrived_within_the_hour_is_no_orphan_whatever_its_mtime(
    age: float, size: int, arrived: float, goes: bool
) -> None:
    """A restore keeps the mtime, and brings the index later."""
    found = Unmatched(files=[stored("copied.mp3", age=age, size=size, arrived=arrived)])
    plan = plan_cache(Survey(found=found), LEFTOVERS, NOW, explain=True)
    assert reasons(plan) == ({"copied.mp3": Reason.ORPHAN} if goes else {})
    why = "it arrived less than an hour ago: a later run judges it"
    assert plan.held == ([] if goes else [("copied.mp3", why)])
    assert plan.judged_later == (0 if goes else 1)
    told = [(problem.code, problem.subject) for problem in plan.problems]
    assert told == ([("created_in_future", "copied.mp3")] if arrived < 0 else [])
    assert plan.totals.orphan_count == 1


def test_files_are_judged_later_only_where_they_would_go_but_for_their_arrival() -> None:
    moved = [stored(f"{name}.mp3", age=30 * DAY, arrived=60) for name in ("one", "other")]
    fresh = stored("fresh.mp3", age=60, arrived=60)
    plan = plan_cache(Survey(found=Unmatched(files=[*moved, fresh])), LEFTOVERS, NOW)
    assert (plan.judged_later, plan.without_file, list(plan.actions)) == (2, 0, [])


@pytest.mark.parametrize(
    ("pattern", "kept", "gone"),
    [
        ("intro[1]", "intro[1]", "intro1"),
        ("[!a]*", "[!a]b", "b"),
        ("a**?", "ab", "a"),
        ("a*b", "a\nb", None),
        ("a?b", "a\nb", None),
        ("a.c", "a.c", "abc"),
        ("A*", "Ab", "ab"),
    ],
)
def test_a_pattern_knows_stars_and_question_marks_alone(
    pattern: str, kept: str, gone: str | None
) -> None:
    entries = [entry("kept", age=8 * DAY, variant=kept)]
    entries += [entry("gone", age=8 * DAY, variant=gone)] if gone is not None else []
    plan = planned(Survey(entries), CachePolicy(keep=(pattern,)))
    assert set(reasons(plan)) == ({"gone"} if gone is not None else set())
    assert list(plan.problems) == []


def test_a_pattern_that_matches_nothing_is_named_where_a_plan_is_explained() -> None:
    """What it matches need not be old, nor have an entry."""
    survey = Survey([entry("a"), entry("b")], Unmatched(files=[stored("c.mp3", age=DAY)]))
    policy = CachePolicy(keep=("a", "c", "intro-*"))
    (problem,) = planned(survey, policy).problems
    assert (problem.code, problem.severity) == ("keep_matches_nothing", Severity.WARNING)
    assert problem.message == (
        "the pattern 'intro-*' of cache.keep matches nothing that was looked at"
    )
    assert list(plan_cache(survey, policy, NOW).problems) == []
    for name in ("a", "variant-*", "ghostly*"):
        assert list(planned(survey, CachePolicy(keep=(name,))).problems) == []


def test_a_shared_file_goes_only_with_the_last_entry_that_needs_it() -> None:
    old, older = entry("a", age=8 * DAY, file="x.mp3"), entry("b", age=9 * DAY, file="x.mp3")
    young = entry("c", age=DAY, file="x.mp3")
    shared = Unmatched(shared=frozenset({"x.mp3"}))
    assert set(reasons(planned(Survey([old, older], shared)))) == {"a", "b"}
    plan = planned(Survey([old, older, young], shared))
    assert reasons(plan) == {}
    assert {key for key, _ in plan.held} == {"a", "b"}


def test_sidecars_are_named_with_what_they_go_with() -> None:
    gone = entry("v/a.wav", age=8 * DAY, sidecars=("v/a.pho", "v/a.json"))
    one = entry("v/b.wav", age=8 * DAY, sidecars=("v/b.pho",))
    actions = list(planned(Survey([gone, one])).actions)
    assert [a.sidecars for a in actions if a.kind is Kind.REMOVE_ENTRY] == [
        gone.sidecars,
        one.sidecars,
    ]
    assert [a.detail for a in actions] == [
        "8.0 days old, limit 7, with 2 sidecars",
        "8.0 days old, limit 7, with its sidecar",
    ]


def test_sidecars_without_audio_go_once_older_than_their_limit() -> None:
    found = {
        "old.json": stored("old.json", age=9 * DAY, size=70),
        "limit.json": stored("limit.json", age=7 * DAY, size=20),
        "pinned.mp3.json": stored("pinned.mp3.json", age=9 * DAY, size=5),
    }
    survey = Survey(found=Unmatched(sidecars=list(found.values())))
    policy = CachePolicy(ttl=7 * DAY, sidecar_ttl=7 * DAY, keep=("pinned",))
    plan = planned(survey, policy)
    (action,) = plan.actions
    assert action.kind is Kind.REMOVE_FILE
    assert (action.file, action.reason) == ("old.json", Reason.ORPHAN)
    assert action.detail == "its audio is gone, 9.0 days old, limit 7"
    assert action.created_at == found["old.json"].modified_at
    assert (plan.totals.orphan_count, plan.totals.orphan_size_bytes) == (3, 95)
    assert [name for name, _ in plan.held] == ["pinned.mp3.json"]
    assert not list(planned(survey, CachePolicy(ttl=7 * DAY)).actions), "off unless asked for"


def test_a_name_that_is_not_text_is_planned_like_any_other() -> None:
    name = b"\xff.mp3".decode("utf-8", "surrogateescape")
    actions = planned(Survey([entry("k", age=8 * DAY, file=name), entry("l", age=8 * DAY)])).actions
    assert [action.file for action in actions] == [name, "l.mp3"]
    assert actions[0].file == name


def sizes(plan: CachePlan) -> dict[str, int]:
    return {str(a.id): a.size_bytes for a in plan.actions if a.kind is Kind.REMOVE_ENTRY}


def test_what_is_gone_already_frees_nothing() -> None:
    """Its entry still goes; the cache's own figures stay what the index states."""
    lost, there = entry("lost", age=8 * DAY, size=500), entry("there", age=8 * DAY, size=300)
    plan = planned(Survey([lost, there], Unmatched(dangling=[(lost, (0, 0, 0))])))
    assert sizes(plan) == {"lost": 0, "there": 300}
    assert plan.planned_bytes == 300
    assert [action.detail for action in plan.actions] == [
        "8.0 days old, limit 7, its file is gone",
        "8.0 days old, limit 7",
    ]
    assert plan.totals.expired_size_bytes == 800


def test_a_file_of_several_entries_is_freed_once() -> None:
    one, other = entry("a", age=8 * DAY, file="x.mp3"), entry("b", age=9 * DAY, file="x.mp3")
    plan = planned(Survey([one, other], Unmatched(shared=frozenset({"x.mp3"}))))
    assert sizes(plan) == {"a": one.size_bytes, "b": 0}
    assert plan.planned_bytes == one.size_bytes


def test_room_that_is_not_made_is_not_counted_on() -> None:
    """Free space is wanted: what is gone already cannot give any, so more is evicted."""
    lost, idle = entry("lost", age=8 * DAY), entry("idle", unused=DAY)
    survey = Survey([lost, idle], Unmatched(dangling=[(lost, (0, 0, 0))]), free=0)
    assert reasons(planned(survey, CachePolicy(min_free=1))) == {
        "lost": Reason.EXPIRED,
        "idle": Reason.EVICTED,
    }


def test_where_a_first_pass_proves_the_zone_the_times_of_the_second_count() -> None:
    old, young = entry("k", age=8 * DAY), entry("k", age=DAY)
    assert reasons(planned(Survey([old], then=[young]))) == {}
    policy = CachePolicy(keep=("k",))
    plan = planned(Survey([young], then=[old]), policy)
    assert plan.held == [("k", "kept by k")]


def test_audio_that_was_written_a_moment_ago_stays_until_the_next_run() -> None:
    """Its entry may be that of the audio before it; what has another file is judged now."""
    entries = [entry("new", age=8 * DAY), entry("old", age=9 * DAY)]
    plan = planned(Survey(entries, Unmatched(fresh=frozenset({"new.mp3"}))))
    assert reasons(plan) == {"old": Reason.EXPIRED}
    why = "its audio was written less than 5 minutes ago: the next run judges it"
    assert plan.held == [("new", why)]
    alone = planned(Survey(entries[:1], Unmatched(fresh=frozenset({"new.mp3"}))))
    assert reasons(alone) == {}


def test_a_shared_file_that_an_entry_without_judgement_names_stays() -> None:
    entries = [entry("a", age=8 * DAY, file="x.mp3"), entry("b", age=8 * DAY, file="y.mp3")]
    shared = Unmatched(shared=frozenset({"x.mp3", "y.mp3"}), needed=frozenset({"x.mp3"}))
    plan = planned(Survey(entries, shared))
    assert reasons(plan) == {"b": Reason.EXPIRED}
    assert plan.held == [("a", "its file is shared with an entry that stays")]


def test_a_file_that_a_pinned_entry_names_stays_for_the_others() -> None:
    entries = [
        entry("pinned", age=8 * DAY, file="x.mp3"),
        entry("b", age=9 * DAY, file="x.mp3"),
        entry("c", age=9 * DAY),
    ]
    policy = CachePolicy(keep=("pinned",))
    plan = planned(Survey(entries, Unmatched(shared=frozenset({"x.mp3"}))), policy)
    assert reasons(plan) == {"c": Reason.EXPIRED}
    assert plan.held == [
        ("pinned", "kept by pinned"),
        ("b", "its file is shared with an entry that stays"),
    ]


def test_each_entry_is_judged_whatever_came_before_it() -> None:
    """What is held, or has a longer TTL, does not end its batch."""
    policy = CachePolicy(ttl_by_voice_style={"eerie": 30 * DAY}, keep=("pin",))
    for first in (entry("pin", age=9 * DAY), entry("k", age=9 * DAY, voice="eerie")):
        entries = [first, entry("old", age=8 * DAY)]
        assert reasons(planned(Survey(entries), policy)) == {"old": Reason.EXPIRED}


def test_an_empty_file_goes_whatever_ttl_its_voice_has() -> None:
    """So nothing is said of its longer life; and one without a time has none."""
    policy = CachePolicy(ttl_by_voice_style={"eerie": 30 * DAY})
    entries = [
        entry("k", age=8 * DAY, voice="eerie", size=0),
        entry("blank", age=None, voice="eerie"),
        entry("at-the-ttl", age=WEEK, voice="eerie"),
    ]
    plan = planned(Survey(entries, empty_files={"k.mp3": NOW - 2.26 * HOUR}), policy)
    assert [(action.id, action.detail) for action in plan.actions] == [
        ("k", "no audio in it for 2.3 h")
    ]
    assert plan.held == []


def test_an_empty_file_goes_though_its_entry_has_no_time() -> None:
    survey = Survey([entry("k", age=None), entry("l")], empty_files={"k.mp3": NOW - 2 * HOUR})
    plan = planned(survey)
    assert reasons(plan) == {"k": Reason.EMPTY}
    assert list(plan.problems) == []


def test_an_empty_file_without_an_entry_goes_unless_empty_ones_stay() -> None:
    survey = Survey(found=Unmatched([stored("k.mp3", age=3.26 * HOUR, size=0)]))
    (action,) = planned(survey).actions
    assert action.detail == "no entry names it, no audio in it for 3.3 h"
    assert reasons(planned(survey, CachePolicy(orphan_ttl=WEEK, remove_empty=False))) == {}
    young = planned(Survey(found=Unmatched([stored("k.mp3", age=HOUR, size=0)])))
    assert (reasons(young), young.held) == ({}, []), "nothing keeps what would not go"


@pytest.mark.parametrize(("ahead", "told"), [(300, False), (301, True)])
def test_a_creation_a_little_in_the_future_is_no_problem(ahead: float, *, told: bool) -> None:
    """It was written while the run is at work."""
    for empty_files in ({}, {"k.mp3": NOW}):
        plan = planned(Survey([entry("k", age=-ahead)], empty_files=empty_files))
        codes = [problem.code for problem in plan.problems]
        assert codes == (["created_in_future"] if told else [])


def test_only_entries_that_may_go_or_lie_in_the_future_are_looked_at() -> None:
    """Of exactly the shortest TTL, or of the latest time that is none of the future, is neither."""
    rules = Rules(CachePolicy(ttl=WEEK, ttl_by_voice_style={"eerie": DAY}), NOW)
    ages = [DAY, DAY + 1, -300, -301, None, 0, 8 * DAY]
    entries = [entry(f"k{number}", age=age) for number, age in enumerate(ages)]
    assert rules.in_question(entries) == [1, 3, 6]
    rules.empty_files = {"k4.mp3": NOW, "k5.mp3": NOW}
    assert rules.in_question(entries) == [1, 3, 4, 5, 6]


def test_sizes_with_sidecars_are_those_of_what_goes() -> None:
    """A cache without an index has the sizes of sidecars apart, until an entry is asked for."""
    gone = entry("gone", age=8 * DAY, size=70, sidecars=("gone.json",), shares_sidecars=True)
    kept = entry("kept", age=DAY, size=9)
    survey = Survey([gone, kept], more_bytes=50, whole_sizes={"gone": 100}, unjudged=2)
    plan = planned(survey)
    assert plan.planned_bytes == 100
    assert (plan.totals.entry_count, plan.totals.total_size_bytes) == (4, 129)
    assert plan.staying is not None
    assert (plan.staying.entry_count, plan.staying.total_size_bytes) == (3, 29)
    assert plan.shares_sidecars
    detail = "8.0 days old, limit 7, its sidecars with the last audio of that name"
    assert [action.detail for action in plan.actions] == [detail]
    assert plan.totals.age_bins == [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert plan.staying.age_bins == [0, 1, *[0] * 9]
    alone = planned(Survey([kept], more_bytes=50, unjudged=2))
    assert (alone.totals.entry_count, alone.totals.total_size_bytes) == (3, 59)
    assert not alone.shares_sidecars


def test_what_stays_has_the_size_of_its_files_whatever_the_index_states() -> None:
    entries = [entry("old", age=8 * DAY, size=5), entry("young", age=DAY, size=5)]
    plan = planned(Survey(entries, sizes={"old.mp3": 20, "young.mp3": 7}))
    assert plan.staying is not None
    assert (plan.totals.total_size_bytes, plan.staying.total_size_bytes) == (27, 7)


def test_no_file_is_asked_for_its_size_where_the_sums_agree() -> None:
    """In a bucket that lists all objects once more."""

    class Asked(Survey):
        def stored_bytes(self) -> int:
            return 10

        def size_of(self, file: str, stated: int) -> int:
            raise AssertionError(file)

    plan = planned(Asked([entry("old", age=8 * DAY, size=6), entry("young", age=DAY, size=4)]))
    assert plan.staying is not None
    assert (plan.totals.total_size_bytes, plan.staying.total_size_bytes) == (10, 4)


def test_the_entries_that_stay_are_counted_once_each() -> None:
    ages = [DAY, 8 * DAY, 2 * DAY, None, 9 * DAY, 10 * DAY, 3 * DAY]
    entries = [entry(f"k{number}", age=age, size=1 << number) for number, age in enumerate(ages)]
    plan = planned(Survey(entries))
    assert plan.staying is not None
    assert (plan.staying.entry_count, plan.staying.total_size_bytes) == (4, 1 + 4 + 8 + 64)
    assert (plan.totals.entry_count, plan.totals.total_size_bytes) == (7, 127)
    assert plan.planned_bytes == 2 + 16 + 32
    assert plan.staying.by_voice_style["ghostly_whisper"].entry_count == 4
    assert plan.totals.by_voice_style["ghostly_whisper"].entry_count == 7
