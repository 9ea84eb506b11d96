"""What a run comes to, by what became of its halves."""

from __future__ import annotations

import msgspec
import pytest

from narration_cleanup.apply.result import CacheResult, RequestResult, Result, RunOutcome
from narration_cleanup.core.exit_codes import ExitCode
from narration_cleanup.plan.actions import Outcome
from tests.results import A_PROBLEM, NOW, make_cache_result, make_request_result


def failing_requests() -> RequestResult:
    half = make_request_result(2)
    for position in range(2):
        half.outcomes.set(position, Outcome.FAILED)
    return msgspec.structs.replace(half, cancelled_by_status={})


def purged_and_still_listed() -> CacheResult:
    """The disk had no room for a new index: the audio is gone, the entries are not."""
    half = make_cache_result(2)
    for position in range(2):
        half.outcomes.set(position, Outcome.FAILED)
    return half


def changed_meanwhile() -> CacheResult:
    half = make_cache_result(0, 2)
    half.outcomes.set(0, Outcome.SKIPPED)
    return half


@pytest.mark.parametrize(
    ("cache", "requests", "outcome"),
    [
        (make_cache_result(2), make_request_result(2), RunOutcome.SUCCESS),
        (make_cache_result(0, 2), None, RunOutcome.FAILED),
        (None, failing_requests(), RunOutcome.FAILED),
        (make_cache_result(0, 2), failing_requests(), RunOutcome.FAILED),
        (make_cache_result(0, 2), make_request_result(2), RunOutcome.PARTIAL),
        (make_cache_result(0, 2), make_request_result(0), RunOutcome.PARTIAL),
        (make_cache_result(0, 0), failing_requests(), RunOutcome.PARTIAL),
        (make_cache_result(1, 2), None, RunOutcome.PARTIAL),
        (purged_and_still_listed(), None, RunOutcome.PARTIAL),
        (changed_meanwhile(), None, RunOutcome.PARTIAL),
    ],
)
def test_a_run_that_did_nothing_of_its_work_has_failed(
    cache: CacheResult | None, requests: RequestResult | None, outcome: RunOutcome
) -> None:
    """A half that had nothing to do has done its part."""
    result = Result(NOW, dry_run=False, cache=cache, requests=requests)
    assert result.outcome is outcome
    assert result.exit_code == {"success": 0, "failed": 1, "partial": 3}[outcome.value]


def test_a_problem_alone_makes_it_partial() -> None:
    result = Result(NOW, dry_run=False, cache=make_cache_result(0))
    result.problems.add(A_PROBLEM)
    assert result.exit_code is ExitCode.PARTLY_DONE
