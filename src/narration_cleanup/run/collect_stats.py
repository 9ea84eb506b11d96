"""The state of the data: what the plans found, and what the history has of the last runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec.structs import replace

from narration_cleanup.core.errors import CleanupError
from narration_cleanup.core.model import Problem, Problems, Progress, Severity, Target
from narration_cleanup.core.text import storable
from narration_cleanup.plan import CachePlan, RequestPlan
from narration_cleanup.report.history import SCHEDULED_BY, Start, read_clocks, read_history
from narration_cleanup.report.run_record import RUNNING, Counters, Places, RunRecord, Trigger
from narration_cleanup.report.stats import ALIVE_FOR, CacheStats, Stats
from narration_cleanup.run.guards import absent, clock_jump, jumped, unproved_absence
from narration_cleanup.run.stores import cache_policy, open_targets, request_policy
from narration_cleanup.run.survey import Glass, Plans, survey_and_plan
from narration_cleanup.settings import Settings, history_elsewhere
from narration_cleanup.settings.show import without_password


def collect_stats(
    settings: Settings,
    cache: CachePlan | None,
    requests: RequestPlan | None,
    problems: Problems,
    now: float,
    *,
    in_progress: bool = False,
) -> Stats:
    """The health of both targets as their plans found them, the past left out."""
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


def stats_now(
    settings: Settings, now: float, progress: Progress, through: Glass | None = None
) -> tuple[Stats, Plans]:
    """How things are, the past left out, and the plans that say so. Changes nothing.

    ``through`` shows the planner another survey than the whole one. Raises ``ConfigError``.
    """
    policies = cache_policy(settings.cache), request_policy(settings.requests)
    problems = Problems()
    with open_targets(settings, now, problems) as targets:
        plans = survey_and_plan(targets, policies, now, progress, through=through)
        working = targets.cache is not None and targets.cache.in_progress()
    problems.extend(plans.problems)
    found = plans.cache, plans.requests, problems
    return collect_stats(settings, *found, now, in_progress=working), plans


class RecentRuns(msgspec.Struct, frozen=True):
    """``latest`` is the run that began last, at work, ended or killed; ``last`` is the one that
    last said how it ended; neither is one that found the lock held. ``counters`` is ``None`` where
    there is a history that cannot be read; ``starts`` are those of the newest runs."""

    latest: RunRecord | None = None
    last: RunRecord | None = None
    counters: Counters | None = msgspec.field(default_factory=Counters)
    starts: Sequence[Start] = ()


def places_of(settings: Settings) -> Places:
    """Where the settings' cache and database are, the same by whatever link they are named."""
    return Places(_place(settings.cache.dir), _place(settings.requests.db))


def _place(location: str | None) -> str | None:
    if location is None:
        return None
    if "://" in location:
        return storable(without_password(location).rstrip("/"))
    try:
        return storable(os.path.realpath(location))
    except OSError:  # a link that is swapped meanwhile
        return storable(os.path.abspath(location))


def read_recent_runs(settings: Settings, warn: Callable[[str], None]) -> RecentRuns:
    """Read the history of what the settings name; ``warn`` is called where it cannot be read."""
    trouble: list[str] = []
    state_dir = settings.cleanup.state_dir
    history = read_history(state_dir, warn=trouble.append, places=places_of(settings))
    if history is None:
        past = RecentRuns(counters=None if trouble else Counters())
    else:
        latest = history.running() or history.last_run()
        past = RecentRuns(
            latest, history.last_run(finished=True), history.counters(), history.starts()
        )
        history.close()
    for text in trouble:
        warn(text)
    return past


def past_runs(state_dir: Path, warn: Callable[[str], None]) -> list[RunRecord]:
    """The newest run and those before it on the same places, newest first, back to a success; none
    where they cannot be read, with a warning. What it worked on need not be in sight."""
    history = read_history(state_dir, warn=warn)
    if history is None:
        return []
    found = history.before(most=1)
    if found:
        found += history.before(found[0].id, places=found[0].places)
    history.close()
    return found


