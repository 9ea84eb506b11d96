"""The figures that a plan has of its target, and what it is made of when nothing is planned."""

from __future__ import annotations

import subprocess
import sys

import pytest
from msgspec.structs import asdict

from narration_cleanup.plan import CachePlan, CachePolicy, RequestPlan, RequestPolicy
from narration_cleanup.plan.actions import (
    CACHE_REASONS,
    FILE_WAS_GONE,
    Action,
    Actions,
    Kind,
    Outcome,
    Reason,
)
from narration_cleanup.plan.types import CacheTotals, RequestTotals, VoiceTotals
from tests.plan.surveys import DAY, NOW, entry

TTL = 10 * DAY


def test_entries_are_counted_by_age_in_tenths_of_the_ttl() -> None:
    """Bin by bin; of exactly the TTL is not past it, and of the future is new."""
    totals = CacheTotals(TTL)
    ages = [-DAY, 0.0, DAY - 1, DAY, 4.5 * DAY, TTL - 1, TTL, TTL + 1, 900 * DAY, None]
    totals.count_entries([entry(str(age), age=age, size=2) for age in ages], NOW)
    assert totals.age_bins == [3, 1, 0, 0, 1, 0, 0, 0, 0, 2, 2]
    assert (totals.entry_count, totals.total_size_bytes) == (10, 20)
    assert totals.newest_created_at == NOW + DAY
    assert totals.oldest_created_at == NOW - 900 * DAY
    totals.count_entries([entry("older", age=2 * TTL), entry("new", age=0.0)], NOW)
    assert totals.age_bins == [4, 1, 0, 0, 1, 0, 0, 0, 0, 2, 3]


def test_the_voices_are_counted_where_there_are_any() -> None:
    totals = CacheTotals(TTL)
    totals.count_entries([entry("a", voice="x", size=1), entry("b", voice="", size=2)], NOW)
    totals.count_entries([entry("c", voice="x", size=4), entry("d", voice="y", size=8)], NOW)
    assert totals.by_voice_style == {"x": VoiceTotals(2, 5), "y": VoiceTotals(1, 8)}
    assert (totals.entry_count, totals.total_size_bytes) == (4, 15)


def test_totals_are_added_up() -> None:
    one, other = CacheTotals(TTL), CacheTotals(TTL)
    one.count_entries([entry("a", age=3 * DAY, voice="x", size=1)], NOW)
    one.count_entries([entry("e", age=5 * DAY, voice="x", size=16)], NOW)
    other.count_entries([entry("b", age=DAY, voice="x", size=2)], NOW)
    other.count_entries([entry("c", age=9 * DAY, voice="y", size=4)], NOW)
    both = CacheTotals(TTL)
    both.add(one)
    assert both == one
    both.add(other)
    assert (both.entry_count, both.total_size_bytes) == (4, 23)
    assert both.by_voice_style == {"x": VoiceTotals(3, 19), "y": VoiceTotals(1, 4)}
    assert both.age_bins == [0, 1, 0, 1, 0, 1, 0, 0, 0, 1, 0]
    assert (both.oldest_created_at, both.newest_created_at) == (NOW - 9 * DAY, NOW - DAY)
    both.add(CacheTotals(TTL, entry_count=1))
    assert both.entry_count == 5
    assert (both.oldest_created_at, both.newest_created_at) == (NOW - 9 * DAY, NOW - DAY)
    one.add(other)
    assert (one.oldest_created_at, one.newest_created_at) == (NOW - 9 * DAY, NOW - DAY)


def test_requests_are_counted_by_status() -> None:
    totals = RequestTotals({"queued": 3, "generating": 2, "completed": 7, "odd": 1})
    assert (totals.total, totals.active_count, totals.abandoned_count) == (13, 5, 0)
    for status in ("queued", "queued", "generating"):
        totals.count_abandoned(status)
    assert totals.abandoned_by_status == {"queued": 2, "generating": 1}
    assert totals.abandoned_count == 3
    assert RequestTotals({"completed": 1}).active_count == 0


def test_nothing_is_planned_at_first() -> None:
    for plan in (CachePlan(CacheTotals(TTL)), RequestPlan(RequestTotals())):
        assert len(plan.actions) == len(list(plan.problems)) == 0
        assert (plan.planned_bytes, plan.stored_bytes) == (0, 0)
        assert not plan.explain
        assert not plan.shares_sidecars
        assert plan.by_reason == {}
    empty = CacheTotals(TTL)
    assert (empty.entry_count, empty.total_size_bytes, empty.age_bins) == (0, 0, [0] * 11)
    assert (empty.expired_count, empty.expired_size_bytes) == (0, 0)
    assert (empty.missing_count, empty.missing_size_bytes) == (0, 0)
    assert (empty.oldest_created_at, empty.newest_created_at) == (None, None)
    assert (empty.dangling_count, empty.orphan_count, empty.orphan_size_bytes) == (0, 0, 0)
    assert VoiceTotals() == VoiceTotals(0, 0)


