"""`check`: everything an operator would have to look up, with what to do about it."""

from __future__ import annotations

import os
import sys
import time
from typing import Annotated

import typer

from narration_cleanup.check import Status, run_checks, worst
from narration_cleanup.check.report import check_document, show_check
from narration_cleanup.cli import options
from narration_cleanup.cli.options import Invocation
from narration_cleanup.core.errors import ConfigError, ExitCode
from narration_cleanup.report.documents import write
from narration_cleanup.run.run_as import act_as
from narration_cleanup.settings import Settings, load_partial, load_settings
from narration_cleanup.systemd.discover import with_credentials


@options.takes(*options.PLACES, "as_json", "quiet")
def check_command(
    call: Invocation,
    strict: Annotated[
        bool, typer.Option("--strict", metavar="", help="Exit with 3 where there are warnings.")
    ] = False,
) -> None:
    """Look for what is wrong: settings, cache, index, database, state, metrics, alerts, timer.

    Changes nothing and sends nothing. Exit code 1 where something failed.
    """
    now = time.time()
    settings, faults = _settings(call)
    settings = act_as(settings)
    findings = list(run_checks(settings, faults, now))
    outcome = worst(findings)
    if call.as_json:
        write(check_document(findings, now, outcome), sys.stdout)
    else:
        show_check(findings, sys.stdout, quiet=call.quiet)
    raise typer.Exit(_exit_code(outcome, strict=strict))


def _settings(call: Invocation) -> tuple[Settings, tuple[str, ...]]:
    """The settings as far as they are right, and their faults."""
    environ = with_credentials(os.environ, call.config_file)
    try:
        return load_settings(flags=call.flags, config_file=call.config_file, environ=environ), ()
    except ConfigError as error:
        settings, _ = load_partial(flags=call.flags, config_file=call.config_file, environ=environ)
        return settings, error.faults


def _exit_code(outcome: Status, *, strict: bool) -> ExitCode:
    if outcome is Status.FAILED:
        return ExitCode.FAILED
    return ExitCode.PARTLY_DONE if strict and outcome is Status.WARNING else ExitCode.DONE
