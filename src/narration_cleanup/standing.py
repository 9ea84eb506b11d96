"""From plans and history to ``Stats``: how things stand, told once for every output."""

from __future__ import annotations

from narration_cleanup.opening import Halves
from narration_cleanup.plan import CachePlan, RequestPlan
from narration_cleanup.problems import Problems
from narration_cleanup.record import RunRecord
from narration_cleanup.settings import Settings
from narration_cleanup.stats import CacheStats, Stats

ALIVE_FOR = 1.5
"""Intervals after the start of a run for which the automatic clean-up counts as alive."""


def stats_of(
    settings: Settings,
    cache: CachePlan | None,
    requests: RequestPlan | None,
    problems: Problems,
    now: float,
    *,
    in_progress: bool = False,
    last_run: RunRecord | None = None,
    next_run_at: float | None = None,
) -> Stats:
    """The health of both halves as their plans found them."""
    found = list(problems)
    for plan in (cache, requests):
        if plan is not None:
            found.extend(plan.problems)
    interval = settings.cleanup.interval_hours
    alive = last_run is not None and now - last_run.started_at <= ALIVE_FOR * interval * 3600
    return Stats(
        generated_at=now,
        cleanup_interval_hours=interval,
        abandoned_timeout_hours=settings.requests.abandoned_timeout_hours,
        cache=None
        if cache is None
        else CacheStats(cache.totals, settings.cache.ttl_days, settings.cache.max_size_mb),
        requests=None if requests is None else requests.totals,
        running=in_progress or alive,
        in_progress=in_progress,
        last_run=last_run,
        next_run_at=next_run_at,
        problems=found,
    )


def in_progress(halves: Halves) -> bool:
    """Whether a run holds the lock of the cache."""
    return halves.cache is not None and halves.cache.in_progress()
