"""`history` from outside, and `notify` as a unit would call it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import typer
from typer.testing import CliRunner, Result

from narration_cleanup.cli.app import app
from narration_cleanup.cli.history import parse_since
from narration_cleanup.cli.notify import config_of
from narration_cleanup.core.errors import CleanupError, ConfigError
from narration_cleanup.report.history import ProcessMark
from narration_cleanup.report.history.store import open_history
from narration_cleanup.report.run_record import record_of
from tests.receiver import Receiver, receiver
from tests.results import NOW, make_result

DAY = 86_400.0
UNIT = "narration-cleanup.service"
SECRET = "canary-7cef8a73"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NARRATION_CLEANUP_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


def ran(state: Path, number: int) -> None:
    """One run a day, the last one at NOW."""
    history = open_history(state, warn=pytest.fail, at=NOW)
    assert history is not None
    for days_ago in reversed(range(number)):
        at = NOW - days_ago * DAY
        run_id = history.begin(at, trigger="cron", version="1")
        history.finish(run_id, record_of(make_result(started_at=at)))
    history.close()


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_the_last_twenty_runs_newest_first(state: Path) -> None:
    ran(state, 25)
    lines = call("history").stdout.splitlines()
    assert [int(line.split()[0]) for line in lines[1:]] == list(range(25, 5, -1))
    assert len(call("history", "-n", "3").stdout.splitlines()) == 4
    document = json.loads(call("history", "-n", "0", "--json").stdout)
    assert [run["id"] for run in document["runs"]] == list(range(25, 0, -1))


def test_only_the_runs_since_then(state: Path) -> None:
    ran(state, 5)
    runs = json.loads(call("history", "--since", "2026-11-22", "--json").stdout)["runs"]
    assert [run["id"] for run in runs] == [5, 4]
    assert call("history", "--since", "2030-01-01").stdout == "No run is recorded since then.\n"


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-11-22", datetime(2026, 11, 22, tzinfo=UTC).timestamp()),
        ("2026-11-22T06:30", datetime(2026, 11, 22, 6, 30, tzinfo=UTC).timestamp()),
        ("2026-11-22T06:30+02:00", datetime(2026, 11, 22, 4, 30, tzinfo=UTC).timestamp()),
        ("90m", NOW - 5_400),
        ("12h", NOW - 43_200),
        ("1.5d", NOW - 1.5 * DAY),
        (" 2w ", NOW - 14 * DAY),
    ],
)
def test_since_when(text: str, instant: float) -> None:
    assert parse_since(text, NOW) == instant


@pytest.mark.parametrize("text", ["", "yesterday", "7", "-1d", "2026-13-01", "7d\n8d"])
def test_since_when_is_not_said(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_since(text, NOW)


def test_no_history_yet_is_said_and_none_is_made(state: Path) -> None:
    done = call("history")
    assert (done.exit_code, done.stdout) == (0, "No run is recorded.\n")
    assert json.loads(call("history", "--json").stdout)["runs"] == []
    assert not state.exists()


def test_where_no_history_can_be_kept_it_says_why(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NARRATION_CLEANUP_STATE_DIR")
    monkeypatch.setenv("HOME", os.devnull)
    done = call("history")
    assert (done.exit_code, done.stdout) == (0, "No run is recorded.\n")
    assert "no history is kept: there is no /var/lib/narration-cleanup of this user" in done.stderr


def test_one_run_whole(state: Path) -> None:
    ran(state, 2)
    assert "removed            3, 2.9 KB freed\n" in call("history", "show", "2").stdout
    (run,) = json.loads(call("history", "show", "1", "--json").stdout)["runs"]
    assert (run["id"], run["trigger"]) == (1, "cron")
    missing = call("history", "show", "3")
    assert isinstance(missing.exception, CleanupError)
    assert "there is no run 3" in str(missing.exception)


def test_the_last_run_is_named_so(state: Path) -> None:
    none = call("history", "show", "last")
    assert "no run is recorded" in str(none.exception)
    assert json.loads(call("history", "show", "last", "--json").stdout)["runs"] == []
    ran(state, 3)
    assert call("history", "show", "last").stdout == call("history", "show", "3").stdout
    (run,) = json.loads(call("history", "show", "last", "--json").stdout)["runs"]
    assert run["id"] == 3


@pytest.mark.parametrize("wrong", ["first", "0", "-1", "1.5", "12345678901", "\u0663"])
def test_a_wrong_id_is_told_in_our_words(state: Path, wrong: str) -> None:
    ran(state, 1)
    done = call("history", "show", "--", wrong)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "is neither a run's number nor last" in " ".join(done.stderr.split())


def test_only_runs_that_ended_so(state: Path) -> None:
    ran(state, 2)
    history = open_history(state, warn=pytest.fail, at=NOW)
    assert history is not None
    run_id = history.begin(NOW, trigger="timer", version="1")
    failed = msgspec.structs.replace(record_of(make_result()), outcome="failed")
    history.finish(run_id, failed)
    history.begin(NOW, trigger="timer", version="1", process=ProcessMark(2**22 + 1, 1, "gone"))
    history.begin(NOW, trigger="timer", version="1")  # this process: the one before is settled
    history.close()

    def ids(outcome: str, *more: str) -> list[int]:
        runs = json.loads(call("history", "--outcome", outcome, "--json", *more).stdout)["runs"]
        return [run["id"] for run in runs]

    assert ids("failed", "-n", "1") == [3]
    assert ids("killed") == [4]
    assert ids("running") == [5]
    assert ids(record_of(make_result()).outcome) == [2, 1]
    assert ids("refused") == []
    assert call("history", "--outcome", "busy").stdout == "No run that ended as busy is recorded.\n"
    wrong = call("history", "--outcome", "bad")
    assert wrong.exit_code == 2
    assert "bad is no outcome" in wrong.stderr


def test_a_typo_that_the_history_does_not_need_is_a_warning(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran(state, 1)
    file = tmp_path / "config.toml"
    file.write_text("[cache]\nttl_day = 3\n")
    done = call("--config", str(file), "history", "--json")
    assert [run["id"] for run in json.loads(done.stdout)["runs"]] == [1]
    assert done.stderr.startswith("WARNING - ")
    assert "did you mean cache.ttl_days?" in done.stderr
    assert call("--config", str(file), "history", "show", "1").exit_code == 0
    monkeypatch.delenv("NARRATION_CLEANUP_STATE_DIR")
    for needed in ("[cleanup]\nstate_dir = 3\n", "[cleanup\n"):
        file.write_text(needed)
        assert isinstance(call("--config", str(file), "history").exception, ConfigError)


def test_a_misspelt_variable_for_the_place_of_the_history_is_a_warning(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran(state, 1)
    monkeypatch.setenv("NARRATION_CLEANUP_STATE_DRI", str(state))
    for arguments in (("history",), ("history", "--json"), ("history", "show", "last")):
        done = call(*arguments)
        assert done.exit_code == 0
        assert "did you mean NARRATION_CLEANUP_STATE_DIR?" in done.stderr
        assert "did you mean" not in done.stdout


def test_a_damaged_history_is_an_error_here(state: Path) -> None:
    state.mkdir()
    (state / "history.db").write_bytes(b"damaged" * 1000)
    done = call("history")
    assert isinstance(done.exception, CleanupError)
    assert "history.db cannot be read" in str(done.exception)


@pytest.fixture
def hears(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with receiver() as made:
        monkeypatch.setenv("NARRATION_ALERTS_URLS", made.url(SECRET, "json"))
        monkeypatch.setenv("NARRATION_ALERTS_PING_URL", made.url("ping"))
        yield made


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A journal that says what it was asked, and systemd as it is after a failed run."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, said in {
        "journalctl": "echo 'INFO - Starting cleanup tasks'; echo \"asked: $*\"",
        "systemctl": "printf 'Result=oom-kill\\nExecMainCode=2\\nExecMainStatus=9\\n'",
    }.items():
        (folder / name).write_text(f"#!/bin/sh\n{said}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def ended(monkeypatch: pytest.MonkeyPatch, result: str, status: str) -> None:
    """systemd tells the unit that it starts how the other one ended, see systemd.exec(5)."""
    monkeypatch.setenv("MONITOR_UNIT", UNIT)
    monkeypatch.setenv("MONITOR_SERVICE_RESULT", result)
    monkeypatch.setenv("MONITOR_EXIT_CODE", "exited")
    monkeypatch.setenv("MONITOR_EXIT_STATUS", status)
    monkeypatch.setenv("MONITOR_INVOCATION_ID", "abcdef")


@pytest.mark.usefixtures("journal")
def test_a_unit_that_failed_is_told_of(hears: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    ended(monkeypatch, "exit-code", "1")
    done = call("notify", "--unit", UNIT)
    assert (done.exit_code, done.stdout) == (0, f"{UNIT}: failed\n")
    assert hears.paths == ["/ping/fail", f"/{SECRET}"]
    message = json.loads(hears.got[1][1])
    assert message["title"].startswith(f"{UNIT} on ")
    assert "(exit code 1)" in message["message"]
    assert "INFO - Starting cleanup tasks" in message["message"]
    assert "_SYSTEMD_INVOCATION_ID=abcdef" in message["message"]


@pytest.mark.usefixtures("journal")
def test_a_unit_that_succeeded_pings_and_no_more(
    hears: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended(monkeypatch, "success", "0")
    assert call("notify", "--unit", UNIT).exit_code == 0
    assert hears.paths == ["/ping"]


@pytest.mark.usefixtures("journal")
def test_an_older_systemd_is_asked(hears: Receiver) -> None:
    assert call("notify", "--unit", UNIT).stdout == f"{UNIT}: killed\n"
    message = json.loads(hears.got[1][1])["message"]
    assert "systemd says: oom-kill (killed, 9)" in message
    assert f"--unit={UNIT}" in message


@pytest.mark.usefixtures("journal")
def test_only_the_start_is_pinged(hears: Receiver) -> None:
    assert call("notify", "--start", "--unit", UNIT).exit_code == 0
    assert hears.paths == ["/ping/start"]


@pytest.mark.usefixtures("journal")
def test_wrong_settings_do_not_keep_it_from_telling(
    hears: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NARRATION_CACHE_TTL_DAYS", "soon")
    ended(monkeypatch, "exit-code", "78")
    done = call("notify", "--unit", UNIT)
    assert (done.exit_code, done.stdout) == (0, f"{UNIT}: refused\n")
    assert done.stderr.startswith("WARNING - variable NARRATION_CACHE_TTL_DAYS is ")
    assert done.stderr.endswith(" [bad_configuration]\n")
    assert len(hears.got) == 2


@pytest.mark.usefixtures("journal")
def test_a_fault_in_the_settings_for_alerts_is_loud_although_something_was_sent(
    hears: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NARRATION_ALERTS_ON", "soon")
    ended(monkeypatch, "exit-code", "78")
    done = call("notify", "--unit", UNIT)
    assert done.exit_code == 1
    assert (
        "the settings for alerts cannot be read whole: variable NARRATION_ALERTS_ON" in done.stderr
    )
    assert len(hears.got) == 2


@pytest.mark.usefixtures("journal")
@pytest.mark.parametrize("text", ["[alerts", "alerts.on = 'never'", None])
def test_a_configuration_that_cannot_be_used_is_loud_whoever_can_be_sent_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    file = tmp_path / "config.toml"
    if text is not None:
        file.write_text(text)
    monkeypatch.setenv("NARRATION_CLEANUP_CONFIG", str(file))
    ended(monkeypatch, "exit-code", "1")
    done = call("notify", "--unit", UNIT)
    assert done.exit_code == 1
    assert "the settings for alerts cannot be read whole: " in done.stderr
    assert str(file) in done.stderr


def test_a_trial_uses_the_credentials_that_the_unit_gets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiver() as made:
        (tmp_path / "alerts.urls").write_text(made.url("m", "json"))
        monkeypatch.setattr("narration_cleanup.systemd.discover.CREDENTIALS", tmp_path)
        assert call("notify", "--test").exit_code == 0
        assert made.paths == ["/m"]


def test_what_could_not_be_sent_is_exit_1(hears: Receiver) -> None:
    hears.answers[:] = [404]
    done = call("notify", "--test")
    assert done.exit_code == 1
    assert "Sent a trial message to 0 of 1" in done.stdout
    assert "alerts.urls number 1 was not sent" in done.stderr
    assert SECRET not in done.output
    assert hears.paths == [f"/{SECRET}"]


def test_a_trial_by_who_may_not_read_the_credentials_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("narration_cleanup.systemd.discover.CREDENTIALS", tmp_path)
    monkeypatch.setattr("os.access", lambda *_, **__: False)
    done = call("notify", "--test")
    assert isinstance(done.exception, ConfigError)
    assert f"may not read {tmp_path}" in str(done.exception)


def test_a_trial_without_anybody_to_send_to_says_what_to_set() -> None:
    done = call("notify", "--test")
    assert isinstance(done.exception, ConfigError)
    assert "alerts.urls" in str(done.exception)


@pytest.mark.usefixtures("journal")
def test_a_unit_with_nobody_to_tell_is_no_failure() -> None:
    done = call("notify", "--unit", UNIT)
    assert done.exit_code == 0
    assert "No alert target" in done.stdout


@pytest.mark.parametrize("text", ["[alerts", "alerts.urls = 5", None])
def test_a_unit_that_cannot_know_whom_to_tell_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    file = tmp_path / "config.toml"
    if text is not None:
        file.write_text(text)
    monkeypatch.setenv("NARRATION_CLEANUP_CONFIG", str(file))
    done = call("notify", "--unit", UNIT)
    assert done.exit_code == 1
    assert str(file) in done.output


@pytest.mark.parametrize("arguments", [(), ("--test", "--unit", UNIT)])
def test_one_thing_at_a_time(arguments: tuple[str, ...]) -> None:
    assert call("notify", *arguments).exit_code == 2


def test_an_instance_is_configured_by_its_own_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "voices.toml"
    own.write_text("")
    assert config_of("narration-cleanup@voices.service", None, folder=tmp_path) == own
    assert config_of("narration-cleanup@other.service", None, folder=tmp_path) is None
    assert config_of(UNIT, None, folder=tmp_path) is None
    named = tmp_path / "named.toml"
    assert config_of("narration-cleanup@voices.service", named, folder=tmp_path) == named
    monkeypatch.setenv("NARRATION_CLEANUP_CONFIG", str(named))
    assert config_of("narration-cleanup@voices.service", None, folder=tmp_path) is None
