"""How much is done at a time beside a service, and how long it then has the database to itself.

What makes a service wait is not how many rows there are in a transaction but how long its lock is
held, and that depends on the disk: so the next one is made to fit by how long the last one took.
"""

from __future__ import annotations

GOAL = 0.012
"""Seconds that a lock should be held. Below 18 ms, when one who has waited since the beginning
looks for the fourth time (see ``_LOOKS``), with room for what takes longer than expected."""
_LOOKS = (0.001, 0.002, 0.005, 0.010, 0.015, 0.020, 0.025, 0.025, 0.025, 0.050)
"""The pauses between the looks of one who waits for a lock as SQLite itself does it
(``sqlite3_busy_timeout``); after them 50 and then 100 ms."""
_LATE = 0.001
"""How much later than it should one may look."""


def fitting(count: int, took: float, *, least: int, most: int) -> int:
    """How many to do next, so that it takes about ``GOAL``, where ``count`` took ``took`` seconds.

    At most twice as many and at least half as many, since one slow answer of a disk says little.
    """
    factor = GOAL / took if took > 0 else 2.0
    return max(least, min(most, int(count * max(0.5, min(2.0, factor)))))


def gap_after(held: float) -> float:
    """Seconds to leave a lock alone that was held for ``held``, so that one who waits gets it.

    Whoever began to wait meanwhile looks at least as often as one who has waited all the while:
    so the gap is as long as the pause which that one is in.
    """
    waited = 0.0
    for pause in _LOOKS:
        waited += pause
        if waited >= held:
            return pause + _LATE
    return _LOOKS[-1] + _LATE
