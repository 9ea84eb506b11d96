"""Makers of results and records of runs, for what is told from them."""

from __future__ import annotations

from narration_cleanup.apply.result import CacheResult, Outcomes, RequestResult, Result
from narration_cleanup.core.exit_codes import ExitCode
from narration_cleanup.core.model import Problem, RequestStatus, Severity, Target
from narration_cleanup.plan import CachePlan, RequestPlan
from narration_cleanup.plan.actions import (
    Action,
    Actions,
    Outcome,
    Reason,
)
from narration_cleanup.plan.types import CacheTotals, RequestTotals

NOW = 1_795_435_200.0
"""2026-11-23 12:00:00 UTC, as tests.samples.SAMPLE_NOW."""

A_PROBLEM = Problem(Target.CACHE, "created_at_unreadable", "created_at cannot be read", "some-key")
A_WARNING = Problem(
    Target.PROGRAM, "metrics_not_written", "No space left on device", severity=Severity.WARNING
)


def make_result(
    *,
    started_at: float = NOW,
    seconds: float = 1.5,
    removed: int = 3,
    failed: int = 0,
    cancelled: int = 2,
    problems: tuple[Problem, ...] = (),
    stopped: ExitCode | None = None,
    message: str | None = None,
) -> Result:
    """A run that ended: `removed` entries of 1,000 bytes went out of 10, `failed` did not."""
    result = Result(
        started_at=started_at,
        dry_run=False,
        cache_configured=True,
        requests_configured=True,
        finished_at=started_at + seconds,
        stopped=stopped,
        stop_message=message or ("It stopped" if stopped else None),
    )
    result.problems.extend(problems)
    if stopped is None:
        result.cache = make_cache_result(removed, failed)
        result.requests = make_request_result(cancelled)
    return result


def make_cache_result(removed: int, failed: int = 0) -> CacheResult:
    actions = Actions()
    plan = CachePlan(CacheTotals(ttl=7 * 86_400.0), actions=actions)
    plan.totals.entry_count = 10
    plan.totals.total_size_bytes = 10_000
    for number in range(removed + failed):
        key = f"key-{number}"
        plan.add(Action(Reason.EXPIRED, key, "8 days old", f"{key}.mp3", 1000))
    half = CacheResult(plan, Outcomes(actions))
    for number in range(removed + failed):
        half.outcomes.set(number, Outcome.DONE if number < removed else Outcome.FAILED)
    half.freed_bytes = 1000 * removed
    if removed:
        half.removed_by_reason = {Reason.EXPIRED: removed}
        half.freed_by_reason = {Reason.EXPIRED: 1000 * removed}
    return half


def make_request_result(cancelled: int) -> RequestResult:
    actions = Actions()
    totals = RequestTotals(
        {"queued": 5, "generating": 1, "completed": 20, "weird": 4}, {"queued": cancelled}
    )
    for number in range(cancelled):
        guard = ("queued", "2026-11-23T09:00:00", None, None)
        actions.append(
            Action(
                Reason.ABANDONED,
                f"id-{number}",
                "2.5 h",
                status=RequestStatus.QUEUED,
                age_seconds=9_000.0,
                guard=guard,
            )
        )
    half = RequestResult(RequestPlan(totals, actions=actions), Outcomes(actions))
    for number in range(cancelled):
        half.outcomes.set(number, Outcome.DONE)
    half.cancelled_by_status = {"queued": cancelled} if cancelled else {}
    return half
