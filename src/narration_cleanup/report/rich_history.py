"""The run history on a terminal: a table of runs, and a plot of what they freed and removed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from narration_cleanup.apply.result import RunOutcome
from narration_cleanup.report.format import clock, count, size
from narration_cleanup.report.history_columns import COLUMNS, FIGURES, cells
from narration_cleanup.report.record import KILLED, RUNNING, RunRecord
from narration_cleanup.report.terminal import DIM, ERROR, KEEP, OK, WARN

_HEIGHT = 4
_LEVELS = " ▁▂▃▄▅▆▇█"
_ASCII_LEVELS = " .:-=+*%#"
_LABEL = 11
_STYLES = {
    RunOutcome.SUCCESS.value: OK,
    RUNNING: KEEP,
    RunOutcome.BUSY.value: DIM,
    RunOutcome.FAILED.value: ERROR,
    RunOutcome.REFUSED.value: ERROR,
    KILLED: ERROR,
}
_LEFT_OUT_FIRST = ("took", "by", "cancelled", "problems", "removed")
"""Columns that a narrow terminal goes without."""


def print_history(records: Sequence[RunRecord], console: Console) -> None:
    """Print runs given newest first; the plot runs from the oldest to the newest."""
    console.print(_table(records, console))
    ended = [record for record in reversed(records) if record.finished_at is not None]
    if len(ended) < 2:
        return
    freed = [float(record.freed_bytes) for record in ended]
    removed = [float(record.removed_count) for record in ended]
    for title, values, top, style in (
        ("freed", freed, size(int(max(freed))), WARN),
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


def _table(records: Sequence[RunRecord], console: Console) -> Table:
    rows = [cells(record) for record in records]
    kept = list(range(len(COLUMNS)))
    for title in _LEFT_OUT_FIRST:
        if _width([COLUMNS, *rows], kept) > console.width:
            kept.remove(COLUMNS.index(title))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for position in kept:
        title = COLUMNS[position]
        justify: Literal["left", "right"] = "right" if title in FIGURES else "left"
        table.add_column(title, justify=justify, no_wrap=True)
    for record, row in zip(records, rows, strict=True):
        style = _STYLES.get(record.outcome, WARN)
        table.add_row(
            *(
                Text(row[position], style if COLUMNS[position] == "outcome" else "")
                for position in kept
            )
        )
    return table


def _width(rows: Sequence[Sequence[str]], kept: Sequence[int]) -> int:
    return sum(max(len(row[position]) for row in rows) + 2 for position in kept)


def _plot(title: str, values: Sequence[float], top: str, style: str, console: Console) -> Text:
    levels = _ASCII_LEVELS if console.options.ascii_only else _LEVELS
    width = max(console.width - _LABEL - 1, 10)
    scale = max(1, min(4, width // max(len(values), 1)))  # a few runs get broad bars
    lines = plotted(values, width, _HEIGHT, levels)
    text = Text(no_wrap=True)
    for number, line in enumerate(lines):
        label = top if number == 0 else title if number == 1 else ""
        text.append(f"{label:>{_LABEL}} ", DIM)
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
    left = max(0, min(_LABEL + 1, console.width - max(map(len, lines))))
    return Text("\n".join(" " * left + line for line in lines), DIM, no_wrap=True)
