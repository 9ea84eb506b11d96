"""Which requests are abandoned, and what their age is counted from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from narration_cleanup.core.model import (
    DAY,
    HOUR,
    FoundRequest,
    GenerationRequest,
    Problem,
    RequestStatus,
    Target,
)
from narration_cleanup.core.timestamps import FUTURE_TOLERANCE
from narration_cleanup.plan import RequestPolicy, plan_requests
from narration_cleanup.plan.actions import Action, Reason

NOW = 1_795_435_200.0
MINUTE = 60.0


class Survey:
    """A table whose active rows are given, two in each page, and its finished ones."""

    def __init__(
        self,
        *requests: GenerationRequest,
        finished: Sequence[GenerationRequest] = (),
        problems: Sequence[Problem] = (),
    ) -> None:
        self._requests = requests
        self._finished = finished
        self.problems = problems
        self.asked_before: list[float] = []

    def by_status(self) -> dict[str, int]:
        return {"generating": len(self._requests)}

    def active(self) -> Iterator[Sequence[GenerationRequest]]:
        for first in range(0, len(self._requests), 2):
            yield self._requests[first : first + 2]

    def finished(self, before: float) -> Iterator[Sequence[GenerationRequest]]:
        self.asked_before.append(before)
        yield self._finished

    def find(self, identity: str) -> Sequence[FoundRequest]:
        return ()


def generating(created: float, started: float | None, beat: float | None) -> GenerationRequest:
    """A request with the ages of its times, in seconds."""
    times = [None if age is None else NOW - age for age in (created, started, beat)]
    guard = ("generating", *times)
    status = RequestStatus.GENERATING
    return GenerationRequest("a", status, NOW - created, times[1], times[2], None, guard)


def detail(request: GenerationRequest, **policy: Any) -> str | None:
    """Why it is cancelled; ``None`` where it is kept."""
    found = list(plan_requests(Survey(request), RequestPolicy(**policy), NOW).actions)
    return found[0].detail if found else None


@pytest.mark.parametrize(
    ("created", "started", "beat", "expected"),
    [
        (3 * HOUR, 2 * MINUTE, None, None),
        (3 * HOUR, HOUR, None, None),
        (3 * HOUR, 2 * HOUR, None, "generating for 2.0 h since its start, limit 1 h"),
        (3 * HOUR, None, None, "generating, created 3.0 h ago, limit 1 h"),
        (25 * HOUR, 5.0, 1.0, None),
        (
            26 * HOUR,
            5.0,
            1.0,
            "generating 26.0 h after it was created, waiting included, limit 25 h",
        ),
        (3 * HOUR, 2 * HOUR, 5 * MINUTE, None),
        (
            3 * HOUR,
            2 * HOUR,
            20 * MINUTE,
            "generating without a heartbeat for 20.0 min, limit 10 min",
        ),
        (3 * HOUR, MINUTE, 2 * HOUR, None),
        (
            3 * HOUR,
            15 * MINUTE,
            2 * HOUR,
            "generating without a heartbeat for 15.0 min since its start, limit 10 min",
        ),
    ],
)
def test_generating_counts_from_the_later_of_start_and_heartbeat(
    created: float, started: float | None, beat: float | None, expected: str | None
) -> None:
    request = generating(created, started, beat)
    found = detail(
        request,
        queued_timeout=24 * HOUR,
        generating_timeout=HOUR,
        from_start=True,
        heartbeat_timeout=10 * MINUTE,
    )
    assert found == expected


def test_without_a_timeout_of_its_own_generating_counts_from_created_at() -> None:
    request = generating(2 * HOUR, MINUTE, None)
    assert detail(request) == "generating, created 2.0 h ago, limit 1 h"


def test_a_start_that_cannot_be_read_leaves_both_timeouts_together() -> None:
    policy = {"queued_timeout": 24 * HOUR, "generating_timeout": HOUR, "from_start": True}
    guard = ("generating", "then", "soon", None)
    for hours, is_cancelled in ((3, False), (26, True)):
        created_at = NOW - hours * HOUR
        status = RequestStatus.GENERATING
        request = GenerationRequest("a", status, created_at, None, None, None, guard)
        assert (detail(request, **policy) is not None) is is_cancelled


def queued(age: float, scheduled: float | None = None, identity: int = 7) -> GenerationRequest:
    """A waiting request, and for when it is scheduled, both in seconds before ``NOW``."""
    at = None if scheduled is None else NOW - scheduled
    guard = ("queued", NOW - age, None, None, at)
    what = identity, RequestStatus.QUEUED, NOW - age, None, None, None, guard, 3
    return GenerationRequest(*what, at)


def ended(age: float | None, status: RequestStatus, identity: int) -> GenerationRequest:
    """A request that was made five days before ``NOW``, and finished ``age`` seconds before it."""
    at = None if age is None else NOW - age
    guard = (status.value, NOW - 5 * DAY, None, at)
    return GenerationRequest(identity, status, NOW - 5 * DAY, None, None, at, guard, 4)


POLICY = RequestPolicy(queued_timeout=2 * HOUR, generating_timeout=30 * MINUTE)


def test_each_request_has_the_limit_of_its_status_and_is_kept_at_it() -> None:
    """What is within its limit does not end the list."""
    survey = Survey(
        queued(2 * HOUR, identity=1),
        queued(2 * HOUR + 60, identity=2),
        generating(30 * MINUTE, None, None),
        generating(31 * MINUTE, None, None),
        queued(5 * HOUR, identity=3),
    )
    plan = plan_requests(survey, POLICY, NOW)
    assert list(plan.actions) == [
        Action(
            Reason.ABANDONED,
            identity,
            detail,
            created_at=NOW - age,
            status=status,
            age_seconds=age,
            guard=(status, NOW - age, None, None, *([None] if status == "queued" else [])),
            place=place,
        )
        for identity, detail, age, status, place in (
            (2, "queued for 2 h and 1 min, limit 2 h", 2 * HOUR + 60, "queued", 3),
            (
                "a",
                "generating, created 31.0 min ago, limit 30 min",
                31 * MINUTE,
                "generating",
                None,
            ),
            (3, "queued for 5.0 h, limit 2 h", 5 * HOUR, "queued", 3),
        )
    ]
    assert plan.totals.abandoned_by_status == {"queued": 2, "generating": 1}
    assert plan.totals.by_status == {"generating": 5}
    assert plan.by_reason == {Reason.ABANDONED: 3}
    assert list(plan.problems) == []
    assert survey.asked_before == [], "no finished row is looked at unless that is asked for"


@pytest.mark.parametrize(
    ("age", "scheduled", "expected"),
    [
        (5 * HOUR, HOUR, None),
        (5 * HOUR, 3 * HOUR, "queued for 3.0 h after its scheduled time, limit 2 h"),
        (5 * HOUR, 5 * HOUR, "queued for 5.0 h after its scheduled time, limit 2 h"),
        (5 * HOUR, 6 * HOUR, "queued for 5.0 h, limit 2 h"),
        (5 * HOUR, -9 * DAY, None),
    ],
)
def test_a_request_that_is_scheduled_counts_from_that_time(
    age: float, scheduled: float, expected: str | None
) -> None:
    found = list(plan_requests(Survey(queued(age, scheduled)), POLICY, NOW).actions)
    assert [action.detail for action in found] == ([expected] if expected else [])


@pytest.mark.parametrize(("ahead", "reported"), [(0.0, False), (1.0, True), (9 * DAY, True)])
def test_a_creation_in_the_future_is_a_problem_beyond_the_tolerance(
    ahead: float, *, reported: bool
) -> None:
    request = queued(-FUTURE_TOLERANCE - ahead)
    unreadable = Problem(Target.REQUESTS, "unreadable_time", "cannot be read", "8")
    plan = plan_requests(Survey(request, problems=[unreadable]), POLICY, NOW)
    assert [(each.code, each.subject) for each in plan.problems] == [
        *([("created_in_future", "7")] if reported else []),
        ("unreadable_time", "8"),
    ]
    assert len(plan.actions) == 0


@pytest.mark.parametrize(("started", "beat"), [(-HOUR, None), (2 * HOUR, -HOUR)])
@pytest.mark.parametrize("from_start", [False, True])
def test_a_start_or_a_heartbeat_in_the_future_is_reported(
    started: float, beat: float | None, *, from_start: bool
) -> None:
    """It may keep the row for as long as it lies ahead."""
    policy = RequestPolicy(from_start=from_start, heartbeat_timeout=10 * MINUTE)
    plan = plan_requests(Survey(generating(1.5 * HOUR, started, beat)), policy, NOW)
    role = "started_at" if beat is None else "heartbeat_at"
    assert [each.message.partition(" ")[0] for each in plan.problems] == [role]


def test_finished_rows_go_once_older_than_their_limit() -> None:
    """Of exactly the limit one stays, and so does one that does not say when it ended."""
    rows = [
        ended(DAY, RequestStatus.COMPLETED, 1),
        ended(None, RequestStatus.FAILED, 2),
        ended(DAY + 3600, RequestStatus.FAILED, 3),
        ended(HOUR, RequestStatus.COMPLETED, 4),
        ended(3 * DAY, RequestStatus.CANCELLED, 5),
    ]
    survey = Survey(finished=rows)
    plan = plan_requests(survey, replace(POLICY, delete_finished_after=DAY), NOW)
    assert survey.asked_before == [NOW - DAY]
    assert list(plan.actions) == [
        Action(
            Reason.FINISHED,
            identity,
            detail,
            created_at=NOW - 5 * DAY,
            status=status,
            age_seconds=age,
            guard=(status, NOW - 5 * DAY, None, NOW - age),
            place=4,
        )
        for identity, detail, age, status in (
            (3, "failed 1 day and 1 h ago, limit 1", DAY + 3600, "failed"),
            (5, "cancelled 3.0 days ago, limit 1", 3 * DAY, "cancelled"),
        )
    ]
    assert plan.by_reason == {Reason.FINISHED: 2}
    assert plan.totals.abandoned_count == 0


def test_a_finished_row_without_an_end_goes_by_when_it_was_begun() -> None:
    row = msgspec.structs.replace(
        ended(3 * DAY, RequestStatus.FAILED, 1), guard=("failed", NOW - 5 * DAY, None, None)
    )
    policy = replace(POLICY, delete_finished_after=DAY)
    (action,) = plan_requests(Survey(finished=[row]), policy, NOW).actions
    assert action.detail == "failed, begun 3.0 days ago, limit 1"


@pytest.mark.parametrize(
    ("created", "started", "beat", "expected"),
    [
        # Exactly both timeouts together: the start counts still, and a moment later all the time.
        (25 * HOUR, 2 * HOUR, None, "generating for 2.0 h since its start, limit 1 h"),
        (25 * HOUR, 5.0, None, None),
        # Of one instant, start and heartbeat are no new try.
        (3 * HOUR, 20 * MINUTE, 20 * MINUTE, "generating without a heartbeat for 20.0 min, limit"),
        (3 * HOUR, None, 20 * MINUTE, "generating without a heartbeat for 20.0 min, limit"),
        (3 * HOUR, 10 * MINUTE, 9 * DAY, None),
        (2 * HOUR, None, 10 * MINUTE, None),
    ],
)
def test_the_edges_of_what_generating_counts_from(
    created: float, started: float | None, beat: float | None, expected: str | None
) -> None:
    found = detail(
        generating(created, started, beat),
        queued_timeout=24 * HOUR,
        generating_timeout=HOUR,
        from_start=True,
        heartbeat_timeout=10 * MINUTE,
    )
    assert (found or "").startswith(expected or "")
    assert (found is None) is (expected is None)


def test_a_heartbeat_counts_only_where_it_has_a_limit_and_a_start_where_it_is_asked_for() -> None:
    request = generating(3 * HOUR, 2 * MINUTE, MINUTE)
    assert detail(request) == "generating, created 3.0 h ago, limit 1 h"
    assert detail(request, heartbeat_timeout=10 * MINUTE) is None
    unread = msgspec.structs.replace(request, started_at=None, heartbeat_at=None)
    assert detail(unread, from_start=True) == (
        "generating 3.0 h after it was created, waiting included, limit 2 h"
    )
    scheduled = msgspec.structs.replace(request, scheduled_at=NOW - 30 * MINUTE)
    assert detail(scheduled) is None
    old = generating(90 * HOUR, 2 * MINUTE, None)
    old = msgspec.structs.replace(old, scheduled_at=NOW - HOUR / 2)
    assert detail(old, from_start=True) is None
    unstarted = msgspec.structs.replace(old, started_at=None, scheduled_at=NOW - 1.5 * HOUR)
    unstarted = msgspec.structs.replace(unstarted, guard=("generating", 0, None, None))
    words = "generating for 1.5 h after its scheduled time, limit 1 h"
    assert detail(unstarted, from_start=True) == words
