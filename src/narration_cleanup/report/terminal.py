"""The pieces that a report is made of, for a terminal and a pipe both.

A terminal gets colours, boxes and bars, no wider than it is. A pipe or a file gets the same text
without them, in lines as long as they need to be, so that names are whole.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from rich.box import ROUNDED
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from narration_cleanup.core.model import Problem, Severity
from narration_cleanup.report import summary
from narration_cleanup.report.streams import allow_any_character, is_terminal, until_closed

WARN = "yellow"
KEEP = "cyan"
OK = "green"
ERROR = "red"
DIM = "dim"
"""For frames and the rest of a bar alone: on Solarized, dim text has a contrast below 3 to 1."""
_PIPE_WIDTH = 1_000_000


class _Plain(io.StringIO):
    """Passes on what a console writes, without the spaces that fill its lines up."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._fill = re.compile(" +$", re.MULTILINE)

    def write(self, text: str) -> int:
        return self._stream.write(self._fill.sub("", text))

    def flush(self) -> None:
        self._stream.flush()


class _Console(Console):
    """Leaves a reader that has gone away to the caller, where Rich would end the process."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


@contextmanager
def report_console(
    stream: TextIO | None, width: int | None, terminal: bool | None
) -> Iterator[Console]:
    """A console on ``stream`` (stdout) for one report, which ends when its reader closes the pipe.

    ``terminal=None`` asks the stream whether it is one; a terminal has the width it reports unless
    ``width`` is given. Raises ``CleanupError`` where the report cannot be written.
    """
    stream = sys.stdout if stream is None else stream
    allow_any_character(stream)
    with until_closed(stream):
        yield open_console(
            stream, width, terminal=is_terminal(stream) if terminal is None else terminal
        )


def open_console(stream: TextIO, width: int | None = None, *, terminal: bool = True) -> Console:
    """A console that takes every text as it is: no markup, no emoji, nothing coloured by guess."""
    return _Console(
        file=stream if terminal else _Plain(stream),
        width=width if terminal else _PIPE_WIDTH,
        force_terminal=terminal,
        color_system="auto" if terminal else None,
        markup=False,
        emoji=False,
        highlight=False,
        soft_wrap=False,
        legacy_windows=False,
    )


def bar(
    console: Console,
    width: int,
    parts: Sequence[tuple[float, str]],
    whole: float,
    *,
    track: bool = True,
) -> Text:
    """A bar of ``width`` cells: each part's share of ``whole`` in its style; none in a pipe.

    A part that is more than nothing gets a cell at least, so that it is seen. ``track`` draws
    the rest of the width faintly.
    """
    full, empty = ("=", "-") if console.options.ascii_only else ("━", "─")
    text = Text()
    if not console.is_terminal:
        return text
    used = 0
    for value, style in parts:
        if value <= 0 or whole <= 0:
            continue
        cells = min(max(round(width * value / whole), 1), width - used)
        text.append(full * cells, style)
        used += cells
    return text.append((empty if track else " ") * (width - used), DIM)


def indented(body: RenderableType, columns: int) -> Padding:
    """``body`` that many columns to the right."""
    return Padding(body, (0, 0, 0, columns), expand=False)


def panel(
    console: Console, title: str, body: RenderableType, width: int, style: str = DIM
) -> RenderableType:
    """``body`` in a box with a title; in a pipe, below it."""
    if not console.is_terminal:
        return Group("", Text(title), indented(body, 2))
    return Panel(
        body,
        title=Text(title, "not dim bold default"),
        title_align="left",
        box=ROUNDED,
        border_style=style,
        width=width,
    )


def pairs(rows: Iterable[tuple[str, Text]]) -> Table:
    """Label and value in two columns."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for label, value in rows:
        grid.add_row(Text(label), value)
    return grid


def problem_table(
    problems: Sequence[Problem], console: Console, *, verbose: bool
) -> RenderableType:
    """Each reason once, and on a terminal the first ten, unless ``verbose``."""
    shown = [(problem, 0) for problem in problems] if verbose else summary.gathered(problems)
    limit = len(shown) if verbose or not console.is_terminal else summary.MORE_PROBLEMS
    table = pairs(())
    for problem, more in shown[:limit]:
        line = Text(summary.problem_line(problem, more))
        table.add_row(Text(problem.severity.value, worst([problem])), line)
    if len(shown) <= limit:
        return table
    return Group(table, Text(f"and {len(shown) - limit:,} more (-v shows all)"))


def worst(problems: Sequence[Problem]) -> str:
    """The style for all of these problems together."""
    return ERROR if any(problem.severity is Severity.PROBLEM for problem in problems) else WARN
