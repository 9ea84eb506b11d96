"""The job itself: do what was planned, and look again. Neither half stops the other."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from narration_cleanup.actions import CacheAction, Outcome, Reason, RemoveEntry, RequestAction
from narration_cleanup.apply import apply_cache, apply_requests
from narration_cleanup.errors import HalfError
from narration_cleanup.model import Half, Problem, Severity
from narration_cleanup.opening import Halves
from narration_cleanup.plan import CachePlan, RequestPlan, plan_left, requests_left
from narration_cleanup.planning import Plans, attempt
from narration_cleanup.progress import Progress
from narration_cleanup.result import CacheResult, Outcomes, RequestResult, Result
from narration_cleanup.stopping import Stop


class JobLog(Protocol):
    """Told of each half as it begins and ends."""

    def cache_started(self) -> None: ...

    def cache_done(self, cache: CacheResult) -> None: ...

    def requests_started(self) -> None: ...

    def requests_done(self, requests: RequestResult) -> None: ...


def recover(halves: Halves, result: Result) -> Halves:
    """Finish what a killed process left half done, so that it is planned on like anything else.

    The halves to work on: without one of which that cannot be done. In the cache, what is staged
    would be missed, and its entries dropped.
    """
    cache, requests = halves.cache, halves.requests
    if cache is not None:
        count = attempt(cache.recover, Half.CACHE, result.problems)
        cache = None if count is None else cache
        if count:
            message = "files that an earlier run, which was killed, had set aside are put back"
            _note_recovery(Half.CACHE, f"{message}: {count}", result)
    if requests is not None:
        recovered = attempt(requests.recover, Half.REQUESTS, result.problems)
        requests = None if recovered is None else requests
        if recovered:
            message = "a change that a killed process left in the journal is rolled back"
            _note_recovery(Half.REQUESTS, message, result)
    return Halves(cache, requests)


def _note_recovery(half: Half, message: str, result: Result) -> None:
    result.problems.add(Problem(half, "recovered", message, severity=Severity.WARNING))


def dry_run(plans: Plans, result: Result) -> None:
    """Fill in what a run would do: every outcome is ``planned``."""
    result.problems.extend(plans.problems)
    if plans.cache is not None:
        result.cache = CacheResult(plans.cache, Outcomes(plans.cache.actions))
    if plans.requests is not None:
        result.requests = RequestResult(plans.requests, Outcomes(plans.requests.actions))


def run(
    halves: Halves,
    plans: Plans,
    result: Result,
    stop: Stop,
    progress: Progress,
    log: JobLog,
) -> None:
    """Do what was planned, filling in ``result`` as it goes; ``log`` is told of each half."""
    result.problems.extend(plans.problems)
    if halves.cache is not None and plans.cache is not None:
        log.cache_started()
        result.cache = apply_cache(plans.cache, halves.cache, stop, progress)
        log.cache_done(result.cache)
    if halves.requests is not None and plans.requests is not None:
        log.requests_started()
        at = halves.requests.now() or result.started_at
        result.requests = apply_requests(plans.requests, halves.requests, at, stop, progress)
        log.requests_done(result.requests)
    if stop.exit_code is not None:
        result.stop(
            stop.exit_code, "Stopped by a signal: what was begun is finished, the rest waits"
        )


def look_again(result: Result, after: Plans) -> None:
    """Compare what should be gone with what is still there: freed nothing is no success.

    Neither is what cannot be looked at again: nobody knows how it stands.
    """
    for half, done, now in (
        (Half.CACHE, result.cache, after.cache),
        (Half.REQUESTS, result.requests, after.requests),
    ):
        if done is not None and now is None:
            done.problems.extend(problem for problem in after.problems if problem.half is half)
    if result.cache is not None and after.cache is not None:
        result.cache.after = after.cache
        _still_expired(result.cache, after.cache)
    if result.requests is not None and after.requests is not None:
        result.requests.after = after.requests
        left = len(after.requests.actions) - _told(result.requests.outcomes)
        if left > 0:
            message = f"requests that should be cancelled are still as they were: {left}"
            result.requests.problems.add(Problem(Half.REQUESTS, "still_there", message))


def reached(halves: Halves, result: Result) -> Halves:
    """Without the half that could not be looked at: it is not waited for a second time."""
    return replace(
        halves,
        cache=halves.cache if result.cache is not None else None,
        requests=halves.requests if result.requests is not None else None,
    )


def left_in_cache(halves: Halves, result: Result) -> CachePlan | None:
    """How the cache stands after all that was planned was done, if nobody has changed it since.

    ``None`` where that has to be found out by a second look at everything. An entry left the
    index only when its file had been looked for again: here the other files are.
    """
    store, cache = halves.cache, result.cache
    if store is None or cache is None or cache.removed_count != len(cache.plan.actions):
        return None
    left = plan_left(cache.plan)
    removed = (
        action.file
        for action in cache.plan.actions
        if not (store.has_index and isinstance(action, RemoveEntry))
    )
    try:
        return left if left is not None and store.settled(removed) else None
    except (HalfError, OSError):  # the second look says what is wrong
        return None


def left_in_requests(halves: Halves, result: Result) -> RequestPlan | None:
    """The same for the requests: how they stand if nobody has changed others since the look.

    The rows that were changed are looked at again, one by one; ``None`` as above.
    """
    store, requests = halves.requests, result.requests
    if store is None or requests is None:
        return None
    if requests.outcomes.count(Outcome.DONE) != len(requests.plan.actions):
        return None
    left = requests_left(requests.plan, requests.cancelled_by_status, requests.deleted_by_status)
    try:
        return left if left is not None and store.settled(requests.plan.actions) else None
    except HalfError:  # the second look says what is wrong
        return None


def _still_expired(cache: CacheResult, after: CachePlan) -> None:
    written_back = after.fileless + after.by_reason.get(Reason.DANGLING, 0)
    # What would be evicted now is what has come since, or what the evicted did not free.
    evicted = after.by_reason.get(Reason.EVICTED, 0)
    left = len(after.actions) - written_back - evicted - _told_but_of_evictions(cache)
    if left > 0:
        message = (
            f"entries or files that should be gone are still there: {left}. Does the service use "
            "this folder, and may this user write to it?"
        )
        cache.problems.add(Problem(Half.CACHE, "still_there", message))
    if written_back and not cache.outcomes.count(Outcome.FAILED):
        message = (
            f"the service wrote {written_back} removed entries back from its memory: it drops "
            "each when it meets it, or the next run does"
        )
        cache.problems.add(Problem(Half.CACHE, "written_back", message, severity=Severity.WARNING))


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
