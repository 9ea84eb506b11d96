"""The units at work: installed by the command, started by their timer, beside a live service."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path

import pytest

from tests.systemd.container import Container
from tests.systemd.service import AFTER, BEFORE, CACHE, CONFIG, DATABASE, HOME, Service

pytestmark = pytest.mark.systemd

RUN = "narration-cleanup.service"
TIMER = "narration-cleanup.timer"
STAMP = f"/var/lib/systemd/timers/stamp-{TIMER}"
METRICS = "/var/lib/narration-metrics/narration.prom"
EVERY_3_SECONDS = """\
[Timer]
OnCalendar=
OnCalendar=*:*:0/3
RandomizedDelaySec=0
AccuracySec=10ms
"""


def configure(machine: Container, more: str = "") -> None:
    machine.write(CONFIG, f'cache.dir = "{CACHE}"\nrequests.db = "{DATABASE}"\n{more}')


def show(machine: Container, unit: str, name: str) -> str:
    shown = machine.run("systemctl", "show", "--value", f"--property={name}", unit)
    return shown.stdout.strip()


def messages(machine: Container, *options: str) -> list[str]:
    """What the run unit itself has said (not what systemd says about it)."""
    machine.run("journalctl", "--sync")
    said = machine.run(
        "journalctl", "--output=cat", "_SYSTEMD_UNIT=narration-cleanup.service", *options
    )
    return said.stdout.splitlines()


def test_the_timer_has_the_whole_job_done_in_the_sandbox(
    machine: Container, service: Service
) -> None:
    configure(machine, f'metrics.textfile = "{METRICS}"\n')
    index = machine.path(CACHE) / "cache_index.json"
    index.chmod(0o664)
    owner = (index.stat().st_uid, index.stat().st_gid)
    assert service.statuses() == BEFORE
    machine.run("narration-cleanup", "systemd", "install")
    machine.drop_in(TIMER, EVERY_3_SECONDS)
    cursor = machine.journal_cursor()

    machine.run("systemctl", "restart", TIMER)
    machine.wait_for(cursor, "Finished narration-cleanup.service")

    assert TIMER in machine.run("systemctl", "list-timers", TIMER).stdout
    for _ in range(50):  # while a run is at work, its timer has no next one
        told = machine.run("narration-cleanup", "systemd", "status", "--json").stdout
        schedule = json.loads(told)
        if schedule["next_run"] is not None:
            break
    machine.run("systemctl", "stop", TIMER)
    assert schedule["next_run"] > schedule["last_run"]
    assert (schedule["enabled"], schedule["active"]) == (True, True)
    assert (schedule["last_result"], schedule["last_exit"]) == ("success", 0)

    assert service.audio() == service.indexed() == service.kept
    assert service.statuses() == AFTER
    assert stat.S_IMODE(index.stat().st_mode) == 0o664
    assert (index.stat().st_uid, index.stat().st_gid) == owner
    database = machine.path(DATABASE)
    assert {path.stat().st_uid for path in database.parent.glob("requests.db*")} == {owner[0]}
    assert database.with_name("requests.db-wal").exists()  # the service has it open
    service.writes()

    metrics = machine.path(METRICS)
    assert stat.S_IMODE(metrics.stat().st_mode) == 0o644
    assert "narration_cleanup_last_run_success 1" in metrics.read_text()
    environ = "STATE_DIRECTORY=/var/lib/narration-cleanup"
    history = machine.run(
        "env", environ, "narration-cleanup", "history", "--json", user="narration"
    )
    runs = json.loads(history.stdout)["runs"]
    assert {run["outcome"] for run in runs} == {"success"}
    assert {run["trigger"] for run in runs} == {"timer"}


def test_the_journal_has_start_counts_end_and_right_priorities(
    machine: Container, service: Service
) -> None:
    machine.run("narration-cleanup", "systemd", "install")
    (machine.path(CACHE) / "cache_index.json").chmod(0o644)
    levels: list[list[str]] = [[], ["--priority=warning"], ["--priority=info..info"]]
    before = [len(messages(machine, *options)) for options in levels]
    machine.run("systemctl", "start", RUN)
    said, warnings, informed = (
        messages(machine, *options)[count:] for options, count in zip(levels, before, strict=True)
    )
    assert said[0] == "INFO - Starting narration cleanup (interval: 6 h, abandoned timeout: 1 h)"
    assert [line for line in said if line.startswith("INFO - Removed 33 expired cache entries")]
    assert "INFO - Cancelled 7 abandoned requests" in said
    assert said[-1] == "INFO - Cleanup tasks completed successfully"
    assert len(warnings) == 7  # a line for each request
    assert {line.split(" - ")[0] for line in warnings} == {"WARNING"}
    assert {line.split(" - ")[0] for line in informed} == {"INFO"}
    assert len(said) == len(warnings) + len(informed)


def test_errors_are_errors_in_the_journal(machine: Container, service: Service) -> None:
    machine.run("narration-cleanup", "systemd", "install")
    (machine.path(CACHE) / "cache_index.json").write_text('{"torn')
    before = messages(machine, "--priority=err")
    assert machine.run("systemctl", "start", RUN, check=False).returncode != 0
    errors = messages(machine, "--priority=err")[len(before) :]
    assert errors, messages(machine)[-20:]
    assert all(line.startswith("ERROR - ") for line in errors)
    assert any(f"the index of {CACHE} cannot be used" in line for line in errors)
    assert service.audio() == service.expired | service.kept
    status = machine.run("narration-cleanup", "systemd", "status", check=False)
    assert (status.returncode, "Result    exit-code (exit 3)" in status.stdout) == (1, True)


def test_a_run_missed_while_the_machine_was_off_is_made_up_for(
    machine: Container, service: Service
) -> None:
    machine.run("narration-cleanup", "systemd", "install")
    # The delay holds for what is made up for, too.
    machine.drop_in(TIMER, "[Timer]\nRandomizedDelaySec=0\n")
    machine.run("systemctl", "stop", f"{TIMER}", "narration-service.service")
    machine.stop()
    assert service.audio() == service.expired | service.kept
    long_ago = time.time() - 7 * 3600
    os.utime(machine.path(STAMP), (long_ago, long_ago))

    machine.start()

    machine.wait_for("", "Finished narration-cleanup.service")
    assert service.audio() == service.indexed() == service.kept
    assert "narration-cleanup.timer" in machine.run("systemctl", "list-timers", TIMER).stdout


def test_a_run_that_was_not_missed_is_not_made_up_for(machine: Container, service: Service) -> None:
    machine.run("narration-cleanup", "systemd", "install")
    machine.drop_in(TIMER, "[Timer]\nRandomizedDelaySec=0\n")
    machine.run("systemctl", "stop", "narration-service.service")
    machine.reboot()
    assert show(machine, TIMER, "ActiveState") == "active"
    assert show(machine, RUN, "ExecMainStartTimestamp") == ""
    assert service.audio() == service.expired | service.kept


def test_another_run_at_work_is_no_failure(machine: Container, service: Service) -> None:
    machine.run("narration-cleanup", "systemd", "install")
    hold = (
        "import fcntl, os, signal, sys; own = sys.argv[1] + '/.narration-cleanup'; "
        "os.makedirs(own, 0o700, exist_ok=True); "
        "d = os.open(own + '/run.lock', os.O_RDWR | os.O_CREAT, 0o600); "
        "fcntl.flock(d, fcntl.LOCK_EX); print('HOLDING', flush=True); "
        "signal.sigwait([signal.SIGTERM])"
    )
    cursor = machine.journal_cursor()
    machine.run(
        *(
            "systemd-run",
            "--quiet",
            "--description=test",
            "--unit=holder",
            "--property=User=narration",
        ),
        *("/usr/bin/python3", "-c", hold, CACHE),
    )
    machine.wait_for(cursor, "HOLDING")

    machine.run("systemctl", "start", RUN)

    machine.run("systemctl", "stop", "holder")
    assert show(machine, RUN, "ExecMainStatus") == "75"
    assert show(machine, RUN, "Result") == "success"
    machine.run("journalctl", "--sync")
    told = machine.run("journalctl", f"--after-cursor={cursor}", "--output=cat").stdout
    assert "Report how" not in told
    assert service.audio() == service.expired | service.kept
    assert service.statuses() == BEFORE


def test_a_stop_ends_a_long_run_cleanly_and_the_next_one_finishes(
    machine: Container, service: Service
) -> None:
    """The run is long since the service's database is locked: it waits, the cache half done."""
    machine.run("narration-cleanup", "systemd", "install")
    lock = (
        "import signal, sqlite3, sys; d = sqlite3.connect(sys.argv[1], isolation_level=None); "
        "d.execute('BEGIN IMMEDIATE'); print('LOCKED', flush=True); "
        "signal.sigwait([signal.SIGTERM])"
    )
    cursor = machine.journal_cursor()
    machine.run(
        *(
            "systemd-run",
            "--quiet",
            "--description=test",
            "--unit=locker",
            "--property=User=narration",
        ),
        *("/usr/bin/python3", "-c", lock, DATABASE),
    )
    machine.wait_for(cursor, "LOCKED")
    machine.run("systemctl", "start", "--no-block", RUN)
    machine.wait_for(cursor, "Cleaning up abandoned requests")

    machine.run("systemctl", "stop", RUN)

    assert show(machine, RUN, "Result") == "success"
    assert show(machine, RUN, "ActiveState") == "inactive"
    assert show(machine, RUN, "ExecMainStatus") == "143"
    assert service.audio() == service.indexed() == service.kept
    assert service.statuses() == BEFORE
    machine.run("systemctl", "stop", "locker")
    machine.run("systemctl", "start", RUN)
    assert service.statuses() == AFTER


