"""What every request store does, whatever database is behind it."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from narration_cleanup.core.errors import TargetError
from narration_cleanup.core.model import RequestStatus, Scalar, Severity
from narration_cleanup.plan import RequestPlan, RequestPolicy, plan_requests
from narration_cleanup.plan.actions import (
    Action,
    Kind,
    Outcome,
)
from narration_cleanup.stores.requests.mapping import Columns, RequestMapping, Statuses
from narration_cleanup.stores.requests.store import BATCH, RequestStore
from tests.samples import SAMPLE_NOW, canonical_requests, service_time
from tests.stores.contract.tables import SERVICE_TABLE, Table, insert

NOW = SAMPLE_NOW.timestamp()
HOUR = timedelta(hours=1)
MAPPING = RequestMapping(timezone="UTC")
OLD = service_time(SAMPLE_NOW - 2 * HOUR)
ENDED = service_time(SAMPLE_NOW - timedelta(days=40))


def row(
    name: str,
    status: str = "queued",
    created: Scalar = OLD,
    started: Scalar = None,
    completed: Scalar = None,
) -> tuple[Scalar, ...]:
    return (name, "variant", status, created, started, completed, None)


def plan(store: RequestStore, policy: RequestPolicy | None = None) -> RequestPlan:
    return plan_requests(store.survey(), policy or RequestPolicy(), NOW)


def cancels(store: RequestStore, policy: RequestPolicy | None = None) -> list[Action]:
    return [each for each in plan(store, policy).actions if each.kind is Kind.CANCEL_REQUEST]


def deletes(store: RequestStore, days: float) -> list[Action]:
    policy = RequestPolicy(delete_finished_after=days * 86_400)
    return [each for each in plan(store, policy).actions if each.kind is Kind.DELETE_REQUEST]


def by_id(table: Table, name: str = "requests") -> dict[object, tuple[object, ...]]:
    return {each[0]: each for each in table.rows(name)}


def service_rows() -> list[tuple[Scalar, ...]]:
    rows = []
    for number, spec in enumerate(canonical_requests()):
        created = SAMPLE_NOW - spec.age
        started = None if spec.status == "queued" else service_time(created)
        over = spec.status in ("completed", "failed", "cancelled")
        completed = service_time(created + spec.took) if over else None
        rows.append(row(f"r{number:02}", spec.status, service_time(created), started, completed))
    return rows


def test_the_sample_has_seven_abandoned_and_only_they_are_cancelled(table: Table) -> None:
    table.execute(SERVICE_TABLE)
    insert(table, service_rows())
    before = by_id(table)
    store = table.open(MAPPING)
    planned = plan(store)
    assert planned.totals.by_status == {
        "queued": 9,
        "generating": 6,
        "completed": 10,
        "failed": 2,
        "cancelled": 2,
    }
    actions = cancels(store)
    assert sorted(each.status for each in actions) == ["generating"] * 3 + ["queued"] * 4
    assert by_id(table) == before  # a look changes nothing
    assert list(store.cancel(actions, NOW)) == [Outcome.DONE] * 7
    after = by_id(table)
    gone = {each.id for each in actions}
    for name, found in after.items():
        if name in gone:
            expected = list(before[name])
            expected[2], expected[5] = "cancelled", "2026-11-23T12:00:00"
            assert list(found) == expected
        else:
            assert found == before[name]
    assert cancels(store) == []
    store.close()


def test_a_microsecond_decides(table: Table) -> None:
    table.execute(SERVICE_TABLE)
    hour_ago = SAMPLE_NOW - HOUR
    microsecond = timedelta(microseconds=1)
    insert(
        table,
        [
            row("exactly", created=service_time(hour_ago)),
            row("over", created=service_time(hour_ago - microsecond)),
            row("under", created=service_time(hour_ago + microsecond)),
        ],
    )
    assert [each.id for each in cancels(table.open(MAPPING))] == ["over"]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE requests SET status = 'completed' WHERE request_id = 'moved'",
        "UPDATE requests SET status = 'generating' WHERE request_id = 'moved'",
        "UPDATE requests SET created_at = '2026-11-23T11:59:59' WHERE request_id = 'moved'",
        "UPDATE requests SET started_at = '2026-11-23T11:59:59' WHERE request_id = 'moved'",
        "UPDATE requests SET started_at = NULL, created_at = NULL WHERE request_id = 'moved'",
        "DELETE FROM requests WHERE request_id = 'moved'",
    ],
)
def test_a_row_that_changed_since_the_look_is_skipped(table: Table, change: str) -> None:
    table.execute(SERVICE_TABLE)
    insert(table, [row("stays"), row("moved"), row("young", created=service_time(SAMPLE_NOW))])
    store = table.open(MAPPING)
    actions = cancels(store)
    table.execute(change)
    changed = by_id(table)
    outcomes = {
        each.id: what for each, what in zip(actions, store.cancel(actions, NOW), strict=True)
    }
    assert outcomes == {"stays": Outcome.DONE, "moved": Outcome.SKIPPED}
    after = by_id(table)
    assert after["stays"][2] == "cancelled"
    assert after.get("moved") == changed.get("moved")
    assert after["young"] == changed["young"]
    store.close()


def test_a_heartbeat_since_the_look_saves_its_row(table: Table) -> None:
    table.execute("CREATE TABLE requests (id TEXT, status TEXT, created_at TEXT, beat TEXT)")
    insert(table, [("a", "generating", OLD, OLD), ("b", "generating", OLD, OLD)])
    columns = Columns(id="id", heartbeat_at="beat")
    store = table.open(RequestMapping(columns=columns, timezone="UTC"))
    actions = cancels(store, RequestPolicy(heartbeat_timeout=600))
    table.execute("UPDATE requests SET beat = '2026-11-23T11:59:59' WHERE id = 'b'")
    assert list(store.cancel(actions, NOW)) == [Outcome.DONE, Outcome.SKIPPED]
    assert [found[1] for found in table.rows()] == ["cancelled", "generating"]
    store.close()


def test_finished_rows_go_after_their_time_and_no_others(table: Table) -> None:
    table.execute(SERVICE_TABLE)
    insert(
        table,
        [
            row("completed", "completed", ENDED, ENDED, ENDED),
            row("failed", "failed", ENDED, ENDED, ENDED),
            row("cancelled", "cancelled", ENDED, None, ENDED),
            row("just ended", "completed", ENDED, ENDED, service_time(SAMPLE_NOW)),
            row("no end", "completed", ENDED, ENDED, None),
            row("begun late", "completed", ENDED, service_time(SAMPLE_NOW), None),
            row("active", "queued", service_time(SAMPLE_NOW)),
            row("exactly", "completed", OLD, OLD, service_time(SAMPLE_NOW - timedelta(days=30))),
            row("again", "completed", ENDED, ENDED, ENDED),
        ],
    )
    store = table.open(MAPPING)
    actions = deletes(store, 30)
    gone = {"completed", "failed", "cancelled", "no end"}
    assert {each.id for each in actions} == {*gone, "again"}
    without_end = next(each.detail for each in actions if each.id == "no end")
    assert without_end.startswith("completed, begun ")
    # Run once more and ended just now, between the look and the deletion.
    table.execute("UPDATE requests SET completed_at = ? WHERE request_id = 'again'", (OLD,))
    before = by_id(table)
    outcomes = {each.id: what for each, what in zip(actions, store.delete(actions), strict=True)}
    assert outcomes == dict.fromkeys(gone, Outcome.DONE) | {"again": Outcome.SKIPPED}
    assert by_id(table) == {name: found for name, found in before.items() if name not in gone}
    store.close()


def test_without_a_time_of_ending_no_finished_row_goes_and_it_is_said(table: Table) -> None:
    table.execute("CREATE TABLE requests (request_id TEXT, status TEXT, created_at TEXT)")
    insert(table, [("a", "completed", ENDED)])
    store = table.open(MAPPING)
    planned = plan(store, RequestPolicy(delete_finished_after=1.0))
    assert len(planned.actions) == 0
    assert "requests.columns.completed_at" in next(iter(planned.problems)).message


def test_a_status_that_the_database_makes_is_refused(table: Table) -> None:
    table.execute(
        "CREATE TABLE requests (request_id TEXT, created_at TEXT, word TEXT, "
        "status TEXT GENERATED ALWAYS AS (word) STORED)"
    )
    store = table.open(MAPPING)
    with pytest.raises(
        TargetError, match=r"column status is generated.* requests\.columns\.status"
    ):
        store.survey().by_status()
    store.close()


def test_rows_completed_after_we_cancelled_them_are_counted(table: Table) -> None:
    table.execute(SERVICE_TABLE)
    insert(table, [row(f"r{number}") for number in range(1200)])
    store = table.open(MAPPING)
    ids = [f"r{number}" for number in range(1200)]
    assert store.count_completed(ids) == 0
    table.execute("UPDATE requests SET status = 'completed' WHERE request_id IN ('r3', 'r1199')")
    assert store.count_completed(ids) == 2
    assert store.count_completed(["r3", "nobody"]) == 1
    assert store.count_completed([]) == 0


def test_rows_are_settled_while_they_are_as_they_were_left(table: Table) -> None:
    table.execute(SERVICE_TABLE)
    names = [f"r{number}" for number in range(1200)]
    ended = [row(f"e{number}", "completed", ENDED, ENDED, ENDED) for number in range(3)]
    insert(table, [row(name) for name in names] + ended)
    store = table.open(MAPPING)
    actions: list[Action] = [*cancels(store), *deletes(store, 30)]
    assert len(actions) == 1203
    assert store.unchanged_since([])
    assert not store.unchanged_since(actions[:1])
    assert not store.unchanged_since(actions[-1:])
    while left := cancels(store):
        store.cancel(left[:BATCH], NOW)
    store.delete([each for each in actions if each.kind is Kind.DELETE_REQUEST])
    assert store.unchanged_since(actions)
    table.execute(
        "INSERT INTO requests SELECT 'new', variant_id, 'queued', created_at, NULL, "
        "NULL, NULL FROM requests WHERE request_id = 'r1'"
    )
    assert store.unchanged_since(actions)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE requests SET status = 'completed' WHERE request_id = 'one'",
        "UPDATE requests SET status = 'paused' WHERE request_id = 'one'",
        "UPDATE requests SET status = NULL WHERE request_id = 'one'",
        "DELETE FROM requests WHERE request_id = 'one'",
    ],
)
def test_rows_that_were_changed_again_are_not_settled(table: Table, change: str) -> None:
    table.execute(
        "CREATE TABLE requests (request_id TEXT, status TEXT, created_at TEXT, completed_at TEXT)"
    )
    insert(table, [("one", "queued", OLD, None), ("two", "queued", OLD, None)])
    insert(table, [("gone", "completed", OLD, ENDED)])
    store = table.open(MAPPING)
    cancelled, deleted = cancels(store), deletes(store, 30)
    store.cancel(cancelled, NOW)
    store.delete(deleted)
    assert store.unchanged_since([*cancelled, *deleted])
    table.execute(change)
    assert not store.unchanged_since([*cancelled, *deleted])


def test_two_rows_of_one_id_are_both_told_right(table: Table) -> None:
    """Whether they are settled or looked at again, what is said of them is what there is."""
    table.execute("CREATE TABLE requests (request_id TEXT, status TEXT, created_at TEXT)")
    insert(table, [("one", "queued", OLD), ("one", "completed", OLD), ("two", "queued", OLD)])
    store = table.open(MAPPING)
    actions = cancels(store)
    assert set(store.cancel(actions, NOW)) == {Outcome.DONE}
    assert store.unchanged_since([each for each in actions if each.id == "two"])
    assert table.rows() == [
        ("one", "cancelled", OLD),
        ("one", "completed", OLD),
        ("two", "cancelled", OLD),
    ]
    table.execute("UPDATE requests SET status = 'failed' WHERE status = 'cancelled'")
    assert not store.unchanged_since(actions)


def test_one_refused_row_among_hundreds_stops_no_other(table: Table) -> None:
    table.execute(
        "CREATE TABLE requests (request_id TEXT PRIMARY KEY, status TEXT, created_at TEXT, "
        "CHECK (request_id NOT IN ('r7', 'r8', 'r299') OR status <> 'cancelled'))"
    )
    insert(table, [(f"r{number}", "queued", OLD) for number in range(300)])
    store = table.open(MAPPING)
    actions = cancels(store)
    outcomes = {
        each.id: what for each, what in zip(actions, store.cancel(actions, NOW), strict=True)
    }
    refused = {name for name, outcome in outcomes.items() if outcome is Outcome.FAILED}
    assert refused == {"r7", "r8", "r299"}
    assert set(outcomes.values()) == {Outcome.DONE, Outcome.FAILED}
    assert {each[0] for each in table.rows() if each[1] == "queued"} == refused
    assert {each.subject for each in store.problems} == refused
    store.close()


def test_a_row_that_the_database_refuses_does_not_stop_the_others(table: Table) -> None:
    table.execute(
        "CREATE TABLE requests (request_id TEXT, status TEXT, created_at TEXT, "
        "CHECK (request_id <> 'refused' OR status <> 'cancelled'))"
    )
    names = ["first", "refused", "last"]
    insert(table, [(name, "queued", OLD) for name in names])
    store = table.open(MAPPING)
    actions = sorted(cancels(store), key=lambda each: names.index(str(each.id)))
    expected = [Outcome.DONE, Outcome.FAILED, Outcome.DONE]
    assert list(store.cancel(actions, NOW)) == expected
    assert by_id(table) == {
        "first": ("first", "cancelled", OLD),
        "refused": ("refused", "queued", OLD),
        "last": ("last", "cancelled", OLD),
    }
    (problem,) = store.problems
    assert (problem.code, problem.subject) == ("row_refused", "refused")
    assert "\n" not in problem.message
    store.close()


def test_what_cannot_be_judged_is_left_alone_and_told(table: Table) -> None:
    table.execute(SERVICE_TABLE)
    insert(
        table,
        [
            row("null", created=None),
            row("garbage", created="a while ago"),
            row("date", created="2026-11-01"),
            row("week", created="2026-W44-1"),
            row("future", created="2027-11-01T00:00:00"),
            row("paused", "paused"),
            row("old"),
        ],
    )
    before = by_id(table)
    store = table.open(MAPPING)
    planned = plan(store)
    actions = cancels(store)
    assert [each.id for each in actions] == ["old"]
    assert planned.totals.by_status == {"queued": 6, "paused": 1}
    told = {each.subject: (each.code, each.severity) for each in planned.problems}
    assert told == {
        "null": ("unreadable_time", Severity.PROBLEM),
        "garbage": ("unreadable_time", Severity.PROBLEM),
        "date": ("unreadable_time", Severity.PROBLEM),
        "week": ("unreadable_time", Severity.PROBLEM),
        "future": ("created_in_future", Severity.PROBLEM),
        "paused": ("unknown_status", Severity.WARNING),
    }
    store.cancel(actions, NOW)
    after = by_id(table)
    assert {name for name in before if before[name] != after[name]} == {"old"}
    store.close()


def test_an_unreadable_heartbeat_is_not_a_missing_one(table: Table) -> None:
    table.execute("CREATE TABLE requests (id TEXT, status TEXT, created_at TEXT, beat TEXT)")
    insert(table, [("a", "generating", OLD, "alive"), ("b", "generating", OLD, None)])
    store = table.open(
        RequestMapping(columns=Columns(id="id", heartbeat_at="beat"), timezone="UTC")
    )
    assert [each.id for each in cancels(store, RequestPolicy(heartbeat_timeout=600))] == ["b"]


def test_integer_statuses_and_unix_times(table: Table) -> None:
    """Several values mean one state; other states' rows and a zero time stay."""
    table.execute("CREATE TABLE jobs (job_id BIGINT, state BIGINT, made BIGINT, ended BIGINT)")
    now = int(NOW)
    rows = [
        (1, 0, now - 3601, None),
        (2, 1, now - 7200, None),
        (3, 2, now - 3601, None),
        (4, 0, now - 3600, None),
        (5, 3, now - 9000, now - 8000),
        (6, 4, now - 9000, now - 8000),
        (7, 9, now - 9000, None),
        (8, 0, 0, None),
    ]
    insert(table, rows, "jobs")
    mapping = RequestMapping(
        table="jobs",
        columns=Columns(id="job_id", status="state", created_at="made", completed_at="ended"),
        statuses=Statuses(
            queued=(0, 1), generating=(2,), completed=(3,), failed=(4,), cancelled=(5, 6)
        ),
    )
    store = table.open(mapping)
    actions = cancels(store)
    assert sorted(each.id for each in actions if isinstance(each.id, int)) == [1, 2, 3]
    assert set(store.cancel(actions, NOW + 0.75)) == {Outcome.DONE}
    cancelled = [(number, 5, made, now) for number, _, made, _ in rows[:3]]
    assert table.rows("jobs") == cancelled + rows[3:]
    assert store.survey().by_status() == {
        "queued": 2,
        "cancelled": 3,
        "completed": 1,
        "failed": 1,
        "9": 1,
    }
    store.close()


