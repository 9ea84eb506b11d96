"""The tables of known queues: which rows are abandoned, and what is written to them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple

from tests.samples import SAMPLE_NOW

NOW = SAMPLE_NOW.timestamp()


def iso(hours: float, ending: str = "") -> str:
    made = SAMPLE_NOW - timedelta(hours=hours)
    return made.replace(tzinfo=None).isoformat(timespec="seconds") + ending


def agent_tts_table(database: sqlite3.Connection) -> None:
    database.execute(
        "CREATE TABLE tts_queue (id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp INTEGER NOT NULL,"
        " filename TEXT NOT NULL, profile TEXT NOT NULL, original_text TEXT NOT NULL,"
        " filtered_text TEXT NOT NULL,"
        " state TEXT CHECK(state IN ('queued', 'playing', 'played', 'error', 'user')) NOT NULL,"
        " api_response_status INTEGER, api_response_message TEXT, processing_time INTEGER,"
        " created_at INTEGER DEFAULT (strftime('%s', 'now')), is_favorite INTEGER DEFAULT 0,"
        " cwd TEXT, role TEXT CHECK(role IN ('user', 'assistant')))"
    )
    for key, (state, hours) in enumerate(
        [("queued", 3.0), ("playing", 3.0), ("queued", 0.5), ("played", 3.0), ("user", 3.0)]
    ):
        at = int((NOW - hours * 3600) * 1000)
        database.execute(
            "INSERT INTO tts_queue (filename, profile, original_text, filtered_text, id, timestamp,"
            " state, created_at) VALUES ('f', 'claude', 'text', 'text', ?, ?, ?, ?)",
            (key, at, state, at // 1000),
        )


def audicle_table(database: sqlite3.Connection) -> None:
    database.execute(
        "CREATE TABLE jobs (id TEXT PRIMARY KEY, url TEXT NOT NULL, episode_id TEXT NOT NULL,"
        " status TEXT NOT NULL, stage TEXT, error TEXT,"
        " created_at TEXT DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),"
        " updated_at TEXT DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')), started_at TEXT)"
    )
    rows = [
        ("queued", 3.0, 3.0),
        ("processing", 3.0, 3.0),
        ("processing", 3.0, 0.1),
        ("queued", 0.5, 0.5),
        ("done", 3.0, 3.0),
        ("failed", 3.0, 3.0),
        ("cancelled", 3.0, 3.0),
    ]
    for key, (status, created, updated) in enumerate(rows):
        row = (f"job-{key}", status, iso(created, "Z"), iso(updated, "Z"))
        database.execute(
            "INSERT INTO jobs (url, episode_id, id, status, created_at, updated_at)"
            " VALUES ('u', 'e', ?, ?, ?, ?)",
            row,
        )


def litequeue_table(database: sqlite3.Connection) -> None:
    database.execute(
        "CREATE TABLE Queue (data TEXT NOT NULL, message_id TEXT NOT NULL, status INTEGER NOT NULL,"
        " in_time INTEGER NOT NULL, lock_time INTEGER, done_time INTEGER)"
    )
    for key, (status, hours) in enumerate([(0, 3.0), (1, 3.0), (0, 0.5), (2, 3.0), (3, 3.0)]):
        at = int((NOW - hours * 3600) * 10**9)
        database.execute(
            "INSERT INTO Queue VALUES ('text', ?, ?, ?, ?, ?)",
            (f"m{key}", status, at, at if status else None, at if status > 1 else None),
        )


PUBLISHED = "its published columns"


class Queue(NamedTuple):
    """An SQLite table: how it is made, and what is written to the abandoned rows, by their id.

    ``made``: how the table came about in the tests.
    """

    make: Callable[[sqlite3.Connection], None]
    table: str
    status: str
    written: dict[object, object]
    made: str


QUEUES: dict[str, Queue] = {
    "agent-tts": Queue(agent_tts_table, "tts_queue", "state", {0: "error", 1: "error"}, PUBLISHED),
    "litequeue": Queue(
        litequeue_table,
        "Queue",
        "status",
        {"m0": 3, "m1": 3},
        "its own library, which works on afterwards",
    ),
    "audicle": Queue(
        audicle_table, "jobs", "status", {"job-0": "cancelled", "job-1": "cancelled"}, PUBLISHED
    ),
}


# As their migrations make them, without the columns that neither states nor times are in.
RIVER = (
    "CREATE TYPE river_job_state AS ENUM ('available', 'cancelled', 'completed', 'discarded', "
    "'pending', 'retryable', 'running', 'scheduled')",
    "CREATE TABLE river_job (id bigserial PRIMARY KEY, state river_job_state NOT NULL DEFAULT "
    "'available', attempted_at timestamptz, created_at timestamptz NOT NULL, finalized_at "
    "timestamptz, scheduled_at timestamptz NOT NULL, kind text NOT NULL, queue text NOT NULL, "
    "CONSTRAINT finalized_or_finalized_at_null CHECK ((finalized_at IS NULL AND state NOT IN "
    "('cancelled', 'completed', 'discarded')) OR (finalized_at IS NOT NULL AND state IN "
    "('cancelled', 'completed', 'discarded'))))",
)
OBAN = (
    "CREATE TYPE oban_job_state AS ENUM ('available', 'suspended', 'scheduled', 'executing', "
    "'retryable', 'completed', 'discarded', 'cancelled')",
    "CREATE TABLE oban_jobs (id bigserial PRIMARY KEY, state oban_job_state NOT NULL, queue text "
    "NOT NULL, worker text, inserted_at timestamp NOT NULL, scheduled_at timestamp NOT NULL, "
    "attempted_at timestamp, completed_at timestamp, cancelled_at timestamp)",
)
PG_BOSS = (
    "CREATE SCHEMA pgboss",
    "CREATE TYPE pgboss.job_state AS ENUM ('created', 'retry', 'active', 'completed', "
    "'cancelled', 'failed')",
    "CREATE TABLE pgboss.job (id bigserial PRIMARY KEY, name text NOT NULL, state "
    "pgboss.job_state NOT NULL, blocked boolean NOT NULL DEFAULT false, "
    "start_after timestamptz NOT NULL, started_on timestamptz, created_on timestamptz NOT NULL, "
    "completed_on timestamptz)",
)


PROCRASTINATE = (
    "CREATE TYPE procrastinate_job_status AS ENUM ('todo', 'doing', 'succeeded', 'failed', "
    "'cancelled', 'aborting', 'aborted')",
    "CREATE TABLE procrastinate_jobs (id bigserial PRIMARY KEY, queue_name varchar(128) NOT NULL, "
    "task_name varchar(128) NOT NULL, status procrastinate_job_status NOT NULL DEFAULT 'todo', "
    "scheduled_at timestamptz)",
    "ALTER TABLE procrastinate_jobs ADD COLUMN created_at timestamptz DEFAULT now()",
)


class Shared(NamedTuple):
    """A PostgreSQL table of the jobs of several programs. ``insert``: its queue, state, time of
    creation and time that a job is meant for. ``made``: how the table came about in the tests."""

    tables: tuple[str, ...]
    insert: str
    waiting: str
    at_work: str
    later: str
    made: str


SHARED: dict[str, Shared] = {
    "river": Shared(
        RIVER,
        "river_job (queue, state, created_at, scheduled_at, kind)",
        "available",
        "running",
        "scheduled",
        PUBLISHED,
    ),
    "oban": Shared(
        OBAN,
        "oban_jobs (queue, state, inserted_at, scheduled_at, worker)",
        "available",
        "executing",
        "scheduled",
        PUBLISHED,
    ),
    "pg-boss": Shared(
        PG_BOSS,
        "pgboss.job (name, state, created_on, start_after)",
        "created",
        "active",
        "retry",
        "its own library, 10 and 12, which works on afterwards",
    ),
    "procrastinate": Shared(
        PROCRASTINATE,
        "procrastinate_jobs (queue_name, status, created_at, scheduled_at, task_name)",
        "todo",
        "doing",
        "aborting",
        "its own library, which works on afterwards",
    ),
}
