"""`notify`: report a unit's end, for `OnFailure=` and `OnSuccess=`, or send a trial message."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from narration_cleanup.core.errors import ConfigError, settings_warning
from narration_cleanup.core.exit_codes import ExitCode
from narration_cleanup.core.text import printable, printable_line
from narration_cleanup.report.alert_policy import attention
from narration_cleanup.run.collect_stats import past_runs
from narration_cleanup.run.recorder import host_name, notify_of
from narration_cleanup.run.run_as import act_as, check_source
from narration_cleanup.settings import load_partial, load_settings
from narration_cleanup.settings.sources import CONFIG_DIR, SYSTEM_STATE, instance_of
from narration_cleanup.systemd.discover import credentials_folder, with_credentials

_INSTANCE = r"narration-cleanup@([A-Za-z0-9_.-]+)\.service"


def notify_command(
    context: typer.Context,
    unit: Annotated[
        str | None, typer.Option("--unit", metavar="NAME", help="The unit that has ended.")
    ] = None,
    start: Annotated[
        bool,
        typer.Option(
            "--start",
            metavar="",
            help="With --unit: it begins, and only the ping's /start is sent.",
        ),
    ] = False,
    test: Annotated[bool, typer.Option("--test", metavar="", help="Send a trial message.")] = False,
) -> None:
    """Report how a run under systemd ended, by what systemd and the journal know of it.

    The run itself may have no network: its OnFailure= and OnSuccess= units call this.
    """
    if test == (unit is not None):
        raise typer.BadParameter("give either --unit NAME or --test")
    if test and start:
        raise typer.BadParameter("--start requires --unit NAME: a trial sends no ping")
    said = _trial(context) if test else _notify_of_unit(context, unit or "", start=start)
    for line in said:
        print(f"ERROR - {printable_line(line)} [alert_not_sent]", file=sys.stderr)
    raise typer.Exit(ExitCode.FAILED if said else ExitCode.DONE)


def config_of(unit: str, named: Path | None, *, folder: Path = CONFIG_DIR) -> Path | None:
    """The configuration file: the one that is named, else, for the instance NAME of the template,
    NAME.toml in /etc/narration-cleanup."""
    instance = re.fullmatch(_INSTANCE, unit)
    if named is not None or os.environ.get("NARRATION_CLEANUP_CONFIG") or instance is None:
        return named
    file = folder / f"{instance[1]}.toml"
    return file if file.exists() else None


def _notify_of_unit(context: typer.Context, unit: str, *, start: bool) -> list[str]:
    """Notify; return what could not be sent. A run that failed for its settings is reported too,
    so these are read as far as they are right."""
    file = config_of(unit, context.obj)
    # A user that systemd made up has no home, which is no fault of the settings.
    environ = {"STATE_DIRECTORY": str(SYSTEM_STATE), **os.environ}
    settings, faults, _ = load_partial(flags={}, config_file=file, environ=environ)
    check_source(settings)
    alerts = settings.alerts
    said = []
    for fault in faults:
        # Of any other fault the run's own report is sent.
        if alerts.has_target and "alert" not in fault.lower():
            print(settings_warning(fault), file=sys.stderr)
        else:
            said.append(f"the settings for alerts cannot be read whole: {fault}")
    if not alerts.has_target:
        typer.echo("No alert target is configured: neither alerts.ping_url nor alerts.urls is set.")
        return said
    from narration_cleanup.report.notify import ping_start, records_with, unit_end

    if start:
        url, style = alerts.ping_url, alerts.ping_style
        wrong = None if url is None else ping_start(url, style)
        return said if wrong is None else [*said, wrong]
    end = unit_end(unit, os.environ)
    records = records_with(end, past_runs(settings.cleanup.state_dir, said.append), time.time())
    record = records[-1]
    found = attention(records)
    notify_of(record, alerts, said.append, lines=end.lines, unit=unit, found=found)
    typer.echo(f"{printable(unit)}: {record.outcome}")
    return said


def _trial(context: typer.Context) -> list[str]:
    """Send a trial message; what could not be sent."""
    environ = with_credentials(os.environ, context.obj)
    settings = act_as(load_settings(flags={}, config_file=context.obj, environ=environ))
    alerts = settings.alerts
    if not alerts.has_target:
        credentials = credentials_folder(instance_of(context.obj))
        if os.path.isdir(credentials) and not os.access(credentials, os.R_OK | os.X_OK):
            raise ConfigError(
                f"this user finds no alert target, and may not read {credentials}, where the unit "
                "may have one: run it as root"
            )
        raise ConfigError("no alert target is configured: set alerts.urls (NARRATION_ALERTS_URLS)")
    from narration_cleanup.report.notify import send, trial_message

    said = send(trial_message(host_name()), alerts.urls)
    sent = len(alerts.urls) - len(said)
    if alerts.urls:
        typer.echo(f"Sent a trial message to {sent} of {len(alerts.urls)} (alerts.urls).")
    if alerts.ping_url is not None:
        typer.echo("alerts.ping_url is not tried: a ping would count as a run.")
    return said
