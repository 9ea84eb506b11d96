"""What the history says to a command that only looks: the last runs, and when the next is due."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from narration_cleanup.core.model import Problem, Severity, Target
from narration_cleanup.plan import CachePlan
from narration_cleanup.report.history import read_clocks, read_history
from narration_cleanup.report.record import RUNNING, Counters, RunRecord
from narration_cleanup.report.stats import Stats
from narration_cleanup.run.guards import absent, clock_jump, jumped, unproved_absence

ALIVE_FOR = 1.5
"""Intervals after the start of a run for which the automatic clean-up counts as alive."""


@dataclass(frozen=True, slots=True)
class RecentRuns:
    """``latest`` is the run that began last, at work, ended or killed; ``last`` is the one that
    last said how it ended; neither is one that found the lock held. ``counters`` is ``None`` where
    there is a history that cannot be read."""

    latest: RunRecord | None = None
    last: RunRecord | None = None
    counters: Counters | None = field(default_factory=Counters)


def read_recent_runs(state_dir: Path, warn: Callable[[str], None]) -> RecentRuns:
    """Read the history; ``warn`` is told where it cannot be read."""
    trouble: list[str] = []
    history = read_history(state_dir, warn=trouble.append)
    if history is None:
        past = RecentRuns(counters=None if trouble else Counters())
    else:
        latest = history.running() or history.last_run()
        past = RecentRuns(latest, history.last_finished(), history.counters())
        history.close()
    for text in trouble:
        warn(text)
    return past


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


def with_recent_runs(stats: Stats, state_dir: Path) -> tuple[Stats, RecentRuns]:
    """The statistics with what the history knows; one that cannot be read is a warning."""
    problems = list(stats.problems)

    def warn(text: str) -> None:
        severity = Severity.WARNING
        problems.append(Problem(Target.PROGRAM, "history_unreadable", text, severity=severity))

    past = read_recent_runs(state_dir, warn)
    return replace(with_last_run(stats, past.latest), problems=problems), past


def with_last_run(stats: Stats, run: RunRecord | None) -> Stats:
    """The statistics with the last run, and what follows from it: whether the automatic clean-up
    is alive, and when the next run is due."""
    if run is None:
        return stats
    interval = stats.cleanup_interval_hours * 3_600
    alive = stats.generated_at - run.started_at <= ALIVE_FOR * interval
    in_progress = stats.in_progress or run.outcome == RUNNING
    return replace(
        stats,
        running=in_progress or alive,
        in_progress=in_progress,
        last_run=run,
        next_run_at=run.started_at + interval,
    )


def with_timer(stats: Stats, config_file: Path | None) -> Stats:
    """The statistics with the next run as systemd's timer has it, where there is one."""
    from narration_cleanup.systemd.manager import is_running

    if not is_running():
        return stats
    from narration_cleanup.systemd.status import find_schedule

    schedule = find_schedule(config_file)
    if schedule is None or schedule.next_run is None:
        return stats
    return replace(stats, next_run_at=schedule.next_run.timestamp())