def test_utc_text_and_a_heartbeat(table: Table) -> None:
    """A generating row is judged by its heartbeat, a waiting one by its age."""
    table.execute(
        "CREATE TABLE tasks (id TEXT, state TEXT, created TEXT, beat TEXT, done TEXT, note TEXT)"
    )

    def utc(minutes: int) -> str:
        return f"{SAMPLE_NOW - timedelta(minutes=minutes):%Y-%m-%dT%H:%M:%SZ}"

    rows = [
        ("alive", "working", utc(600), utc(1), None, None),
        ("silent", "working", utc(30), utc(11), None, None),
        ("exactly", "working", utc(600), utc(10), None, None),
        ("never beat", "working", utc(61), None, None, None),
        ("just began", "working", utc(5), None, None, None),
        ("waits", "waiting", utc(61), utc(1), None, "seen"),
        ("ended", "done", utc(600), utc(500), utc(500), None),
    ]
    insert(table, rows, "tasks")
    mapping = RequestMapping(
        table="tasks",
        columns=Columns(
            id="id",
            status="state",
            created_at="created",
            heartbeat_at="beat",
            completed_at="done",
            error="note",
        ),
        statuses=Statuses(
            queued=("waiting",),
            generating=("working",),
            completed=("done",),
            cancelled=("stopped",),
        ),
        timezone="Asia/Tokyo",
        error_text="abandoned",
    )
    store = table.open(mapping)
    actions = cancels(store, RequestPolicy(heartbeat_timeout=600))
    gone = {"silent", "never beat", "waits"}
    assert {each.id for each in actions} == gone
    assert set(store.cancel(actions, NOW)) == {Outcome.DONE}
    end = "2026-11-23T12:00:00Z"
    expected = {
        each[0]: (each[0], "stopped", each[2], each[3], end, "abandoned")
        if each[0] in gone
        else each
        for each in rows
    }
    assert by_id(table, "tasks") == expected
    store.close()


