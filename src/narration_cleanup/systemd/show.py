"""The schedule in words."""

from __future__ import annotations

from datetime import datetime

from narration_cleanup.systemd.status import Schedule

NOT_INSTALLED = "No timer of systemd is installed here: narration-cleanup systemd install"


def schedule_lines(schedule: Schedule | None) -> list[str]:
    """The schedule, a line for each fact."""
    if schedule is None:
        return [NOT_INSTALLED]
    state = "enabled" if schedule.enabled else "not enabled"
    state += ", active" if schedule.active else ", not active: it starts nothing"
    return [
        f"Timer     {schedule.timer} ({state})",
        f"Next run  {_time(schedule.next_run)}",
        f"Last run  {_time(schedule.last_run)}",
        f"Result    {_result(schedule)}",
    ]


def _result(schedule: Schedule) -> str:
    if schedule.running:
        return "running now"
    if schedule.last_result is None:
        return "not known since the last boot" if schedule.last_run else "it has not run yet"
    return f"{schedule.last_result} (exit {schedule.last_exit})"


def _time(moment: datetime | None) -> str:
    return "-" if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M:%S %z")
