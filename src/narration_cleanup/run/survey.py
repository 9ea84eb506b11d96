"""Surveys both targets and decides what should go; neither stops the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from narration_cleanup.core.deadline import Deadline, time_to_write
from narration_cleanup.core.errors import IndexChangedError, TargetError
from narration_cleanup.core.model import CacheSurvey, RequestSurvey, Target
from narration_cleanup.core.problems import Problems, attempt
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

Policies = tuple[CachePolicy, RequestPolicy]
Glass = Callable[[CacheSurvey], CacheSurvey]
RowGlass = Callable[[RequestSurvey], RequestSurvey]


@dataclass(frozen=True, slots=True)
class Plans:
    """What would be done; ``None`` for a target that is not configured or cannot be surveyed."""

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
    through: Glass | None = None,
    rows_through: RowGlass | None = None,
) -> Plans:
    """Survey both targets and decide, without touching anything; see the functions of each."""
    cache_policy, request_policy = policies
    problems = Problems()
    cache, requests = targets.cache, targets.requests
    cache_plan = request_plan = None
    if cache is not None:
        cache_plan = attempt(
            lambda: survey_and_plan_cache(
                cache, cache_policy, now, progress, explain=explain, through=through
            ),
            Target.CACHE,
            problems,
        )
    if requests is not None:
        request_plan = attempt(
            lambda: survey_and_plan_requests(
                requests, request_policy, now, progress, through=rows_through
            ),
            Target.REQUESTS,
            problems,
        )
    progress.done()
    return Plans(cache_plan, request_plan, problems)


def survey_and_plan_cache(
    store: CacheStore,
    policy: CachePolicy,
    now: float,
    progress: Progress,
    *,
    explain: bool = False,
    through: Glass | None = None,
) -> CachePlan:
    """What should go from the cache, without touching anything; ``now``: the instant of ages.

    ``through`` shows the planner another survey than the whole one. Surveys as often as the
    service rewrites the index meanwhile. Raises ``TargetError`` where that does not end.
    """
    progress.start("Looking at the cache")
    deadline: Deadline | None = None
    while True:
        try:
            with store.survey() as survey:
                watched = CountedSurvey(survey, progress)
                seen = watched if through is None else through(watched)
                return plan_cache(seen, policy, now, explain=explain)
        except IndexChangedError as error:
            deadline = deadline or Deadline(time_to_write(error.size))
            if deadline.passed:
                remedy = (
                    "The service writes it again and again: the next run tries again"
                    if error.rewritten
                    else "If the service is not writing it, restore it from a backup"
                )
                raise TargetError(
                    "index_unreadable",
                    f"the index of {printable(store.location)} cannot be used: {error}. Nothing is "
                    f"removed. {remedy}",
                ) from None
            deadline.pause(0.01)


def survey_and_plan_requests(
    store: RequestStore,
    policy: RequestPolicy,
    now: float,
    progress: Progress,
    *,
    through: RowGlass | None = None,
) -> RequestPlan:
    """What should be cancelled and deleted; as ``survey_and_plan_cache``."""
    progress.start("Looking at the requests")
    survey = store.survey()
    seen = survey if through is None else through(survey)
    return plan_requests(seen, policy, store.now() or now)
