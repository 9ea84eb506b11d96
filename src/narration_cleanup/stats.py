"""How things stand, as one value: what ``stats`` shows, and every run tells at its end."""

from __future__ import annotations

from dataclasses import dataclass, field

from narration_cleanup.model import Problem
from narration_cleanup.totals import CacheTotals, RequestTotals


@dataclass(frozen=True, slots=True)
class CacheStats:
    """The cache's figures, with the limits they are measured against.

    ``max_size_mb`` is in MiB, as the service counts its own limit; ``None`` where there is none.
    """

    totals: CacheTotals
    ttl_days: float
    max_size_mb: float | None = None


@dataclass(frozen=True, slots=True)
class LastRun:
    """What the history knows of the latest run. Instants in Unix seconds.

    A run that is at work, or was killed, has no end and no exit code. ``outcome`` is a word of
    the history: those of a run, and its own for a run that did not come to an end.
    """

    id: int
    started_at: float
    outcome: str
    finished_at: float | None = None
    exit_code: int | None = None
    removed_count: int = 0
    freed_bytes: int = 0
    cancelled_count: int = 0


@dataclass(frozen=True, slots=True)
class Stats:
    """The health of cache and queue as of ``generated_at``; instants in Unix seconds.

    A half that is not configured is ``None``, and so is one that could not be surveyed: then a
    problem says why. ``running``: the automatic clean-up is alive, that is, a run is in progress
    or the last one began at most 1.5 intervals ago. ``in_progress``: a run is at work now.
    """

    generated_at: float
    cleanup_interval_hours: float
    abandoned_timeout_hours: float
    cache: CacheStats | None = None
    requests: RequestTotals | None = None
    running: bool = False
    in_progress: bool = False
    last_run: LastRun | None = None
    next_run_at: float | None = None
    problems: list[Problem] = field(default_factory=list)
