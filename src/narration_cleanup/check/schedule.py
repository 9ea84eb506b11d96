"""Whether runs are started, and whether they succeed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

from narration_cleanup.check.finding import Finding, failed, passed, warning
from narration_cleanup.core.errors import CleanupError, ConfigError
from narration_cleanup.core.users import can_read_in
from narration_cleanup.report.format import age, clock
from narration_cleanup.report.history import SCHEDULED_BY
from narration_cleanup.report.run_record import RUNNING, Counters, RunRecord
from narration_cleanup.run.collect_stats import RecentRuns, read_recent_runs
from narration_cleanup.settings import Settings, history_elsewhere
from narration_cleanup.settings.sources import NO_STATE_DIR, make_readable
from narration_cleanup.systemd import compare, status
from narration_cleanup.systemd.discover import CREDENTIALS, find_facts, for_units_alone
from narration_cleanup.systemd.status import Schedule

LATE_AFTER = 2.0
"""Intervals without a success after which something is wrong: one may be missed, two not."""
FIRST_OF_UNITS = 200
"""Exit codes from here on are systemd's own: it could not start the program."""
_UNIT_CODES = {203: "/EXEC", 216: "/GROUP", 217: "/USER", 226: "/NAMESPACE", 243: "/CREDENTIALS"}
_CRON = "a line for cron: narration-cleanup systemd install --print cron"
_INSTALL = f"narration-cleanup systemd install, or {_CRON}"


def check_schedule(settings: Settings, now: float) -> Iterator[Finding]:
    """The timer or cron, the last run, and the last success."""
    schedule, why, remedy = None, "systemd has no narration-cleanup.timer", _INSTALL
    try:
        schedule = status.find_schedule(settings.config_file)
        if schedule is not None:
            why = f"{schedule.timer} is not enabled"
        elif not status.is_running():
            why, remedy = "there is no systemd", _CRON
    except CleanupError as error:
        why, remedy = f"systemd could not be asked ({error})", "run check as root"
    if schedule is not None and schedule.interval_hours is not None:
        cleanup = replace(settings.cleanup, interval_hours=schedule.interval_hours)
        settings = replace(settings, cleanup=cleanup)
    yield from _starter(settings, schedule, why, remedy)
    unreadable: list[str] = []
    past = read_recent_runs(settings, unreadable.append)
    for text in unreadable:
        remedy = "the next run moves a damaged history aside; else give this user the right to it"
        yield failed("runs.history", text, remedy)
    if elsewhere := history_elsewhere(settings):
        yield warning("runs.history", elsewhere, "run check as that user")
    elif past.counters is not None and settings.cleanup.state_dir != NO_STATE_DIR:
        yield from _runs(past, past.counters, settings.cleanup.interval_hours * 3_600, now)


def _starter(
    settings: Settings, schedule: Schedule | None, why: str, remedy: str
) -> Iterator[Finding]:
    """What starts runs; ``why`` no timer of systemd's does. Any one is enough."""
    tables, by = status.cron_tables(settings.config_file), os.environ.get(SCHEDULED_BY)
    wanted = schedule is not None and schedule.enabled and not (tables or by)
    if schedule is not None and (schedule.active or wanted):
        yield _timer(schedule)
        yield from _units(schedule, settings)
        return
    if tables:
        yield passed("schedule", "cron starts runs", tables)
    elif by:
        yield passed("schedule", f"{by} starts runs ({SCHEDULED_BY})")
    else:
        yield warning("schedule", f"nothing is known to start runs: {why}, nor cron", remedy)
        return
    if missing := for_units_alone(settings, os.environ):
        remedy = f"put them into the configuration file ({make_readable()})"
        yield failed("schedule.credentials", missing, remedy)
    elif CREDENTIALS.exists() and not can_read_in(CREDENTIALS):
        message = f"what is in {CREDENTIALS} is for systemd's units alone, and only root reads it"
        remedy = "run check as root, which reports settings that these runs are without"
        yield warning("schedule.credentials", message, remedy)


