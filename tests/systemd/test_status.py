"""What systemd says, read."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from narration_cleanup.cli.systemd import (
    NOT_INSTALLED,
    schedule_document,
    schedule_lines,
    systemd_app,
)
from narration_cleanup.core.errors import CleanupError
from narration_cleanup.systemd import status
from narration_cleanup.systemd.status import (
    next_in_list,
    parse_show,
    schedule_of,
)

TIMER, SERVICE = "narration-cleanup.timer", "narration-cleanup.service"
# As systemd 252 writes it (shortened).
SHOWN = """\
Result=success
NextElapseUSecRealtime=@1795456800
NextElapseUSecMonotonic=infinity
LastTriggerUSec=@1795434725
Id=narration-cleanup.timer
LoadState=loaded
ActiveState=active
UnitFileState=enabled

ExecMainStartTimestamp=@1795434725
ExecMainExitTimestamp=@1795434726
ExecMainStatus=1
Result=exit-code
Id=narration-cleanup.service
LoadState=loaded
ActiveState=failed
UnitFileState=static
"""


def test_a_failed_run_is_read_with_its_times() -> None:
    schedule = schedule_of(TIMER, SERVICE, parse_show(SHOWN), None)
    assert msgspec.to_builtins(schedule_document(schedule)) == {
        "schema_version": 1,
        "installed": True,
        "timer": TIMER,
        "service": SERVICE,
        "enabled": True,
        "active": True,
        "running": False,
        "next_run": "2026-11-23T18:00:00+00:00",
        "last_run": "2026-11-23T11:52:05+00:00",
        "last_result": "exit-code",
        "last_exit": 1,
    }
    assert schedule_lines(schedule) == [
        "Timer     narration-cleanup.timer (enabled, active)",
        "Next run  2026-11-23 18:00 UTC",
        "Last run  2026-11-23 11:52 UTC",
        "Result    exit-code (exit 1)",
    ]
    assert schedule.fails
    assert not replace(schedule, last_result="success", last_exit=0).fails
    assert replace(schedule, last_result="success", last_exit=0, active=False).fails
    assert not replace(schedule, running=True).fails


def test_after_a_boot_the_stamp_of_the_timer_is_all_that_is_known() -> None:
    shown = SHOWN.replace("ExecMainStartTimestamp=@1795434725", "ExecMainStartTimestamp=")
    shown = shown.replace("ExecMainExitTimestamp=@1795434726", "ExecMainExitTimestamp=")
    schedule = schedule_of(TIMER, SERVICE, parse_show(shown), None)
    assert schedule.last_run == datetime(2026, 11, 23, 11, 52, 5, tzinfo=UTC)
    assert (schedule.last_result, schedule.last_exit) == (None, None)
    assert schedule_lines(schedule)[-1] == "Result    not known since the last boot"


def test_a_timer_that_is_off_says_so() -> None:
    shown = SHOWN.replace("=active", "=inactive").replace("=enabled", "=disabled")
    shown = shown.replace("=@1795456800", "=").replace("=@1795434725", "=")
    shown = shown.replace("=@1795434726", "=")
    lines = schedule_lines(schedule_of(TIMER, SERVICE, parse_show(shown), None))
    assert lines == [
        "Timer     narration-cleanup.timer (not enabled, not active: it starts nothing)",
        "Next run  -",
        "Last run  -",
        "Result    it has not run yet",
    ]


def test_a_run_at_this_moment() -> None:
    shown = SHOWN.replace("ActiveState=failed", "ActiveState=activating")
    schedule = schedule_of(TIMER, SERVICE, parse_show(shown), None)
    assert schedule.running
    assert schedule_lines(schedule)[-1] == "Result    running now"


def test_the_list_of_timers_knows_when_a_monotonic_one_elapses() -> None:
    listed = (
        '[{"next":1795445639784941,"left":5,"last":0,"passed":0,"unit":"narration-cleanup.timer"}]'
    )
    expected = datetime(2026, 11, 23, 14, 53, 59, 784941, tzinfo=UTC)
    assert next_in_list(listed, TIMER) == expected
    for other in (None, "", "[]", "{", "[1]", '[{"unit":"x"}]', listed.replace("17954", "x")):
        assert next_in_list(other, TIMER) is None
    assert next_in_list(listed, "other.timer") is None


@pytest.mark.parametrize(
    ("file", "asked"),
    [
        (None, [(None, False), (None, True)]),
        ("/etc/narration-cleanup/config.toml", [(None, False), (None, True)]),
        ("/etc/narration-cleanup/voices.toml", [("voices", False), ("voices", True)]),
        ("/home/me/voices.toml", [(None, False), (None, True)]),
    ],
)
def test_the_configuration_file_tells_which_timer_is_meant(
    file: str | None, asked: list[tuple[str | None, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str | None, bool]] = []

    def read(instance: str | None, *, for_user: bool = False) -> None:
        seen.append((instance, for_user))

    monkeypatch.setattr(status, "read_schedule", read)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert status.find_schedule(None if file is None else Path(file)) is None
    assert seen == asked
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    seen.clear()
    status.find_schedule(None)
    assert seen == [(None, False)]


def test_a_systemd_that_does_not_answer_is_not_one_without_a_timer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where there is no D-Bus, and for a user who is not logged in."""

    def no_bus(*arguments: str, for_user: bool = False) -> str:
        raise CleanupError("systemctl show: Failed to connect to bus")

    monkeypatch.setattr(status, "is_running", lambda: True)
    monkeypatch.setattr(status, "systemctl", no_bus)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(CleanupError, match="connect to bus"):
        status.find_schedule(None)
    asked = CliRunner().invoke(systemd_app, ["status"])
    assert (asked.exit_code, asked.output) == (1, "")
    assert "connect to bus" in str(asked.exception)
    not_there = "Id=narration-cleanup.timer\nLoadState=not-found\n"
    monkeypatch.setattr(
        status,
        "systemctl",
        lambda *each, for_user: no_bus() if for_user else not_there,
    )
    assert status.find_schedule(None) is None


def test_a_timer_of_another_configuration_is_not_this_ones(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A cache that is tried by hand beside an installed one has no schedule."""
    file, link = tmp_path / "of the service.toml", tmp_path / "link.toml"
    link.symlink_to(file)
    shown = f'{SHOWN}Environment=TYPER_USE_RICH=0 "NARRATION_CLEANUP_CONFIG={file}"\n'
    monkeypatch.setattr(status, "is_running", lambda: True)
    monkeypatch.setattr(status, "systemctl", lambda *_, for_user: shown)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for config in (None, file, link):
        found = status.find_schedule(config)
        assert found is not None
        assert found.active
    assert status.find_schedule(tmp_path / "demo" / "narration-cleanup.toml") is None
    monkeypatch.setattr(status, "systemctl", lambda *_, for_user: SHOWN)  # that names no file
    assert status.find_schedule(tmp_path / "demo" / "narration-cleanup.toml") is not None


def test_the_unit_may_have_an_interval_of_its_own() -> None:
    """`--interval-hours` is in the unit alone, and judges what is late there and by hand."""
    shown = f"{SHOWN}Environment=TYPER_USE_RICH=0 NARRATION_CLEANUP_INTERVAL_HOURS=0.5\n"
    assert schedule_of(TIMER, SERVICE, parse_show(shown), None).interval_hours == 0.5
    assert schedule_of(TIMER, SERVICE, parse_show(SHOWN), None).interval_hours is None


def test_nothing_installed() -> None:
    assert msgspec.to_builtins(schedule_document(None)) == {"schema_version": 1, "installed": False}
    assert schedule_lines(None) == [NOT_INSTALLED]
