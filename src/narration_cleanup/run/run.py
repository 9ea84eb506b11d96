"""One run, from top to bottom: lock, recover, plan, guard, apply, verify; ``recorder`` records it.

The cache is cleaned, whole, before the requests are looked at, and neither stops the other.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import msgspec

from narration_cleanup.apply.result import (
    NOT_CHANGED,
    CacheResult,
    Outcomes,
    RequestResult,
    Result,
)
from narration_cleanup.core.errors import RefusedError, TargetError
from narration_cleanup.core.exit_codes import ExitCode
from narration_cleanup.core.model import Problem, Problems, Progress, Severity, Target
from narration_cleanup.core.signals import Stop, is_overdue
from narration_cleanup.plan import (
    CachePlan,
    CachePolicy,
    RequestPlan,
    RequestPolicy,
    plan_after,
    requests_after,
)
from narration_cleanup.plan.actions import Kind, Outcome
from narration_cleanup.report.stats import Stats
from narration_cleanup.run import recorder
from narration_cleanup.run.access import missing_rights
from narration_cleanup.run.collect_stats import clock_fault, collect_stats, with_recent_runs
from narration_cleanup.run.guards import backlog, too_many
from narration_cleanup.run.recorder import RunRecorder
from narration_cleanup.run.stores import attempt, cache_policy, open_targets, request_policy
from narration_cleanup.run.survey import (
    Glass,
    Plans,
    RowGlass,
    survey_and_plan,
    survey_and_plan_cache,
    survey_and_plan_requests,
)
from narration_cleanup.settings import CleanupSettings, Settings
from narration_cleanup.stores.cache import CacheStore

if TYPE_CHECKING:
    from narration_cleanup.stores.requests import RequestStore

_RAISE_THE_LIMIT = "Look with dry-run, then raise the limit"
_NOT_CHANGED = (
    "it was skipped, and is still as it was planned on: a worker holds it, or a trigger or row "
    "security of the database does not let it change"
)


class RunLog(Protocol):
    """Hears of each target as its work begins and ends."""

    def cache_started(self) -> None: ...

    def cache_done(self, cache: CacheResult) -> None: ...

    def requests_started(self) -> None: ...

    def requests_done(self, requests: RequestResult) -> None: ...

    def overwritten(self, requests: RequestResult) -> None: ...


@dataclass(frozen=True, slots=True)
class Work:
    """What the steps of a run share. ``recorder`` is ``None`` where nothing is recorded."""

    result: Result
    stop: Stop
    progress: Progress
    log: RunLog
    recorder: RunRecorder | None = None
    limits: CleanupSettings = field(default_factory=CleanupSettings)


def run(
    settings: Settings,
    result: Result,
    stop: Stop,
    progress: Progress,
    log: RunLog,
    recorder: RunRecorder | None,
    *,
    ignore_clock: bool = False,
) -> Stats:
    """Clean what is configured, filling in ``result``; how it is afterwards.

    Raises ``BusyError``, ``RefusedError`` and ``ConfigError``, before anything is removed.
    """
    now = result.started_at
    work = Work(result, stop, progress, log, recorder, settings.cleanup)
    failures = Problems()
    cache, requests = None, None
    with ExitStack() as stack:
        targets = stack.enter_context(open_targets(settings, now, failures, writes=True))
        targets = stack.enter_context(targets.locked(settings.cleanup.state_dir, failures))
        if recorder is not None:
            recorder.clock_trusted = ignore_clock
            recorder.refuse_clock_jump()
        if (store := targets.cache) is not None:
            cache = attempt(
                lambda: clean_cache(store, cache_policy(settings.cache), work),
                Target.CACHE,
                failures,
            )
        if (table := targets.requests) is not None and not stop.asked:
            requests = attempt(
                lambda: clean_requests(table, request_policy(settings.requests), work),
                Target.REQUESTS,
                failures,
            )
    if stop.exit_code is not None:
        result.stop(stop.exit_code, f"{stop.said}: what was begun is finished, the rest waits")
    result.problems.extend(failures)
    return collect_stats(settings, cache, requests, failures, now)


def dry_run(
    settings: Settings,
    result: Result,
    progress: Progress,
    *,
    explain: bool,
    through: Glass | None = None,
    rows_through: RowGlass | None = None,
) -> Stats:
    """What a run would do: every outcome is ``planned``, and what would stop it is a warning.

    ``through``, ``rows_through``: see ``survey_and_plan``.
    """
    now = result.started_at
    with open_targets(settings, now, result.problems) as targets:
        policies = cache_policy(settings.cache), request_policy(settings.requests)
        plans = survey_and_plan(
            targets,
            policies,
            now,
            progress,
            explain=explain,
            through=through,
            rows_through=rows_through,
        )
        show_plans(plans, result)
        _warn_of_too_many(settings, plans, result)
        _warn_of_the_clock(settings, plans, result)
        result.problems.extend(missing_rights(settings))
        stats = collect_stats(settings, plans.cache, plans.requests, plans.problems, now)
    return with_recent_runs(stats, settings)[0]


def show_plans(plans: Plans, result: Result) -> None:
    """Fill in what a run would do."""
    result.problems.extend(plans.problems)
    if plans.cache is not None:
        result.cache = CacheResult(plans.cache, Outcomes(plans.cache.actions))
    if plans.requests is not None:
        result.requests = RequestResult(plans.requests, Outcomes(plans.requests.actions))


def clean_cache(store: CacheStore, policy: CachePolicy, work: Work) -> CachePlan | None:
    """Clean one cache: recover, plan, guard, apply, verify. How it is afterwards, if known."""
    result, progress = work.result, work.progress
    if count := store.recover():
        message = "files that an earlier run, which was killed, had set aside are put back"
        _note_recovery(Target.CACHE, f"{message}: {count}", result)
    plan = survey_and_plan_cache(store, policy, result.started_at, progress)
    if work.recorder is not None:
        work.recorder.refuse_unproved_absence(plan)
    for problem in too_many(work.limits, plan, None):
        raise RefusedError(f"{problem.message}: nothing was touched. {_RAISE_THE_LIMIT}")
    from narration_cleanup.apply.apply import apply_cache

    work.log.cache_started()
    result.cache = cache = apply_cache(plan, store, work.stop, progress)
    if work.recorder is not None:
        work.recorder.accept_known(cache)
    work.log.cache_done(cache)
    if work.stop.asked and not cache.outcomes.count(Outcome.DONE):
        return plan  # nothing was changed
    if is_overdue():
        return None
    after = left_in_cache(store, cache) or survey_and_plan_cache(
        store, policy, result.started_at, progress
    )
    if not work.stop.asked:
        cache.after = after
        verify_cache(store, cache, after, result.started_at)
    return after


def clean_requests(store: RequestStore, policy: RequestPolicy, work: Work) -> RequestPlan | None:
    """Clean one table of requests, as ``clean_cache`` does; what was planned, where a stop was
    asked for meanwhile, as no database is waited for any more."""
    result, progress = work.result, work.progress
    if store.recover():
        message = "a change that a killed process left in the journal is rolled back"
        _note_recovery(Target.REQUESTS, message, result)
    plan = survey_and_plan_requests(store, policy, result.started_at, progress)
    result.problems.extend(backlog(plan))
    for problem in too_many(work.limits, None, plan):
        why = f"{problem.message}: nothing was cancelled. {_RAISE_THE_LIMIT}"
        result.stop(ExitCode.REFUSED, why)
        return plan
    from narration_cleanup.apply.apply import apply_requests

    work.log.requests_started()
    at = store.now() or result.started_at
    result.requests = requests = apply_requests(plan, store, at, work.stop, progress)
    if work.recorder is not None:
        work.recorder.accept_known(requests)
    work.log.requests_done(requests)
    stopped = work.stop.asked
    if work.recorder is not None:
        recorder.note_cancelled(
            work.recorder, store, requests, result.started_at, count=not stopped
        )
        work.log.overwritten(requests)
    if stopped:
        return requests_after(plan, requests.cancelled_by_status, requests.deleted_by_status)
    after = left_in_requests(store, requests) or survey_and_plan_requests(
        store, policy, result.started_at, progress
    )
    requests.after = after
    verify_requests(requests, after)
    if work.recorder is not None:
        work.recorder.accept_known(requests)
    return after


def _note_recovery(target: Target, message: str, result: Result) -> None:
    result.problems.add(Problem(target, "recovered", message, severity=Severity.WARNING))


def _warn_of_too_many(settings: Settings, plans: Plans, result: Result) -> None:
    if plans.requests is not None:
        result.problems.extend(backlog(plans.requests))
    for problem in too_many(settings.cleanup, plans.cache, plans.requests):
        what = "touch nothing" if problem.target is Target.CACHE else "leave the requests"
        message = f"{problem.message}: a run would refuse, and {what}"
        result.problems.add(msgspec.structs.replace(problem, message=message))


def _warn_of_the_clock(settings: Settings, plans: Plans, result: Result) -> None:
    state_dir = settings.cleanup.state_dir
    why = clock_fault(state_dir, result.started_at, os.environ, plans.cache)
    if why is not None:
        message = f"{why}: a run would refuse, and touch nothing"
        warning = Problem(Target.PROGRAM, "clock_jumped", message, severity=Severity.WARNING)
        result.problems.add(warning)


def left_in_cache(store: CacheStore, cache: CacheResult) -> CachePlan | None:
    """How the cache is after all that was planned was done, if nothing else has changed it.

    ``None`` where that has to be found out by a second survey. An entry left the index only when
    its file had been looked for again: here the other files are.
    """
    if cache.entries_left or cache.removed_count != len(cache.plan.actions):
        return None
    left = plan_after(cache.plan)
    reasons = {
        reason
        for reason in cache.plan.by_reason
        if not (store.has_index and reason.kind is Kind.REMOVE_ENTRY)
    }
    actions = cache.plan.actions if reasons else ()
    removed = (action.file for action in actions if action.reason in reasons)
    try:
        return left if left is not None and store.unchanged_since(removed) else None
    except (TargetError, OSError):  # the second survey reports what is wrong
        return None


def left_in_requests(store: RequestStore, requests: RequestResult) -> RequestPlan | None:
    """The same for the requests: how they are if no others were changed since the survey.

    The rows that were changed are looked at again, one by one; ``None`` as above.
    """
    if requests.outcomes.count(Outcome.DONE) != len(requests.plan.actions):
        return None
    left = requests_after(requests.plan, requests.cancelled_by_status, requests.deleted_by_status)
    try:
        return left if left is not None and store.unchanged_since(requests.plan.actions) else None
    except TargetError:  # the second survey reports what is wrong
        return None


def verify_cache(
    store: CacheStore, cache: CacheResult, after: CachePlan, started_at: float
) -> None:
    """Compare what was removed with what is there: nothing freed is no success.

    What a service made anew since ``started_at`` is no fault, nor is what came since.
    """
    removed = _done_among(cache, {action.file for action in after.actions})
    left = store.count_older(removed, started_at) if removed else 0
    if left:
        message = (
            f"files that were removed are still there: {left}. Does the service use "
            "this folder, and may this user write to it?"
        )
        cache.problems.add(Problem(Target.CACHE, "still_there", message))
    written_back = after.without_file
    if written_back > cache.entries_left and not cache.outcomes.count(Outcome.FAILED):
        message = (
            f"the service wrote {written_back} removed entries back from its memory, without their "
            "audio: each returns with every save until the service reads it or restarts"
        )
        cache.problems.add(
            Problem(Target.CACHE, "written_back", message, severity=Severity.WARNING)
        )


def _done_among(cache: CacheResult, files: set[str]) -> Iterable[str]:
    if not files:
        return ()
    return {
        action.file
        for action, outcome, _ in cache.outcomes
        if outcome is Outcome.DONE and action.file in files
    }


def verify_requests(requests: RequestResult, after: RequestPlan) -> None:
    """Compare what was changed with what is there now: a row that is as it was planned on is no
    success, be it reported as changed or not."""
    waiting = {(action.id, action.guard) for action in after.actions}
    if not waiting:
        return
    left = 0
    for action, outcome, _ in requests.outcomes:
        if outcome is Outcome.FAILED or (action.id, action.guard) not in waiting:
            continue
        if outcome is Outcome.SKIPPED:
            subject = str(action.id)
            requests.problems.add(Problem(Target.REQUESTS, NOT_CHANGED, _NOT_CHANGED, subject))
        else:
            left += 1
    if left:
        message = f"requests that should be changed are still as they were: {left}"
        requests.problems.add(Problem(Target.REQUESTS, "still_there", message))
