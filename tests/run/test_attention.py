"""Messages by default: once when the operator is needed and once when all is well again, from runs
by hand and from the unit that sends for a run, over one history."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from narration_cleanup.cli.app import app
from narration_cleanup.core import deadline, locks
from tests.receiver import Receiver, receiver
from tools.docs.situations import is_begun, stop

UNIT = "narration-cleanup.service"


@pytest.fixture
def hears() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hears: Receiver) -> Path:
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / "cache_index.json").write_text("{}")
    monkeypatch.setenv("NARRATION_CACHE_DIR", str(folder))
    monkeypatch.setenv("NARRATION_CLEANUP_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("NARRATION_ALERTS_URLS", hears.url("m", "json"))
    monkeypatch.setattr(deadline, "_SETTLED_WITHIN", 0.05)  # a torn index is waited for
    return folder


def call(*arguments: str) -> int:
    return CliRunner().invoke(app, list(arguments)).exit_code


def titles(hears: Receiver) -> list[str]:
    return [message["title"].partition(": ")[2] for message in hears.messages()]


def test_a_target_that_is_never_done_is_reported_once_and_its_end_once(
    cache: Path, hears: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "requests.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE requests (request_id, status, created_at)")
    monkeypatch.setenv("NARRATION_REQUESTS_DB", str(database))
    monkeypatch.setenv("NARRATION_REQUESTS_COLUMNS_STARTED_AT", "none")
    monkeypatch.setenv("NARRATION_REQUESTS_COLUMNS_COMPLETED_AT", "none")
    monkeypatch.setenv("NARRATION_REQUESTS_COLUMNS_ERROR", "none")
    assert call("run", "-q") == 0
    (cache / "cache_index.json").write_text("")
    assert [call("run", "-q") for _ in range(3)] == [3, 3, 3]
    assert titles(hears) == ["needs attention (partial)"]
    (cache / "cache_index.json").write_text("{}")
    assert [call("run", "-q") for _ in range(2)] == [0, 0]
    assert titles(hears) == ["needs attention (partial)", "is well again (success)"]


def test_what_another_cache_went_through_is_no_reason(
    cache: Path, hears: Receiver, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "cache_index.json").write_text("")
    assert call("run", "-q", "--cache-dir", str(other)) == 1
    assert call("run", "-q") == 0
    assert titles(hears) == ["needs attention (failed)"]


def test_the_unit_that_sends_for_a_run_decides_as_the_run_does(
    cache: Path, hears: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = tmp_path / "bin"
    journal.mkdir()
    (journal / "journalctl").write_text("#!/bin/sh\n")
    (journal / "journalctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{journal}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("NARRATION_NOTIFIED_BY", "unit")

    def timed_run(index: str) -> None:
        (cache / "cache_index.json").write_text(index)
        ended(monkeypatch, call("run", "-q"))
        assert call("notify", "--unit", UNIT) == 0

    for index in ("{}", "", "", "{}", "{}"):
        timed_run(index)
    expected = ["needs attention (failed)", "is well again (success)"]
    assert titles(hears) == expected
    # A unit that cannot even start its run is known to the journal alone: it is news once.
    note = {"__REALTIME_TIMESTAMP": "9000000000000000", "INVOCATION_ID": "earlier"}
    ended(monkeypatch, 226)
    assert call("notify", "--unit", UNIT) == 0
    (journal / "journalctl").write_text(
        f"#!/bin/sh\ncase $* in *MESSAGE_ID*) echo '{json.dumps(note)}';; esac\n"
    )
    assert call("notify", "--unit", UNIT) == 0
    assert titles(hears) == [*expected, "needs attention (failed)"]


def ended(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setenv("MONITOR_UNIT", UNIT)
    monkeypatch.setenv("MONITOR_SERVICE_RESULT", "exit-code" if code else "success")
    monkeypatch.setenv("MONITOR_EXIT_CODE", "exited")
    monkeypatch.setenv("MONITOR_EXIT_STATUS", str(code))
    monkeypatch.setenv("MONITOR_INVOCATION_ID", "this")


@pytest.mark.waits
def test_the_third_run_in_a_row_that_finds_the_lock_held_fails_and_names_who_holds_it(
    cache: Path, hears: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What holds it is a real run that hangs: it is stopped while it waits for the service."""
    monkeypatch.setattr(locks, "RUN_LOCK_WAIT", 0.0)
    assert call("run", "-q") == 0
    lock = cache / ".narration-cleanup" / "run.lock"
    history = cache.parent / "state" / "history.db"
    with (cache / "cache_index.json.lock").open("w") as service:
        fcntl.flock(service, fcntl.LOCK_EX)
        entry = {"file_path": "a.mp3", "created_at": "2020-01-01T00:00:00"}
        (cache / "a.mp3").write_bytes(b"audio")
        os.utime(cache / "a.mp3", (1_577_836_800, 1_577_836_800))
        (cache / "cache_index.json").write_text(json.dumps({"a": entry}))
        hanging = subprocess.Popen(
            [sys.executable, "-m", "narration_cleanup", "run"],
            env={k: v for k, v in os.environ.items() if not k.startswith("NARRATION_ALERTS")},
            stderr=subprocess.DEVNULL,
        )
        try:
            while not (lock.exists() and lock.read_text()):
                os.sched_yield()
            stop(hanging)
            while not is_begun(history, runs=2):  # it is at work on the history just then
                hanging.send_signal(signal.SIGCONT)
                os.sched_yield()
                stop(hanging)
            assert [call("run", "-q") for _ in range(4)] == [75, 75, 1, 1]
            assert (cache / "a.mp3").exists()
            found = json.loads(CliRunner().invoke(app, ["check", "--json"]).stdout)["checks"]
        finally:
            hanging.kill()
            hanging.wait()
    assert titles(hears) == ["needs attention (failed)"]
    (body,) = (message["message"] for message in hears.messages())
    assert re.search(rf"\(pid {hanging.pid}, [\w.-]+, since 20\d\d-\d\d-\d\d ", body)
    assert "3 runs in a row" in body
    (last,) = (each for each in found if each["check"] == "runs.last")
    assert last["status"] == "warning"
    assert f"pid {hanging.pid}" in last["message"]
    assert call("run", "-q") == 0
    assert titles(hears)[1:] == ["is well again (success)"]
    assert not (cache / "a.mp3").exists()


def test_no_history_is_no_silence(
    cache: Path, hears: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NARRATION_CLEANUP_STATE_DIR", "/dev/null/state")
    (cache / "cache_index.json").write_text("")
    assert [call("run", "-q") for _ in range(2)] == [1, 1]
    assert titles(hears) == ["needs attention (failed)"] * 2
