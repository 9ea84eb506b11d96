"""The run history for a reader: a table with a plot over time, and one run whole."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from narration_cleanup.apply.result import RunOutcome
from narration_cleanup.core.text import printable, printable_line
from narration_cleanup.report.format import (
    Sizes,
    age,
    clock,
    columns,
    count,
    sizes_up_to,
    without_audio,
)
from narration_cleanup.report.run_record import KILLED, RUNNING, RunItem, RunRecord
from narration_cleanup.report.streams import write_labelled
from narration_cleanup.report.summary import problem_line
from narration_cleanup.report.terminal import ERROR, KEEP, OK, WARN, pairs, report_console

_COLUMNS = ("id", "began", "outcome", "by", "took", "removed", "freed", "cancelled", "problems")
_FIGURES = frozenset({"id", "took", "removed", "freed", "cancelled", "problems"})
"""Columns that are aligned to the right."""
_LABEL = 19
"""Columns that a label has, in the lines of one run."""
_MOST_ITEMS = 10
_LEVELS = " ▁▂▃▄▅▆▇█"
_ASCII_LEVELS = " .:-=+*%#"
_STYLES = {
    RunOutcome.SUCCESS.value: OK,
    RUNNING: KEEP,
    RunOutcome.BUSY.value: "",
    RunOutcome.FAILED.value: ERROR,
    RunOutcome.REFUSED.value: ERROR,
    KILLED: ERROR,
}
_LEFT_OUT_FIRST = ("took", "by", "cancelled", "problems", "removed")
"""Columns that a narrow terminal omits."""


def show_history(
    records: Sequence[RunRecord],
    stream: TextIO | None = None,
    *,
    terminal: bool | None = None,
    width: int | None = None,
) -> None:
    """Show runs, newest first: one line for each, and on a terminal a plot over time."""
    with report_console(stream, width, terminal) as console:
        sizes = sizes_up_to(max((record.freed_bytes for record in records), default=0))
        console.print(_table(records, console, sizes))
        ended = [record for record in reversed(records) if record.finished_at is not None]
        if console.is_terminal and len(ended) > 1:
            console.print()
            console.print(_plots(ended, console, sizes))


def show_run_record(
    record: RunRecord,
    stream: TextIO | None = None,
    *,
    items: Sequence[RunItem] = (),
    width: int | None = None,
) -> None:
    """Show one run whole, as lines of label and value; on a terminal the first of its ``items``.

    On a terminal they are wrapped at ``width`` columns (``None`` asks the terminal).
    """
    stream = sys.stdout if stream is None else stream
    width = columns(stream) if width is None else width
    limit = len(items) if width is None else _MOST_ITEMS
    write_labelled([(*_facts(record), *_items(items, limit))], _LABEL, stream, width)


def _facts(record: RunRecord) -> Iterator[tuple[str, str]]:
    state = record.cache_state
    held = () if state is None else (state.size_bytes, state.limit_bytes or 0)
    sizes = sizes_up_to(max(record.freed_bytes, *held) if held else record.freed_bytes)
    yield "run", f"{record.id}, version {printable(record.version)}"
    yield "began", f"{clock(record.started_at)}, by {printable(record.trigger)}"
    if record.finished_at is not None:
        yield "ended", f"{clock(record.finished_at)}, after {_took(record.duration or 0)}"
    code = "" if record.exit_code is None else f", exit code {record.exit_code}"
    yield "outcome", f"{printable(record.outcome)}{code}"
    for number, line in enumerate(record.message.splitlines()):
        yield "" if number else "message", printable_line(line)
    if record.finished_at is None:
        return
    yield "planned", count(record.planned_count, "action")
    removed = f"{record.removed_count:,}{without_audio(record.without_file)}"
    yield "removed", f"{removed}, {sizes(record.freed_bytes)} freed"
    for reason, number in record.removed_by_reason.items():
        freed = sizes(record.freed_by_reason.get(reason, 0))
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
    if state is not None:
        limit = "" if state.limit_bytes is None else f" of {sizes(state.limit_bytes)}"
        yield "cache after", f"{state.entry_count:,} entries, {sizes(state.size_bytes)}{limit}"
    if record.requests_by_status is not None:
        found = record.requests_by_status.items()
        yield "requests after", ", ".join(f"{n:,} {printable(name)}" for name, n in found) or "none"
    shown = len(record.problems)
    for problem in record.problems:
        yield problem.severity.value, problem_line(problem)
    if (more := record.problem_count + record.warning_count - shown) > 0:
        yield "", f"and {count(more, 'more problem', 'more problems')}"


def _items(items: Sequence[RunItem], limit: int) -> Iterator[tuple[str, str]]:
    for item in items[:limit]:
        outcome = "" if item.outcome == "done" else f"{printable(item.outcome)}, "
        yield "item", f"{printable(item.name)}: {outcome}{item.why}"
    if (more := len(items) - limit) > 0:
        yield "", f"and {count(more, 'more item')} (in a pipe, and with --json, all)"


def _plots(ended: Sequence[RunRecord], console: Console, sizes: Sizes) -> Table:
    """What was freed and removed from the oldest run to the newest, a line for each."""
    freed = [record.freed_bytes for record in ended]
    removed = [record.removed_count for record in ended]
    rows = list[tuple[str, Text]]()
    for label, values, top, style in (
        ("freed", freed, sizes(max(freed)), WARN),
        ("removed", removed, f"{max(removed):,}", KEEP),
    ):
        width = max(console.width - len("removed  ") - len(f"  at most {top}"), 10)
        levels = _ASCII_LEVELS if console.options.ascii_only else _LEVELS
        plot = (plotted(values, width, levels), style)
        rows.append((label, Text.assemble(plot, f"  at most {top}")))
    span = f"{clock(ended[0].started_at)} to {clock(ended[-1].started_at)}"
    return pairs([*rows, ("", Text(f"{span}, {count(len(ended), 'run')}"))])


def plotted(values: Sequence[float], width: int, levels: str) -> str:
    """One character of ``levels`` for each value, at most ``width``; ``values`` are not empty.

    Where there are more values than characters, one is the highest of its values. What is more
    than nothing is never drawn as nothing.
    """
    shown, top, steps = min(len(values), width), max(values), len(levels) - 1
    edges = [number * len(values) // shown for number in range(shown + 1)]
    highest = (max(values[begin:end]) for begin, end in pairwise(edges))
    return "".join(levels[max(1, round(each / top * steps)) if each > 0 else 0] for each in highest)


def _table(records: Sequence[RunRecord], console: Console, sizes: Sizes) -> Table:
    rows = [_cells(record, sizes) for record in records]
    kept = list(range(len(_COLUMNS)))
    for title in _LEFT_OUT_FIRST:
        if _width([_COLUMNS, *rows], kept) > console.width:
            kept.remove(_COLUMNS.index(title))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for position in kept:
        title = _COLUMNS[position]
        table.add_column(title, justify="right" if title in _FIGURES else "left", no_wrap=True)
    for record, row in zip(records, rows, strict=True):
        style = _STYLES.get(record.outcome, WARN)
        table.add_row(
            *(
                Text(row[position], style if _COLUMNS[position] == "outcome" else "")
                for position in kept
            )
        )
    return table


def _width(rows: Sequence[Sequence[str]], kept: Sequence[int]) -> int:
    return sum(max(len(row[position]) for row in rows) + 2 for position in kept)


def _cells(record: RunRecord, sizes: Sizes) -> tuple[str, ...]:
    """One run's cells, in the order of ``_COLUMNS``; a run that never recorded how it ended has no
    figures."""
    ended = record.finished_at is not None
    return (
        str(record.id),
        clock(record.started_at),
        printable(record.outcome),
        printable(record.trigger),
        "-" if record.duration is None else _took(record.duration),
        f"{record.removed_count:,}" if ended else "-",
        sizes(record.freed_bytes) if ended else "-",
        f"{record.cancelled_count:,}" if ended else "-",
        f"{record.problem_count + record.failed_count:,}" if ended else "-",
    )


def _took(seconds: float) -> str:
    """How long a run took: ``0.4 s``, ``12 min``."""
    return f"{seconds:.1f} s" if seconds < 60 else age(seconds)