def test_naive_times_beside_times_with_an_offset(table: Table) -> None:
    """Each by its own form: in the zone that is set, with ``T`` or a space, UTC, elsewhere."""
    table.execute(SERVICE_TABLE)
    hour_ago, over = "11:00:00", "10:59:59"
    times = {
        "naive at": f"2026-11-23T12{hour_ago[2:]}",
        "naive over": f"2026-11-23T{int(over[:2]) + 1}{over[2:]}",
        "Z at": f"2026-11-23T{hour_ago}Z",
        "Z over": f"2026-11-23T{over}Z",
        "Tokyo at": "2026-11-23T20:00:00+09:00",
        "Tokyo over": "2026-11-23T19:59:59.999999+09:00",
        "New York at": "2026-11-23T06:00:00-05:00",
        "New York over": "2026-11-23T05:59:59-05:00",
        "space at": f"2026-11-23 12{hour_ago[2:]}",
        "space over": f"2026-11-23 {int(over[:2]) + 1}{over[2:]}",
    }
    insert(table, [row(name, created=text) for name, text in times.items()])
    store = table.open(RequestMapping(timezone="Europe/Berlin"))
    assert {each.id for each in cancels(store)} == {name for name in times if "over" in name}


def test_a_mixture_that_cannot_be_told_apart_is_refused(table: Table) -> None:
    """And goes when the operator says what the column holds."""
    times = ["1795430000", "2026-11-23T09:00:00"]
    table.execute(SERVICE_TABLE)
    insert(table, [row(text, created=text) for text in times])
    with pytest.raises(TargetError, match="numbers and texts") as refusal:
        cancels(table.open(RequestMapping(timezone="Europe/Berlin")))
    assert refusal.value.code == "mixed_times"
    assert "requests.time_format" in str(refusal.value)
    store = table.open(RequestMapping(timezone="Europe/Berlin", time_format="iso"))
    assert {each.id for each in cancels(store)} == {text for text in times if ":" in text}


