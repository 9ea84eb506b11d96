"""What starts runs here, as systemd and cron report it, by their own commands."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from narration_cleanup.core.errors import CleanupError
from narration_cleanup.core.files import first_bytes
from narration_cleanup.core.text import printable
from narration_cleanup.settings.sources import APP, FILE_VARIABLE, instance_of

SYSTEM_UNITS = Path("/etc/systemd/system")
_RUNNING = Path("/run/systemd/system")  # what sd_booted(3) checks


def is_running() -> bool:
    """Whether this machine was booted by systemd, and its command is here."""
    return _RUNNING.is_dir() and shutil.which("systemctl") is not None


def unit_folder(*, for_user: bool) -> Path:
    """Where units are installed: /etc/systemd/system, or the user's own folder."""
    if not for_user:
        return SYSTEM_UNITS
    given = os.environ.get("XDG_CONFIG_HOME", "")
    base = Path(given) if os.path.isabs(given) else Path.home() / ".config"
    return base / "systemd/user"


def systemctl(*arguments: str, for_user: bool = False) -> str:
    """Run `systemctl`; its output. Raises `CleanupError` with what it said when it fails."""
    command = ["systemctl", *(["--user"] if for_user else []), *arguments]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
        )
    except OSError as error:
        raise CleanupError(f"cannot run systemctl: {error.strerror}") from error
    if done.returncode != 0:
        said = " ".join(done.stderr.split()) or f"exit {done.returncode}"
        hint = "; without D-Bus it answers root alone" if " bus" in said and not for_user else ""
        raise CleanupError(f"{' '.join(command[:2])}: {printable(said)}{hint}")
    return done.stdout


_PROPERTIES = (
    *("Id", "LoadState", "UnitFileState", "ActiveState", "Result", "ExecMainStatus"),
    *("ExecMainStartTimestamp", "ExecMainExitTimestamp", "LastTriggerUSec"),
    *("NextElapseUSecRealtime", "NextElapseUSecMonotonic", "Environment"),
)
_INTERVAL = re.compile(r"\bNARRATION_CLEANUP_INTERVAL_HOURS=(\d+(?:\.\d+)?)")


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """One timer and its service, as systemd knows them.

    `last_result` is systemd's word (`success`, `exit-code`, `timeout`, ...), and None where the
    service has not run since the last boot; `last_exit` is its exit code. `running` is now.
    `interval_hours` is what the unit itself sets, over the configuration (`--interval-hours`), and
    `config_file` the configuration that it names.
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
    interval_hours: float | None = None
    config_file: str | None = None
    instance: str | None = None
    for_user: bool = False

    @property
    def fails(self) -> bool:
        """Whether the timer starts nothing, or the last run failed, by systemd's judgement."""
        return not self.active or (not self.running and self.last_result not in (None, "success"))


def read_schedule(instance: str | None = None, *, for_user: bool = False) -> Schedule | None:
    """The schedule, or None where there is no systemd or no such timer.

    Raises `CleanupError` where systemd does not answer: without D-Bus it answers root alone.
    """
    if not is_running():
        return None
    stem = APP if instance is None else f"{APP}@{instance}"
    timer, service = f"{stem}.timer", f"{stem}.service"
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
    schedule = schedule_of(timer, service, found, next_in_list(listed, timer))
    return msgspec.structs.replace(schedule, instance=instance, for_user=for_user)


def find_schedule(config_file: Path | None) -> Schedule | None:
    """The schedule of the installation that `config_file` configures. A user's own manager is asked
    last. Raises `CleanupError` where the system's does not answer, and none is found.

    A unit that names another file is of another installation."""
    instance, unanswered = instance_of(config_file), None
    try:
        found = read_schedule(instance)
    except CleanupError as error:
        found, unanswered = None, error
    if found is None and os.geteuid() != 0:
        with suppress(CleanupError):  # one who is not logged in has none
            found = read_schedule(instance, for_user=True)
    if found is None and unanswered is not None:
        raise unanswered
    named = found and found.config_file
    if named and config_file is not None and not _is_same(named, config_file):
        return None
    return found


def _is_same(named: str, config_file: Path) -> bool:
    return os.path.realpath(named) == os.path.realpath(config_file)


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


def _config_file(environment: str) -> str | None:
    """The file in the `Environment` that systemd shows, which quotes as a shell does."""
    with suppress(ValueError):
        for assigned in shlex.split(environment):
            name, _, value = assigned.partition("=")
            if name == FILE_VARIABLE:
                return value
    return None


def schedule_of(
    timer: str, service: str, found: dict[str, dict[str, str]], listed_next: datetime | None
) -> Schedule:
    """The schedule that the shown properties of timer and service say."""
    of_timer, of_service = found[timer], found.get(service, {})
    started = _moment(of_service.get("ExecMainStartTimestamp"))
    ended = _moment(of_service.get("ExecMainExitTimestamp")) is not None
    interval = _INTERVAL.search(of_service.get("Environment", ""))
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
        interval_hours=float(interval[1]) if interval else None,
        config_file=_config_file(of_service.get("Environment", "")),
    )


def _moment(text: str | None) -> datetime | None:
    """A time as `--timestamp=unix` writes it (`@1795445639`); None for none (`n/a`, empty)."""
    if not text or not text.startswith("@"):
        return None
    try:
        return datetime.fromtimestamp(float(text[1:]), UTC)
    except (ValueError, OverflowError):
        return None


CRON_PLACES = tuple(
    map(Path, ("/etc/crontab", "/etc/cron.d", "/etc/cron.hourly", "/etc/cron.daily"))
)
USERS_CRONTABS = (Path("/var/spool/cron/crontabs"), Path("/var/spool/cron"))
"""Debian's and others'; root alone reads them."""
_MOST_BYTES = 1 << 20
_STARTS = re.compile(r"(?!\s*#)(?=.*narration[-_]cleanup(?!/))(?=.*\srun\b(?![-./]))")
"""No line about the tool's folders, nor about another command."""
_VALUE = r"""('[^']*'|\S+)"""
_NAMED = re.compile(
    rf"{FILE_VARIABLE}={_VALUE}|narration-cleanup['\"]?\s+(?:-c|--config)[\s=]+{_VALUE}"
)


def cron_tables(
    config_file: Path | None, places: Sequence[Path] = (*CRON_PLACES, *USERS_CRONTABS)
) -> list[str]:
    """Where cron has a line that starts runs, and names no other configuration: in the system's
    tables, and this user's own; for root, in those of all users. The lines may hold secrets."""
    texts = dict[str, str]()
    for place in places:
        with suppress(OSError):
            for file in sorted(place.iterdir()) if place.is_dir() else [place]:
                with suppress(OSError):
                    texts[str(file)] = first_bytes(file, _MOST_BYTES).decode(errors="replace")
    with suppress(OSError, subprocess.SubprocessError):
        own = subprocess.run(
            ["crontab", "-l"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=5
        )
        texts["crontab -l"] = own.stdout
    return [where for where, text in texts.items() if _starts_runs(text, config_file)]


def _starts_runs(text: str, config_file: Path | None) -> bool:
    for line in text.replace("\\\n", " ").splitlines():
        if _STARTS.match(line):
            found = _NAMED.search(line)
            named = (found[1] or found[2]).strip("'\"").replace("\\%", "%") if found else ""
            other = named.startswith("/") and config_file and not _is_same(named, config_file)
            if not other:
                return True
    return False
