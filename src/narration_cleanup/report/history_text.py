"""The run history: a line for each run in a pipe, a table and a plot on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TextIO

from narration_cleanup.core.text import printable, printable_line
from narration_cleanup.report.format import clock, count, size
from narration_cleanup.report.history_columns import COLUMNS, FIGURES, cells, took
from narration_cleanup.report.record import RunRecord
from narration_cleanup.report.sentences import problem_line
from narration_cleanup.report.streams import allow_any_character, until_closed
from narration_cleanup.report.wrapping import columns, wrapped

_LABEL = 19
"""Columns that a label has, in the lines of one run."""


def show_history(
    records: Sequence[RunRecord],
    stream: TextIO | None = None,
    *,
    terminal: bool | None = None,
    width: int | None = None,
) -> None:
    """Show runs, newest first: on a terminal with a plot over time, else one line for each."""
    stream = sys.stdout if stream is None else stream
    allow_any_character(stream)
    with until_closed(stream):
        if stream.isatty() if terminal is None else terminal:
            from narration_cleanup.report.rich_history import print_history
            from narration_cleanup.report.terminal import open_console

            print_history(records, open_console(stream, width))
            return
        for line in table_lines([COLUMNS, *(cells(record) for record in records)]):
            stream.write(f"{line}\n")


def show_run_record(
    record: RunRecord, stream: TextIO | None = None, *, width: int | None = None
) -> None:
    """Show one run whole, as lines of label and value.

    On a terminal they are wrapped at ``width`` columns (``None`` asks the terminal).
    """
    stream = sys.stdout if stream is None else stream
    width = columns(stream) if width is None else width
    allow_any_character(stream)
    with until_closed(stream):
        for label, value in _facts(record):
            line = f"{label:<{_LABEL}}{value}"
            stream.write(f"{wrapped(line, width, hang=_LABEL)}\n")


def table_lines(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows in columns, the first row being the titles; figures stand to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        padded = [
            cell.rjust(wide) if title in FIGURES else cell.ljust(wide)
            for title, cell, wide in zip(COLUMNS, row, widths, strict=True)
        ]
        yield "  ".join(padded).rstrip()


def _facts(record: RunRecord) -> Iterator[tuple[str, str]]:
    yield "run", f"{record.id}, version {printable(record.version)}"
    yield "began", f"{clock(record.started_at)}, by {printable(record.trigger)}"
    if record.finished_at is not None:
        yield "ended", f"{clock(record.finished_at)}, after {took(record.duration or 0)}"
    code = "" if record.exit_code is None else f", exit code {record.exit_code}"
    yield "outcome", f"{printable(record.outcome)}{code}"
    for number, line in enumerate(record.message.splitlines()):
        yield "" if number else "message", printable_line(line)
    if record.finished_at is None:
        return
    yield "planned", count(record.planned_count, "action")
    yield "removed", f"{record.removed_count:,}, {size(record.freed_bytes)} freed"
    for reason, number in record.removed_by_reason.items():
        freed = size(record.freed_by_reason.get(reason, 0))
        yield f"  {printable(reason)}", f"{number:,}, {freed} freed"
    yield "cancelled", f"{record.cancelled_count:,}"
    for status, number in record.cancelled_by_status.items():
        yield f"  {printable(status)}", f"{number:,}"
    for label, number in (
        ("deleted rows", record.deleted_count),
        ("overwritten", record.overwritten_count),
        ("skipped", record.skipped_count),
        ("failed", record.failed_count),
    ):
        if number:
            yield label, f"{number:,}"
    if record.cache_state is not None:
        state = record.cache_state
        limit = "" if state.limit_bytes is None else f" of {size(state.limit_bytes)}"
        yield "cache after", f"{state.entry_count:,} entries, {size(state.size_bytes)}{limit}"
    if record.requests_by_status is not None:
        found = record.requests_by_status.items()
        yield "requests after", ", ".join(f"{n:,} {printable(name)}" for name, n in found) or "none"
    told = len(record.problems)
    for problem in record.problems:
        yield problem.severity.value, problem_line(problem)
    if (more := record.problem_count + record.warning_count - told) > 0:
        yield "", f"and {count(more, 'more problem', 'more problems')}"
