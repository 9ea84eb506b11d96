"""What only PostgreSQL has: its types, its rights, workers' locks, and a server that goes away."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from narration_cleanup.apply.apply import apply_requests
from narration_cleanup.core.errors import BusyError, CleanupError, ConfigError, TargetError
from narration_cleanup.core.model import NoProgress
from narration_cleanup.core.signals import Stop
from narration_cleanup.plan import RequestPolicy, plan_requests
from narration_cleanup.plan.actions import (
    Action,
    Kind,
    Outcome,
)
from narration_cleanup.stores.requests import open_requests
from narration_cleanup.stores.requests.mapping import Columns, RequestMapping, Statuses
from narration_cleanup.stores.requests.postgres import session
from narration_cleanup.stores.requests.store import RequestStore
from tests.postgres_server import PASSWORD, Server, running
from tests.proxy import Do, Proxy
from tests.samples import make_cache, make_sample, read_index
from tests.stores.contract.tables import SERVICE_TABLE, PostgresTable, insert

pytestmark = pytest.mark.postgres

ROOT = Path(__file__).resolve().parents[3]
MAPPING = RequestMapping(timezone="UTC")
LONG_AGO = "2020-01-01T00:00:00"
ROW_OLD = "INSERT INTO requests VALUES (?, 'v', 'queued', '2020-01-01T00:00:00', NULL, NULL, NULL)"


@pytest.fixture
def table(server: Server) -> Iterator[PostgresTable]:
    made = PostgresTable(server.url_of(server.new_database()))
    yield made
    made.close()


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server that a test may kill."""
    with running() as started:
        yield started


def service_table(table: PostgresTable, count: int) -> None:
    table.execute(SERVICE_TABLE)
    table.execute(ROW_OLD, *((f"r{number:04}",) for number in range(count)))


def abandoned(store: RequestStore) -> list[Action]:
    plan = plan_requests(store.survey(), RequestPolicy(), store.now() or time.time())
    return [action for action in plan.actions if action.kind is Kind.CANCEL_REQUEST]


def cancel(store: RequestStore, actions: Sequence[Action]) -> list[Outcome]:
    at = store.now() or 0.0
    outcomes: list[Outcome] = []
    for start in range(0, len(actions), store.batch_size):
        outcomes += store.cancel(actions[start : start + store.batch_size], at)
    return outcomes


def command(
    url: str, *arguments: str, state: Path, launcher: Sequence[str] = ("-m", "narration_cleanup")
) -> list[str]:
    return [sys.executable, *launcher, *arguments]


def environment(url: str, state: Path, **more: str) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
        "NARRATION_REQUESTS_DB": url,
        "NARRATION_CLEANUP_STATE_DIR": str(state),
        "TZ": "UTC",
        **more,
    }


def start(url: str, state: Path, *arguments: str, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "narration_cleanup", *arguments],
        env=environment(url, state, **more),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(url: str, state: Path, *arguments: str, **more: str) -> tuple[int, str, str]:
    process = start(url, state, *arguments, **more)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def statuses(table: PostgresTable) -> dict[object, int]:
    counted: dict[object, int] = {}
    for row in table.rows():
        counted[row[2]] = counted.get(row[2], 0) + 1
    return counted


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("waited in vain")