def test_the_interval_is_changed_by_installing_again(machine: Container, service: Service) -> None:
    first = machine.run("narration-cleanup", "systemd", "install").stdout
    assert "# /etc/systemd/system/narration-cleanup.timer: new\n" in first
    assert show(machine, TIMER, "TimersCalendar").startswith("{ OnCalendar=*-*-* 00/6:00:00 ;")
    status = json.loads(machine.run("narration-cleanup", "systemd", "status", "--json").stdout)
    stats = json.loads(machine.run("narration-cleanup", "stats", "--json", user="narration").stdout)
    assert stats["next_run_at"][:19] == status["next_run"][:19]
    same = machine.run("narration-cleanup", "systemd", "install").stdout
    assert (same.count(": unchanged\n"), same.count(": changes\n")) == (3, 0)
    configure(machine, "cleanup.interval_hours = 7\n")
    changed = machine.run("narration-cleanup", "systemd", "install").stdout
    assert "# /etc/systemd/system/narration-cleanup.timer: changes\n" in changed
    assert "\n-OnCalendar=*-*-* 00/6:00:00\n" in changed
    assert "\n+OnUnitActiveSec=7h\n" in changed
    following = changed.partition("Try next:\n")[2].splitlines()
    assert len(following) == 3
    for command in following:
        machine.run("sh", "-c", command.replace("sudo ", ""))
    assert show(machine, TIMER, "TimersCalendar") == ""
    assert "OnUnitActiveUSec=7h" in show(machine, TIMER, "TimersMonotonic")
    status = json.loads(machine.run("narration-cleanup", "systemd", "status", "--json").stdout)
    assert status["next_run"] is not None


