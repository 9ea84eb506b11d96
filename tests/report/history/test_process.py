"""Which process a run is, and who started it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from narration_cleanup.report.history import (
    is_alive,
    process,
    read_clocks,
    this_process,
    trigger_of,
)


def test_this_process_is_alive() -> None:
    assert is_alive(this_process())


def test_a_process_of_another_boot_is_not() -> None:
    assert not is_alive(msgspec.structs.replace(this_process(), boot_id="f" * 32))


def test_another_process_with_the_same_pid_is_not() -> None:
    mark = this_process()
    assert mark.pid_started is not None
    assert not is_alive(msgspec.structs.replace(mark, pid_started=mark.pid_started + 1))


def test_what_ended_and_was_not_fetched_is_not_alive() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.read()  # ends when the child does
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    mark = msgspec.structs.replace(
        this_process(), pid=child.pid, pid_started=process._started(child.pid)
    )
    assert not is_alive(mark)
    child.stdout.close()
    child.wait()


def test_another_users_process_is_alive() -> None:
    mark = msgspec.structs.replace(this_process(), pid=1, pid_started=process._started(1))
    assert is_alive(mark)


def test_the_boot_id_comes_from_the_unit_where_proc_hides_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "BOOT_ID", Path("/nonexistent"))
    dashed = "42193c00-15e3-48aa-a7bb-23e78feffd7b"
    assert process.boot_id({"NARRATION_BOOT_ID": dashed}) == dashed.replace("-", "")
    assert process.boot_id({}) is None


def test_both_clocks_are_read() -> None:
    first, second = read_clocks(time.time()), read_clocks(time.time())
    assert first is not None
    assert second is not None
    assert second.since_boot >= first.since_boot > 0
    assert not first.refused


def test_started_by_a_timer_by_systemd_or_by_hand() -> None:
    mine = {"SYSTEMD_EXEC_PID": str(os.getpid()), "INVOCATION_ID": "a" * 32}
    assert trigger_of(mine | {"TRIGGER_TIMER_REALTIME_USEC": "1"}) == "timer"
    assert trigger_of(mine | {"TRIGGER_UNIT": "narration-cleanup.timer"}) == "timer"
    assert trigger_of(mine) == "systemd"
    assert trigger_of({}) == "hand"
    assert trigger_of({"INVOCATION_ID": "a" * 32, "SYSTEMD_EXEC_PID": "1"}) == "hand"


def test_started_by_cron(tmp_path: Path) -> None:
    """A process called cron that starts a shell that starts the program."""
    cron = tmp_path / "cron"
    cron.symlink_to(Path(os.path.realpath("/bin/sh")))
    program = "from narration_cleanup.report.history import trigger_of; print(trigger_of({}))"
    script = f"{sys.executable} -c '{program}'; :"
    done = subprocess.run([cron, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "cron\n"
