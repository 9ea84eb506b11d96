"""What a run tells beyond its own output, seen from outside: the command line against real files,
a real receiver on loopback, and a history that is read by another process."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing
from datetime import timedelta
from pathlib import Path

import pytest

from narration_cleanup.core.zones import IndexTimes
from narration_cleanup.report.metrics import PREFIX
from narration_cleanup.run.stores import open_cache
from narration_cleanup.settings import CacheSettings
from tests import forked
from tests.receiver import Receiver, receiver
from tests.report.test_metrics import samples
from tests.samples import EntrySpec, Sample, make_cache, make_sample, read_index

ROOT = Path(__file__).resolve().parents[2]
AT = "2026-11-23T12:00:00+00:00"
CANARY = "canary-c9f0f895"


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    return make_sample(tmp_path / "service")


@pytest.fixture
def hears() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


class Tool:
    """The tool on one sample, with its state and metrics beside it; `said` is all it ever said."""

    def __init__(self, sample: Sample, folder: Path) -> None:
        self.state = folder / "state"
        self.metrics = folder / "narration.prom"
        self.said = ""
        self.settings = {
            "NARRATION_CACHE_DIR": str(sample.cache.directory),
            "NARRATION_REQUESTS_DB": str(sample.database),
            "NARRATION_CLEANUP_STATE_DIR": str(self.state),
            "NARRATION_METRICS_TEXTFILE": str(self.metrics),
            "TESTS_TORN": "0.05",
            "TESTS_RUN_LOCK": "0",
        }

    def environ(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            **self.settings,
            **(more or {}),
        }

    def __call__(
        self, *arguments: str, environ: Mapping[str, str] | None = None, at: str = AT
    ) -> subprocess.CompletedProcess[str]:
        done = forked.run(at, *arguments, module="tests.run_at", env=self.environ(environ))
        self.said += done.stdout + done.stderr
        return done

    def runs(self) -> list[dict[str, object]]:
        done = self("history", "--json", "-n", "0")
        assert done.returncode == 0, done.stderr
        runs: list[dict[str, object]] = json.loads(done.stdout)["runs"]
        return runs

    def everything(self) -> str:
        """All that was said, and all that was written down."""
        files = [file for file in self.state.parent.rglob("*") if file.is_file()]
        written = (
            file.read_bytes().decode("latin-1") for file in files if "cache" not in file.parts
        )
        return self.said + "".join(written)


@pytest.fixture
def tool(sample: Sample, tmp_path: Path) -> Tool:
    return Tool(sample, tmp_path)


def break_index(sample: Sample) -> None:
    sample.cache.index.write_text("{")


def test_a_run_is_in_the_history_the_metrics_and_the_statistics(tool: Tool) -> None:
    assert tool("run").returncode == 0
    (run,) = tool.runs()
    assert (run["outcome"], run["trigger"], run["removed_count"]) == ("success", "hand", 33)
    found = samples(tool.metrics.read_text())
    assert found["last_run_removed_files{reason=expired}"] == 33
    assert found["runs_total{outcome=success}"] == 1
    assert found["removed_bytes_total"] == run["freed_bytes"]
    stats = json.loads(tool("stats", "--json").stdout)
    assert stats["running"] is False  # nothing is known to start runs
    assert stats["last_run"]["id"] == run["id"]
    assert stats["next_run_at"] is None
    page = tool("stats", "--prometheus").stdout
    assert page == tool.metrics.read_text()


def test_twenty_runs_of_which_three_fail_and_one_is_killed(tool: Tool, sample: Sample) -> None:
    index = sample.cache.index.read_bytes()
    expected = []
    for number in range(20):
        if number in (4, 9, 15):
            break_index(sample)
            assert tool("run", environ={"NARRATION_REQUESTS_DB": ""}).returncode == 1
            sample.cache.index.write_bytes(index)
            expected.append("failed")
        elif number == 12:
            kill_in_the_middle(tool, sample)
            expected.append("killed")
        else:
            assert tool("run").returncode == 0
            index = sample.cache.index.read_bytes()
            expected.append("success")
    lines = tool("history").stdout.splitlines()[1:]
    assert len(lines) == 20
    assert [line.split()[4] for line in lines] == expected[::-1]
    assert [run["outcome"] for run in tool.runs()] == expected[::-1]
    found = samples(tool.metrics.read_text())
    for outcome in ("success", "failed", "killed", "partial"):
        name = f"runs_total{{outcome={outcome}}}"
        assert found[name] == expected.count(outcome)


def kill_in_the_middle(tool: Tool, sample: Sample) -> None:
    """A run that waits for its index (a pipe that nobody writes to is one) is killed."""
    content = sample.cache.index.read_bytes()
    sample.cache.index.write_text("")  # being written, as far as the tool can tell
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.run_at", AT, "run"],
        cwd=ROOT,
        env=tool.environ({"TESTS_TORN": "600"}),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    with process:
        while "Starting cleanup tasks" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    sample.cache.index.write_bytes(content)


def test_a_dry_run_and_statistics_are_told_to_nobody(tool: Tool, hears: Receiver) -> None:
    alerts = {"NARRATION_ALERTS_ON": "always", "NARRATION_ALERTS_PING_URL": hears.url("p")}
    alerts["NARRATION_ALERTS_URLS"] = hears.url("m", "json")
    assert tool("dry-run", environ=alerts).returncode == 0
    assert tool("stats", environ=alerts).returncode == 0
    assert hears.got == []
    assert not tool.state.exists()
    assert not tool.metrics.exists()


def test_one_message_for_a_failed_run_and_none_for_a_good_one(
    tool: Tool, sample: Sample, hears: Receiver
) -> None:
    alerts = {"NARRATION_ALERTS_URLS": hears.url(CANARY, "json")}
    assert tool("run", environ=alerts).returncode == 0
    assert hears.got == []
    break_index(sample)
    failed = tool("run", environ={**alerts, "NARRATION_REQUESTS_DB": ""})
    assert failed.returncode == 1
    (message,) = hears.messages()
    assert message["title"].endswith(": needs attention (failed)")
    assert "index" in message["message"]
    assert "ERROR - " in message["message"]  # the last lines of the log


def test_a_ping_receiver_sees_start_and_then_success_or_failure(
    tool: Tool, sample: Sample, hears: Receiver
) -> None:
    alerts = {"NARRATION_ALERTS_PING_URL": hears.url(CANARY)}
    tool("run", "--quiet", environ=alerts)
    assert hears.paths == [f"/{CANARY}/start", f"/{CANARY}"]
    assert "INFO - Removed 33 expired cache entries" in hears.got[1][1]
    hears.got.clear()
    break_index(sample)
    assert tool("run", environ=alerts).returncode == 3
    assert hears.paths == [f"/{CANARY}/start", f"/{CANARY}/fail"]


@pytest.mark.parametrize(
    ("more", "arguments", "exit_code", "words"),
    [
        ({"NARRATION_CACHE_TTL_DAYS": "soon"}, (), 78, "NARRATION_CACHE_TTL_DAYS"),
        ({"NARRATION_CACHE_DIR": "/nonexistent/cache"}, (), 78, "/nonexistent/cache"),
        ({}, ("--max-delete", "1"), 4, "cleanup.max_delete 1 allows"),
    ],
    ids=["a wrong setting", "a wrong directory", "too much to remove"],
)
def test_a_run_that_could_not_start_is_heard_and_recorded(
    tool: Tool,
    hears: Receiver,
    more: dict[str, str],
    arguments: tuple[str, ...],
    exit_code: int,
    words: str,
) -> None:
    alerts = {
        "NARRATION_ALERTS_URLS": hears.url("m", "json"),
        "NARRATION_ALERTS_PING_URL": hears.url("p"),
    }
    assert tool("run", *arguments, environ={**alerts, **more}).returncode == exit_code
    assert hears.paths == ["/p/start", "/p/fail", "/m"]
    assert words in json.loads(hears.got[-1][1])["message"]
    (run,) = tool.runs()
    assert (run["outcome"], run["exit_code"]) == ("refused", exit_code)
    assert samples(tool.metrics.read_text())["runs_total{outcome=refused}"] == 1


def test_with_a_file_that_cannot_be_read_what_the_environment_says_is_told(
    tool: Tool, hears: Receiver, tmp_path: Path
) -> None:
    (tmp_path / "config.toml").write_text("[cache\n")
    alerts = {
        "NARRATION_ALERTS_URLS": hears.url("m", "json"),
        "NARRATION_CLEANUP_CONFIG": str(tmp_path / "config.toml"),
    }
    assert tool("run", environ=alerts).returncode == 78
    assert hears.paths == ["/m"]
    assert not tool.state.exists()  # the file may have named another


def test_a_run_that_finds_the_lock_held_is_recorded_and_alarms_nobody(
    tool: Tool, sample: Sample, hears: Receiver
) -> None:
    alerts = {
        "NARRATION_ALERTS_URLS": hears.url("m", "json"),
        "NARRATION_ALERTS_PING_URL": hears.url("p"),
    }
    tool("run")
    before = tool.metrics.read_text()
    with locked(sample):
        assert tool("run", environ=alerts).returncode == 75
    assert hears.paths == ["/p/start"]
    assert [run["outcome"] for run in tool.runs()] == ["busy", "success"]
    assert tool.metrics.read_text() == before


def locked(sample: Sample) -> AbstractContextManager[None]:
    store = open_cache(CacheSettings(dir=str(sample.cache.directory)), IndexTimes("UTC"))
    assert store is not None
    return store.locked()


def test_inside_a_unit_that_has_others_tell_the_run_sends_nothing(
    tool: Tool, sample: Sample, hears: Receiver
) -> None:
    break_index(sample)
    alerts = {
        "NARRATION_ALERTS_URLS": hears.url("m", "json"),
        "NARRATION_ALERTS_PING_URL": hears.url("p"),
        "NARRATION_NOTIFIED_BY": "unit",
    }
    assert tool("run", environ=alerts).returncode == 3
    assert hears.got == []
    assert len(tool.runs()) == 1


@pytest.mark.slow
def test_a_receiver_that_hangs_keeps_no_clean_up_from_being_done(
    tool: Tool, sample: Sample, hears: Receiver
) -> None:
    """It has each request and answers none: the run ends by itself all the same."""
    hears.hangs.set()
    alerts = {
        "NARRATION_ALERTS_ON": "always",
        "NARRATION_ALERTS_URLS": hears.url(CANARY, "json"),
        "NARRATION_ALERTS_PING_URL": hears.url(CANARY),
    }
    done = tool("run", "--json", environ=alerts)
    assert done.returncode == 0
    assert json.loads(done.stdout)["cache"]["removed_count"] == 33
    assert "the ping (alerts.ping_url) did not arrive: no answer" in done.stderr
    assert "the message to alerts.urls number 1 was not sent" in done.stderr
    assert not hears.ended.is_set()
    assert CANARY not in tool.everything()


@pytest.mark.slow
def test_no_secret_is_ever_said(tool: Tool, sample: Sample, hears: Receiver) -> None:
    """Receivers that refuse, addresses that cannot be: everything said and written is searched."""
    hears.answers[:] = [404]
    for ping, url in (
        (hears.url(CANARY), hears.url(CANARY, "json")),
        (f"http://127.0.0.1:1/{CANARY}", f"json://user:{CANARY}@127.0.0.1:1/"),
        (f"http://{CANARY}.invalid/", f"nonsense://{CANARY}"),
    ):
        alerts = {
            "NARRATION_ALERTS_ON": "always",
            "NARRATION_ALERTS_PING_URL": ping,
            "NARRATION_ALERTS_URLS": url,
        }
        tool("run", "-v", environ=alerts)
        tool("notify", "--test", environ=alerts)
    for arguments in (
        ["run", "--log-format", "json"],
        ["dry-run", "--json"],
        ["stats", "--prometheus"],
        ["config", "show"],
        ["config", "show", "--json"],
        ["notify", "--unit", "narration-cleanup.service"],
        ["history", "show", "1"],
    ):
        tool(*arguments, environ=alerts)
    assert "alerts.ping_url" in tool.said
    assert CANARY not in tool.everything()


def test_a_state_folder_that_cannot_be_used_stops_nothing(tool: Tool, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = tool("run", environ={"NARRATION_CLEANUP_STATE_DIR": str(tmp_path / "file" / "state")})
    assert done.returncode == 0
    assert "WARNING - Program: no history is kept" in done.stderr
    assert samples(tool.metrics.read_text())["last_run_success"] == 1


def test_metrics_that_cannot_be_written_stop_nothing(tool: Tool, tmp_path: Path) -> None:
    done = tool("run", "--json", environ={"NARRATION_METRICS_TEXTFILE": str(tmp_path / "no" / "x")})
    assert done.returncode == 0
    (problem,) = json.loads(done.stdout)["problems"]
    assert (problem["code"], problem["severity"]) == ("metrics_not_written", "warning")


def test_a_damaged_history_is_moved_aside_and_the_run_is_done(tool: Tool) -> None:
    tool.state.mkdir()
    (tool.state / "history.db").write_bytes(b"\0garbage" * 1000)
    done = tool("run")
    assert done.returncode == 0
    assert "history.db.damaged-20261123T120000Z" in done.stderr
    assert len(tool.runs()) == 1


def test_requests_completed_after_they_were_cancelled_are_counted_once(
    tool: Tool, sample: Sample
) -> None:
    tool("run")
    with closing(sqlite3.connect(sample.database)) as connection:
        connection.execute(
            "UPDATE requests SET status = 'completed' WHERE request_id IN (SELECT request_id FROM"
            " requests WHERE status = 'cancelled' ORDER BY completed_at DESC LIMIT 2)"
        )
        connection.commit()
    second, third = tool("run", "--json"), tool("run", "--json")
    assert json.loads(second.stdout)["requests"]["overwritten_count"] == 2
    assert "completed 2 requests after an earlier run" in second.stderr
    assert json.loads(third.stdout)["requests"]["overwritten_count"] == 0


def test_a_clock_that_jumped_is_refused_recorded_and_heard(tool: Tool, hears: Receiver) -> None:
    alerts = {"NARRATION_ALERTS_URLS": hears.url("m", "json")}
    tool("run", environ=alerts)
    late = "2026-11-23T13:00:00+00:00"
    assert tool("run", environ=alerts, at=late).returncode == 4
    assert len(hears.got) == 1
    assert tool("run", environ=alerts, at=late).returncode == 4  # not yet an hour later
    assert tool("run", "--ignore-clock", environ=alerts, at=late).returncode == 0
    assert tool("run", environ=alerts, at=late).returncode == 0
    outcomes = [run["outcome"] for run in tool.runs()]
    assert outcomes == ["success", "success", "refused", "refused", "success"]


def _reboot(tool: Tool) -> None:
    with closing(sqlite3.connect(tool.state / "history.db")) as history:
        history.execute("UPDATE clock SET boot_id = 'earlier'")
        history.commit()


def test_a_clock_far_ahead_after_a_reboot_is_refused_once(tool: Tool, tmp_path: Path) -> None:
    """Most of the cache would expire by it. An hour later, by both clocks, a run goes ahead."""
    cache = make_cache(tmp_path / "many", entries=[EntrySpec(timedelta(days=1))] * 12)
    environ = {"NARRATION_CACHE_DIR": str(cache.directory)}
    assert tool("run", environ=environ).returncode == 0
    _reboot(tool)
    late = "2027-01-23T12:00:00+00:00"
    dry = tool("dry-run", "--json", environ=environ, at=late)
    codes = [problem["code"] for problem in json.loads(dry.stdout)["problems"]]
    assert codes == ["clock_jumped"]
    before = read_index(cache.index), sorted(cache.directory.glob("*.mp3"))
    for _ in range(2):
        done = tool("run", environ=environ, at=late)
        assert done.returncode == 4
        assert "the last run was 61 days ago" in done.stderr
        assert (read_index(cache.index), sorted(cache.directory.glob("*.mp3"))) == before
    with closing(sqlite3.connect(tool.state / "history.db")) as history:
        history.execute(
            "UPDATE clock SET since_boot = since_boot - 3600, wall = wall - 3600 WHERE refused"
        )
        history.commit()
    assert tool("run", environ=environ, at=late).returncode == 0
    assert read_index(cache.index) == {}


def test_after_a_reboot_a_clock_that_is_said_to_be_right_is_trusted(
    tool: Tool, tmp_path: Path
) -> None:
    cache = make_cache(tmp_path / "many", entries=[EntrySpec(timedelta(days=1))] * 12)
    environ = {"NARRATION_CACHE_DIR": str(cache.directory)}
    assert tool("run", environ=environ).returncode == 0
    _reboot(tool)
    late = "2027-01-23T12:00:00+00:00"
    assert tool("run", "--ignore-clock", environ=environ, at=late).returncode == 0
    assert read_index(cache.index) == {}


def test_a_clock_that_jumped_forgets_no_run(tool: Tool) -> None:
    """By that clock all runs are older than what is kept."""
    assert tool("run").returncode == 0
    assert tool("run", at="2036-01-01T00:00:00+00:00").returncode == 4
    assert [run["outcome"] for run in tool.runs()] == ["refused", "success"]


def test_no_counters_are_printed_where_the_history_cannot_be_written(tool: Tool) -> None:
    for _ in range(2):
        assert tool("run").returncode == 0
    before = samples(tool.metrics.read_text())
    assert before["runs_total{outcome=success}"] == 2
    with closing(sqlite3.connect(tool.state / "history.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert tool("run", environ={"TESTS_HISTORY_BUSY": "0.2"}).returncode == 0
    found = samples(tool.metrics.read_text())
    counters = {name for name in before if "_total" in name}
    assert before.keys() - counters == found.keys()
    assert found["last_success_timestamp_seconds"] >= before["last_success_timestamp_seconds"]
    assert tool("run").returncode == 0
    assert samples(tool.metrics.read_text())["runs_total{outcome=success}"] == 3


def test_statistics_of_a_history_that_cannot_be_read_are_no_zeros(tool: Tool) -> None:
    assert tool("run").returncode == 0
    (tool.state / "history.db").write_bytes(b"no database at all " * 500)
    page = tool("stats", "--prometheus").stdout
    assert "_total" not in page
    assert f"{PREFIX}last_success_timestamp_seconds NaN\n" in page


def test_a_name_that_is_no_utf_8_is_told_like_any_other(
    tool: Tool, sample: Sample, hears: Receiver
) -> None:
    os.symlink(b"nowhere", os.fsencode(sample.cache.directory) + b"/\xff\xfd.mp3")
    index = {"NARRATION_CACHE_INDEX": "none", "NARRATION_ALERTS_PING_URL": hears.url("p")}
    done = tool("run", "--json", environ=index)
    document = json.loads(done.stdout)
    assert document["cache"]["removed_count"] > 0
    assert "odd_file" in [problem["code"] for problem in document["problems"]]
    (run,) = tool.runs()
    assert run["outcome"] == document["outcome"]
    assert hears.paths == ["/p/start", "/p"]


def test_a_run_that_ends_before_the_clocks_are_compared_vouches_for_neither(tool: Tool) -> None:
    """What it says of the clocks would be taken for the last word: the next run would go ahead."""
    assert tool("run").returncode == 0
    late = "2026-11-23T18:00:00+00:00"
    assert tool("run", "--cache-dir", "/nowhere", at=late).returncode == 78
    assert tool("run", at=late).returncode == 4
    assert tool("run", "--ignore-clock", at=late).returncode == 0
    assert tool("run", at=late).returncode == 0


@pytest.mark.waits
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_stopped_before_its_work_is_recorded_as_interrupted(
    tool: Tool, sample: Sample, hears: Receiver, number: signal.Signals
) -> None:
    """The first thing it does that takes time is to ping the start."""
    hears.hangs.set()
    before = {path.name for path in sample.cache.directory.iterdir()}
    # A signal that is ignored here, as under nohup, would be ignored there too.
    here = signal.signal(number, signal.default_int_handler)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.run_at", AT, "run", "--json"],
        cwd=ROOT,
        env=tool.environ({"NARRATION_ALERTS_PING_URL": hears.url("p")}),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    signal.signal(number, here)
    with process:
        hears.arrived.wait()
        process.send_signal(number)
        hears.ended.set()
        assert process.stdout is not None
        said = process.stdout.read()
    assert process.returncode == 143
    assert json.loads(said)["outcome"] == "interrupted"
    assert [run["outcome"] for run in tool.runs()] == ["interrupted"]
    after = {path.name for path in sample.cache.directory.iterdir()} - {".narration-cleanup"}
    assert after == before


@pytest.mark.waits
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_stopped_when_it_is_recorded_ends_with_the_code_of_what_is_recorded(
    tool: Tool, hears: Receiver, number: signal.Signals
) -> None:
    """The last thing it does that takes time is to send a message."""
    hears.hangs.set()
    alerts = {"NARRATION_ALERTS_URLS": hears.url("m", "json"), "NARRATION_ALERTS_ON": "always"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.run_at", AT, "run", "--json"],
        cwd=ROOT,
        env=tool.environ(alerts),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        hears.arrived.wait()
        process.send_signal(number)
        assert process.stdout is not None
        said = process.stdout.read()
    assert [run["outcome"] for run in tool.runs()] == ["success"]
    assert json.loads(said)["outcome"] == "success"
    assert process.returncode == 0


@pytest.mark.waits
def test_a_run_under_nohup_goes_on_when_its_terminal_goes(
    tool: Tool, sample: Sample, hears: Receiver
) -> None:
    hears.hangs.set()
    process = subprocess.Popen(
        ["nohup", sys.executable, "-m", "tests.run_at", AT, "run", "--json"],
        cwd=ROOT,
        env=tool.environ({"NARRATION_ALERTS_PING_URL": hears.url("p")}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        hears.arrived.wait()
        process.send_signal(signal.SIGHUP)
        hears.ended.set()
        assert process.stdout is not None
        document = json.loads(process.stdout.read())
    assert (process.returncode, document["outcome"]) == (0, "success")
    assert document["cache"]["removed_count"] > 0
