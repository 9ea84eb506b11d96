"""The job itself: do what was planned, and look again. Neither half stops the other."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from narration_cleanup.apply.apply import apply_cache, apply_requests
from narration_cleanup.apply.result import CacheResult, Outcomes, RequestResult, Result
from narration_cleanup.apply.signals import Stop
from narration_cleanup.core.errors import TargetError
from narration_cleanup.core.model import Problem, Severity, Target
from narration_cleanup.core.progress import Progress
from narration_cleanup.plan import CachePlan, RequestPlan, plan_after, requests_after
from narration_cleanup.plan.actions import CacheAction, Outcome, Reason, RemoveEntry, RequestAction
from narration_cleanup.run.stores import Targets
from narration_cleanup.run.survey import Plans, attempt


class JobLog(Protocol):
    """Told of each half as it begins and ends."""

    def cache_started(self) -> None: ...

    def cache_done(self, cache: CacheResult) -> None: ...

    def requests_started(self) -> None: ...

    def requests_done(self, requests: RequestResult) -> None: ...


def recover(targets: Targets, result: Result) -> Targets:
    """Finish what a killed process left half done, so that it is planned on like anything else.

    The halves to work on: without one of which that cannot be done. In the cache, what is staged
    would be missed, and its entries dropped.
    """
    cache, requests = targets.cache, targets.requests
    if cache is not None:
        count = attempt(cache.recover, Target.CACHE, result.problems)
        cache = None if count is None else cache
        if count:
            message = "files that an earlier run, which was killed, had set aside are put back"
            _note_recovery(Target.CACHE, f"{message}: {count}", result)
    if requests is not None:
        recovered = attempt(requests.recover, Target.REQUESTS, result.problems)
        requests = None if recovered is None else requests
        if recovered:
            message = "a change that a killed process left in the journal is rolled back"
            _note_recovery(Target.REQUESTS, message, result)
    return Targets(cache, requests)


def _note_recovery(target: Target, message: str, result: Result) -> None:
    result.problems.add(Problem(target, "recovered", message, severity=Severity.WARNING))


def dry_run(plans: Plans, result: Result) -> None:
    """Fill in what a run would do: every outcome is ``planned``."""
    result.problems.extend(plans.problems)
    if plans.cache is not None:
        result.cache = CacheResult(plans.cache, Outcomes(plans.cache.actions))
    if plans.requests is not None:
        result.requests = RequestResult(plans.requests, Outcomes(plans.requests.actions))


def run(
    targets: Targets,
    plans: Plans,
    result: Result,
    stop: Stop,
    progress: Progress,
    log: JobLog,
) -> None:
    """Do what was planned, filling in ``result`` as it goes; ``log`` is told of each half."""
    result.problems.extend(plans.problems)
    if targets.cache is not None and plans.cache is not None:
        log.cache_started()
        result.cache = apply_cache(plans.cache, targets.cache, stop, progress)
        log.cache_done(result.cache)
    if targets.requests is not None and plans.requests is not None:
        log.requests_started()
        at = targets.requests.now() or result.started_at
        result.requests = apply_requests(plans.requests, targets.requests, at, stop, progress)
        log.requests_done(result.requests)
    if stop.exit_code is not None:
        result.stop(
            stop.exit_code, "Stopped by a signal: what was begun is finished, the rest waits"
        )


def look_again(result: Result, after: Plans) -> None:
    """Compare what should be gone with what is still there: freed nothing is no success.

    Neither is what cannot be looked at again: nobody knows how it stands.
    """
    for target, done, now in (
        (Target.CACHE, result.cache, after.cache),
        (Target.REQUESTS, result.requests, after.requests),
    ):
        if done is not None and now is None:
            done.problems.extend(problem for problem in after.problems if problem.target is target)
    if result.cache is not None and after.cache is not None:
        result.cache.after = after.cache
        _still_expired(result.cache, after.cache)
    if result.requests is not None and after.requests is not None:
        result.requests.after = after.requests
        left = len(after.requests.actions) - _told(result.requests.outcomes)
        if left > 0:
            message = f"requests that should be cancelled are still as they were: {left}"
            result.requests.problems.add(Problem(Target.REQUESTS, "still_there", message))


def reached(targets: Targets, result: Result) -> Targets:
    """Without the half that could not be looked at: it is not waited for a second time."""
    return replace(
        targets,
        cache=targets.cache if result.cache is not None else None,
        requests=targets.requests if result.requests is not None else None,
    )


def left_in_cache(targets: Targets, result: Result) -> CachePlan | None:
    """How the cache stands after all that was planned was done, if nobody has changed it since.

    ``None`` where that has to be found out by a second look at everything. An entry left the
    index only when its file had been looked for again: here the other files are.
    """
    store, cache = targets.cache, result.cache
    if store is None or cache is None or cache.entries_left:
        return None
    if cache.removed_count != len(cache.plan.actions):
        return None
    left = plan_after(cache.plan)
    removed = (
        action.file
        for action in cache.plan.actions
        if not (store.has_index and isinstance(action, RemoveEntry))
    )
    try:
        return left if left is not None and store.unchanged_since(removed) else None
    except (TargetError, OSError):  # the second look says what is wrong
        return None


def left_in_requests(targets: Targets, result: Result) -> RequestPlan | None:
    """The same for the requests: how they stand if nobody has changed others since the look.

    The rows that were changed are looked at again, one by one; ``None`` as above.
    """
    store, requests = targets.requests, result.requests
    if store is None or requests is None:
        return None
    if requests.outcomes.count(Outcome.DONE) != len(requests.plan.actions):
        return None
    left = requests_after(requests.plan, requests.cancelled_by_status, requests.deleted_by_status)
    try:
        return left if left is not None and store.unchanged_since(requests.plan.actions) else None
    except TargetError:  # the second look says what is wrong
        return None


def _still_expired(cache: CacheResult, after: CachePlan) -> None:
    written_back = after.missing_file + after.by_reason.get(Reason.DANGLING, 0)
    # What would be evicted now is what has come since, or what the evicted did not free.
    evicted = after.by_reason.get(Reason.EVICTED, 0)
    left = len(after.actions) - written_back - evicted - _told_but_of_evictions(cache)
    if left > 0:
        message = (
            f"entries or files that should be gone are still there: {left}. Does the service use "
            "this folder, and may this user write to it?"
        )
        cache.problems.add(Problem(Target.CACHE, "still_there", message))
    if written_back > cache.entries_left and not cache.outcomes.count(Outcome.FAILED):
        message = (
            f"the service wrote {written_back} removed entries back from its memory: it drops "
            "each when it meets it, or the next run does"
        )
        cache.problems.add(
            Problem(Target.CACHE, "written_back", message, severity=Severity.WARNING)
        )


def _told_but_of_evictions(cache: CacheResult) -> int:
    told = _told(cache.outcomes)
    if not told or Reason.EVICTED not in cache.plan.by_reason:
        return told
    undone = (Outcome.SKIPPED, Outcome.FAILED)
    return sum(
        outcome in undone and action.reason is not Reason.EVICTED
        for action, outcome, _ in cache.outcomes
    )


def _told(outcomes: Outcomes[CacheAction] | Outcomes[RequestAction]) -> int:
    """Actions of which it is already said that they were not done."""
    return outcomes.count(Outcome.SKIPPED) + outcomes.count(Outcome.FAILED)