@pytest.mark.parametrize(
    ("columns", "named"),
    [
        (Columns(id="requestid"), "requestid, did you mean request_id"),
        (Columns(created_at="when"), "requests.columns.created_at"),
        (Columns(heartbeat_at="updated_at"), "requests.columns.heartbeat_at"),
    ],
)
def test_an_unknown_column_is_refused_and_the_known_ones_listed(
    table: Table, columns: Columns, named: str
) -> None:
    table.execute(SERVICE_TABLE)
    with pytest.raises(TargetError, match=named) as refusal:
        table.open(RequestMapping(columns=columns)).survey()
    assert refusal.value.code == "no_such_column"
    assert "request_id, variant_id, status" in str(refusal.value)


def test_an_unknown_table_is_refused_and_the_known_ones_listed(table: Table) -> None:
    table.execute(SERVICE_TABLE)
    with pytest.raises(TargetError, match=r"did you mean requests\?") as refusal:
        table.open(RequestMapping(table="request")).survey()
    assert refusal.value.code == "no_such_table"


def test_a_view_is_refused(table: Table) -> None:
    table.execute(SERVICE_TABLE)
    table.execute("CREATE VIEW waiting AS SELECT * FROM requests")
    with pytest.raises(TargetError, match="waiting is a view") as refusal:
        table.open(RequestMapping(table="waiting")).survey()
    assert refusal.value.code == "not_a_table"