def _timer(schedule: Schedule) -> Finding:
    timer = schedule.timer
    if not schedule.active:
        remedy = f"systemctl enable --now {timer}"
        return failed("schedule", f"{timer} is installed, and not active", remedy)
    if not schedule.enabled:
        remedy = f"systemctl enable {timer}"
        return warning("schedule", f"{timer} is active, and would not be after a reboot", remedy)
    if schedule.next_run is None and not schedule.running:
        remedy = f"systemctl list-timers {timer}; then install it again: {_INSTALL}"
        return failed("schedule", f"{timer} is active, but has no next run", remedy)
    when = "" if schedule.next_run is None else f", next at {clock(schedule.next_run.timestamp())}"
    return passed("schedule", f"{timer} is active{when}")


def _units(schedule: Schedule, settings: Settings) -> Iterator[Finding]:
    """Whether the units are those that the settings would make, and could start their run."""
    install = "narration-cleanup systemd install"
    if schedule.for_user:
        install += " --user"
    if schedule.instance is not None:
        install += f" --instance {schedule.instance}"
    code = schedule.last_exit or 0
    if schedule.last_result not in (None, "success") and code >= FIRST_OF_UNITS:
        name = _UNIT_CODES.get(code, "")
        yield failed(
            "schedule.result",
            f"{schedule.service} could not start its run: exit {code}{name}, so nothing is cleaned",
            f"{install}; journalctl -u {schedule.service} names what is missing",
        )
    try:
        named = settings.cleanup.user is not None
        local_database = settings.requests.db is not None and "://" not in settings.requests.db
        installation = find_facts(
            settings, os.environ, for_user=schedule.for_user, instance=schedule.instance
        )
        differences = compare.unit_differences(installation, user_known=named or local_database)
    except (ConfigError, ValueError) as error:
        message = f"the units cannot be compared: {error}"
        yield warning("schedule.units", message, f"correct it, then: {install}")
        return
    if differences is None:
        return
    if differences:
        message = f"{schedule.service} is not as the settings are: {'; '.join(differences)}"
        yield failed("schedule.units", message, install)
    else:
        yield passed(
            "schedule.units", "the units have the folders, user, interval and alerts as set"
        )


def _runs(past: RecentRuns, counters: Counters, interval: float, now: float) -> Iterator[Finding]:
    if past.last is None and past.latest is None:
        yield warning("runs.last", "no run is recorded yet", "narration-cleanup run")
        return
    # A run that hangs is at work; one that came later says that it found the lock held.
    newest = max(filter(None, (past.latest, past.last)), key=lambda run: run.id)
    yield _last(newest, now)
    success = counters.last_success_at
    if success is None:
        remedy = "narration-cleanup history; narration-cleanup run says what is wrong"
        yield failed(
            "runs.last_success", "no run on this cache and database has succeeded yet", remedy
        )
    elif now - success > LATE_AFTER * interval:
        message = (
            f"the last success is {age(now - success)} ago; a run is due every {age(interval)}"
        )
        remedy = "see that runs are started (schedule), then: narration-cleanup history"
        yield failed("runs.last_success", message, remedy)
    else:
        yield passed("runs.last_success", f"{age(max(0.0, now - success))} ago")


def _last(run: RunRecord, now: float) -> Finding:
    when = f"run {run.id}, {age(max(0.0, now - run.started_at))} ago"
    if run.outcome == RUNNING:
        return passed("runs.last", f"{when}, is at work")
    if run.success:
        return passed("runs.last", f"{when}: {run.outcome}")
    remedy = f"narration-cleanup history show {run.id}"
    why = "; ".join(run.message.splitlines())  # each fault of the settings is a line
    return warning("runs.last", f"{when}: {run.outcome}: {why}", remedy)
