"""`config init --requests-db` on a real PostgreSQL server."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

import narration_cleanup
from narration_cleanup.check.proposal import propose
from narration_cleanup.cli.config import for_places, for_program
from narration_cleanup.core.errors import ConfigError
from tests.postgres_server import PASSWORD, Server, running
from tests.queues import SHARED

pytestmark = pytest.mark.postgres

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as started:
        yield started


@pytest.fixture
def url(server: Server) -> str:
    return server.url_of(server.new_database())


def execute(url: str, *statements: str) -> None:
    with psycopg.connect(url) as connection:
        for statement in statements:
            connection.execute(statement, {"old": NOW - timedelta(hours=3), "new": NOW})


def test_a_table_with_an_enum_in_a_schema_of_its_own_is_found(url: str) -> None:
    execute(
        url,
        "CREATE SCHEMA tts",
        "CREATE TYPE state AS ENUM ('pending', 'running', 'done', 'error', 'canceled')",
        "CREATE TABLE tts.jobs (job_id uuid PRIMARY KEY, status state, queued_at timestamptz, "
        "finished_at timestamptz)",
        "CREATE TABLE notes (id int, text text)",
        "INSERT INTO tts.jobs VALUES "
        "('00000000-0000-0000-0000-000000000001', 'pending', %(old)s, NULL), "
        "('00000000-0000-0000-0000-000000000002', 'running', %(new)s, NULL)",
    )
    proposal = propose(None, url, NOW.timestamp())
    found = dict(proposal.settings)
    assert found.pop("requests.db") == url
    assert found == {
        "requests.table": "tts.jobs",
        "requests.columns.id": "job_id",
        "requests.columns.created_at": "queued_at",
        "requests.columns.started_at": "none",
        "requests.columns.completed_at": "finished_at",
        "requests.columns.error": "none",
        "requests.statuses.queued": ["pending"],
        "requests.statuses.generating": ["running"],
        "requests.statuses.completed": ["done"],
        "requests.statuses.failed": ["error"],
        "requests.statuses.cancelled": ["canceled"],
    }
    assert "a run now would cancel 1 request" in proposal.sure
    text, remarks = for_places(None, url)
    assert "%40canary" in url
    assert "canary" not in text + "".join(remarks)
    assert tomllib.loads(text)["requests"]["db"] == url.replace(":pass%2Fword%40canary", "")


def test_a_check_without_a_word_for_cancelled_is_heeded(url: str) -> None:
    execute(
        url,
        "CREATE TABLE jobs (id int PRIMARY KEY, created_at timestamptz, status text "
        "CHECK (status IN ('pending', 'processing', 'completed', 'failed')))",
        "INSERT INTO jobs VALUES (1, %(old)s, 'pending')",
    )
    proposal = propose(None, url, NOW.timestamp())
    assert proposal.settings["requests.statuses.cancelled"] == ["failed"]
    assert "the table allows no word for cancelled: failed is written" in proposal.unsure


@pytest.mark.parametrize(
    ("statements", "why"),
    [
        (["CREATE TABLE notes (id int, text text)"], "has no table with an id"),
        (
            [
                "CREATE TABLE jobs (id int, state text, created_at timestamptz, queue text)",
                "INSERT INTO jobs VALUES (1, 'queued', %(old)s, 'tts'), "
                "(2, 'queued', %(old)s, 'm')",
            ],
            "several queues",
        ),
    ],
)
def test_what_is_no_request_table_is_refused(url: str, statements: list[str], why: str) -> None:
    execute(url, *statements)
    with pytest.raises(ConfigError, match=why) as error:
        propose(None, url, NOW.timestamp())
    assert PASSWORD not in str(error.value)


def test_a_server_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError):
        propose(None, "postgresql://nobody:secret@127.0.0.1:1/none", NOW.timestamp())


@pytest.mark.parametrize("name", SHARED)
def test_only_the_abandoned_jobs_of_the_queue_are_cancelled(
    url: str, tmp_path: Path, name: str
) -> None:
    tables, insert, waiting, at_work, later, _ = SHARED[name]
    kind = ", 'k'" if insert.count(",") == 4 else ""
    rows = [
        ("tts", waiting, "old", "old"),
        ("tts", at_work, "old", "old"),
        ("mail", waiting, "old", "old"),
        ("tts", later, "old", "old"),
        ("tts", waiting, "old", "new"),  # meant for now
        ("tts", waiting, "new", "new"),
    ]
    execute(
        url,
        "SET TIME ZONE 'UTC'",
        *tables,
        *(
            f"INSERT INTO {insert} VALUES ('{queue}', '{state}', %({made})s, %({due})s{kind})"
            for queue, state, made, due in rows
        ),
    )
    with pytest.raises(ConfigError, match=f"config init --for {name} --requests-db"):
        propose(None, url, NOW.timestamp())
    text, remarks = for_program(name, None, url)
    assert any("requests.filter" in remark for remark in remarks)
    settings = tomllib.loads(text)
    settings["cleanup"] = {"state_dir": str(tmp_path / "state")}
    done = narration_cleanup.run(settings)
    assert done["problems"] == []
    assert isinstance(done["requests"], dict)
    assert done["requests"]["cancelled_count"] == 2
    table = insert.partition(" ")[0]
    with psycopg.connect(url) as connection:
        state = settings["requests"]["columns"].get("status", "status")
        query = f"SELECT {state}::text FROM {table} ORDER BY id"
        after = connection.execute(query).fetchall()
    assert [state for (state,) in after] == ["cancelled"] * 2 + [row[1] for row in rows[2:]]
