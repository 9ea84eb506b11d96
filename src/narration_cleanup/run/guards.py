"""What a run refuses, before anything is touched: a clock that jumped, more than was allowed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from narration_cleanup.core.errors import RefusedError
from narration_cleanup.report.history import ClockMark

LARGEST_JUMP = 300.0
"""Seconds by which wall clock and boot-time clock may part between two runs."""
AGREED_FOR = 3_600.0
"""Seconds after a refusal from which a clock that has kept pace since is believed."""


def clock_jump(mark: ClockMark, marks: Sequence[ClockMark]) -> float | None:
    """By how many seconds the wall clock jumped since the last run; ``None`` if it did not.

    ``marks`` are those of earlier runs, newest first. Only marks of the same boot can be
    compared. A mark that a refused run left is believed once an hour has passed in which both
    clocks agreed: so a corrected clock never stops the clean-up for good.
    """
    same_boot = [m for m in marks if m.boot_id is not None and m.boot_id == mark.boot_id]
    for earlier in same_boot:
        jump = (mark.wall - earlier.wall) - (mark.since_boot - earlier.since_boot)
        if not earlier.refused:
            return jump if abs(jump) > LARGEST_JUMP else None
        if mark.since_boot - earlier.since_boot >= AGREED_FOR and abs(jump) <= LARGEST_JUMP:
            return None
    return None


def jumped(jump: float) -> str:
    """What is wrong where the clock jumped by so many seconds."""
    direction = "forward" if jump > 0 else "back"
    return f"the clock jumped {direction} by {abs(jump) / 60:.0f} minutes since the last run"


def refuse_clock_jump(jump: float | None) -> None:
    """Raise ``RefusedError`` where the clock jumped."""
    if jump is not None:
        raise RefusedError(
            f"{jumped(jump)}: nothing was removed or cancelled. If the clock is right now, a run "
            "in an hour goes ahead by itself, or use --ignore-clock"
        )


def too_many(planned: int, total: int, allowed: Callable[[int], int], limit: str) -> str | None:
    """What is wrong where more entries would go than the operator allows; else ``None``.

    ``allowed`` gives the most that may go of ``total`` entries; ``limit`` is how it was said.
    """
    if planned <= allowed(total):
        return None
    what = f"{planned} entries and files would go from a cache of {total} entries"
    return f"{what}, more than --max-delete {limit} allows"


def refuse_too_many(planned: int, total: int, allowed: Callable[[int], int], limit: str) -> None:
    """Raise ``RefusedError`` where that is so."""
    why = too_many(planned, total, allowed, limit)
    if why is not None:
        raise RefusedError(f"{why}: nothing was touched. Look with dry-run, then raise the limit")
