"""How requests stand after a run: told without a second survey only where it is the same."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from narration_cleanup.apply.apply import apply_requests
from narration_cleanup.apply.result import RequestResult, Result, RunOutcome
from narration_cleanup.core.errors import TargetError
from narration_cleanup.core.model import NoProgress, RequestSurvey
from narration_cleanup.core.signals import Stop
from narration_cleanup.plan import (
    RequestPlan,
    RequestPolicy,
    plan_requests,
    requests_after,
)
from narration_cleanup.plan.actions import (
    Action,
    Outcome,
)
from narration_cleanup.run import run as job
from narration_cleanup.stores.requests.mapping import Columns, RequestMapping
from narration_cleanup.stores.requests.sqlite.table import SqliteRequests
from narration_cleanup.stores.requests.store import RequestStore
from tests.opened import closed_later
from tests.run.test_run import Silent
from tests.samples import read_requests
from tests.stores.requests.service import INSERT, NOW, service

POLICY = RequestPolicy(delete_finished_after=3_600.0)


@pytest.fixture
def store(path: Path) -> SqliteRequests:
    opened = SqliteRequests(path, RequestMapping(timezone="UTC"))
    closed_later(opened)
    return opened


def run(store: RequestStore) -> tuple[RequestResult, Result]:
    """Survey, plan and apply; the second survey is the test's own."""
    result = Result(NOW, dry_run=False)
    plan = plan_requests(store.survey(), POLICY, NOW)
    result.requests = apply_requests(plan, store, NOW, Stop(), NoProgress())
    return result.requests, result


def second_look(store: RequestStore) -> RequestPlan:
    return plan_requests(store.survey(), POLICY, NOW)


def test_left_is_what_a_second_look_finds(store: SqliteRequests) -> None:
    requests, result = run(store)
    assert result.requests is not None
    assert result.requests.cancelled_count == 7
    assert result.requests.deleted_count > 0
    left, second = job.left_in_requests(store, requests), second_look(store)
    assert left is not None
    assert left.totals == second.totals
    assert list(left.actions) == list(second.actions) == []
    assert list(left.problems) == list(second.problems)
    assert result.outcome is RunOutcome.SUCCESS


