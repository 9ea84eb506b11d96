"""Which process a run is: enough to check later whether it is still alive, and who started it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from narration_cleanup.report.run_record import Trigger

FILE_NAME = "history.db"
Start = tuple[float, str]
"""When a run began, in Unix seconds, and what started it (``Trigger``)."""

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
BOOT_ID_VARIABLE = "NARRATION_BOOT_ID"
"""Where a unit with ``ProcSubset=pid``, which hides the file above, passes systemd's ``%b``."""

SCHEDULED_BY = "NARRATION_SCHEDULED_BY"
"""Set to any word where a scheduler starts runs that leaves no other trace, as a CronJob."""

_CRON_NAMES = frozenset({"cron", "crond", "anacron", "fcron", "supercronic"})
_MOST_ANCESTORS = 6


class ProcessMark(msgspec.Struct, frozen=True):
    """A process that no later one can be mistaken for: pids are used again, these three are not.

    ``pid_started`` is in clock ticks since boot; ``None`` where there is no ``/proc``.
    """

    pid: int
    pid_started: int | None
    boot_id: str | None


class ClockMark(msgspec.Struct, frozen=True):
    """Two clocks read at one moment: the wall clock, which may be set, and time since boot.

    Both in seconds. ``refused``: the run that left this mark refused because the clocks disagreed.
    ``boot_id`` is ``None`` where it cannot be known: then no jump can be found.
    """

    boot_id: str | None
    since_boot: float
    wall: float
    refused: bool = False


def this_process(environ: Mapping[str, str] = os.environ) -> ProcessMark:
    """The mark of the running process."""
    pid = os.getpid()
    return ProcessMark(pid, _started(pid), boot_id(environ))


def is_alive(mark: ProcessMark) -> bool:
    """Whether the process of ``mark`` still runs. In doubt it does: nothing is called killed."""
    here = boot_id()
    if mark.boot_id is not None and here is not None and mark.boot_id != here:
        return False
    try:
        os.kill(mark.pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's process: alive, if it is still that one
        pass
    _, rest = _stat(mark.pid)
    if rest and rest[0] in "ZX":  # ended, and not yet fetched by its parent
        return False
    started = _started(mark.pid)
    return started is None or mark.pid_started is None or started == mark.pid_started


def read_clocks(
    wall: float, environ: Mapping[str, str] = os.environ, *, refused: bool = False
) -> ClockMark | None:
    """Both clocks; the caller has just read ``wall``. ``None`` without a boot-time clock."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return None
    return ClockMark(boot_id(environ), time.clock_gettime(time.CLOCK_BOOTTIME), wall, refused)


def boot_id(environ: Mapping[str, str] = os.environ) -> str | None:
    """The kernel's name for this boot, without dashes."""
    try:
        found = BOOT_ID.read_text()
    except OSError:
        found = environ.get(BOOT_ID_VARIABLE, "")
    return found.strip().replace("-", "") or None


def trigger_of(environ: Mapping[str, str] = os.environ) -> Trigger:
    """Who started this process.

    ``INVOCATION_ID`` alone would not do: a shell in a desktop terminal has it too. systemd sets
    the process's own pid in ``SYSTEMD_EXEC_PID``, and, from version 252, which
    timer it was (``TRIGGER_TIMER_REALTIME_USEC``, ``TRIGGER_UNIT``).
    """
    if environ.get("SYSTEMD_EXEC_PID") == str(os.getpid()):
        timer = "TRIGGER_TIMER_REALTIME_USEC" in environ or environ.get(
            "TRIGGER_UNIT", ""
        ).endswith(".timer")
        return Trigger.TIMER if timer else Trigger.SYSTEMD
    if environ.get(SCHEDULED_BY):
        return Trigger.CRON
    pid = os.getppid()
    for _ in range(_MOST_ANCESTORS):
        name, rest = _stat(pid)
        if name.lower() in _CRON_NAMES:
            return Trigger.CRON
        pid = int(rest[1]) if len(rest) > 1 else 0  # its parent
        if pid <= 1:
            break
    return Trigger.HAND


def _started(pid: int) -> int | None:
    _, rest = _stat(pid)
    return int(rest[19]) if len(rest) > 19 else None


def _stat(pid: int) -> tuple[str, list[str]]:
    """The name and the fields after it (state first) of ``/proc/PID/stat``; see proc(5)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return "", []
    name, _, rest = text.partition("(")[2].rpartition(")")  # a name may hold brackets itself
    return name, rest.split()
