"""Looks at both halves and decides what should go; neither half stops the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from narration_cleanup.core.deadline import Deadline
from narration_cleanup.core.errors import IndexChangedError, TargetError, to_target_error
from narration_cleanup.core.model import CacheSurvey, Problem, Target
from narration_cleanup.core.problems import Problems
from narration_cleanup.core.progress import Progress
from narration_cleanup.core.text import printable
from narration_cleanup.plan import (
    CachePlan,
    CachePolicy,
    RequestPlan,
    RequestPolicy,
    plan_cache,
    plan_requests,
)
from narration_cleanup.run.observers import CountedSurvey
from narration_cleanup.run.stores import Targets
from narration_cleanup.stores.cache import CacheStore
from narration_cleanup.stores.requests import RequestStore

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
    targets: Targets,
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
    cache, requests = targets.cache, targets.requests
    cache_plan = known_cache
    if cache is not None and known_cache is None:
        progress.start("Looking at the cache")
        cache_plan = attempt(
            lambda: _plan_cache(cache, cache_policy, now, progress, explain, through),
            Target.CACHE,
            problems,
        )
    request_plan = known_requests
    progress.start("Looking at the requests")
    if requests is not None and known_requests is None:
        request_plan = attempt(
            lambda: _plan_requests(requests, request_policy, now), Target.REQUESTS, problems
        )
    progress.done()
    return Plans(cache_plan, request_plan, problems)


def attempt(work: Callable[[], T], target: Target, problems: Problems) -> T | None:
    """What ``work`` returns; ``None`` where it fails, and a problem says why.

    Any failure: an error that was not foreseen in one half must not stop the other.
    """
    try:
        return work()
    except Exception as error:
        fault = to_target_error(error, "unreadable")
        problems.add(Problem(target, fault.code, str(fault)))
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
                watched = CountedSurvey(survey, progress)
                seen = watched if through is None else through(watched)
                return plan_cache(seen, policy, now, explain=explain)
        except IndexChangedError as error:
            deadline = deadline or Deadline(SETTLED_WITHIN + error.size / BYTES_A_SECOND)
            if deadline.passed:
                raise TargetError(
                    "index_unreadable",
                    f"the index of {printable(store.location)} cannot be used: {error}. Nothing is "
                    "removed. If the service is not writing it, restore it from a backup",
                ) from None
            deadline.pause(0.01)


def _plan_requests(store: RequestStore, policy: RequestPolicy, now: float) -> RequestPlan:
    return plan_requests(store.survey(), policy, store.now() or now)
