"""Bounded waiting, by a clock that cannot be set."""

from __future__ import annotations

import time

_SETTLED_WITHIN = 2.0
_BYTES_A_SECOND = 1_000_000


def time_to_write(size: int) -> float:
    """Seconds within which a service has surely written an index of so many bytes, be it ever so
    busy and its disk a slow one."""
    return _SETTLED_WITHIN + size / _BYTES_A_SECOND


class Deadline:
    """A moment ``seconds`` from now on the monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self._end = _monotonic() + seconds

    @property
    def passed(self) -> bool:
        """Whether the moment has come."""
        return _monotonic() >= self._end

    def pause(self, seconds: float) -> None:
        """Sleep for ``seconds``, but not beyond the deadline."""
        time.sleep(max(0.0, min(seconds, self._end - _monotonic())))


class Stopwatch:
    """Runs from the moment it is made; the wall clock may jump meanwhile."""

    def __init__(self) -> None:
        self._start = _monotonic()

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return _monotonic() - self._start


def _monotonic() -> float:
    return time.clock_gettime(time.CLOCK_MONOTONIC)