def test_names_are_quoted(table: Table) -> None:
    """A table and columns named like SQL, with spaces and quotation marks."""
    table.execute('CREATE TABLE "order ""x""" ("select" TEXT, "drop table" TEXT, "a""b" TEXT)')
    insert(table, [("one", "queued", OLD)], 'order ""x""')
    mapping = RequestMapping(
        table='order "x"',
        columns=Columns(id="select", status="drop table", created_at='a"b'),
        timezone="UTC",
    )
    store = table.open(mapping)
    assert list(store.cancel(cancels(store), NOW)) == [Outcome.DONE]
    assert table.rows('order ""x""') == [("one", "cancelled", OLD)]
    store.close()


def test_an_empty_table_has_nothing_to_do(table: Table) -> None:
    table.execute(SERVICE_TABLE)
    store = table.open(MAPPING)
    planned = plan(store, RequestPolicy(delete_finished_after=1.0))
    assert (len(planned.actions), planned.totals.by_status, list(planned.problems)) == (0, {}, [])
    assert list(store.cancel([], NOW)) == []


def test_a_batch_is_never_longer_than_promised(table: Table) -> None:
    table.execute(SERVICE_TABLE)
    insert(table, [row(f"r{number}") for number in range(BATCH + 1)])
    store = table.open(MAPPING)
    with pytest.raises(ValueError, match="at most"):
        store.cancel(cancels(store), NOW)
    assert {found[2] for found in table.rows()} == {"queued"}


