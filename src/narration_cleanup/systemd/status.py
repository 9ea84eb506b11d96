"""What systemd itself says of the schedule: when it ran, how that ended, when it runs next."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from narration_cleanup.core.errors import CleanupError
from narration_cleanup.systemd.installation import CONFIG_DIR, NAME
from narration_cleanup.systemd.manager import is_running, systemctl

_PROPERTIES = (
    *("Id", "LoadState", "UnitFileState", "ActiveState", "Result", "ExecMainStatus"),
    *("ExecMainStartTimestamp", "ExecMainExitTimestamp", "LastTriggerUSec"),
    *("NextElapseUSecRealtime", "NextElapseUSecMonotonic"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """One timer and its service, as systemd knows them.

    `last_result` is systemd's word (`success`, `exit-code`, `timeout`, ...), and None where the
    service has not run since the last boot; `last_exit` is its exit code. `running` is now.
    """

    timer: str
    service: str
    enabled: bool
    active: bool
    running: bool
    next_run: datetime | None
    last_run: datetime | None
    last_result: str | None
    last_exit: int | None
    instance: str | None = None
    for_user: bool = False

    @property
    def fails(self) -> bool:
        """Whether the timer starts nothing, or the last run failed, by systemd's judgement."""
        return not self.active or (not self.running and self.last_result not in (None, "success"))


def read_schedule(instance: str | None = None, *, for_user: bool = False) -> Schedule | None:
    """The schedule, or None where there is no systemd, no answer, or no such timer."""
    if not is_running():
        return None
    stem = NAME if instance is None else f"{NAME}@{instance}"
    timer, service = f"{stem}.timer", f"{stem}.service"
    try:
        shown = systemctl(
            "show",
            "--timestamp=unix",
            f"--property={','.join(_PROPERTIES)}",
            timer,
            service,
            for_user=for_user,
        )
        found = parse_show(shown)
        if found.get(timer, {}).get("LoadState") != "loaded":
            return None
        listed = None
        if _moment(found[timer].get("NextElapseUSecRealtime")) is None:
            listed = systemctl("list-timers", "--all", "--output=json", timer, for_user=for_user)
    except CleanupError:
        return None
    schedule = schedule_of(timer, service, found, next_in_list(listed, timer))
    return replace(schedule, instance=instance, for_user=for_user)


def find_schedule(config_file: Path | None) -> Schedule | None:
    """The schedule of the installation that `config_file` configures: NAME.toml beside the
    system's own file is that of the instance NAME. A user's own manager is asked last."""
    instance = None
    if config_file is not None and config_file.parent == CONFIG_DIR:
        instance = None if config_file.stem == "config" else config_file.stem
    found = read_schedule(instance)
    if found is None and os.geteuid() != 0:
        found = read_schedule(instance, for_user=True)
    return found


def parse_show(output: str) -> dict[str, dict[str, str]]:
    """`systemctl show` of several units, by unit name: one block each, empty lines between."""
    blocks = (
        dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        for block in output.split("\n\n")
    )
    return {block["Id"]: block for block in blocks if "Id" in block}


def next_in_list(output: str | None, timer: str) -> datetime | None:
    """When `systemctl list-timers --output=json` says the timer elapses; it alone turns the times
    of monotonic timers into wall-clock ones (microseconds since the epoch)."""
    try:
        rows = json.loads(output or "[]")
        found = next((row["next"] for row in rows if row["unit"] == timer), None)
    except (ValueError, TypeError, KeyError):
        return None
    return datetime.fromtimestamp(found / 1e6, UTC) if isinstance(found, int) and found else None


def schedule_of(
    timer: str, service: str, found: dict[str, dict[str, str]], listed_next: datetime | None
) -> Schedule:
    """The schedule that the shown properties of timer and service say."""
    of_timer, of_service = found[timer], found.get(service, {})
    started = _moment(of_service.get("ExecMainStartTimestamp"))
    ended = _moment(of_service.get("ExecMainExitTimestamp")) is not None
    return Schedule(
        timer=timer,
        service=service,
        enabled=of_timer.get("UnitFileState") in {"enabled", "enabled-runtime"},
        active=of_timer.get("ActiveState") == "active",
        running=of_service.get("ActiveState") == "activating",
        next_run=_moment(of_timer.get("NextElapseUSecRealtime")) or listed_next,
        # A run by hand is a run too; after a boot, only the timer's own stamp knows of one.
        last_run=started or _moment(of_timer.get("LastTriggerUSec")),
        last_result=of_service.get("Result") if ended else None,
        last_exit=int(of_service.get("ExecMainStatus", "0")) if ended else None,
    )


def _moment(text: str | None) -> datetime | None:
    """A time as `--timestamp=unix` writes it (`@1795445639`); None for none (`n/a`, empty)."""
    if not text or not text.startswith("@"):
        return None
    try:
        return datetime.fromtimestamp(float(text[1:]), UTC)
    except (ValueError, OverflowError):
        return None
