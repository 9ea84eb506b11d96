"""Tables that a queue's own library made: the abandoned jobs are cancelled, and it works on."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

import narration_cleanup
from narration_cleanup.cli.config import for_program
from tests.postgres_server import Server, running

HOURS_AGO = "now() - interval '3 hours'"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as started:
        yield started


@pytest.fixture
def url(server: Server) -> str:
    return server.url_of(server.new_database())


def cleaned(name: str, database: str, state: Path, *, without: str | None = None) -> int:
    """Run with the configuration for the program; how many jobs were cancelled.

    ``without``: a column of the filter that an earlier version's table does not have.
    """
    text, _ = for_program(name, None, database)
    settings = tomllib.loads(text)
    settings["requests"].get("filter", {}).pop(without, None)
    settings["cleanup"] = {"state_dir": str(state)}
    done = narration_cleanup.run(settings)
    assert done["problems"] == []
    assert isinstance(done["requests"], dict)
    cancelled = done["requests"]["cancelled_count"]
    assert isinstance(cancelled, int)
    return cancelled


@pytest.mark.postgres
def test_procrastinate_works_on_with_its_table_cleaned(url: str, tmp_path: Path) -> None:
    procrastinate = pytest.importorskip("procrastinate")
    spoken: list[int] = []

    def speak(n: int) -> None:
        spoken.append(n)

    def made(connector: type) -> tuple[Any, Any, Any]:
        app = procrastinate.App(connector=connector(conninfo=url))
        return app, app.task(speak, queue="tts"), app.task(speak, queue="mail", name="mail")

    sync, tts, mail = made(procrastinate.SyncPsycopgConnector)
    with sync.open():
        sync.schema_manager.apply_schema()
        before = tts.defer(n=1)
        with psycopg.connect(url) as connection:
            _, remarks = for_program("procrastinate", None, url)
            (first,) = (line for line in remarks if "ALTER TABLE" in line)
            connection.execute(first.partition(": ")[2].encode())
        old, at_work = tts.defer(n=2), tts.defer(n=3)
        later = tts.configure(schedule_in={"days": 1}).defer(n=4)
        others, fresh = mail.defer(n=5), tts.defer(n=6)
        with psycopg.connect(url) as connection:
            connection.execute(
                f"UPDATE procrastinate_jobs SET created_at = {HOURS_AGO} WHERE id = ANY(%s)",
                [[old, at_work, later, others]],
            )
            connection.execute(
                "UPDATE procrastinate_jobs SET status = 'doing' WHERE id = %s", [at_work]
            )
        assert cleaned("procrastinate", url, tmp_path / "state") == 2
        states = {job.id: job.status for job in sync.job_manager.list_jobs()}
    assert {key for key, state in states.items() if state == "cancelled"} == {old, at_work}
    assert {states[key] for key in (before, later, others, fresh)} == {"todo"}

    worker, _, _ = made(procrastinate.PsycopgConnector)
    worker.run_worker(wait=False, listen_notify=False, install_signal_handlers=False)
    assert sorted(spoken) == [1, 5, 6]


BOSS = """
const { createRequire } = require('module');
const library = createRequire(process.argv[2] + '/')('pg-boss');
const PgBoss = library.PgBoss || library.default || library;
const [url, command] = process.argv.slice(3);
(async () => {
  const boss = new PgBoss(url);
  boss.on('error', error => { console.error(error); process.exit(1); });
  await boss.start();
  const told = {};
  if (command === 'fill') {
    for (const name of ['tts', 'mail']) await boss.createQueue(name);
    for (const name of ['work', 'old', 'fresh']) told[name] = await boss.send('tts', { name });
    await boss.fetch('tts');
    told.later = await boss.send('tts', { name: 'later' }, { startAfter: 86400 });
    told.others = await boss.send('mail', { name: 'others' });
    if (boss.flow) {
      const first = { ref: 'first', name: 'mail', data: { name: 'first' } };
      const then = { ref: 'blocked', name: 'tts', data: { name: 'then' }, dependsOn: ['first'] };
      Object.assign(told, await boss.flow([first, then]));
    }
  } else {
    const fetched = await boss.fetch('tts', { batchSize: 10 });
    told.fetched = fetched.map(job => job.data.name);
    await boss.complete('tts', fetched.map(job => job.id));
    told.again = await boss.send('tts', { name: 'again' });
  }
  await boss.stop({ graceful: false });
  console.log(JSON.stringify(told));
})();
"""


def boss(url: str, command: str) -> dict[str, object]:
    """What pg-boss itself answers; it is looked for where Node.js has its global packages."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("Node.js is not installed")
    found = subprocess.run([npm, "root", "--global"], capture_output=True, text=True, check=True)
    place = Path(os.environ.get("NODE_PATH") or found.stdout.strip())
    if not (place / "pg-boss").is_dir():
        pytest.skip("pg-boss is not installed (npm install --global pg-boss, or NODE_PATH)")
    script = ["-", str(place.parent), url, command]
    done = subprocess.run([node, *script], input=BOSS, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    told: dict[str, object] = json.loads(done.stdout)
    return told


def job_states(connection: psycopg.Connection[tuple[str, str]]) -> dict[str, str]:
    return dict(connection.execute("SELECT id::text, state::text FROM pgboss.job").fetchall())


@pytest.mark.postgres
def test_pg_boss_works_on_with_its_table_cleaned(url: str, tmp_path: Path) -> None:
    ids = boss(url, "fill")
    with psycopg.connect(url) as connection:
        connection.execute(
            f"UPDATE pgboss.job SET created_on = {HOURS_AGO}, start_after = CASE WHEN "
            f"start_after > now() THEN start_after ELSE {HOURS_AGO} END WHERE id <> %s",
            [ids["fresh"]],
        )
    has_flows = "blocked" in ids  # from 12.19 on
    without = None if has_flows else "blocked"
    assert cleaned("pg-boss", url, tmp_path / "state", without=without) == 2
    with psycopg.connect(url) as connection:
        states = job_states(connection)
    named = {name: states[str(key)] for name, key in ids.items()}
    assert named == {
        "work": "cancelled",
        "old": "cancelled",
        **dict.fromkeys(ids.keys() - {"work", "old"}, "created"),
    }
    told = boss(url, "work")
    assert told["fetched"] == ["fresh"]
    with psycopg.connect(url) as connection:
        states = job_states(connection)
    assert states[str(ids["fresh"])] == "completed"
    assert states[str(ids["old"])] == "cancelled"
    assert states[str(told["again"])] == "created"


def test_litequeue_works_on_with_its_table_cleaned(tmp_path: Path) -> None:
    litequeue = pytest.importorskip("litequeue")
    path = tmp_path / "queue.db"
    queue = litequeue.LiteQueue(str(path))
    old, at_work, fresh = (queue.put(text).message_id for text in ("old", "work", "fresh"))
    with closing(sqlite3.connect(path)) as connection, connection:
        (table,) = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND lower(name) = 'queue'"
        ).fetchone()
        past = f"in_time - {3 * 3600 * 10**9}"
        connection.execute(f"UPDATE {table} SET in_time = {past} WHERE data <> 'fresh'")
        connection.execute(
            f"UPDATE {table} SET status = 1, lock_time = in_time WHERE data = 'work'"
        )
    assert cleaned("litequeue", str(path), tmp_path / "state") == 2
    assert {int(queue.get(key).status) for key in (old, at_work)} == {3}
    taken = queue.pop()
    assert (taken.message_id, taken.data) == (fresh, "fresh")
    queue.done(taken.message_id)
    assert queue.pop() is None
    assert queue.put("again").data == "again"