def test_a_row_that_was_skipped_asks_for_a_second_look(
    store: SqliteRequests, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancel = SqliteRequests.cancel

    def late(it: SqliteRequests, batch: Sequence[Action], at: float) -> Sequence[Outcome]:
        with closing(sqlite3.connect(path)) as worker, worker:
            worker.execute(
                "UPDATE requests SET status = 'completed' WHERE request_id = ?", (batch[0].id,)
            )
        return cancel(it, batch, at)

    monkeypatch.setattr(SqliteRequests, "cancel", late)
    requests, result = run(store)
    assert result.requests is not None
    assert result.requests.outcomes.count(Outcome.SKIPPED) == 1
    assert job.left_in_requests(store, requests) is None


def test_a_row_completed_after_it_was_cancelled_asks_for_a_second_look(
    store: SqliteRequests, path: Path
) -> None:
    requests, _result = run(store)
    assert job.left_in_requests(store, requests) is not None
    cancelled = [key for key, row in read_requests(path).items() if row[4] == "cancelled"]
    with closing(sqlite3.connect(path)) as worker, worker:
        worker.execute(
            "UPDATE requests SET status = 'completed' WHERE request_id = ?", cancelled[:1]
        )
    assert job.left_in_requests(store, requests) is None


def test_a_fault_of_the_short_look_leads_to_the_long_one(
    store: SqliteRequests, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests, result = run(store)

    def failing(*_: object) -> bool:
        raise TargetError("database_locked", "it is locked")

    monkeypatch.setattr(SqliteRequests, "unchanged_since", failing)
    assert job.left_in_requests(store, requests) is None
    assert result.outcome is RunOutcome.SUCCESS


def test_a_row_that_comes_meanwhile_is_missing_until_the_next_look(
    store: SqliteRequests, path: Path
) -> None:
    """What a run says of how things stand is of its look and its own changes."""
    requests, _result = run(store)
    first = second_look(store)
    with closing(sqlite3.connect(path)) as worker, worker:
        worker.execute(INSERT.replace("09:00:00", "11:59:00"))
    left = job.left_in_requests(store, requests)
    assert left is not None
    assert left.totals == first.totals
    assert second_look(store).totals.total == first.totals.total + 1


def test_a_problem_of_a_cancelled_row_asks_for_a_second_look(path: Path) -> None:
    """Created in the future by its clock, and silent for long: cancelled, and its problem gone."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("ALTER TABLE requests ADD COLUMN beat TEXT")
        connection.execute(
            "UPDATE requests SET created_at = '2027-01-01T00:00:00', beat = '2026-11-01T00:00:00' "
            "WHERE rowid = (SELECT rowid FROM requests WHERE status = 'generating' LIMIT 1)"
        )
    mapping = RequestMapping(timezone="UTC", columns=Columns(heartbeat_at="beat"))
    store = SqliteRequests(path, mapping)
    closed_later(store)
    policy = RequestPolicy(heartbeat_timeout=600.0)
    plan = plan_requests(store.survey(), policy, NOW)
    assert [each.code for each in plan.problems] == ["created_in_future"]
    counts = plan.totals.abandoned_by_status
    assert requests_after(plan, counts, {}) is None


def test_counts_that_do_not_add_up_ask_for_a_second_look(store: SqliteRequests) -> None:
    plan = second_look(store)
    assert requests_after(plan, {"queued": 1}, {}) is not None
    assert requests_after(plan, {"queued": 1_000}, {}) is None
    assert requests_after(plan, {}, {"unknown": 1}) is None


def test_a_run_that_did_everything_looks_at_the_table_once(
    store: SqliteRequests, monkeypatch: pytest.MonkeyPatch
) -> None:
    surveys = 0
    survey = SqliteRequests.survey

    def surveyed(it: SqliteRequests) -> RequestSurvey:
        nonlocal surveys
        surveys += 1
        return survey(it)

    monkeypatch.setattr(SqliteRequests, "survey", surveyed)
    result = Result(NOW, dry_run=False)
    after = job.clean_requests(store, POLICY, job.Work(result, Stop(), NoProgress(), Silent()))
    assert surveys == 1
    assert result.outcome is RunOutcome.SUCCESS
    assert result.requests is not None
    assert result.requests.after is after


def test_a_row_that_a_trigger_keeps_as_it_is_makes_the_run_partial(
    store: SqliteRequests, path: Path
) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "CREATE TRIGGER kept BEFORE UPDATE ON requests WHEN OLD.status = 'queued' "
            "BEGIN SELECT RAISE(IGNORE); END"
        )
    before = read_requests(path)
    result = Result(NOW, dry_run=False)
    job.clean_requests(store, POLICY, job.Work(result, Stop(), NoProgress(), Silent()))
    assert result.outcome is RunOutcome.PARTIAL
    assert result.requests is not None
    kept = result.requests.outcomes.count(Outcome.SKIPPED)
    assert kept > 0
    problems = list(result.requests.problems)
    assert {problem.code for problem in problems} == {"not_changed"}
    assert len(problems) == kept
    assert "row security" in problems[0].message
    queued = {key: row for key, row in before.items() if row[4] == "queued"}
    assert {key: row for key, row in read_requests(path).items() if key in queued} == queued


def test_batches_have_as_many_rows_as_the_store_asks_for(
    store: SqliteRequests, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = iter([2, 1, 3, 500, 500, 500])
    given: list[int] = []
    cancel = SqliteRequests.cancel

    def counting(it: SqliteRequests, batch: Sequence[Action], at: float) -> Sequence[Outcome]:
        given.append(len(batch))
        return cancel(it, batch, at)

    monkeypatch.setattr(SqliteRequests, "batch_size", property(lambda _: next(wanted)))
    monkeypatch.setattr(SqliteRequests, "cancel", counting)
    _, result = run(store)
    assert given[:4] == [2, 1, 3, 1]
    assert result.requests is not None
    assert result.requests.cancelled_count == 7


def test_what_was_changed_is_in_the_database_while_the_service_keeps_it_open(wal: Path) -> None:
    """Not in the -wal file alone, which the service would have to copy in its own time."""
    store = SqliteRequests(wal, RequestMapping(timezone="UTC"))
    closed_later(store)
    with service(wal) as live:
        live.execute(INSERT)
        run(store)
        copy = wal.parent.parent / "copy.db"
        copy.write_bytes(wal.read_bytes())
        assert os.path.exists(f"{wal}-wal")
    with closing(sqlite3.connect(copy)) as alone:
        found = alone.execute("SELECT count(*) FROM requests WHERE status = 'cancelled'")
        assert found.fetchone()[0] >= 8
