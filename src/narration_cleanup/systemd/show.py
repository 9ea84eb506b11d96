"""The schedule in words, and as a document."""

from __future__ import annotations

from datetime import datetime

from narration_cleanup.systemd.status import Schedule

SCHEMA_VERSION = 1
"""The version of the document's form: that of ``schemas/systemd.schema.json``."""
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


def schedule_document(schedule: Schedule | None) -> dict[str, object]:
    """The schedule for `--json`: times in ISO form with offset, null for what is not known."""
    if schedule is None:
        return {"schema_version": SCHEMA_VERSION, "installed": False}
    return {
        "schema_version": SCHEMA_VERSION,
        "installed": True,
        "timer": schedule.timer,
        "service": schedule.service,
        "enabled": schedule.enabled,
        "active": schedule.active,
        "running": schedule.running,
        "next_run": _iso(schedule.next_run),
        "last_run": _iso(schedule.last_run),
        "last_result": schedule.last_result,
        "last_exit": schedule.last_exit,
    }


def _result(schedule: Schedule) -> str:
    if schedule.running:
        return "running now"
    if schedule.last_result is None:
        return "not known since the last boot" if schedule.last_run else "it has not run yet"
    return f"{schedule.last_result} (exit {schedule.last_exit})"


def _time(moment: datetime | None) -> str:
    return "-" if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M:%S %z")


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