def clock_fault(
    state_dir: Path, now: float, environ: Mapping[str, str], cache: CachePlan | None
) -> str | None:
    """What a run would find wrong with the clock; see ``guards``."""
    clocks = read_clocks(now, environ)
    history = read_history(state_dir, warn=lambda _: None)
    if clocks is None or history is None:
        return None
    marks = history.clock_marks()
    history.close()
    return jumped(clock_jump(clocks, marks)) or absent(unproved_absence(clocks, marks), cache)


def with_recent_runs(stats: Stats, settings: Settings) -> tuple[Stats, RecentRuns]:
    """The statistics with what the history knows; one that cannot be read is a warning."""
    problems = list(stats.problems)

    def warn(text: str) -> None:
        severity = Severity.WARNING
        problems.append(Problem(Target.PROGRAM, "history_unreadable", text, severity=severity))

    past = read_recent_runs(settings, warn)
    if elsewhere := history_elsewhere(settings):
        severity = Severity.WARNING
        problem = Problem(Target.PROGRAM, "history_elsewhere", elsewhere, severity=severity)
        problems.append(problem)
    stats = replace(with_last_run(stats, past.latest, past.starts), problems=problems)
    return _with_schedule(stats, settings.config_file), past


def with_last_run(stats: Stats, run: RunRecord | None, starts: Sequence[Start]) -> Stats:
    """The statistics with the last run, and with what the newest ``starts`` show: whether runs are
    started in time, and when the next one is due."""
    if run is None:
        return stats
    interval = stats.cleanup_interval_hours * 3_600
    due = _next_due(starts, stats.generated_at, interval)
    in_progress = stats.in_progress or run.outcome == RUNNING
    return replace(
        stats,
        running=in_progress or due is not None,
        in_progress=in_progress,
        last_run=run,
        next_run_at=due,
    )


def _next_due(starts: Sequence[Start], now: float, interval: float) -> float | None:
    """When the next run is due; ``None`` unless the last two came in time by themselves.

    Two runs that a timer or cron started at most 1.5 intervals apart did, and so did two of which
    it is not known who started them, if they are also at least half an interval apart.
    """
    timed = [at for at, trigger in starts if trigger in (Trigger.TIMER, Trigger.CRON)]
    for times, least in ((timed, 0.0), ([at for at, _ in starts], 0.5 * interval)):
        recent = len(times) > 1 and now - times[0] <= ALIVE_FOR * interval
        if recent and least <= times[0] - times[1] <= ALIVE_FOR * interval:
            return times[0] + interval
    return None


def _with_schedule(stats: Stats, config_file: Path | None) -> Stats:
    """The statistics with what is known to start runs: a timer of systemd's, which also knows when
    the next one is, a line for cron, or the variable of a scheduler such as a CronJob.

    Of the last two it is not known whether they are at work: not where a run is overdue.
    """
    from narration_cleanup.systemd.status import cron_tables, find_schedule

    schedule = None
    with suppress(CleanupError):
        schedule = find_schedule(config_file)
    if schedule is not None and schedule.active:
        due = None if schedule.next_run is None else schedule.next_run.timestamp()
        return replace(
            stats,
            cleanup_interval_hours=schedule.interval_hours or stats.cleanup_interval_hours,
            running=True,
            next_run_at=due or stats.next_run_at,
        )
    if not os.environ.get(SCHEDULED_BY) and not cron_tables(config_file):
        return stats
    last, interval = stats.last_run, stats.cleanup_interval_hours * 3_600
    late = last is not None and stats.generated_at - last.started_at > ALIVE_FOR * interval
    due = None if last is None or late else last.started_at + interval
    return replace(stats, running=stats.running or not late, next_run_at=stats.next_run_at or due)
