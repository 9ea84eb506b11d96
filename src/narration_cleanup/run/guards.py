"""What a run refuses, before anything is touched: a clock that jumped, more than was allowed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from narration_cleanup.core.errors import RefusedError
from narration_cleanup.core.model import DAY, Problem, Severity, Target, is_most
from narration_cleanup.plan import CachePlan, RequestPlan
from narration_cleanup.report.format import entries
from narration_cleanup.report.history import ClockMark
from narration_cleanup.settings import CleanupSettings, DeleteLimit

LARGEST_JUMP = 300.0
"""Seconds by which wall clock and boot-time clock may part between two runs."""
LONGEST_ABSENCE = 30 * DAY
"""Since the last run, of which after a reboot only the wall clock says how long ago it was."""
AGREED_FOR = 3_600.0
"""Seconds after a refusal from which a clock that has kept pace since is believed."""


def clock_jump(mark: ClockMark, marks: Sequence[ClockMark]) -> float | None:
    """By how many seconds the wall clock jumped since the last run; ``None`` if it did not.

    ``marks`` are those of earlier runs, newest first. Only marks of the same boot can be
    compared. A mark that a refused run left is believed once an hour has passed in which both
    clocks agreed: so a corrected clock never stops the clean-up permanently.
    """
    same_boot = [m for m in marks if m.boot_id is not None and m.boot_id == mark.boot_id]
    for earlier in same_boot:
        jump = (mark.wall - earlier.wall) - (mark.since_boot - earlier.since_boot)
        if not earlier.refused:
            return jump if abs(jump) > LARGEST_JUMP else None
        if _agrees(mark, earlier):
            return None
    return None


def unproved_absence(mark: ClockMark, marks: Sequence[ClockMark]) -> float | None:
    """Seconds since the last run, where they are more than 30 days and only the wall clock says so.

    After a reboot it may be far ahead: a battery is empty, or the time server is not reached yet.
    ``marks`` as for ``clock_jump``; a mark that a refused run left is believed as there. ``None``
    also where there is no earlier run, or where the boot is not known.
    """
    if mark.boot_id is None:
        return None
    for earlier in marks:
        if not earlier.refused:
            absence = mark.wall - earlier.wall
            is_long = earlier.boot_id != mark.boot_id and absence > LONGEST_ABSENCE
            return absence if is_long else None
        if earlier.boot_id == mark.boot_id and _agrees(mark, earlier):
            return None
    return None


def _agrees(mark: ClockMark, earlier: ClockMark) -> bool:
    """Whether both clocks agree since an ``earlier`` mark of the same boot, an hour ago or more."""
    since_boot = mark.since_boot - earlier.since_boot
    jump = (mark.wall - earlier.wall) - since_boot
    return since_boot >= AGREED_FOR and abs(jump) <= LARGEST_JUMP


def absent(absence: float | None, cache: CachePlan | None) -> str | None:
    """What is wrong where most of the cache would expire by a clock that nothing vouches for."""
    if absence is None or cache is None:
        return None
    expired, total = cache.totals.expired_count, cache.totals.entry_count
    if not is_most(expired, total):
        return None
    return (
        f"by the clock the last run was {absence / DAY:.0f} days ago, the machine was started "
        f"since, and {expired} of {total} entries would expire"
    )


def jumped(jump: float | None) -> str | None:
    """What is wrong where the clock jumped by so many seconds."""
    if jump is None:
        return None
    direction = "forward" if jump > 0 else "back"
    return f"the clock jumped {direction} by {abs(jump) / 60:.0f} minutes since the last run"


def refuse_clock(why: str | None) -> None:
    """Raise ``RefusedError`` where something is wrong with the clock."""
    if why is not None:
        raise RefusedError(
            f"{why}: nothing was removed or cancelled. If the clock is right now, a run "
            "in an hour proceeds by itself, or use --ignore-clock"
        )


def too_many(
    limits: CleanupSettings, cache: CachePlan | None, requests: RequestPlan | None
) -> Iterator[Problem]:
    """What is wrong where more would go than the operator allows; each target has its limit."""
    if cache is not None:
        total = cache.totals.entry_count
        what = f"{len(cache.actions)} entries and files would go from a cache of {entries(total)}"
        yield from _over(Target.CACHE, "delete", limits.max_delete, len(cache.actions), total, what)
    if requests is not None:
        planned = requests.totals.abandoned_count
        total = requests.totals.active_count
        what = f"{planned} of {total} active requests would be cancelled"
        yield from _over(Target.REQUESTS, "cancel", limits.max_cancel, planned, total, what)


def backlog(requests: RequestPlan) -> Iterator[Problem]:
    """That most of the active requests are abandoned, which an outage of the service explains."""
    totals = requests.totals
    if is_most(totals.abandoned_count, totals.active_count):
        message = (
            f"{totals.abandoned_count} of {totals.active_count} active requests are abandoned: a "
            "backlog, as after an outage of the service; cleanup.max_cancel limits what a run "
            "cancels"
        )
        yield Problem(Target.REQUESTS, "backlog", message, severity=Severity.WARNING)


def _over(
    target: Target, verb: str, limit: DeleteLimit | None, planned: int, total: int, what: str
) -> Iterator[Problem]:
    if limit is not None and planned > limit.allowed(total):
        message = f"{what}, more than cleanup.max_{verb} {limit} allows"
        yield Problem(target, f"max_{verb}", message, severity=Severity.WARNING)
