"""`systemd install`, `systemd uninstall` and `systemd status`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from narration_cleanup.cli import complete
from narration_cleanup.cli.lazy import LazyCommand, LazyGroup
from narration_cleanup.cli.options import this_program
from narration_cleanup.core.errors import CleanupError, ConfigError
from narration_cleanup.core.text import printable, printable_line
from narration_cleanup.core.users import account_of
from narration_cleanup.report.documents import SCHEMA_VERSION, like, setup_types, write
from narration_cleanup.report.format import clock
from narration_cleanup.run.run_as import check_source
from narration_cleanup.settings import Settings, load_settings, require_target
from narration_cleanup.settings.sources import CONFIG_DIR, with_state
from narration_cleanup.systemd.discover import (
    check_instance,
    find_facts,
    for_units_alone,
    missing_folders,
    with_credentials,
)
from narration_cleanup.systemd.install import (
    check_user,
    earlier_histories,
    enable,
    make_folders,
    remove,
    write_handed,
    write_units,
)
from narration_cleanup.systemd.installation import Installation, service_name, timer_name
from narration_cleanup.systemd.status import Schedule, is_running, read_schedule, unit_folder
from narration_cleanup.systemd.units import render

NOT_INSTALLED = "No timer of systemd is installed here: narration-cleanup systemd install"

systemd_app = typer.Typer(
    name="systemd",
    help="Schedule runs with systemd (or cron).",
    no_args_is_help=True,
    cls=LazyGroup,
)


class Form(StrEnum):
    """What `install --print` prints."""

    units = "units"
    cron = "cron"


UserOption = Annotated[
    bool, typer.Option("--user", metavar="", help="In your own systemd manager; needs no root.")
]
InstanceOption = Annotated[
    str | None,
    typer.Option(
        "--instance",
        metavar="NAME",
        help=f"One of several caches, configured in {CONFIG_DIR}/NAME.toml.",
        autocompletion=complete.instances,
    ),
]


@systemd_app.command("install", cls=LazyCommand)
def install_command(
    context: typer.Context,
    form: Annotated[
        Form, typer.Argument(help="With --print: units, or a line for cron.")
    ] = Form.units,
    user: UserOption = False,
    instance: InstanceOption = None,
    only_print: Annotated[
        bool, typer.Option("--print", help="Print what would be installed, and install nothing.")
    ] = False,
    run_as: Annotated[
        str | None,
        typer.Option(
            "--run-as", metavar="USER", help="The runs' user; else the owner of the database."
        ),
    ] = None,
    interval_hours: Annotated[
        str | None,
        typer.Option(
            "--interval-hours", metavar="N", help="Instead of the setting cleanup.interval_hours."
        ),
    ] = None,
) -> None:
    """Write units made from the settings, show them, and have systemd start the timer."""
    if form is Form.cron and not only_print:
        raise typer.BadParameter("cron is printed, not installed: install --print cron")
    if user and run_as is not None:
        raise typer.BadParameter("--run-as is for system units; with --user, runs are your own")
    settings = _settings(context, instance, for_user=user, interval_hours=interval_hours)
    require_target(settings)
    installation = find_facts(
        settings,
        os.environ,
        # A crontab line needs no user in it: it is in that user's crontab.
        for_user=user or form is Form.cron,
        instance=instance,
        run_as=run_as,
    )
    if form is Form.cron:
        from narration_cleanup.systemd.cron import cron_text

        try:
            typer.echo(cron_text(installation), nl=False)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        if missing := for_units_alone(settings, os.environ):
            typer.echo(f"WARNING - {missing}: put them into the configuration file", err=True)
        return
    folder = unit_folder(for_user=user)
    try:
        units = render(installation)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if only_print:
        for name, text in units.items():
            typer.echo(f"# {folder / name}\n{text}")
    else:
        for line in _changes(units, folder):
            typer.echo(line)
        _install(installation, settings, units, folder)


def _changes(units: dict[str, str], folder: Path) -> Iterator[str]:
    """Each new unit whole, and of one that is installed already the lines that change."""
    from difflib import unified_diff

    for name, text in units.items():
        try:
            installed = (folder / name).read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            yield f"# {folder / name}: new\n{text}"
            continue
        lines = list(unified_diff(installed, text.splitlines(), n=1, lineterm=""))[2:]
        yield f"# {folder / name}: {'changes' if lines else 'unchanged'}"
        yield from map(printable_line, lines)


def _install(
    installation: Installation, settings: Settings, units: dict[str, str], folder: Path
) -> None:
    if not is_running():
        raise CleanupError(
            "there is no systemd on this machine; for cron: systemd install --print cron"
        )
    if installation.user is not None:
        if os.geteuid() != 0:
            raise CleanupError("system units need root: run this with sudo, or add --user")
        check_source(settings, account_of(installation.user).uid)
    faults = missing_folders(settings)
    if faults:
        raise ConfigError(*faults)
    check_user(installation)
    made = make_folders(installation)
    if installation.user is not None:
        write_handed(installation)
    write_units(installation, units, folder)
    enable(installation)
    for path in made:
        typer.echo(f"Made {printable(path)}")
    typer.echo(
        f"Installed {', '.join(units)} in {printable(folder)}, and started "
        f"{timer_name(installation)}"
    )
    state = installation.history or settings.cleanup.state_dir
    typer.echo(f"The history of the runs is in {printable(state)}")
    for owner, earlier in earlier_histories(installation).items():
        typer.echo(f"That of earlier runs by hand stays in {printable(earlier)}, and is read by:")
        typer.echo(printable_line(f"  {with_state(owner, earlier)} {this_program()} history"))
    if installation.user is None:
        typer.echo("To run while you are not logged in: loginctl enable-linger")
    sudo, manager = ("", " --user") if installation.user is None else ("sudo ", "")
    typer.echo("Try next:")
    instance = f" --instance {installation.instance}" if installation.instance else ""
    typer.echo(f"  {sudo}systemctl{manager} start {service_name(installation)}")
    typer.echo(f"  {this_program()} systemd status{manager}{instance}")
    typer.echo(f"  {sudo}journalctl{manager} --unit {service_name(installation)} --lines 20")


@systemd_app.command("uninstall", cls=LazyCommand)
def uninstall_command(user: UserOption = False, instance: InstanceOption = None) -> None:
    """Stop the timer and remove the units that install wrote; configuration and history stay."""
    if not is_running():
        raise CleanupError("there is no systemd on this machine")
    if instance is not None:
        check_instance(instance)
    installation = Installation(program=(), user=None if user else "root", instance=instance)
    removed = remove(installation, unit_folder(for_user=user))
    for path in removed:
        typer.echo(f"Removed {printable(path)}")
    if removed:
        typer.echo("Kept the configuration and the state folder with the history (config show)")
    else:
        typer.echo(
            f"Nothing to remove: {timer_name(installation)} was not installed by this command"
        )


@systemd_app.command("status", cls=LazyCommand)
def status_command(
    user: UserOption = False,
    instance: InstanceOption = None,
    as_json: Annotated[bool, typer.Option("--json", metavar="", help="One JSON document.")] = False,
) -> None:
    """Show when the timer runs next, when it last ran, and how that ended; exit code 1 where no
    timer is active, or the last run failed."""
    if instance is not None:
        check_instance(instance)
    try:
        schedule = read_schedule(instance, for_user=user)
    except CleanupError:
        if as_json:
            write(schedule_document(None), sys.stdout, indent=2)
        raise
    if as_json:
        write(schedule_document(schedule), sys.stdout, indent=2)
    else:
        for line in schedule_lines(schedule):
            typer.echo(line)
    if schedule is None or schedule.fails:
        raise typer.Exit(1)


def schedule_lines(schedule: Schedule | None) -> list[str]:
    """The schedule, a line for each fact."""
    if schedule is None:
        return [NOT_INSTALLED]
    state = "enabled" if schedule.enabled else "not enabled"
    state += ", active" if schedule.active else ", not active: it starts nothing"
    result = f"{schedule.last_result} (exit {schedule.last_exit})"
    if schedule.running:
        result = "running now"
    elif schedule.last_result is None:
        result = "not known since the last boot" if schedule.last_run else "it has not run yet"
    return [
        f"Timer     {schedule.timer} ({state})",
        f"Next run  {_time(schedule.next_run)}",
        f"Last run  {_time(schedule.last_run)}",
        f"Result    {result}",
    ]


def _time(moment: datetime | None) -> str:
    return "-" if moment is None else clock(moment.timestamp())


def schedule_document(schedule: Schedule | None) -> setup_types.Systemd:
    """The document of `systemd status --json`."""
    if schedule is None:
        return setup_types.Systemd(schema_version=SCHEMA_VERSION, installed=False)
    times = {"next_run": schedule.next_run, "last_run": schedule.last_run}
    return like(
        setup_types.Systemd,
        schedule,
        schema_version=SCHEMA_VERSION,
        installed=True,
        **{name: None if time is None else time.isoformat() for name, time in times.items()},
    )


def _settings(
    context: typer.Context, instance: str | None, *, for_user: bool, interval_hours: str | None
) -> Settings:
    named = file = context.obj if isinstance(context.obj, Path) else None
    if instance is not None:
        check_instance(instance)  # before a path is made of it
        file = CONFIG_DIR / f"{instance}.toml"
        if named is None and not os.path.exists(file):
            raise ConfigError(f"--instance {instance}: there is no file {file}")
        named = named or file
    environ = os.environ if for_user else with_credentials(os.environ, file)
    settings = load_settings(
        flags={"cleanup.interval_hours": interval_hours}, config_file=named, environ=environ
    )
    for warning in settings.warnings:
        typer.echo(f"WARNING - {warning}", err=True)
    return replace(settings, warnings=())
