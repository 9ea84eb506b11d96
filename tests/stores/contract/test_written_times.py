"""The times that a cancelled request gets, in the form of each column's other values."""

from __future__ import annotations

import re

import pytest

from narration_cleanup.core.model import Severity
from narration_cleanup.plan import RequestPolicy, plan_requests
from narration_cleanup.plan.actions import Outcome
from narration_cleanup.stores.requests.mapping import Columns, RequestMapping
from tests.stores.contract.tables import Table, insert
from tests.stores.contract.test_requests import NOW, OLD, by_id, cancels, deletes

DAY = 86_400


@pytest.mark.parametrize(
    ("kind", "example", "written"),
    [
        ("TEXT", "2026-11-20T08:00:00.123456", "2026-11-23T12:00:00.000000"),
        ("TEXT", "2026-11-20 08:00:00", "2026-11-23 12:00:00"),
        ("TEXT", "2026-11-20T08:00:00,123Z", "2026-11-23T12:00:00,000Z"),
        ("TEXT", "2026-11-20 08:00:00+00", "2026-11-23 12:00:00+00"),
        ("TEXT", "2026-11-20T08:00:00+00:00", "2026-11-23T12:00:00+00:00"),
        ("TEXT", "2026-11-20T08:00:00+0530", "2026-11-23T17:30:00+0530"),
        ("TEXT", "1795521600.4691238", "1795435200.0000000"),
        ("TEXT", "1795521600000", "1795435200000"),
        ("BIGINT", 1795521600, 1795435200),
        ("BIGINT", 1795521600000, 1795435200000),
        ("BIGINT", 1795521600000000, 1795435200000000),
        ("BIGINT", 1795521600000000000, 1795435200000000000),
        ("DOUBLE PRECISION", 1795521600.25, 1795435200.0),
    ],
)
def test_both_times_have_the_form_of_their_column_and_are_read_again(
    table: Table, kind: str, example: str | float, written: str | float
) -> None:
    table.execute(
        f"CREATE TABLE requests (id TEXT, status TEXT, made TEXT, ended {kind}, changed {kind})"
    )
    insert(table, [("a", "queued", OLD, None, None), ("b", "completed", OLD, example, example)])
    columns = Columns(id="id", created_at="made", completed_at="ended", updated_at="changed")
    store = table.open(RequestMapping(timezone="UTC", columns=columns))
    assert list(store.cancel(cancels(store), NOW)) == [Outcome.DONE]
    assert by_id(table)["a"] == ("a", "cancelled", OLD, written, written)
    assert by_id(table)["b"] == ("b", "completed", OLD, example, example)
    policy = RequestPolicy(delete_finished_after=DAY)
    later = plan_requests(store.survey(), policy, NOW + 30 * DAY)
    assert {each.id for each in later.actions} == {"a", "b"}


def test_heartbeats_before_2000_are_reported_once_and_their_rows_left(table: Table) -> None:
    table.execute("CREATE TABLE requests (id TEXT, status TEXT, created_at TEXT, beat TEXT)")
    beats = ["0001-01-01T00:00:00", "1970-01-01T00:00:00Z", "0", None]
    rows = [(f"r{number}", "generating", OLD, beat) for number, beat in enumerate(beats)]
    insert(table, rows)
    mapping = RequestMapping(timezone="UTC", columns=Columns(id="id", heartbeat_at="beat"))
    policy = RequestPolicy(heartbeat_timeout=600)
    survey = table.open(mapping).survey()
    for _ in range(2):
        plan = plan_requests(survey, policy, NOW)
        assert [each.id for each in plan.actions] == ["r3"]
        (problem,) = plan.problems
        assert problem.code == "unset_time"
        assert problem.severity is Severity.WARNING
        assert re.match("heartbeat_at of 3 active rows is before 2000", problem.message)


@pytest.mark.parametrize("table", ["sqlite-wal", "sqlite-rollback"], indirect=True)
@pytest.mark.parametrize("form", ["BLOB PRIMARY KEY", "BLOB", "BLOB PRIMARY KEY {} WITHOUT ROWID"])
def test_ids_that_are_uuids_of_16_bytes_are_worked_on(table: Table, form: str) -> None:
    key, _, rest = form.partition(" {}")
    table.execute(f"CREATE TABLE requests (request_id {key}, status TEXT, created_at TEXT){rest}")
    ids = [bytes(range(number, number + 16)) for number in range(3)]
    states = ("queued", "completed", "queued")
    rows = [(each, status, OLD) for each, status in zip(ids, states, strict=True)]
    rows.append((b"\xff" * 17, "queued", OLD))
    table.execute("INSERT INTO requests VALUES (?, ?, ?)", *rows)
    store = table.open(RequestMapping(timezone="UTC"))
    actions = cancels(store)
    assert [each.id for each in actions] == [f"X'{ids[number].hex()}'" for number in (0, 2)]
    assert list(store.cancel(actions, NOW)) == [Outcome.DONE] * 2
    found = {row[0]: row[1] for row in table.rows()}
    assert [found[each] for each in ids] == ["cancelled", "completed", "cancelled"]
    assert found[b"\xff" * 17] == "queued"
    assert store.count_completed([f"X'{each.hex()}'" for each in ids]) == 1
    assert deletes(store, 1) == []
