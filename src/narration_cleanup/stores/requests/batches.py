"""How much is done at a time while a service runs, and how long it then has the database to itself.

What makes a service wait is not how many rows there are in a transaction but how long its lock is
held, and that depends on the disk: so the next one is made to fit by how long the last one took.
"""

from __future__ import annotations

from collections.abc import Sequence

from narration_cleanup.core.errors import TargetError
from narration_cleanup.plan.actions import Outcome

_LOOKS = (0.001, 0.002, 0.005, 0.010, 0.015, 0.020, 0.025, 0.025, 0.025, 0.050, 0.050, 0.100)
"""The pauses between the tries of one who waits for a lock as SQLite itself does it
(``sqlite3_busy_timeout``); after them 100 ms each time."""
SHORT = 0.007
"""Seconds to hold a lock for one who has waited since the beginning to get it at the third try
(8 ms), with a little room."""
LONG = 0.012
"""The same for the fourth try (18 ms), where a wait for the disk is in it, which varies."""
_LATE = 0.001
"""How much later than it should one may try."""


class BatchEndedError(TargetError):
    """A batch could not be finished; ``outcomes`` are those of its first rows, maybe of none."""

    def __init__(self, why: TargetError, outcomes: Sequence[Outcome]) -> None:
        super().__init__(why.code, str(why))
        self.outcomes = outcomes


def next_batch_size(count: int, took: float, goal: float, *, least: int, most: int) -> int:
    """How many to do next, so that it takes about ``goal``, where ``count`` took ``took`` seconds.

    At most twice as many and at least half as many, since one slow answer of a disk proves little.
    """
    factor = goal / took if took > 0 else 2.0
    return max(least, min(most, int(count * max(0.5, min(2.0, factor)))))


def min_batch_size(count: int, worked: float, goal: float, *, most: int) -> int:
    """The fewest to ask for, where the work on ``count`` took ``worked`` seconds: at most ``most``.

    A commit waits for the disk however few there are, and fewer then do not help. But
    where the work itself is slow (a trigger that counts, a cold disk), the lock is held for as
    long as there are rows.
    """
    return max(1, int(min(most, count * goal / worked))) if worked > 0 else most


def yield_gap(held: float) -> float:
    """Seconds to leave a lock alone that was held for ``held``, so that one who waits gets it.

    Whoever began to wait meanwhile tries at least as often as one who has waited all the while:
    so the gap is as long as the pause which that one is in.
    """
    waited = 0.0
    for pause in _LOOKS:
        waited += pause
        if waited >= held:
            return pause + _LATE
    return _LOOKS[-1] + _LATE
