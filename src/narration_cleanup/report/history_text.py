"""The run history for a reader: a table with a plot over time, and one run whole."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from narration_cleanup.apply.result import RunOutcome
from narration_cleanup.core.text import printable, printable_line
from narration_cleanup.report.format import Sizes, age, clock, columns, count, sizes_up_to, wrapped
from narration_cleanup.report.record import KILLED, RUNNING, RunItem, RunRecord
from narration_cleanup.report.streams import allow_any_character, until_closed
from narration_cleanup.report.summary import problem_line
from narration_cleanup.report.terminal import ERROR, KEEP, OK, WARN, report_console

_COLUMNS = ("id", "began", "outcome", "by", "took", "removed", "freed", "cancelled", "problems")
_FIGURES = frozenset({"id", "took", "removed", "freed", "cancelled", "problems"})
"""Columns that are aligned to the right."""
_LABEL = 19
"""Columns that a label has, in the lines of one run."""
_MOST_ITEMS = 10
_HEIGHT = 4
_LEVELS = " ▁▂▃▄▅▆▇█"
_ASCII_LEVELS = " .:-=+*%#"
_AXIS = 11
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
            _print_plots(ended, console, sizes)


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
    allow_any_character(stream)
    with until_closed(stream):
        limit = len(items) if width is None else _MOST_ITEMS
        for label, value in (*_facts(record), *_items(items, limit)):
            line = f"{label:<{_LABEL}}{value}"
            stream.write(f"{wrapped(line, width, hang=_LABEL)}\n")


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
    yield "removed", f"{record.removed_count:,}, {sizes(record.freed_bytes)} freed"
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
        note = "" if item.note is None else f"; {printable_line(item.note)}"
        outcome = "" if item.outcome == "done" else f"{printable(item.outcome)}, "
        why = f"{printable(item.reason)}, {printable_line(item.detail)}{note}"
        yield "item", f"{printable(item.name)}: {outcome}{why}"
    if (more := len(items) - limit) > 0:
        yield "", f"and {count(more, 'more item')} (in a pipe, and with --json, all)"


def _print_plots(ended: Sequence[RunRecord], console: Console, sizes: Sizes) -> None:
    """From the oldest run to the newest."""
    freed = [float(record.freed_bytes) for record in ended]
    removed = [float(record.removed_count) for record in ended]
    for title, values, top, style in (
        ("freed", freed, sizes(int(max(freed))), WARN),
        ("removed", removed, f"{max(removed):,.0f}", KEEP),
    ):
        console.print()
        console.print(_plot(title, values, top, style, console))
    console.print(_time_axis(ended, console))


def plotted(values: Sequence[float], width: int, height: int, levels: str) -> list[str]:
    """A plot of bars, ``height`` lines of at most ``width`` characters, the first line on top.

    One column for each value; where there are more values than columns, a column is the highest
    of its values. What is more than nothing is never drawn as nothing.
    """
    columns = _grouped(values, width)
    top = max(columns, default=0.0)
    steps = len(levels) - 1
    filled = [
        0 if value <= 0 or top <= 0 else max(1, round(value / top * height * steps))
        for value in columns
    ]
    return [
        "".join(levels[min(max(amount - line * steps, 0), steps)] for amount in filled)
        for line in reversed(range(height))
    ]


def _grouped(values: Sequence[float], width: int) -> list[float]:
    if len(values) <= width:
        return list(values)
    edges = [number * len(values) // width for number in range(width + 1)]
    return [max(values[edges[n] : edges[n + 1]]) for n in range(width)]


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


def _plot(title: str, values: Sequence[float], top: str, style: str, console: Console) -> Text:
    levels = _ASCII_LEVELS if console.options.ascii_only else _LEVELS
    width = max(console.width - _AXIS - 1, 10)
    scale = max(1, min(4, width // max(len(values), 1)))  # a few runs get broad bars
    lines = plotted(values, width, _HEIGHT, levels)
    text = Text(no_wrap=True)
    for number, line in enumerate(lines):
        label = top if number == 0 else title if number == 1 else ""
        text.append(f"{label:>{_AXIS}} ")
        gap = " " if scale > 1 else ""
        text.append("".join(cell * (scale - len(gap)) + gap for cell in line), style)
        if number < len(lines) - 1:
            text.append("\n")
    return text


def _time_axis(ended: Sequence[RunRecord], console: Console) -> Text:
    """From when to when: further to the left, or in two lines, where the terminal is narrow."""
    first, last = clock(ended[0].started_at), clock(ended[-1].started_at)
    lines = [f"{first} to {last}, {count(len(ended), 'run')}"]
    if len(lines[0]) > console.width:
        lines = [first, f"to {last}, {count(len(ended), 'run')}"]
    left = max(0, min(_AXIS + 1, console.width - max(map(len, lines))))
    return Text("\n".join(" " * left + line for line in lines), no_wrap=True)


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
