"""Which requests are abandoned, and what their age is counted from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from narration_cleanup.core.model import FoundRequest, GenerationRequest, Problem, RequestStatus
from narration_cleanup.core.units import HOUR
from narration_cleanup.plan import RequestPolicy, plan_requests

NOW = 1_795_435_200.0
MINUTE = 60.0


class Survey:
    """A table whose active rows are given."""

    problems: Sequence[Problem] = ()

    def __init__(self, *requests: GenerationRequest) -> None:
        self._requests = requests

    def by_status(self) -> dict[str, int]:
        return {"generating": len(self._requests)}

    def active(self) -> Iterator[Sequence[GenerationRequest]]:
        yield self._requests

    def finished(self, before: float) -> Iterator[Sequence[GenerationRequest]]:
        yield ()

    def find(self, identity: str) -> Sequence[FoundRequest]:
        return ()


def generating(created: float, started: float | None, beat: float | None) -> GenerationRequest:
    """A request with the ages of its times, in seconds."""
    times = [None if age is None else NOW - age for age in (created, started, beat)]
    guard = ("generating", *times)
    status = RequestStatus.GENERATING
    return GenerationRequest("a", status, NOW - created, times[1], times[2], None, guard)


def detail(request: GenerationRequest, **policy: Any) -> str | None:
    """Why it is cancelled; ``None`` where it is kept."""
    found = list(plan_requests(Survey(request), RequestPolicy(**policy), NOW).actions)
    return found[0].detail if found else None


@pytest.mark.parametrize(
    ("created", "started", "beat", "expected"),
    [
        (3 * HOUR, 2 * MINUTE, None, None),
        (3 * HOUR, HOUR, None, None),
        (3 * HOUR, 2 * HOUR, None, "generating for 2.0 h since its start, limit 1 h"),
        (3 * HOUR, None, None, "generating for 3.0 h, limit 1 h"),
        (25 * HOUR, 5.0, 1.0, None),
        (
            26 * HOUR,
            5.0,
            1.0,
            "generating 26.0 h after it was created, waiting included, limit 25 h",
        ),
        (3 * HOUR, 2 * HOUR, 5 * MINUTE, None),
        (
            3 * HOUR,
            2 * HOUR,
            20 * MINUTE,
            "generating without a heartbeat for 20.0 min, limit 10 min",
        ),
        (3 * HOUR, MINUTE, 2 * HOUR, None),
        (
            3 * HOUR,
            15 * MINUTE,
            2 * HOUR,
            "generating without a heartbeat for 15.0 min since its start, limit 10 min",
        ),
    ],
)
def test_generating_counts_from_the_later_of_start_and_heartbeat(
    created: float, started: float | None, beat: float | None, expected: str | None
) -> None:
    request = generating(created, started, beat)
    found = detail(
        request,
        queued_timeout=24 * HOUR,
        generating_timeout=HOUR,
        from_start=True,
        heartbeat_timeout=10 * MINUTE,
    )
    assert found == expected


def test_without_a_timeout_of_its_own_generating_counts_from_created_at() -> None:
    request = generating(2 * HOUR, MINUTE, None)
    assert detail(request) == "generating for 2.0 h, limit 1 h"


def test_a_start_that_cannot_be_read_leaves_both_timeouts_together() -> None:
    policy = {"queued_timeout": 24 * HOUR, "generating_timeout": HOUR, "from_start": True}
    guard = ("generating", "then", "soon", None)
    for hours, is_cancelled in ((3, False), (26, True)):
        created_at = NOW - hours * HOUR
        status = RequestStatus.GENERATING
        request = GenerationRequest("a", status, created_at, None, None, None, guard)
        assert (detail(request, **policy) is not None) is is_cancelled
