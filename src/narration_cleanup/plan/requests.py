"""Which requests are abandoned, and which finished rows are old enough to go."""

from __future__ import annotations

from narration_cleanup.core.model import (
    GenerationRequest,
    Problem,
    RequestStatus,
    RequestSurvey,
    Target,
)
from narration_cleanup.core.problems import Problems
from narration_cleanup.core.timestamps import FUTURE_TOLERANCE
from narration_cleanup.core.units import DAY, HOUR
from narration_cleanup.plan.actions import (
    Actions,
    CancelRequest,
    DeleteRequest,
    Reason,
    RequestAction,
)
from narration_cleanup.plan.policy import RequestPolicy
from narration_cleanup.plan.reasons import DAYS, HOURS, MINUTES, age_past
from narration_cleanup.plan.totals import RequestTotals
from narration_cleanup.plan.types import RequestPlan

FUTURE = "created_in_future"
"""The code of the only problem that a request which is cancelled may have."""


def plan_requests(survey: RequestSurvey, policy: RequestPolicy, now: float) -> RequestPlan:
    """Decide which requests are abandoned, and which finished rows are old enough to go.

    Abandoned is an active status and ``now - created_at > timeout``, strictly. A generating
    request with a heartbeat is judged by the heartbeat's age instead, where a timeout for it is
    set: a worker that still says it lives is not abandoned.
    """
    plan = RequestPlan(
        Actions(RequestAction), RequestTotals(by_status=survey.by_status()), Problems()
    )
    for page in survey.active():
        for request in page:
            if request.created_at > now + FUTURE_TOLERANCE:
                plan.problems.add(_future_request(request))
            age, limit, clock = _age_of(request, policy, now)
            if age <= limit:
                continue
            unit = HOURS if limit >= HOUR else MINUTES
            detail = (
                f"{request.status} {clock}{age_past(age, limit, unit)}, "
                f"limit {limit / unit.seconds:g} {unit.plural}"
            )
            plan.totals.count_abandoned(request.status)
            plan.actions.append(
                CancelRequest(
                    request.id,
                    request.status,
                    age,
                    Reason.ABANDONED,
                    detail,
                    request.guard,
                    request.place,
                )
            )
    if policy.delete_finished_after is not None:
        _plan_deletions(plan, survey, policy.delete_finished_after, now)
    plan.problems.extend(survey.problems)
    return plan


def _age_of(
    request: GenerationRequest, policy: RequestPolicy, now: float
) -> tuple[float, float, str]:
    """Age and limit in seconds, and how the age is worded."""
    if request.status is RequestStatus.QUEUED:
        return now - request.created_at, policy.queued_timeout, "for "
    if request.heartbeat_at is not None and policy.heartbeat_timeout is not None:
        return (
            now - request.heartbeat_at,
            policy.heartbeat_timeout,
            "without a heartbeat for ",
        )
    return now - request.created_at, policy.generating_timeout, "for "


def _plan_deletions(plan: RequestPlan, survey: RequestSurvey, limit: float, now: float) -> None:
    for page in survey.finished(now - limit):
        for request in page:
            if request.finished_at is None or now - request.finished_at <= limit:
                continue
            age = now - request.finished_at
            detail = f"{request.status} {age_past(age, limit, DAYS)} ago, limit {limit / DAY:g}"
            plan.actions.append(
                DeleteRequest(
                    request.id,
                    request.status,
                    age,
                    Reason.FINISHED,
                    detail,
                    request.guard,
                    request.place,
                )
            )


def _future_request(request: GenerationRequest) -> Problem:
    return Problem(
        Target.REQUESTS,
        FUTURE,
        "created_at lies in the future: left alone; is the clock or cleanup.timezone wrong?",
        str(request.id),
    )
