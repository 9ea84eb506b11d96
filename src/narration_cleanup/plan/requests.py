"""Which requests are abandoned, and which finished rows are old enough to go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from narration_cleanup.core.model import (
    DAY,
    HOUR,
    GenerationRequest,
    Problem,
    RequestStatus,
    RequestSurvey,
    Target,
)
from narration_cleanup.core.timestamps import FUTURE_TOLERANCE
from narration_cleanup.plan.actions import Action, Reason
from narration_cleanup.plan.rules import DAYS, HOURS, MINUTES, RequestPolicy, age_past
from narration_cleanup.plan.types import RequestPlan, RequestTotals

FUTURE = "created_in_future"
"""The code of the only problem that a request which is cancelled may have."""


def plan_requests(survey: RequestSurvey, policy: RequestPolicy, now: float) -> RequestPlan:
    """Decide which requests are abandoned, and which finished rows are old enough to go.

    Abandoned is an active status and an age past its timeout, strictly; see ``age_of`` for what
    the age is counted from.
    """
    plan = RequestPlan(RequestTotals(by_status=survey.by_status()))
    for page in survey.active():
        for request in page:
            if ahead := _in_future(request, now + FUTURE_TOLERANCE):
                plan.problems.add(_future_request(request, ahead))
            age, limit, words = age_of(request, policy, now)
            if age <= limit:
                continue
            unit = HOURS if limit >= HOUR else MINUTES
            lasted = words.format(request.status, age_past(age, limit, unit))
            detail = f"{lasted}, limit {limit / unit.seconds:g} {unit.plural}"
            plan.totals.count_abandoned(request.status)
            plan.add(_change(request, Reason.ABANDONED, detail, age))
    if policy.delete_finished_after is not None:
        _plan_deletions(plan, survey, policy.delete_finished_after, now)
    plan.problems.extend(survey.problems)
    return plan


def age_of(
    request: GenerationRequest, policy: RequestPolicy, now: float
) -> tuple[float, float, str]:
    """Age and limit in seconds, and the words around the status and the age.

    A request that is scheduled for a later time counts from that time.
    """
    since, limit, words = _clock_of(request, policy, now)
    if request.scheduled_at is not None and request.scheduled_at >= since:
        since, words = request.scheduled_at, "{} for {} after its scheduled time"
    return now - since, limit, words


def _clock_of(
    request: GenerationRequest, policy: RequestPolicy, now: float
) -> tuple[float, float, str]:
    """The instant that a request counts from, its limit in seconds, and the words as above.

    A generating request counts from its heartbeat, or where ``from_start`` is set and there is no
    heartbeat from its start; a start after the heartbeat is a new try, and counts instead. With
    ``from_start`` waiting and generating together end at the sum of both timeouts, so that a
    request whose worker restarts again and again ends.
    """
    since = max(request.created_at, request.scheduled_at or request.created_at)
    if request.status is RequestStatus.QUEUED:
        return since, policy.queued_timeout, "{} for {}"
    heartbeat_at, started_at = request.heartbeat_at, request.started_at
    longest = policy.queued_timeout + policy.generating_timeout
    if policy.from_start and (now - since > longest or request.start_is_unreadable):
        return since, longest, "{} {} after it was created, waiting included"
    if heartbeat_at is not None and policy.heartbeat_timeout is not None:
        if started_at is None or started_at <= heartbeat_at:
            return heartbeat_at, policy.heartbeat_timeout, "{} without a heartbeat for {}"
        silent = "{} without a heartbeat for {} since its start"
        return started_at, policy.heartbeat_timeout, silent
    if policy.from_start and started_at is not None:
        return started_at, policy.generating_timeout, "{} for {} since its start"
    return since, policy.generating_timeout, "{}, created {} ago"


def words_of_end(request: GenerationRequest) -> str:
    """The words around the age of a finished request."""
    has_end = request.guard[-1:] != (None,)
    return f"{request.status} {{}} ago" if has_end else f"{request.status}, begun {{}} ago"


def _plan_deletions(plan: RequestPlan, survey: RequestSurvey, limit: float, now: float) -> None:
    for page in survey.finished(now - limit):
        for request in page:
            if request.finished_at is None or now - request.finished_at <= limit:
                continue
            age = now - request.finished_at
            lasted = words_of_end(request).format(age_past(age, limit, DAYS))
            detail = f"{lasted}, limit {limit / DAY:g}"
            plan.add(_change(request, Reason.FINISHED, detail, age))


def _change(request: GenerationRequest, reason: Reason, detail: str, age: float) -> Action:
    return Action(
        reason,
        request.id,
        detail,
        created_at=request.created_at,
        status=request.status,
        age_seconds=age,
        guard=request.guard,
        place=request.place,
    )


def _in_future(request: GenerationRequest, latest: float) -> str | None:
    """Which of its times lies in the future; to be scheduled for one is no fault."""
    for role in ("created_at", "started_at", "heartbeat_at"):
        if (getattr(request, role) or 0.0) > latest:
            return role
    return None


def _future_request(request: GenerationRequest, role: str) -> Problem:
    return Problem(
        Target.REQUESTS,
        FUTURE,
        f"{role} lies in the future: is the clock or cleanup.timezone wrong?",
        str(request.id),
    )


def requests_after(
    plan: RequestPlan, cancelled: Mapping[str, int], deleted: Mapping[str, int]
) -> RequestPlan | None:
    """As ``plan_after``, where so many requests were cancelled and deleted, by earlier status.

    ``None`` also where a problem may be that of a row which was cancelled.
    """
    by_status = Counter(plan.totals.by_status)
    for gone in (cancelled, deleted):
        by_status.subtract(gone)
    by_status[RequestStatus.CANCELLED.value] += sum(cancelled.values())
    if min(by_status.values()) < 0 or any(each.code == FUTURE for each in plan.problems):
        return None
    abandoned = Counter(plan.totals.abandoned_by_status)
    abandoned.subtract(cancelled)
    totals = RequestTotals(dict(+by_status), dict(+abandoned))
    return RequestPlan(totals, plan.problems)