def test_hostile_ids_are_values_and_nothing_else(table: Table) -> None:
    table.execute(SERVICE_TABLE)
    names = [
        "'; DROP TABLE requests; --",
        "line\nbreak",
        "\x1b[31m",
        "\u202eabc",
        '"',
        "日本語",
        "",
    ]
    insert(table, [row(name) for name in names] + [row("other", "completed")])
    store = table.open(MAPPING)
    assert set(store.cancel(cancels(store), NOW)) == {Outcome.DONE}
    status = {found[0]: found[2] for found in table.rows()}
    assert status == dict.fromkeys(names, "cancelled") | {"other": "completed"}
    store.close()


def test_no_completed_row_is_overwritten_in_a_race(table: Table) -> None:
    """A worker completes rows one by one, from the other end, while they are being cancelled."""
    table.execute(SERVICE_TABLE)
    names = [f"r{number:04}" for number in range(600)]
    insert(table, [row(name, "generating") for name in names])
    store = table.open(MAPPING)
    actions = cancels(store)
    won: set[str] = set()
    begun, met = threading.Event(), threading.Event()

    def work() -> None:
        statement = "UPDATE requests SET status = 'completed', error = 'worker' "
        for name in reversed(names):
            if met.is_set():
                break
            before = by_id(table)[name][2]
            table.execute(f"{statement} WHERE request_id = ? AND status = 'generating'", (name,))
            if before == "generating" and by_id(table)[name][2] == "completed":
                won.add(name)
            if len(won) == 5:
                begun.set()

    worker = threading.Thread(target=work)
    worker.start()
    assert begun.wait(60)
    outcomes: dict[object, Outcome] = {}
    for start in range(0, len(actions), 20):
        batch = actions[start : start + 20]
        outcomes |= {
            each.id: what for each, what in zip(batch, store.cancel(batch, NOW), strict=True)
        }
    met.set()
    worker.join()
    after = by_id(table)
    assert {name for name, what in outcomes.items() if what is Outcome.SKIPPED} == won
    assert 5 <= len(won) < len(names)
    for name, what in outcomes.items():
        cancelled = after[name][2] == RequestStatus.CANCELLED
        assert cancelled == (what is Outcome.DONE)
        assert cancelled == (after[name][6] is None)
    store.close()


def test_the_store_has_no_clock_or_lock_of_its_own_unless_shared(table: Table) -> None:
    table.execute(SERVICE_TABLE)
    store = table.open(MAPPING)
    with store.locked():
        assert store.survey().by_status() == {}
    clock = store.now()
    assert clock is None or abs(clock - datetime.now(UTC).timestamp()) < 3600
    store.close()
    store.close()
