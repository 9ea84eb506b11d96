"""Looks at both halves and decides what should go; neither half stops the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from narration_cleanup.cache import CacheStore
from narration_cleanup.errors import HalfError, IndexChangedError, half_error
from narration_cleanup.escape import shown
from narration_cleanup.looking import Watched
from narration_cleanup.model import CacheSurvey, Half, Problem
from narration_cleanup.opening import Halves
from narration_cleanup.plan import (
    CachePlan,
    CachePolicy,
    RequestPlan,
    RequestPolicy,
    plan_cache,
    plan_requests,
)
from narration_cleanup.problems import Problems
from narration_cleanup.progress import Progress
from narration_cleanup.requests import RequestStore
from narration_cleanup.waiting import Deadline

SETTLED_WITHIN = 2.0
"""Seconds for which an index that is empty or torn is read again: it is being written."""
BYTES_A_SECOND = 5_000_000
"""How fast the service writes its index at least; a larger one is waited for accordingly."""

T = TypeVar("T")

Policies = tuple[CachePolicy, RequestPolicy]
Glass = Callable[[CacheSurvey], CacheSurvey]


@dataclass(frozen=True, slots=True)
class Plans:
    """What both halves would do; ``None`` where a half is not there or cannot be looked at."""

    cache: CachePlan | None
    requests: RequestPlan | None
    problems: Problems


def survey_and_plan(
    halves: Halves,
    policies: Policies,
    now: float,
    progress: Progress,
    *,
    explain: bool = False,
    known_cache: CachePlan | None = None,
    known_requests: RequestPlan | None = None,
    through: Glass | None = None,
) -> Plans:
    """Look at both halves and decide, without touching anything.

    Of a half that is known (``known_cache``, ``known_requests``) that is how it stands: it is
    not looked at.
    ``through`` shows the planner another survey of the cache than the whole one.
    """
    cache_policy, request_policy = policies
    problems = Problems()
    cache, requests = halves.cache, halves.requests
    cache_plan = known_cache
    if cache is not None and known_cache is None:
        progress.start("Looking at the cache")
        cache_plan = attempt(
            lambda: _plan_cache(cache, cache_policy, now, progress, explain, through),
            Half.CACHE,
            problems,
        )
    request_plan = known_requests
    progress.start("Looking at the requests")
    if requests is not None and known_requests is None:
        request_plan = attempt(
            lambda: _plan_requests(requests, request_policy, now), Half.REQUESTS, problems
        )
    progress.done()
    return Plans(cache_plan, request_plan, problems)


def attempt(work: Callable[[], T], half: Half, problems: Problems) -> T | None:
    """What ``work`` returns; ``None`` where it fails, and a problem says why.

    Any failure: an error that was not foreseen in one half must not stop the other.
    """
    try:
        return work()
    except Exception as error:
        fault = half_error(error, "unreadable")
        problems.add(Problem(half, fault.code, str(fault)))
    return None


def _plan_cache(
    store: CacheStore,
    policy: CachePolicy,
    now: float,
    progress: Progress,
    explain: bool,
    through: Glass | None,
) -> CachePlan:
    """Survey and plan, as often as the service rewrites the index meanwhile."""
    deadline: Deadline | None = None
    while True:
        try:
            with store.survey() as survey:
                watched = Watched(survey, progress)
                seen = watched if through is None else through(watched)
                return plan_cache(seen, policy, now, explain=explain)
        except IndexChangedError as error:
            deadline = deadline or Deadline(SETTLED_WITHIN + error.size / BYTES_A_SECOND)
            if deadline.passed:
                raise HalfError(
                    "index_unreadable",
                    f"the index of {shown(store.location)} cannot be used: {error}. Nothing is "
                    "removed. If the service is not writing it, restore it from a backup",
                ) from None
            deadline.pause(0.01)


def _plan_requests(store: RequestStore, policy: RequestPolicy, now: float) -> RequestPlan:
    return plan_requests(store.survey(), policy, store.now() or now)
