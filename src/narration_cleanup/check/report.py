"""What `check` found: a document, or lines with a word before each, coloured on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from narration_cleanup import __version__
from narration_cleanup.check.finding import Finding, Status
from narration_cleanup.core.text import printable, printable_line
from narration_cleanup.report.documents import SCHEMA_VERSION, like
from narration_cleanup.report.documents.setup_types import Check, CheckCounts, CheckItem
from narration_cleanup.report.format import columns, count, iso, wrapped
from narration_cleanup.report.streams import allow_any_character, until_closed

_COLOURS = {Status.PASSED: "32", Status.WARNING: "33", Status.FAILED: "31"}
_MARGIN = 9
_ARROW = "-> "
_HANG = 2
"""How far the rest of a wrapped line is indented beyond the start of its text."""


def check_document(findings: Sequence[Finding], now: float, outcome: Status) -> Check:
    """The document of `check --json`; `now` is an instant."""
    return Check(
        schema_version=SCHEMA_VERSION,
        version=__version__,
        generated_at=iso(now),
        outcome=outcome.value,
        counts=CheckCounts(**{each.value: _count(findings, each) for each in Status}),
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
            stream.write(f"{_total(findings)}\n")


def _total(findings: Sequence[Finding]) -> str:
    return (
        f"{count(len(findings), 'check')}: {_count(findings, Status.PASSED)} passed, "
        f"{count(_count(findings, Status.WARNING), 'warning')}, "
        f"{_count(findings, Status.FAILED)} failed"
    )


def _count(findings: Sequence[Finding], status: Status) -> int:
    return sum(finding.status is status for finding in findings)
