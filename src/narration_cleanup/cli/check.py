"""`check`: everything an operator would have to look up, with what to do about it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import Annotated, TextIO

import typer

from narration_cleanup import __version__
from narration_cleanup.check import Finding, Status, run_checks, worst
from narration_cleanup.cli import options
from narration_cleanup.cli.options import Invocation
from narration_cleanup.core.errors import TROUBLESHOOTING
from narration_cleanup.core.exit_codes import ExitCode
from narration_cleanup.core.text import printable, printable_line
from narration_cleanup.report.documents import SCHEMA_VERSION, like, write
from narration_cleanup.report.documents.setup_types import Check, CheckCounts, CheckItem
from narration_cleanup.report.format import columns, count, iso, wrapped
from narration_cleanup.report.streams import allow_any_character, until_closed
from narration_cleanup.run.run_as import act_as
from narration_cleanup.settings import load_partial
from narration_cleanup.systemd.discover import with_credentials

_COLOURS = {Status.PASSED: "32", Status.WARNING: "33", Status.FAILED: "31"}
_MARGIN = 9
_ARROW = "-> "
_HANG = 2
"""How far the rest of a wrapped line is indented beyond the start of its text."""


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
    environ = with_credentials(os.environ, call.config_file)
    settings, faults, _ = load_partial(
        flags=call.flags, config_file=call.config_file, environ=environ
    )
    settings = act_as(settings)
    findings = list(run_checks(settings, faults, now))
    outcome = worst(findings)
    if call.as_json:
        write(check_document(findings, now, outcome), sys.stdout)
    else:
        show_check(findings, sys.stdout, quiet=call.quiet)
    if outcome is Status.FAILED:
        raise typer.Exit(ExitCode.FAILED)
    raise typer.Exit(
        ExitCode.PARTLY_DONE if strict and outcome is Status.WARNING else ExitCode.DONE
    )


def check_document(findings: Sequence[Finding], now: float, outcome: Status) -> Check:
    """The document of `check --json`; `now` is an instant."""
    return Check(
        schema_version=SCHEMA_VERSION,
        version=__version__,
        generated_at=iso(now),
        outcome=outcome.value,
        counts=CheckCounts(*(sum(each.status is status for each in findings) for status in Status)),
        checks=[like(CheckItem, finding) for finding in findings],
    )


def show_check(
    findings: Sequence[Finding], stream: TextIO, *, quiet: bool = False, width: int | None = None
) -> None:
    """Show each finding with what to do; `quiet` leaves out what passed.

    On a terminal lines are wrapped at `width` columns (`None` asks the terminal).
    """
    allow_any_character(stream)
    coloured = stream.isatty()
    width = columns(stream) if width is None else width
    beyond = _MARGIN + len(_ARROW)
    with until_closed(stream):
        for finding in findings:
            if quiet and finding.status is Status.PASSED:
                continue
            word = finding.status.value
            line = f"{word:<{_MARGIN}}{finding.check}: {printable_line(finding.message)}"
            line = wrapped(line, width, hang=_MARGIN + _HANG)
            if coloured:
                line = f"\x1b[{_COLOURS[finding.status]}m{word}\x1b[0m{line[len(word) :]}"
            stream.write(f"{line}\n")
            if finding.remedy:
                line = f"{_ARROW:>{beyond}}{printable(finding.remedy)}"
                stream.write(f"{wrapped(line, width, hang=beyond)}\n")
            for detail in finding.details:
                line = f"{'':<{beyond}}{printable_line(detail)}"
                stream.write(f"{wrapped(line, width, hang=beyond + _HANG)}\n")
        if not quiet:
            counts = {status: sum(each.status is status for each in findings) for status in Status}
            stream.write(
                f"{count(len(findings), 'check')}: {counts[Status.PASSED]} passed, "
                f"{count(counts[Status.WARNING], 'warning')}, {counts[Status.FAILED]} failed\n"
            )
            if counts[Status.PASSED] < len(findings):
                stream.write(f"More on each: {TROUBLESHOOTING}\n")
