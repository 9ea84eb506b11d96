"""The state of the data, as one value: ``stats`` shows it, and every run reports it at its end."""

from __future__ import annotations

import msgspec

from narration_cleanup.core.model import Problem
from narration_cleanup.plan.types import CacheTotals, RequestTotals
from narration_cleanup.report.run_record import RunRecord

ALIVE_FOR = 1.5
"""Intervals after the start of a run for which the automatic clean-up counts as alive."""


class CacheStats(msgspec.Struct, frozen=True):
    """The cache's figures, with the limits they are measured against.

    ``max_size_mb`` is in MiB, as the service counts its own limit; ``None`` where there is none.
    """

    totals: CacheTotals
    ttl_days: float
    max_size_mb: float | None = None


class Stats(msgspec.Struct, frozen=True):
    """The health of cache and queue as of ``generated_at``; instants in Unix seconds.

    A target that is not configured is ``None``, and so is one that could not be surveyed: then a
    problem has the reason. ``running``: the automatic clean-up is alive: a run is in progress,
    a schedule was found, or the last two runs came in time by themselves. ``in_progress``: a run is
    at work now. ``last_run`` is the latest that the history knows: one that is at work, or was
    killed, has no end.
    """

    generated_at: float
    cleanup_interval_hours: float
    abandoned_timeout_hours: float
    cache: CacheStats | None = None
    requests: RequestTotals | None = None
    running: bool = False
    in_progress: bool = False
    last_run: RunRecord | None = None
    next_run_at: float | None = None
    problems: list[Problem] = msgspec.field(default_factory=list)
