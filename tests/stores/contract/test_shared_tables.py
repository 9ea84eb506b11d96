"""A table that several services share, and requests that are meant for a later time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from narration_cleanup.core.model import Scalar
from narration_cleanup.plan.actions import Outcome
from narration_cleanup.stores.requests.mapping import (
    Columns,
    FilterValue,
    RequestMapping,
    Statuses,
)
from tests.samples import SAMPLE_NOW, service_time
from tests.stores.contract.tables import Table, insert
from tests.stores.contract.test_requests import ENDED, NOW, OLD, by_id, cancels, deletes

FORM = (
    "CREATE TABLE requests (request_id TEXT PRIMARY KEY, queue TEXT, status TEXT, created_at TEXT, "
    "completed_at TEXT, run_at TEXT, priority BIGINT)"
)
TOMORROW = service_time(SAMPLE_NOW + timedelta(days=1))
JUST_DUE = service_time(SAMPLE_NOW - timedelta(minutes=10))


def job(
    name: str,
    queue: str | None = "tts",
    status: str = "queued",
    run_at: Scalar = None,
    priority: int | None = 2,
) -> tuple[Scalar, ...]:
    completed = ENDED if status == "completed" else None
    return (name, queue, status, OLD, completed, run_at, priority)


def mapping(**columns: Sequence[FilterValue]) -> RequestMapping:
    return RequestMapping(timezone="UTC", filter=columns, columns=Columns(scheduled_at="run_at"))


@pytest.mark.parametrize(
    ("columns", "ours"),
    [
        ({"queue": ["tts"]}, {"tts", "number"}),
        ({"QUEUE": ["tts"]}, {"tts", "number"}),
        ({"queue": ["tts", "it's 5%"]}, {"tts", "number", "quoted"}),
        ({"queue": [None]}, {"none"}),
        ({"queue": ["mail", None]}, {"none", "mail"}),
        ({"queue": ["tts"], "priority": [2, "7"]}, {"tts", "number"}),
        ({"priority": ["7"]}, {"number"}),
        ({"priority": [7]}, {"number"}),
        ({"queue": [7]}, {"seven"}),
        ({"queue": ["nothing"]}, set()),
    ],
)
def test_rows_of_other_services_are_in_no_figure_and_never_changed(
    table: Table, columns: dict[str, Sequence[FilterValue]], ours: set[str]
) -> None:
    table.execute(FORM)
    queues = {"tts": "tts", "mail": "mail", "none": None, "quoted": "it's 5%", "upper": "TTS"}
    queues |= {"seven": "7"}
    jobs = [job(name, queue) for name, queue in queues.items()]
    jobs += [job("number", priority=7)]
    jobs += [job(f"{name}-over", queue, "completed") for name, queue in queues.items()]
    insert(table, jobs)
    before = by_id(table)
    store = table.open(mapping(**columns))
    gone = {each.id for each in deletes(store, 30)}
    assert gone == {f"{name}-over" for name in ours & queues.keys()}
    actions = cancels(store)
    assert {each.id for each in actions} == ours
    counts = store.survey().by_status()
    assert counts.get("queued", 0) == len(ours)
    assert set(store.cancel(actions, NOW)) <= {Outcome.DONE}
    assert {name for name, row in by_id(table).items() if row != before[name]} == ours
    assert store.unchanged_since(actions)


def test_a_row_that_left_the_filter_since_the_look_is_skipped(table: Table) -> None:
    table.execute(FORM)
    insert(table, [job("stays"), job("moved"), job("over", status="completed")])
    store = table.open(mapping(queue=["tts"]))
    actions, gone = cancels(store), deletes(store, 30)
    table.execute("UPDATE requests SET queue = 'mail' WHERE request_id <> 'stays'")
    before = by_id(table)
    assert sorted(store.cancel(actions, NOW)) == [Outcome.DONE, Outcome.SKIPPED]
    assert list(store.delete(gone)) == [Outcome.SKIPPED]
    after = by_id(table)
    assert after.pop("stays") != before.pop("stays")
    assert after == before


def test_completed_rows_of_other_services_are_not_counted_as_overwritten(table: Table) -> None:
    table.execute(FORM)
    insert(table, [job("a", status="completed"), job("b", "mail", "completed")])
    assert table.open(mapping(queue=["tts"])).count_completed(["a", "b"]) == 1


def test_a_request_counts_from_the_time_that_it_is_meant_for(table: Table) -> None:
    table.execute(FORM)
    insert(
        table,
        [
            job("now"),
            job("tomorrow", run_at=TOMORROW),
            job("just-due", run_at=JUST_DUE),
            job("long-due", run_at=OLD),
        ],
    )
    found = {each.id: each.detail for each in cancels(table.open(mapping()))}
    assert found == {
        "now": "queued for 2.0 h, limit 1 h",
        "long-due": "queued for 2.0 h after its scheduled time, limit 1 h",
    }


def test_a_request_that_is_put_off_since_the_look_is_skipped(table: Table) -> None:
    table.execute(FORM)
    insert(table, [job("put-off"), job("stays")])
    store = table.open(mapping())
    actions = cancels(store)
    table.execute(f"UPDATE requests SET run_at = '{TOMORROW}' WHERE request_id = 'put-off'")
    assert {
        each.id: what for each, what in zip(actions, store.cancel(actions, NOW), strict=True)
    } == {"put-off": Outcome.SKIPPED, "stays": Outcome.DONE}
    assert by_id(table)["put-off"][2] == "queued"


def test_a_scheduled_time_that_cannot_be_read_leaves_its_row_alone(table: Table) -> None:
    table.execute(FORM)
    insert(table, [job("soon", run_at="soon"), job("now")])
    store = table.open(mapping())
    assert [each.id for each in cancels(store)] == ["now"]


def test_states_to_ignore_are_counted_without_a_warning(table: Table) -> None:
    table.execute(FORM)
    insert(table, [job("a", status="paused"), job("b", status="retry"), job("c", status="odd")])
    statuses = Statuses(ignored=("paused", "retry"))
    store = table.open(RequestMapping(timezone="UTC", statuses=statuses))
    survey = store.survey()
    assert survey.by_status() == {"paused": 1, "retry": 1, "odd": 1}
    assert [each.subject for each in survey.problems] == ["odd"]
    assert cancels(store) == []
