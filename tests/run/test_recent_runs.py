"""What statistics take from the history: whether the clean-up is alive, and when it is due."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from narration_cleanup.core.errors import TargetError
from narration_cleanup.core.exit_codes import ExitCode
from narration_cleanup.core.model import NoProgress
from narration_cleanup.report.history import ProcessMark, trigger_of
from narration_cleanup.report.history.store import History, open_history
from narration_cleanup.report.run_record import Counters, Places, record_of
from narration_cleanup.report.stats import Stats
from narration_cleanup.run.collect_stats import stats_now, with_recent_runs
from narration_cleanup.settings import Settings, load_settings
from narration_cleanup.systemd.status import Schedule
from tests.results import NOW, make_result

HOUR = 3_600.0
NOTHING = Stats(generated_at=NOW, cleanup_interval_hours=6, abandoned_timeout_hours=1)


@pytest.fixture(autouse=True)
def no_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's own systemd and cron are not part of the test."""
    monkeypatch.setattr("narration_cleanup.systemd.status.find_schedule", lambda _: None)
    monkeypatch.setattr("narration_cleanup.systemd.status.cron_tables", lambda _: [])


def settings(state: Path, cache: str = "") -> Settings:
    environ = {"NARRATION_CLEANUP_STATE_DIR": str(state), "NARRATION_CACHE_DIR": cache}
    return load_settings(flags={}, config_file=None, environ=environ)


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    opened = open_history(tmp_path, warn=pytest.fail, at=NOW)
    assert opened is not None
    yield opened
    opened.close()


def ran(
    history: History, hours_ago: float, stopped: ExitCode | None = None, trigger: str = "timer"
) -> int | None:
    at = NOW - hours_ago * HOUR
    run_id = history.begin(at, trigger=trigger, version="1")
    history.finish(run_id, record_of(make_result(started_at=at, stopped=stopped)))
    return run_id


def test_a_target_that_cannot_be_opened_has_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise TargetError("other_user", "the database belongs to another user")

    monkeypatch.setattr("narration_cleanup.run.stores.open_requests", refused)
    stats, plans = stats_now(settings(tmp_path), NOW, NoProgress())
    assert plans.requests is None
    assert [each.code for each in stats.problems] == ["other_user"]


def test_nothing_recorded_is_nothing_known(tmp_path: Path) -> None:
    stats, past = with_recent_runs(NOTHING, settings(tmp_path))
    assert stats == NOTHING
    assert past.counters == Counters()


@pytest.mark.parametrize(
    ("triggers", "hours_ago", "due_in"),
    [
        ("timer timer", (9, 3), 3),
        ("cron cron", (3, 1), 5),
        ("timer hand timer", (9, 4, 3), 3),
        ("timer timer hand", (9, 3, 1), 3),
        ("hand hand", (9, 3), 3),
        ("timer", (1,), None),
        ("hand hand", (1.2, 1.1), None),
        ("timer timer", (16, 9.001), None),
        ("timer timer", (13, 3), None),
        ("systemd systemd", (2, 1), None),
    ],
)
def test_alive_where_the_last_two_runs_came_in_time_by_themselves(
    history: History,
    tmp_path: Path,
    triggers: str,
    hours_ago: tuple[float, ...],
    due_in: float | None,
) -> None:
    for trigger, ago in zip(triggers.split(), hours_ago, strict=True):
        ran(history, ago, trigger=trigger)
    stats, _ = with_recent_runs(NOTHING, settings(tmp_path))
    assert stats.last_run is not None
    assert not stats.in_progress
    assert stats.running is (due_in is not None)
    due = None if due_in is None else pytest.approx(NOW + due_in * HOUR)
    assert stats.next_run_at == due


def test_a_cron_line_is_a_schedule_until_a_run_is_overdue(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("narration_cleanup.systemd.status.cron_tables", lambda _: ["/etc/crontab"])
    stats, _ = with_recent_runs(NOTHING, settings(tmp_path))
    assert (stats.running, stats.next_run_at) == (True, None)
    ran(history, 10, trigger="cron")
    stats, _ = with_recent_runs(NOTHING, settings(tmp_path))
    assert (stats.running, stats.next_run_at) == (False, None)
    ran(history, 1, trigger="cron")
    stats, _ = with_recent_runs(NOTHING, settings(tmp_path))
    assert (stats.running, stats.next_run_at) == (True, NOW + 5 * HOUR)


def test_a_cronjob_says_so_by_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not with_recent_runs(NOTHING, settings(tmp_path))[0].running
    monkeypatch.setenv("NARRATION_SCHEDULED_BY", "cronjob")
    assert with_recent_runs(NOTHING, settings(tmp_path))[0].running
    assert trigger_of().value == "cron"


def test_one_cache_is_not_shown_the_last_run_of_another(tmp_path: Path) -> None:
    one = open_history(tmp_path, warn=pytest.fail, at=NOW, places=Places("/one", None))
    assert one is not None
    ran(one, 7)
    ran(one, 1)
    one.close()
    assert with_recent_runs(NOTHING, settings(tmp_path, "/one"))[0].running
    stats, past = with_recent_runs(NOTHING, settings(tmp_path, "/two"))
    assert (stats, past.counters) == (NOTHING, Counters())


def test_a_run_at_work_is_in_progress(history: History, tmp_path: Path) -> None:
    ran(history, 6)
    run_id = history.begin(NOW - 12 * HOUR, trigger="timer", version="1")
    stats, past = with_recent_runs(NOTHING, settings(tmp_path))
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
    stats, past = with_recent_runs(NOTHING, settings(tmp_path))
    assert past.last is not None
    assert past.last.id == done  # what the metrics tell: a killed run has no figures
    assert not stats.in_progress
    assert stats.last_run is not None
    assert stats.last_run.outcome == "killed"


def test_a_run_that_found_the_lock_held_is_not_the_last(history: History, tmp_path: Path) -> None:
    done = ran(history, 1)
    ran(history, 0.5, ExitCode.BUSY)
    stats, _ = with_recent_runs(NOTHING, settings(tmp_path))
    assert stats.last_run is not None
    assert stats.last_run.id == done


def test_a_history_that_cannot_be_read_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "history.db").write_bytes(b"damaged" * 1000)
    stats, _ = with_recent_runs(NOTHING, settings(tmp_path))
    (problem,) = stats.problems
    assert (problem.code, problem.severity.value) == ("history_unreadable", "warning")
    assert stats.last_run is None


def test_a_timer_knows_better_when_the_next_run_is(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran(history, 0)
    stats, _ = with_recent_runs(NOTHING, settings(tmp_path))
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
    monkeypatch.setattr("narration_cleanup.systemd.status.find_schedule", lambda _: schedule)
    known, _ = with_recent_runs(NOTHING, settings(tmp_path))
    assert (stats.running, stats.next_run_at) == (False, None)
    assert (known.running, known.next_run_at) == (True, NOW + 60)
