"""Why one item is kept or removed, by which rule and from when on: the same as the plan has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import pytest

from narration_cleanup.core.model import (
    FileRole,
    Found,
    FoundRequest,
    GenerationRequest,
    RequestStatus,
    Sighting,
    StoredFile,
    Unmatched,
)
from narration_cleanup.plan import CachePolicy, RequestPolicy, plan_cache, plan_requests
from narration_cleanup.plan.actions import Kind, Reason
from narration_cleanup.plan.explain import Explanation, explain_cache, explain_requests
from tests.plan.surveys import DAY, HOUR, MB, NOW, Survey, entry, stored
from tests.plan.test_requests import Survey as Table
from tests.plan.test_requests import generating

WEEK = 7 * DAY


def of_entries(survey: Survey, **policy: object) -> dict[str, Explanation]:
    """What is said of each entry of a survey, by key."""
    sightings = [
        Sighting(key=each.key, file=each.file, entry=each, stored=stored(each.file, age=0))
        for each in survey.entries
    ]
    return {str(each.id): each for each in _explained(survey, sightings, policy)}


def of_file(file: StoredFile, role: FileRole, seen: Unmatched, **policy: object) -> Explanation:
    """What is said of a file that no entry names."""
    sighting = Sighting(file=file.name, stored=file, role=role)
    (explained,) = _explained(Survey(found=seen), [sighting], policy)
    return explained


def _explained(
    survey: Survey, sightings: Sequence[Sighting], policy: Mapping[str, object]
) -> list[Explanation]:
    rules = CachePolicy(**policy)  # type: ignore[arg-type]
    plan = plan_cache(survey, rules, NOW, explain=True)
    found = Found(sightings=tuple(sightings))
    explained = explain_cache(found, plan, survey.found, survey.empty_files, rules, NOW)
    planned = {(each.kind.is_of_entry, each.id): each for each in plan.actions}
    for each in explained:  # whatever is said of it, the plan has the last word
        action = planned.get((each.is_entry, each.id or ""))
        assert each.kind == (None if action is None else action.kind)
    return explained


def test_an_entry_is_due_the_moment_its_ttl_is_over() -> None:
    survey = Survey([entry("old", age=8 * DAY), entry("edge", age=WEEK), entry("new", age=DAY)])
    found = of_entries(survey)
    assert found["old"].kind is Kind.REMOVE_ENTRY
    assert found["old"].due_at == NOW - DAY
    assert found["edge"].due_at == NOW
    assert found["new"].due_at == NOW + 6 * DAY
    for key in ("edge", "new"):
        assert (found[key].kind, found[key].reason) == (None, Reason.EXPIRED)
        assert found[key].rule == "cache.ttl_days"
    assert found["new"].detail == "1.0 days old, limit 7"
    assert found["old"].detail == "8.0 days old, limit 7"


def test_a_plan_made_when_it_is_due_removes_it() -> None:
    """What is said is what a run does: not at that moment, and the moment after."""
    policy = CachePolicy(ttl_by_voice_style={"growl": 3 * DAY})
    entries = [entry("a", age=DAY), entry("b", age=DAY, voice="growl"), entry("c", age=6.9 * DAY)]
    survey = Survey(entries, empty_files={"b.mp3": NOW})
    for key, one in of_entries(survey, ttl_by_voice_style={"growl": 3 * DAY}).items():
        assert one.due_at is not None
        for after, gone in ((0.0, False), (1.0, True)):
            plan = plan_cache(survey, policy, one.due_at + after)
            assert (key in {each.id for each in plan.actions}) is gone


def test_the_rule_is_that_of_the_voice_style_where_it_has_one() -> None:
    survey = Survey([entry("a", age=8 * DAY, voice="growl"), entry("b", age=DAY, voice="growl")])
    found = of_entries(survey, ttl_by_voice_style={"growl": 30 * DAY})
    assert {each.rule for each in found.values()} == {"cache.ttl_days_by_voice_style"}
    assert found["a"].due_at == NOW + 22 * DAY
    assert found["a"].detail == "8.0 days old, limit 30: voice style growl has 30 days"
    assert found["b"].detail == "1.0 days old, limit 30"


@pytest.mark.parametrize("age", [8 * DAY, DAY])
def test_what_a_pattern_keeps_is_never_due(age: float) -> None:
    (one,) = of_entries(Survey([entry("intro-1", age=age)]), keep=("intro-*",)).values()
    assert (one.kind, one.due_at, one.rule) == (None, None, "cache.keep")
    assert one.detail.startswith("kept by intro-*")
    assert ("8.0 days old" in one.detail) is (age > WEEK)


def test_empty_audio_is_due_after_an_hour() -> None:
    survey = Survey([entry("a", age=DAY)], empty_files={"a.mp3": NOW - HOUR / 2})
    (one,) = of_entries(survey).values()
    assert (one.reason, one.due_at, one.rule) == (
        *(Reason.EMPTY, NOW + HOUR / 2),
        "cache.remove_empty_audio",
    )
    assert one.detail == "no audio in it for 0.5 h, limit 1 h"
    (kept,) = of_entries(survey, remove_empty=False).values()
    assert (kept.reason, kept.due_at) == (Reason.EXPIRED, NOW + 6 * DAY)


def test_a_time_in_the_future_and_one_that_cannot_be_read_are_named() -> None:
    found = of_entries(Survey([entry("ahead", age=-DAY), entry("unread", age=None)]))
    assert "lies in the future" in found["ahead"].detail
    assert found["unread"].due_at is None
    assert "cannot be read" in found["unread"].detail


def test_a_shared_file_is_due_with_the_last_of_its_entries() -> None:
    entries = [entry("a", age=8 * DAY, file="x.mp3"), entry("b", age=DAY, file="x.mp3")]
    survey = Survey(entries, found=Unmatched(shared=frozenset({"x.mp3"})))
    found = of_entries(survey)
    assert found["a"].detail.startswith("its file is shared with an entry that stays")
    assert {each.due_at for each in found.values()} == {NOW + 6 * DAY}
    assert all("shared" in each.notes[-1] for each in found.values())


def test_an_entry_without_a_file_says_so() -> None:
    entries = [entry("a", age=DAY)]
    survey = Survey(entries, found=Unmatched(dangling=[(entries[0], (0, 0, 0))]))
    (one,) = of_entries(survey).values()
    assert (one.kind, one.due_at) == (None, NOW + 6 * DAY)
    assert one.notes == ("its file is missing: the entry is kept until it expires",)
    (dropped,) = of_entries(survey, remove_dangling=True).values()
    expired = [entry("a", age=8 * DAY)]
    survey = Survey(expired, found=Unmatched(dangling=[(expired[0], (0, 0, 0))]))
    (gone,) = of_entries(survey).values()
    assert (gone.kind, gone.notes) == (Kind.REMOVE_ENTRY, ())
    assert (dropped.kind, dropped.rule) == (Kind.DROP_ENTRY, "cache.remove_dangling")


def test_what_is_evicted_is_told_from_what_may_be() -> None:
    entries = [entry("a", age=2 * DAY, unused=2 * DAY), entry("b", age=DAY, unused=HOUR)]
    found = of_entries(Survey(entries), evict_above=int(1.5 * MB), evict_to=MB)
    assert (found["a"].kind, found["a"].reason) == (Kind.REMOVE_ENTRY, Reason.EVICTED)
    assert (found["a"].rule, found["a"].due_at) == ("cache.max_size_mb", None)
    assert found["b"].kind is None
    assert found["b"].notes == ("it may be evicted earlier, for cache.max_size_mb",)


@pytest.mark.parametrize(
    ("role", "keep", "notes"),
    [
        (FileRole.AUDIO, (), ("it may be evicted earlier, for cache.min_free_mb",)),
        (FileRole.PARTIAL, (), ("it may be evicted earlier, for cache.min_free_mb",)),
        (FileRole.AUDIO, ("x*",), ()),
        (FileRole.OTHER, (), ()),
    ],
)
def test_a_file_without_an_entry_may_be_evicted_earlier(
    role: FileRole, keep: tuple[str, ...], notes: tuple[str, ...]
) -> None:
    file = stored("x.mp3", age=2 * HOUR)
    policy = {"orphan_ttl": WEEK, "partial_ttl": DAY, "keep": keep, "min_free": MB}
    assert of_file(file, role, Unmatched(), **policy).notes == notes


def test_shared_sidecars_are_removed_with_the_last_audio() -> None:
    entries = [entry("a", sidecars=("a.pho",), shares_sidecars=True)]
    (one,) = of_entries(Survey(entries)).values()
    assert one.notes == ("its sidecars are removed with the last audio of that name: a.pho",)


@pytest.mark.parametrize(("later", "due"), [(None, 6 * DAY), (9 * HOUR, 7 * DAY + 9 * HOUR)])
def test_an_open_time_is_due_by_the_reading_that_counts_by_then(
    later: float | None, due: float
) -> None:
    one = entry("a", age=DAY)
    survey = Survey([one])
    at = None if later is None else NOW + later
    sighting = Sighting(key="a", file=one.file, entry=one, later=at)
    (explained,) = _explained(survey, [sighting], {})
    assert explained.due_at == NOW + due


def test_a_member_that_is_not_judged_is_kept_for_that_reason() -> None:
    sighting = Sighting(key="a", unjudged="kept as it is: it is not a JSON object")
    (one,) = _explained(Survey(), [sighting], {})
    assert (one.kind, one.reason, one.due_at, one.rule) == (None, None, None, None)
    assert one.detail == "kept as it is: it is not a JSON object"


@pytest.mark.parametrize(
    ("age", "arrived", "size", "due", "kind"),
    [
        (8 * DAY, 8 * DAY, 10, -DAY, Kind.REMOVE_FILE),
        (8 * DAY, HOUR / 2, 10, HOUR / 2, None),  # put back from a backup
        (DAY, DAY, 10, 6 * DAY, None),
        (DAY, DAY, 0, -23 * HOUR, Kind.REMOVE_FILE),
        (0, 0, 0, HOUR, None),
    ],
)
def test_audio_that_no_entry_names(
    age: float, arrived: float, size: int, due: float, kind: Kind | None
) -> None:
    file = stored("x.mp3", age=age, arrived=arrived, size=size)
    one = of_file(file, FileRole.AUDIO, Unmatched(files=[file]), orphan_ttl=WEEK)
    assert (one.kind, one.reason) == (kind, Reason.ORPHAN)
    assert one.due_at == NOW + due
    assert one.rule == "cache.remove_orphans"
    off = of_file(file, FileRole.AUDIO, Unmatched(files=[file]))
    assert (off.kind, off.due_at, off.rule) == (None, None, "cache.remove_orphans")
    kept = of_file(file, FileRole.AUDIO, Unmatched(files=[file]), orphan_ttl=WEEK, keep=("x",))
    assert (kept.kind, kept.due_at, kept.detail) == (None, None, "kept by x")


@pytest.mark.parametrize(("age", "kind"), [(2 * DAY, Kind.REMOVE_FILE), (HOUR, None)])
def test_half_written_files(age: float, kind: Kind | None) -> None:
    file = stored("x.mp3.part", age=age)
    one = of_file(file, FileRole.PARTIAL, Unmatched(partials=[file]), partial_ttl=DAY)
    assert (one.kind, one.reason) == (kind, Reason.PARTIAL)
    assert (one.due_at, one.rule) == (NOW - age + DAY, "cache.partial_hours")
    off = of_file(file, FileRole.PARTIAL, Unmatched(partials=[file]))
    assert (off.kind, off.due_at) == (None, None)


@pytest.mark.parametrize(("age", "kind"), [(8 * DAY, Kind.REMOVE_FILE), (HOUR, None)])
def test_sidecars_whose_audio_is_gone(age: float, kind: Kind | None) -> None:
    file = stored("x.json", age=age)
    one = of_file(file, FileRole.SIDECAR, Unmatched(sidecars=[file]), sidecar_ttl=WEEK)
    assert (one.kind, one.due_at) == (kind, NOW - age + WEEK)
    other = of_file(file, FileRole.SIDECAR, Unmatched(), sidecar_ttl=WEEK)
    assert (other.kind, other.due_at) == (None, None)
    assert "not made up by a program" in other.detail
    assert "or it holds more than the text of one audio file" in other.detail
    off = of_file(file, FileRole.SIDECAR, Unmatched())
    assert off.detail == ("a sidecar, and its audio is gone, and cache.remove_sidecars is off")


def of_request(request: GenerationRequest, **policy: object) -> Explanation:
    rules = RequestPolicy(**policy)  # type: ignore[arg-type]
    plan = plan_requests(Table(request), rules, NOW)
    row = FoundRequest(id=request.id, status=request.status, request=request)
    (one,) = explain_requests([row], plan, rules, NOW)
    assert (one.kind is None) is (not len(plan.actions))
    return one


@pytest.mark.parametrize(
    ("request_", "policy", "rule"),
    [
        (generating(HOUR / 2, None, None), {}, "requests.generating_timeout_hours"),
        (
            generating(5 * HOUR, 4 * HOUR, HOUR / 10),
            {"heartbeat_timeout": HOUR / 2},
            "requests.heartbeat_timeout_minutes",
        ),
        (
            generating(5 * HOUR, HOUR / 2, None),
            {"from_start": True, "queued_timeout": 9 * HOUR},
            "requests.generating_timeout_hours",
        ),
        (
            # its try began just now, and all its tries together are nearly over
            generating(1.9 * HOUR, HOUR / 10, None),
            {"from_start": True},
            "requests.generating_timeout_hours",
        ),
        (
            msgspec.structs.replace(generating(60.0, None, None), status=RequestStatus.QUEUED),
            {},
            "requests.queued_timeout_hours",
        ),
    ],
)
def test_a_request_is_due_the_moment_its_timeout_is_over(
    request_: GenerationRequest, policy: dict[str, object], rule: str
) -> None:
    one = of_request(request_, **policy)
    assert (one.kind, one.reason, one.rule) == (None, Reason.ABANDONED, rule)
    assert one.due_at is not None
    rules = RequestPolicy(**policy)  # type: ignore[arg-type]
    for after, count in ((-0.01, 0), (0.01, 1)):
        assert len(plan_requests(Table(request_), rules, one.due_at + after).actions) == count


@pytest.mark.parametrize(
    ("ahead", "words"),
    [
        ({"created_at": NOW + HOUR}, "was created in the future"),
        ({"scheduled_at": NOW + HOUR}, "is scheduled for later"),
        ({"heartbeat_at": NOW + HOUR}, "its heartbeat or start lies in the future"),
    ],
)
def test_which_time_lies_ahead(ahead: dict[str, float], words: str) -> None:
    request = msgspec.structs.replace(generating(HOUR, None, None), **ahead)
    assert of_request(request, heartbeat_timeout=HOUR).detail == f"generating, and {words}"


def test_the_limit_of_a_heartbeat_is_its_own_after_a_scheduled_time_too() -> None:
    request = generating(5 * HOUR, None, HOUR / 2)
    request = msgspec.structs.replace(request, scheduled_at=NOW - HOUR / 10)
    one = of_request(request, heartbeat_timeout=HOUR / 2)
    assert one.detail == "generating for 6.0 min after its scheduled time, limit 30 min"
    assert one.rule == "requests.heartbeat_timeout_minutes"


def test_an_abandoned_request_is_said_as_planned() -> None:
    one = of_request(generating(3 * HOUR, None, None))
    assert one.kind is Kind.CANCEL_REQUEST
    assert one.detail == "generating, created 3.0 h ago, limit 1 h"
    assert one.due_at == NOW - 2 * HOUR


def test_finished_rows_and_those_that_nobody_judges() -> None:
    ended = GenerationRequest(7, RequestStatus.FAILED, NOW - DAY, None, None, NOW - DAY, ())
    rows = [
        FoundRequest(id=7, status="failed", request=ended),
        FoundRequest(id="7", status="lost", unjudged="no setting names its status"),
    ]
    for policy, due in ((RequestPolicy(), None), (RequestPolicy(delete_finished_after=WEEK), 6)):
        first, second = explain_requests(rows, plan_requests(Table(), policy, NOW), policy, NOW)
        assert first.due_at == (None if due is None else NOW + due * DAY)
        assert first.rule == "requests.delete_finished_after_days"
        assert (second.due_at, second.detail) == (None, "no setting names its status")
