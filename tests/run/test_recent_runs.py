"""What statistics take from the history: whether the clean-up is alive, and when it is due."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from narration_cleanup.core.errors import ExitCode
from narration_cleanup.report.history import History, ProcessMark, open_history
from narration_cleanup.report.record import Counters, record_of
from narration_cleanup.report.stats import Stats
from narration_cleanup.run.recent_runs import with_recent_runs, with_timer
from narration_cleanup.systemd.status import Schedule
from tests.results import NOW, make_result

HOUR = 3_600.0
NOTHING = Stats(generated_at=NOW, cleanup_interval_hours=6, abandoned_timeout_hours=1)


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    opened = open_history(tmp_path, warn=pytest.fail, at=NOW)
    assert opened is not None
    yield opened
    opened.close()


def ran(history: History, hours_ago: float, stopped: ExitCode | None = None) -> int | None:
    at = NOW - hours_ago * HOUR
    run_id = history.begin(at, trigger="timer", version="1")
    history.finish(run_id, record_of(make_result(started_at=at, stopped=stopped)))
    return run_id


def test_nothing_recorded_is_nothing_known(tmp_path: Path) -> None:
    stats, past = with_recent_runs(NOTHING, tmp_path)
    assert stats == NOTHING
    assert past.counters == Counters()


@pytest.mark.parametrize(("hours_ago", "alive"), [(0, True), (9, True), (9.001, False)])
def test_alive_for_one_and_a_half_intervals(
    history: History, tmp_path: Path, hours_ago: float, alive: bool
) -> None:
    ran(history, hours_ago)
    stats, _ = with_recent_runs(NOTHING, tmp_path)
    assert stats.running is alive
    assert not stats.in_progress
    assert stats.next_run_at == pytest.approx(NOW + (6 - hours_ago) * HOUR)


def test_a_run_at_work_is_in_progress(history: History, tmp_path: Path) -> None:
    ran(history, 6)
    run_id = history.begin(NOW - 12 * HOUR, trigger="timer", version="1")
    stats, past = with_recent_runs(NOTHING, tmp_path)
    assert stats.in_progress
    assert stats.running
    assert stats.last_run is not None
    assert (stats.last_run.id, stats.last_run.outcome) == (run_id, "running")
    assert past.last is not None
    assert past.last.outcome == "success"


def test_a_killed_run_is_not_in_progress(history: History, tmp_path: Path) -> None:
    done = ran(history, 6)
    gone = ProcessMark(2**22 + 1, 1, "another boot")
    history.begin(NOW, trigger="timer", version="1", process=gone)
    stats, past = with_recent_runs(NOTHING, tmp_path)
    assert past.last is not None
    assert past.last.id == done  # what the metrics tell: a killed run has no figures
    assert not stats.in_progress
    assert stats.last_run is not None
    assert stats.last_run.outcome == "killed"


def test_a_run_that_found_the_lock_held_is_not_the_last(history: History, tmp_path: Path) -> None:
    done = ran(history, 1)
    ran(history, 0.5, ExitCode.BUSY)
    stats, _ = with_recent_runs(NOTHING, tmp_path)
    assert stats.last_run is not None
    assert stats.last_run.id == done


def test_a_history_that_cannot_be_read_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "history.db").write_bytes(b"damaged" * 1000)
    stats, _ = with_recent_runs(NOTHING, tmp_path)
    (problem,) = stats.problems
    assert (problem.code, problem.severity.value) == ("history_unreadable", "warning")
    assert stats.last_run is None


def test_a_timer_knows_better_when_the_next_run_is(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran(history, 0)
    stats, _ = with_recent_runs(NOTHING, tmp_path)
    schedule = Schedule(
        timer="narration-cleanup.timer",
        service="narration-cleanup.service",
        enabled=True,
        active=True,
        running=False,
        next_run=datetime.fromtimestamp(NOW + 60, UTC),
        last_run=None,
        last_result=None,
        last_exit=None,
    )
    monkeypatch.setattr("narration_cleanup.systemd.manager.is_running", lambda: True)
    monkeypatch.setattr("narration_cleanup.systemd.status.find_schedule", lambda _: schedule)
    assert with_timer(stats, None).next_run_at == NOW + 60
    monkeypatch.setattr("narration_cleanup.systemd.status.find_schedule", lambda _: None)
    assert with_timer(stats, None) == stats