def test_what_is_allowed_where_nothing_is_said() -> None:
    assert CachePolicy() == CachePolicy(
        ttl=604_800.0, evict_to=0, remove_dangling=False, remove_empty=True
    )
    assert RequestPolicy() == RequestPolicy(
        queued_timeout=3_600.0, generating_timeout=3_600.0, from_start=False
    )


ENTRY, FILE, REQUEST = (True, True), (False, True), (False, False)


@pytest.mark.parametrize(
    ("reason", "kind", "entry_and_cache", "frees"),
    [
        (Reason.EXPIRED, Kind.REMOVE_ENTRY, ENTRY, True),
        (Reason.EVICTED, Kind.REMOVE_ENTRY, ENTRY, True),
        (Reason.EMPTY, Kind.REMOVE_ENTRY, ENTRY, True),
        (Reason.ORPHAN, Kind.REMOVE_FILE, FILE, True),
        (Reason.PARTIAL, Kind.REMOVE_FILE, FILE, True),
        (Reason.DANGLING, Kind.DROP_ENTRY, ENTRY, False),
        (Reason.ABANDONED, Kind.CANCEL_REQUEST, REQUEST, False),
        (Reason.FINISHED, Kind.DELETE_REQUEST, REQUEST, False),
    ],
)
def test_the_reason_says_what_is_done(
    reason: Reason, kind: Kind, entry_and_cache: tuple[bool, bool], *, frees: bool
) -> None:
    assert reason.kind is kind
    assert Action(reason, "k", "").kind is kind
    assert (kind.is_of_entry, kind.is_of_cache) == entry_and_cache
    assert kind.frees_bytes is frees
    assert (reason in CACHE_REASONS) is kind.is_of_cache


@pytest.mark.parametrize("ref", [(1, 2, 3), (1, 2, b"digest"), (2**70, 0, 0)])
@pytest.mark.parametrize("name", ["a.mp3", "\udcff.mp3"])
def test_an_action_is_what_it_was_once_it_is_kept(
    name: str, ref: tuple[int, int, int | bytes]
) -> None:
    """Also where its small form has no room for it."""
    action = Action(
        Reason.EXPIRED, "k", "8 days old", name, 7, ref, ("a.json",), "voice", "v2", NOW, "queued"
    )
    request = Action(Reason.ABANDONED, 7, "2 h", guard=("queued", 1, 1.5, None), place=4)
    actions = Actions()
    actions.append(action)
    actions.append_packed(actions.packed(request))
    assert list(actions) == [action, request]
    assert len(actions) == 2
    actions[0] = request
    assert (actions[0], actions[1]) == (request, request)
    assert (request.size_bytes, request.age_seconds, request.ref) == (0, 0.0, (0, 0, 0))


def test_the_words_for_what_is_done_are_fixed() -> None:
    """They are in the history, the metrics and the JSON, where others look for them."""
    assert {kind.name: tuple(kind.value) for kind in Kind} == {
        "REMOVE_ENTRY": ("remove", "Removed", "entry", "entries"),
        "REMOVE_FILE": ("remove", "Removed", "file", "files"),
        "DROP_ENTRY": ("drop", "Dropped", "entry", "entries"),
        "CANCEL_REQUEST": ("cancel", "Cancelled", "request", "requests"),
        "DELETE_REQUEST": ("delete", "Deleted", "request", "requests"),
    }
    assert " ".join(Reason) == ("expired evicted empty orphan partial dangling abandoned finished")
    assert " ".join(Outcome) == "planned done skipped failed"
    assert FILE_WAS_GONE == "its file was already gone"


def test_an_action_says_no_more_than_it_was_told() -> None:
    nothing_more: dict[str, object] = {
        "file": "",
        "size_bytes": 0,
        "ref": (0, 0, 0),
        "sidecars": (),
        "voice_style": "",
        "variant_id": "",
        "created_at": None,
        "status": "",
        "age_seconds": 0.0,
        "guard": (),
        "place": None,
        "lacks_file": False,
    }
    told = {"reason": Reason.EXPIRED, "id": "k", "detail": "8 days old"}
    assert asdict(Action(Reason.EXPIRED, "k", "8 days old")) == told | nothing_more


def test_planned_removals_take_little_memory() -> None:
    """Measured in a process of its own, as its resident set."""
    program = """if True:
        from narration_cleanup.plan.actions import Action, Actions, Reason

        def resident():
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1]) * 4096

        actions, before = Actions(), resident()
        for number in range(50_000):
            key = f"{number:064x}"
            ref = number * 450, number * 450 + 449, number.to_bytes(16, "big")
            what = key, "12.3 days old, limit 7", f"{key}.mp3", 2000, ref, ()
            actions.append(Action(Reason.EXPIRED, *what, "eerie_narrator", "variant-000001", 1.7e9))
        print((resident() - before) // len(actions))
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert int(done.stdout) < 280
