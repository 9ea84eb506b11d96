"""From plans to ``Stats``: how things stand, told once for every output."""

from __future__ import annotations

from narration_cleanup.core.problems import Problems
from narration_cleanup.plan import CachePlan, RequestPlan
from narration_cleanup.report.stats import CacheStats, Stats
from narration_cleanup.run.stores import Targets
from narration_cleanup.settings import Settings


def collect_stats(
    settings: Settings,
    cache: CachePlan | None,
    requests: RequestPlan | None,
    problems: Problems,
    now: float,
    *,
    in_progress: bool = False,
) -> Stats:
    """The health of both halves as their plans found them; the past is added by `lookback`."""
    found = list(problems)
    for plan in (cache, requests):
        if plan is not None:
            found.extend(plan.problems)
    return Stats(
        generated_at=now,
        cleanup_interval_hours=settings.cleanup.interval_hours,
        abandoned_timeout_hours=settings.requests.abandoned_timeout_hours,
        cache=None
        if cache is None
        else CacheStats(cache.totals, settings.cache.ttl_days, settings.cache.max_size_mb),
        requests=None if requests is None else requests.totals,
        running=in_progress,
        in_progress=in_progress,
        problems=found,
    )


def in_progress(targets: Targets) -> bool:
    """Whether a run holds the lock of the cache."""
    return targets.cache is not None and targets.cache.in_progress()
