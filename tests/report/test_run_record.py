"""The record of a run: what is remembered of it, told from its result."""

from narration_cleanup.core.exit_codes import ExitCode
from narration_cleanup.report.run_record import PROBLEMS_KEPT, CacheState, record_of
from tests.results import A_PROBLEM, A_WARNING, NOW, make_cache_result, make_result


def test_counts_are_of_what_was_done() -> None:
    record = record_of(make_result(removed=3, failed=1, cancelled=2), limit_bytes=5_000)
    assert (record.outcome, record.exit_code) == ("partial", 3)
    assert (record.planned_count, record.removed_count, record.failed_count) == (6, 3, 1)
    assert record.freed_bytes == 3_000
    assert record.removed_by_reason == {"expired": 3}
    assert record.freed_by_reason == {"expired": 3_000}
    assert (record.cancelled_count, record.cancelled_by_status) == (2, {"queued": 2})
    assert record.started_at == NOW
    assert record.duration == 1.5
    assert not record.success


def test_how_things_stand_is_after_the_run() -> None:
    """Without a second look, what went is taken off; what failed to go is still there."""
    record = record_of(make_result(removed=3, failed=1, cancelled=2), limit_bytes=5_000)
    assert record.cache_state == CacheState(7, 7_000, 5_000)
    assert record.requests_by_status == {
        "queued": 3,
        "generating": 1,
        "completed": 20,
        "weird": 4,
        "cancelled": 2,
    }


def test_a_second_look_is_believed() -> None:
    result = make_result(removed=3)
    assert result.cache is not None
    result.cache.after = make_cache_result(0).plan
    assert record_of(result).cache_state == CacheState(10, 10_000, None)


def test_a_half_that_was_not_looked_at_has_no_state() -> None:
    record = record_of(make_result(stopped=ExitCode.REFUSED, message="refused: the clock jumped"))
    assert (record.outcome, record.exit_code) == ("refused", 4)
    assert record.message == "refused: the clock jumped"
    assert record.cache_state is None
    assert record.requests_by_status is None


def test_problems_come_before_warnings_and_are_bounded() -> None:
    record = record_of(make_result(problems=(A_WARNING, *[A_PROBLEM] * 30)))
    assert (record.problem_count, record.warning_count) == (30, 1)
    assert record.problems == [A_PROBLEM] * PROBLEMS_KEPT
    assert record.error_count == 30


def test_problems_that_are_only_counted_are_counted() -> None:
    assert record_of(make_result(problems=(A_PROBLEM,) * 400)).problem_count == 400


def test_a_clock_set_back_gives_no_negative_duration() -> None:
    assert record_of(make_result(seconds=-60)).duration == 0.0