def test_from_the_installation_on_there_is_one_history_and_one_interval(
    machine: Container, service: Service
) -> None:
    def by_hand(*words: str) -> str:
        home = f"HOME={HOME}"
        return machine.run("env", home, "narration-cleanup", *words, user="narration").stdout

    by_hand("run", "--quiet")
    install = "narration-cleanup", "systemd", "install", "--interval-hours", "0.5"
    said = machine.run(*install).stdout
    assert "\nThe history of the runs is in /var/lib/narration-cleanup\n" in said
    by_hands = f"{HOME}/.local/state/narration-cleanup"
    assert f"stays in {by_hands}, and is read by:\n" in said
    read = f"NARRATION_CLEANUP_STATE_DIR={by_hands} narration-cleanup history"
    assert f"  sudo -u narration {read}\n" in said
    earlier = machine.run("sh", "-c", read, user="narration").stdout
    assert len(earlier.splitlines()) == 2

    by_hand("run", "--quiet")
    machine.run("systemctl", "start", RUN)

    as_root = machine.run("narration-cleanup", "history", "--json").stdout
    for shown in (as_root, by_hand("history", "--json")):
        assert [run["trigger"] for run in json.loads(shown)["runs"]] == ["systemd", "hand"]
    assert stat.S_IMODE(machine.path("/var/lib/narration-cleanup").stat().st_mode) == 0o750
    assert json.loads(by_hand("stats", "--json"))["cleanup_interval_hours"] == 0.5
    checks = json.loads(by_hand("check", "--json"))["checks"]
    assert [each["check"] for each in checks if each["status"] == "failed"] == []
    assert "schedule.units" in {each["check"] for each in checks}


def test_uninstall_takes_away_what_install_wrote_and_nothing_else(
    machine: Container, service: Service
) -> None:
    machine.run("narration-cleanup", "systemd", "install")
    machine.run("systemctl", "start", RUN)
    other = "/etc/systemd/system/narration-cleanup@other.service"
    machine.write(other, "[Service]\nExecStart=/bin/true\n")

    said = machine.run("narration-cleanup", "systemd", "uninstall").stdout

    assert said.count("Removed ") == 3
    left = sorted(path.name for path in machine.path("/etc/systemd/system").glob("narration-*"))
    assert left == [Path(other).name]
    assert show(machine, TIMER, "LoadState") == "not-found"
    assert machine.path(CONFIG).exists()
    assert machine.path("/var/lib/narration-cleanup").is_dir()
    again = machine.run("narration-cleanup", "systemd", "uninstall", "--instance=other").stdout
    assert "was not installed by this command" in again
    assert machine.path(other).exists()
    assert machine.run("narration-cleanup", "systemd", "status", check=False).returncode == 1
    machine.path(other).unlink()