def ask(url: str, question: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(question.encode()).fetchall()


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_columns_with_types(table: PostgresTable, zone: str) -> None:
    """uuid, an enum, timestamptz and timestamp: the right rows, and times in their own type."""
    table.execute("CREATE SCHEMA tts")
    table.execute("CREATE TYPE tts.state AS ENUM ('waiting', 'working', 'done', 'stopped')")
    table.execute(
        "CREATE TABLE tts.jobs (job uuid PRIMARY KEY, state tts.state NOT NULL, "
        "made timestamptz NOT NULL, began timestamp, ended timestamptz, beat timestamp, "
        "note varchar(9))"
    )
    ids = {
        name: uuid.uuid5(uuid.NAMESPACE_DNS, name) for name in ("old", "young", "beats", "silent")
    }
    rows = [
        ("old", "waiting", "clock_timestamp() - interval '61 min'", "NULL"),
        ("young", "waiting", "clock_timestamp() - interval '59 min'", "NULL"),
        ("beats", "working", "clock_timestamp() - interval '9 h'", "interval '9 min'"),
        ("silent", "working", "clock_timestamp() - interval '20 min'", "interval '11 min'"),
    ]
    for name, state, made, beat in rows:
        silent = f"(clock_timestamp() - {beat}) AT TIME ZONE '{zone}'" if beat != "NULL" else beat
        table.execute(
            f"INSERT INTO tts.jobs VALUES ('{ids[name]}', '{state}', {made}, NULL, NULL, {silent})"
        )
    mapping = RequestMapping(
        table="tts.jobs",
        columns=Columns(
            id="job",
            status="state",
            created_at="made",
            started_at="began",
            completed_at="ended",
            heartbeat_at="beat",
            error="note",
        ),
        statuses=Statuses(
            queued=("waiting",),
            generating=("working", "no such label"),
            completed=("done",),
            cancelled=("stopped",),
        ),
        timezone=zone,
        time_format="unix",  # of no concern to columns with a type
        error_text="abandoned",
    )
    store = table.open(mapping)
    survey = store.survey()
    now = store.now()
    assert now is not None
    plan = plan_requests(survey, RequestPolicy(heartbeat_timeout=600), now)
    assert list(plan.problems) == []
    assert plan.totals.by_status == {"queued": 2, "generating": 2}
    actions = [action for action in plan.actions if action.kind is Kind.CANCEL_REQUEST]
    assert {action.id for action in actions} == {str(ids["old"]), str(ids["silent"])}
    assert set(store.cancel(actions, now)) == {Outcome.DONE}
    found = {
        row[0]: row[1:]
        for row in ask(table.url, "SELECT job, state::text, ended, note FROM tts.jobs")
    }
    ended = datetime.fromtimestamp(now, UTC)
    for name in ("old", "silent"):
        state, end, note = found[ids[name]]
        assert (state, note) == ("stopped", "abandoned")
        assert abs(end - ended) < timedelta(milliseconds=1)
    assert found[ids["young"]] == ("waiting", None, None)
    assert found[ids["beats"]] == ("working", None, None)


def test_a_naive_end_is_written_in_the_services_zone(table: PostgresTable) -> None:
    table.execute(
        "CREATE TABLE requests (request_id bigint, status text, created_at timestamp, "
        "completed_at timestamp)"
    )
    table.execute("INSERT INTO requests VALUES (7, 'queued', '2020-06-01 12:00:00', NULL)")
    store = table.open(RequestMapping(timezone="Europe/Berlin"))
    (action,) = abandoned(store)
    assert action.id == 7
    summer = datetime(2026, 7, 1, 10, 0, 0, 500_000, tzinfo=UTC).timestamp()
    assert list(store.cancel([action], summer)) == [Outcome.DONE]
    ((end,),) = ask(table.url, "SELECT completed_at FROM requests")
    assert end == datetime(2026, 7, 1, 12, 0, 0, 500_000)


def test_infinite_times_are_told_and_left_alone(table: PostgresTable) -> None:
    table.execute("CREATE TABLE requests (request_id text, status text, created_at timestamptz)")
    table.execute("INSERT INTO requests VALUES ('a', 'queued', '-infinity')")
    store = table.open(MAPPING)
    plan = plan_requests(store.survey(), RequestPolicy(), time.time())
    assert len(plan.actions) == 0
    assert [problem.code for problem in plan.problems] == ["unreadable_time"]


def test_partitions_and_twins(table: PostgresTable) -> None:
    """Rows of several partitions with the same place in each, and an id that stands twice."""
    table.execute(
        "CREATE TABLE requests (request_id text, status text, created_at text, region int) "
        "PARTITION BY LIST (region)"
    )
    for region in (1, 2):
        table.execute(
            f"CREATE TABLE requests_{region} PARTITION OF requests FOR VALUES IN ({region})"
        )
    insert(table, [("a", "queued", LONG_AGO, 1), ("b", "completed", LONG_AGO, 2)])
    insert(table, [("twin", "queued", LONG_AGO, 1), ("twin", "completed", LONG_AGO, 2)])
    store = table.open(MAPPING)
    assert cancel(store, abandoned(store)) == [Outcome.DONE] * 2
    assert [row[:2] for row in table.rows()] == [
        ("a", "cancelled"),
        ("b", "completed"),
        ("twin", "cancelled"),
        ("twin", "completed"),
    ]


def test_fifty_rows_held_by_workers_are_left_alone(table: PostgresTable) -> None:
    """Each worker has its row locked while it generates; nobody waits, none is touched."""
    service_table(table, 150)
    store = table.open(MAPPING)
    actions = abandoned(store)
    held = {f"r{number:04}" for number in range(0, 150, 3)}
    assert len(held) == 50
    workers = [psycopg.connect(table.url) for _ in range(50)]
    for worker, name in zip(workers, sorted(held), strict=True):
        worker.execute("SELECT FROM requests WHERE request_id = %s FOR UPDATE", (name,))
    outcomes = dict(zip((action.id for action in actions), cancel(store, actions), strict=True))
    assert {name for name, what in outcomes.items() if what is Outcome.SKIPPED} == held
    after = {row[0]: row[2] for row in table.rows()}
    assert {name for name, status in after.items() if status == "queued"} == held
    assert {name for name, status in after.items() if status == "cancelled"} == set(after) - held
    for worker, name in zip(workers, sorted(held), strict=True):
        worker.execute("UPDATE requests SET status = 'completed' WHERE request_id = %s", (name,))
        worker.commit()
        worker.close()
    assert statuses(table) == {"cancelled": 100, "completed": 50}


def test_what_a_worker_commits_while_its_row_is_waited_for_is_seen(table: PostgresTable) -> None:
    """An update that commits between the look at a row and its lock: the guard is asked again."""
    service_table(table, 40)
    stores = [table.open(MAPPING) for _ in range(2)]
    plans = [abandoned(store) for store in stores]
    outcomes: list[list[Outcome]] = [[], []]

    def work(number: int) -> None:
        for action in plans[number]:
            outcomes[number] += stores[number].cancel([action], time.time())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done = [what is Outcome.DONE for pair in zip(*outcomes, strict=True) for what in pair]
    assert sum(done) == 40  # each row cancelled by exactly one of them
    assert statuses(table) == {"cancelled": 40}


def test_ages_are_those_of_the_servers_clock(table: PostgresTable, tmp_path: Path) -> None:
    """A machine whose own clock stands in 2026-11 judges a row of this moment by the server's."""
    table.execute(
        "CREATE TABLE requests (request_id text, status text, created_at timestamptz, "
        "completed_at timestamptz)"
    )
    for name, age in (("old", 61), ("young", 59)):
        table.execute(
            f"INSERT INTO requests VALUES ('{name}', 'queued', "
            f"clock_timestamp() - interval '{age} min', NULL)"
        )
    for name, decision in (("old", "cancel"), ("young", "keep")):
        asked = ["-m", "tests.run_at", "2001-01-01T00:00:00+00:00", "explain", "--json", name]
        done = subprocess.run(
            [sys.executable, *asked],
            env=environment(table.url, tmp_path),
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")
        (item,) = json.loads(done.stdout)["items"]
        assert item["decision"] == decision
        assert item["detail"].startswith("queued for 1")
    done = subprocess.run(
        [sys.executable, "-m", "tests.run_at", "2001-01-01T00:00:00+00:00", "run", "--json"],
        env=environment(table.url, tmp_path),
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    rows = ask(
        table.url,
        "SELECT request_id, status, abs(extract(epoch FROM clock_timestamp() - completed_at)) < 60 "
        "FROM requests ORDER BY 1",
    )
    assert rows == [("old", "cancelled", True), ("young", "queued", None)]


@pytest.mark.parametrize(
    ("grants", "named"),
    [
        ("SELECT (request_id, status)", "SELECT"),
        ("SELECT", 'GRANT UPDATE ("status", "completed_at") ON public.requests TO cleaner'),
        ("SELECT, UPDATE (status)", 'GRANT UPDATE ("completed_at") ON public.requests TO cleaner'),
        ("SELECT, UPDATE (status, completed_at)", "GRANT DELETE ON public.requests TO cleaner"),
    ],
)
def test_missing_rights_are_found_before_anything_is_done(
    server: Server, table: PostgresTable, tmp_path: Path, grants: str, named: str
) -> None:
    service_table(table, 3)
    role = "cleaner"
    for statement in (f"DROP ROLE IF EXISTS {role}", f"CREATE ROLE {role} LOGIN PASSWORD 'p'"):
        table.execute(statement)
    table.execute(f"GRANT {grants} ON requests TO {role}")
    url = server.url_of(table.url.rpartition("/")[2], role, "p")
    days = {"NARRATION_REQUESTS_DELETE_FINISHED_AFTER_DAYS": "30"}
    code, out, err = run(url, tmp_path, "run", "--json", **days)
    assert code == 1, err
    (problem,) = (each for each in json.loads(out)["problems"] if each["code"] == "no_rights")
    assert named in problem["message"]
    assert statuses(table) == {"queued": 3}
    # To look needs no more than SELECT.
    code, out, err = run(url, tmp_path, "dry-run", "--json", **days)
    assert code == (1 if named == "SELECT" else 0), err
    table.execute(f"DROP OWNED BY {role}")
    table.execute(f"DROP ROLE {role}")


def test_a_role_that_only_reads_by_default_is_no_standby(
    table: PostgresTable, tmp_path: Path
) -> None:
    service_table(table, 3)
    url = f"{table.url}{'&' if '?' in table.url else '?'}options=-c%20"
    url += "default_transaction_read_only%3Don"
    code, out, err = run(url, tmp_path, "run", "--json")
    assert code == 1, err
    (problem,) = json.loads(out)["problems"]
    assert problem["code"] == "database_read_only"
    assert "default_transaction_read_only is on" in problem["message"]
    assert "standby" not in problem["message"]


def test_a_lock_that_cannot_be_had_stops_this_half_alone(
    server: Server, table: PostgresTable, tmp_path: Path
) -> None:
    service_table(table, 3)
    sample = make_sample(tmp_path / "service")
    table.execute("CREATE ROLE keyless LOGIN PASSWORD 'p'")
    table.execute("GRANT SELECT, UPDATE ON requests TO keyless")
    table.execute("REVOKE EXECUTE ON FUNCTION pg_try_advisory_lock(int, int) FROM PUBLIC")
    url = server.url_of(table.url.rpartition("/")[2], "keyless", "p")
    more = {"NARRATION_CACHE_DIR": str(sample.cache.directory)}
    code, out, err = run(url, tmp_path, "run", "--json", **more)
    assert code == 3, err
    assert json.loads(out)["cache"]["removed_count"] > 0
    assert statuses(table) == {"queued": 3}
    table.execute("DROP OWNED BY keyless")
    table.execute("DROP ROLE keyless")


def test_functions_of_other_schemas_are_not_called_and_triggers_find_theirs(
    server: Server, table: PostgresTable, tmp_path: Path
) -> None:
    service_table(table, 3)
    trap = "LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$"
    for statement in (
        "CREATE ROLE lured LOGIN PASSWORD 'p'",
        "ALTER ROLE lured SET search_path = trap, pg_catalog, public, own",
        "GRANT SELECT, UPDATE ON requests TO lured",
        "CREATE SCHEMA trap",
        "GRANT USAGE ON SCHEMA trap TO lured",
        f"CREATE FUNCTION trap.replace(text, text, text) RETURNS text {trap}",
        f"CREATE FUNCTION trap.set_config(text, text, boolean) RETURNS text {trap}",
        f"CREATE FUNCTION trap.pg_try_advisory_lock(int, int) RETURNS boolean {trap}",
        f"CREATE FUNCTION trap.pg_is_in_recovery() RETURNS boolean {trap}",
        f"CREATE FUNCTION trap.clock_timestamp() RETURNS timestamptz {trap}",
        "CREATE SCHEMA own",
        "CREATE TABLE own.log (line text)",
        "CREATE VIEW seen AS SELECT * FROM own.log",
        "GRANT USAGE ON SCHEMA own TO lured",
        "GRANT INSERT ON own.log TO lured",
        "CREATE FUNCTION own.note() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN INSERT INTO log VALUES (NEW.status); RETURN NEW; END $$",
        "CREATE TRIGGER note AFTER UPDATE ON requests FOR EACH ROW EXECUTE FUNCTION own.note()",
    ):
        table.execute(statement)
    url = server.url_of(table.url.rpartition("/")[2], "lured", "p")
    code, _out, err = run(url, tmp_path, "run", "--json")
    assert code == 0, err
    assert statuses(table) == {"cancelled": 3}
    assert table.rows("seen") == [("cancelled",)] * 3
    table.execute("DROP OWNED BY lured")
    table.execute("DROP ROLE lured")


def test_check_warns_of_a_role_that_can_do_more_than_a_run_needs(
    server: Server, table: PostgresTable, tmp_path: Path
) -> None:
    service_table(table, 3)
    table.execute("CREATE ROLE mighty LOGIN CREATEDB PASSWORD 'p'")
    table.execute("GRANT SELECT, UPDATE, TRUNCATE, DELETE ON requests TO mighty")
    name = table.url.rpartition("/")[2]

    def role_warning(url: str, **more: str) -> str | None:
        found = json.loads(run(url, tmp_path, "check", "--json", **more)[1])["checks"]
        return next((each["message"] for each in found if each["check"] == "requests.role"), None)

    more = "the role can do more than a run needs"
    assert role_warning(table.url) == f"{more}: it is a superuser"
    url = server.url_of(name, "mighty", "p")
    able = f"{more}: it may create databases, it may TRUNCATE"
    assert role_warning(url) == f"{able}, it may DELETE"
    assert role_warning(url, NARRATION_REQUESTS_DELETE_FINISHED_AFTER_DAYS="30") == able
    table.execute("ALTER ROLE mighty NOCREATEDB")
    table.execute("REVOKE TRUNCATE, DELETE ON requests FROM mighty")
    assert role_warning(url) is None
    table.execute("DROP OWNED BY mighty")
    table.execute("DROP ROLE mighty")


def test_with_just_the_rights_of_the_documentation_everything_works(
    server: Server, table: PostgresTable, tmp_path: Path
) -> None:
    service_table(table, 3)
    table.execute(
        "INSERT INTO requests VALUES ('x', 'v', 'completed', ?, ?, ?, NULL)", [LONG_AGO] * 3
    )
    table.execute("CREATE ROLE careful LOGIN PASSWORD 'p'")
    table.execute(
        "GRANT SELECT, UPDATE (status, completed_at, error), DELETE ON requests TO careful"
    )
    url = server.url_of(table.url.rpartition("/")[2], "careful", "p")
    more = {
        "NARRATION_REQUESTS_DELETE_FINISHED_AFTER_DAYS": "30",
        "NARRATION_REQUESTS_ERROR_TEXT": "abandoned",
    }
    code, _out, err = run(url, tmp_path, "run", "--json", **more)
    assert code == 0, err
    assert [row[6] for row in table.rows()] == ["abandoned"] * 3
    table.execute("DROP OWNED BY careful")
    table.execute("DROP ROLE careful")


def test_another_roles_functions_are_not_called(
    server: Server, table: PostgresTable, tmp_path: Path
) -> None:
    """A function of the same name whose types match better is preferred, wherever it is."""
    service_table(table, 2)
    table.execute("CREATE ROLE careful LOGIN PASSWORD 'p'")
    table.execute("GRANT SELECT, UPDATE ON requests TO careful")
    bodies = {
        "pg_try_advisory_lock(smallint, smallint)": "bool",
        "pg_try_advisory_lock(int, smallint)": "bool",
        "pg_try_advisory_lock(smallint, int)": "bool",
        "pg_advisory_unlock(smallint, int)": "bool",
        "set_config(text, text, boolean)": "text",
        "has_column_privilege(oid, text, text)": "bool",
        "count(text)": "bigint",
        "to_timestamp(double precision)": "timestamptz",
    }
    for signature, returns in bodies.items():
        table.execute(
            f"CREATE FUNCTION public.{signature} RETURNS {returns} LANGUAGE plpgsql AS "
            "$$BEGIN RAISE EXCEPTION 'shadowed'; END$$"
        )
    table.execute("ALTER ROLE careful SET search_path = public, pg_catalog")
    url = server.url_of(table.url.rpartition("/")[2], "careful", "p")
    try:
        code, out, err = run(url, tmp_path, "run", "--json")
        assert code == 0, err + out
        assert statuses(table) == {"cancelled": 2}
        code, out, _ = run(url, tmp_path, "check", "--json")
        assert "requests.role" not in out
        _, out, _ = run(table.url, tmp_path, "check", "--json")
        assert '"requests.role"' in out
        assert "superuser" in out
    finally:
        table.execute("DROP OWNED BY careful")
        table.execute("DROP ROLE careful")


def test_the_password_is_found_and_shown_nowhere(
    server: Server, table: PostgresTable, tmp_path: Path
) -> None:
    """In the URL, in PGPASSFILE, or in a credential; the right one and a wrong one."""
    service_table(table, 1)
    name = table.url.rpartition("/")[2]
    bare = f"postgresql://postgres@127.0.0.1:{server.port}/{name}"
    passfile = tmp_path / "pgpass"
    passfile.write_text(f"127.0.0.1:{server.port}:*:postgres:{PASSWORD}\n")
    passfile.chmod(0o600)
    whole = tmp_path / "whole"
    whole.mkdir()
    (whole / "requests.db").write_text(table.url)
    wrong = bare.replace("postgres@", "postgres:wrong%2Fword%40canary@")
    for url, variables, expected in (
        (table.url, {}, 0),
        (bare, {"PGPASSFILE": str(passfile)}, 0),
        (bare, {"CREDENTIALS_DIRECTORY": str(tmp_path)}, 0),
        (bare, {}, 1),
        (wrong, {}, 1),
        (bare.replace("postgres@", "postgres:wrong/word@canary@"), {}, 78),
        (bare.replace("postgres@", "postgres:wrong/word_canary@"), {}, 78),
    ):
        for arguments in (["run", "-v"], ["dry-run", "--json"], ["config", "show"]):
            code, out, err = run(url, tmp_path / "state", *arguments, **variables)
            if arguments[0] != "config":
                assert (code, bool(code)) == (expected, bool(expected)), out + err
            assert "canary" not in out + err
    kept = [path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert kept
    assert not any(b"canary" in content for content in kept)


def test_of_two_hosts_runs_one_works_and_one_exits_75(table: PostgresTable, tmp_path: Path) -> None:
    service_table(table, 5)
    with psycopg.connect(table.url) as holder:
        holder.execute("LOCK TABLE requests IN ACCESS EXCLUSIVE MODE")  # the first run waits here
        first = start(table.url, tmp_path / "one", "run")
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
        wait_for(lambda: ask(table.url, waiting) == [(1,)])
        code, _, err = run(table.url, tmp_path / "two", "run")
        assert code == 75, err
        assert "another run" in err
        holder.rollback()
    _out, err = first.communicate(timeout=60)
    assert first.returncode == 0, err
    assert statuses(table) == {"cancelled": 5}


def test_the_lock_goes_with_the_run_that_held_it(table: PostgresTable) -> None:
    service_table(table, 1)
    first, second = table.open(MAPPING), table.open(MAPPING)
    with first.locked(), pytest.raises(BusyError), second.locked():
        pass
    with second.locked():
        pass
    first.survey()
    with second.locked():
        second.close()  # as if it died
        with first.locked():
            pass


def test_a_dropped_connection_is_made_anew(table: PostgresTable) -> None:
    service_table(table, 250)
    store = table.open(MAPPING)
    with store.locked():
        actions = abandoned(store)
        outcomes: list[Outcome] = []
        for start_ in range(0, len(actions), store.batch_size):
            table.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'narration-cleanup'"
            )
            outcomes += store.cancel(actions[start_ : start_ + store.batch_size], time.time())
        assert outcomes == [Outcome.DONE] * 250
        with pytest.raises(BusyError), table.open(MAPPING).locked():
            pass  # the lock was taken again
    assert statuses(table) == {"cancelled": 250}


def test_a_commit_whose_answer_is_lost_still_counts(server: Server, table: PostgresTable) -> None:
    """The connection is cut after the server has the batch: done once, and told as done."""
    service_table(table, 30)
    cut: list[bool] = []

    def watch(data: bytes) -> Do:
        if b"SKIP LOCKED" in data and not cut:
            cut.append(True)
            return Do.DEAF
        return Do.PASS

    proxy = Proxy(server.port, watch)
    url = table.url.replace(f":{server.port}/", f":{proxy.port}/") + "?sslmode=disable"
    store = open_requests(url, MAPPING)
    try:
        actions = abandoned(store)
        assert cancel(store, actions) == [Outcome.DONE] * 30
        assert cut
    finally:
        store.close()
        proxy.close()
    assert statuses(table) == {"cancelled": 30}


def test_a_run_whose_lock_is_gone_stops(table: PostgresTable) -> None:
    service_table(table, 150)
    store, other = table.open(MAPPING), table.open(MAPPING)
    with store.locked():
        actions = abandoned(store)
        first = store.cancel(actions[: store.batch_size], time.time())
        assert set(first) == {Outcome.DONE}
        table.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'narration-cleanup'"
        )
        with other.locked(), pytest.raises(TargetError) as stopped:
            store.cancel(actions[store.batch_size :], time.time())
        assert stopped.value.code == "lock_lost"
    assert statuses(table) == {"cancelled": 100, "queued": 50}


def test_a_server_that_is_killed_in_the_middle(own_server: Server, tmp_path: Path) -> None:
    """What was committed stays and is told; the cache is cleaned; the next run does the rest."""
    table = PostgresTable(own_server.url_of(own_server.new_database()))
    service_table(table, 250)
    # The second batch stands still, so that the server can be killed in it.
    table.execute(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN IF NEW.request_id = ''r0120'' THEN PERFORM pg_sleep(60); END IF; RETURN NEW; END'"
    )
    table.execute(
        "CREATE TRIGGER slow BEFORE UPDATE ON requests FOR EACH ROW EXECUTE FUNCTION slow()"
    )
    cache = make_cache(tmp_path / "cache" / "narration")
    more = {"NARRATION_CACHE_DIR": str(cache.directory)}
    process = start(table.url, tmp_path / "state", "run", "--json", **more)
    sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    wait_for(lambda: ask(table.url, sleeping) == [(1,)])
    own_server.kill()
    out, err = process.communicate(timeout=120)
    told = json.loads(out)
    assert process.returncode == 3, err
    assert told["outcome"] == "partial"
    assert told["requests"]["cancelled_count"] == 100
    codes = {problem["code"] for problem in told["problems"]}
    assert "database_unreachable" in codes
    assert PASSWORD not in out + err
    assert len(read_index(cache.index)) == told["cache"]["kept_count"]
    own_server.start()
    assert statuses(table) == {"cancelled": 100, "queued": 150}
    table.execute("DROP TRIGGER slow ON requests")
    code, out, err = run(table.url, tmp_path / "state", "run", "--json", **more)
    assert code == 0, err
    assert json.loads(out)["requests"]["cancelled_count"] == 150
    assert statuses(table) == {"cancelled": 250}


@pytest.mark.parametrize("refused", [0, 1])
def test_a_signal_ends_a_statement_that_the_server_is_at(
    table: PostgresTable, tmp_path: Path, refused: int
) -> None:
    """A trigger that sleeps would hold the run for two minutes, which is longer than a stop of
    systemd's waits for it. What is not done therefore has not failed."""
    service_table(table, 3)
    word = ("", "r0000")[refused]
    table.execute(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN "
        f"IF NEW.request_id = ''{word}'' THEN RAISE ''no''; END IF; "
        f"IF NEW.request_id <> ''{word}'' THEN PERFORM pg_sleep(100); END IF; RETURN NEW; END'"
    )
    table.execute(
        "CREATE TRIGGER slow BEFORE UPDATE ON requests FOR EACH ROW EXECUTE FUNCTION slow()"
    )
    process = start(table.url, tmp_path / "state", "run", "--json")
    sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    wait_for(lambda: ask(table.url, sleeping) == [(1,)])
    process.terminate()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 143, err
    told = json.loads(out)
    assert told["outcome"] == "interrupted"
    assert told["requests"]["failed_count"] == refused
    assert told["requests"]["skipped_count"] == 3 - refused
    assert {each["code"] for each in told["problems"]} == {"stopped", *["row_refused"] * refused}
    assert statuses(table) == {"queued": 3}


def test_a_server_that_is_not_there_stops_this_half_alone(tmp_path: Path) -> None:
    cache = make_cache(tmp_path / "cache" / "narration")
    code, out, err = run(
        "postgresql://nobody@127.0.0.1:1/none",
        tmp_path / "state",
        "run",
        "--json",
        NARRATION_CACHE_DIR=str(cache.directory),
    )
    assert code == 3, err
    told = json.loads(out)
    assert told["requests"] is None
    assert told["cache"]["removed_count"] > 0
    (problem,) = (each for each in told["problems"] if each["half"] == "requests")
    assert problem["code"] == "database_unreachable"
    assert "127.0.0.1:1" in problem["message"]


def test_a_table_that_stays_locked_is_waited_for_and_then_told(
    table: PostgresTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    from narration_cleanup.stores.requests.postgres import session

    monkeypatch.setitem(session._SETTINGS, "lock_timeout", "50ms")
    service_table(table, 1)
    store = table.open(MAPPING)
    actions = abandoned(store)
    with psycopg.connect(table.url) as holder:
        holder.execute("LOCK TABLE requests IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(TargetError) as told:
            store.cancel(actions, time.time())
        holder.rollback()
    assert told.value.code == "database_locked"
    assert cancel(store, actions) == [Outcome.DONE]


def test_a_failed_batch_stops_the_rest_and_says_so(own_server: Server) -> None:
    """Between two batches the server goes away: what is done is done, the rest is failed."""
    table = PostgresTable(own_server.url_of(own_server.new_database()))
    service_table(table, 250)
    store = table.open(MAPPING)
    plan = plan_requests(store.survey(), RequestPolicy(), time.time())

    class KillAfterFirst(NoProgress):
        def advance(self, count: int = 1) -> None:
            own_server.kill()

    result = apply_requests(plan, store, time.time(), Stop(), KillAfterFirst())
    assert result.outcomes.count(Outcome.DONE) == 100
    assert result.outcomes.count(Outcome.FAILED) == 150
    (problem,) = result.problems
    assert problem.code == "database_unreachable"
    store.close()


def test_without_its_library_one_line_says_what_to_install(tmp_path: Path) -> None:
    program = "import sys; sys.modules['psycopg'] = None\nimport runpy\nsys.argv[1:] = ['run']\n"
    program += "runpy.run_module('narration_cleanup', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment("postgresql://host/name", tmp_path),
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 78
    assert "pip install 'narration-cleanup[postgres]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "url", ["postgresql://u:p@ss@host/db", "postgresql://host:port/db", "postgresql://host/%zz"]
)
def test_a_url_with_a_slip_is_a_fault_of_the_configuration(url: str) -> None:
    with pytest.raises(ConfigError) as fault:
        open_requests(url, MAPPING)
    assert "ss@host" not in str(fault.value)
    assert isinstance(fault.value, CleanupError)


def test_another_roles_operators_are_not_called(
    server: Server, table: PostgresTable, tmp_path: Path
) -> None:
    """One whose types are exactly those of its operands is preferred, wherever it is."""
    service_table(table, 2)
    table.execute("ALTER TABLE requests ALTER request_id TYPE varchar, ALTER status TYPE varchar")
    table.execute("ALTER TABLE requests ADD CHECK (status IN ('queued', 'cancelled'))")
    table.execute("CREATE ROLE careful LOGIN PASSWORD 'p'")
    table.execute("GRANT SELECT, UPDATE ON requests TO careful")
    traps = {
        ("=", "varchar", "varchar"): "boolean",
        ("<>", "varchar", "varchar"): "boolean",
        ("=", "int2[]", "int2[]"): "boolean",
        ("=", "oid", "int4"): "boolean",
        ("||", "text[]", "text[]"): "text[]",
        ("||", "text[]", "text"): "text[]",
    }
    for number, ((operator, left, right), answer) in enumerate(traps.items()):
        name = f"public.trap{number}"
        table.execute(
            f"CREATE FUNCTION {name}({left}, {right}) RETURNS {answer} LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION 'trapped {operator} {left}'; END $$"
        )
        sides = f"LEFTARG = {left}, RIGHTARG = {right}"
        table.execute(f"CREATE OPERATOR public.{operator} (FUNCTION = {name}, {sides})")
    with pytest.raises(psycopg.Error, match="trapped"):
        table.execute("SELECT 'a'::varchar = 'a'::varchar")
    url = server.url_of(table.url.rpartition("/")[2], "careful", "p")
    for command in ("dry-run", "run", "run"):
        code, _out, err = run(url, tmp_path, command, "--json")
        assert code == 0, err
    assert statuses(table) == {"cancelled": 2}
    table.execute("DROP OWNED BY careful")
    table.execute("DROP ROLE careful")


def test_a_password_file_that_libpq_ignores_is_reported_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    passwords = tmp_path / "pgpass"
    passwords.write_text("*:*:*:*:secret\n")
    passwords.chmod(0o644)
    monkeypatch.setenv("PGPASSFILE", str(passwords))
    monkeypatch.setattr(session, "RETRY_FOR", 0.5)
    with socket.socket() as closed:  # bound, and not listening: refused
        closed.bind(("127.0.0.1", 0))
        asked = session.Session(f"postgresql://u@127.0.0.1:{closed.getsockname()[1]}/x")
        with pytest.raises(TargetError, match="refused"):
            asked.do(lambda connection: connection.closed)
        assert capfd.readouterr().err.count("has group or world access") == 1
        passwords.chmod(0o600)  # which is used at each connection
        asked = session.Session(f"postgresql://u@127.0.0.1:{closed.getsockname()[1]}/x")
        with pytest.raises(TargetError, match="refused"):
            asked.do(lambda connection: connection.closed)
    assert asked._parameters.get("passfile") is None


@pytest.mark.parametrize(
    ("kind", "text", "fits"),
    [
        ("text", "abandoned", True),
        ("jsonb", '{"why": "abandoned"}', True),
        ("jsonb", "abandoned", False),
        ("text[]", "{abandoned}", True),
        ("text[]", "abandoned", False),
        ("jsonb[]", '{"why": 1}', False),
    ],
)
def test_an_error_text_that_is_no_value_of_its_column_is_found_before_a_run(
    table: PostgresTable, kind: str, text: str, fits: bool
) -> None:
    table.execute(
        "CREATE TABLE requests (request_id text PRIMARY KEY, status text, created_at text, "
        f"completed_at text, error {kind})"
    )
    table.execute(f"INSERT INTO requests VALUES ('old', 'queued', '{LONG_AGO}')")
    store = open_requests(
        table.url, RequestMapping(columns=Columns(error="error"), error_text=text)
    )
    try:
        if fits:
            plan = plan_requests(store.survey(), RequestPolicy(), time.time())
            result = apply_requests(plan, store, time.time(), Stop(), NoProgress())
            assert [outcome for _, outcome, _ in result.outcomes] == [Outcome.DONE]
        else:
            with pytest.raises(TargetError, match="set requests") as told:
                store.survey()
            assert told.value.code == "unsuitable_column"
            assert ask(table.url, "SELECT status FROM requests") == [("queued",)]
    finally:
        store.close()
