"""The columns of the run history, the same in a pipe and on a terminal."""

from __future__ import annotations

from narration_cleanup.core.text import printable
from narration_cleanup.report.format import age, clock, size
from narration_cleanup.report.record import RunRecord

COLUMNS = ("id", "began", "outcome", "by", "took", "removed", "freed", "cancelled", "problems")
FIGURES = frozenset({"id", "took", "removed", "freed", "cancelled", "problems"})
"""Columns that stand to the right."""


def cells(record: RunRecord) -> tuple[str, ...]:
    """One run's cells, in the order of ``COLUMNS``; a run that never said how it ended has no
    figures."""
    ended = record.finished_at is not None
    return (
        str(record.id),
        clock(record.started_at),
        printable(record.outcome),
        printable(record.trigger),
        "-" if record.duration is None else took(record.duration),
        f"{record.removed_count:,}" if ended else "-",
        size(record.freed_bytes) if ended else "-",
        f"{record.cancelled_count:,}" if ended else "-",
        f"{record.problem_count + record.failed_count:,}" if ended else "-",
    )


def took(seconds: float) -> str:
    """How long a run took: ``0.4 s``, ``12 min``."""
    return f"{seconds:.1f} s" if seconds < 60 else age(seconds)
