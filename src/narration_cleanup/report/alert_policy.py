"""Whether a run's end is news to the operator, from the runs before it. Pure: records in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from narration_cleanup.apply.result import RunOutcome
from narration_cleanup.report.run_record import KILLED, RUNNING, RunRecord, Trigger

FAILURES = frozenset({RunOutcome.FAILED.value, RunOutcome.REFUSED.value, KILLED})
REMIND_AFTER = 7 * 86_400.0
"""Seconds after which a message is repeated while the operator is still needed."""
_NO_NEWS = frozenset({RunOutcome.BUSY.value, RunOutcome.INTERRUPTED.value, RUNNING})
_BY_UNIT = frozenset({Trigger.TIMER.value, Trigger.SYSTEMD.value})


class Change(StrEnum):
    """What a message is sent for with ``alerts.on = "attention"``."""

    BEGINS = "needs attention"
    LASTS = "still needs attention"
    ENDS = "is well again"


@dataclass(frozen=True, slots=True)
class Attention:
    """Why to send a message about the last of some runs, and since when (Unix seconds) the
    operator is, or was, needed."""

    change: Change
    since: float


def attention(records: Sequence[RunRecord]) -> Attention | None:
    """What the last of ``records`` (oldest first) is a reason to send; ``None``: nothing.

    The operator is needed after a run that failed, was refused or was killed, after one that did
    not do a target at all, and after two partial runs in a row. A run that was asked to stop, or
    found the lock held, changes nothing. Each decision follows from the records alone, so the run
    and the unit that sends for it agree.
    """
    found: Attention | None = None
    since, last_sent, was_partial = None, 0.0, False
    for record in records:
        found = None
        # Killed outside a unit, a run cannot send, and nothing sends for it.
        unseen = record.outcome == KILLED and record.trigger not in _BY_UNIT
        if record.outcome in _NO_NEWS or unseen:
            continue
        at = record.started_at
        partial = record.outcome == RunOutcome.PARTIAL
        needed = record.outcome in FAILURES or (partial and (bool(record.undone) or was_partial))
        was_partial = partial
        if record.success:
            found = None if since is None else Attention(Change.ENDS, since)
            since = None
        elif since is None and needed:
            since = last_sent = at
            found = Attention(Change.BEGINS, since)
        elif since is not None and at - last_sent >= REMIND_AFTER:
            last_sent = at
            found = Attention(Change.LASTS, since)
    return found
