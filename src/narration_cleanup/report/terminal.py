"""The pieces that terminal output is made of: the console, bars, and how things are marked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from narration_cleanup.core.model import Problem, Severity
from narration_cleanup.report import sentences
from narration_cleanup.report.repeated import gathered

WARN = "yellow"
KEEP = "cyan"
OK = "green"
ERROR = "red"
DIM = "bright_black"


def open_console(stream: TextIO, width: int | None = None) -> Console:
    """A console that takes every text as it is: no markup, no emoji, nothing coloured by guess."""
    return Console(
        file=stream,
        width=width,
        force_terminal=True,
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
    """A bar of ``width`` cells: each part's share of ``whole`` in its style.

    A part that is more than nothing gets a cell at least, so that it is seen. ``track`` draws
    the rest of the width faintly.
    """
    full, empty = ("=", "-") if console.options.ascii_only else ("━", "─")
    text = Text()
    used = 0
    for value, style in parts:
        if value <= 0 or whole <= 0:
            continue
        cells = min(max(round(width * value / whole), 1), width - used)
        text.append(full * cells, style)
        used += cells
    return text.append((empty if track else " ") * (width - used), DIM)


def problem_table(problems: Sequence[Problem], *, verbose: bool) -> RenderableType:
    """Problems for a terminal: the first ten, and each reason once, unless ``verbose``."""
    told = [(problem, 0) for problem in problems] if verbose else gathered(problems)
    limit = len(told) if verbose else sentences.MORE_PROBLEMS
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for problem, more in told[:limit]:
        line = Text(sentences.problem_line(problem, more))
        table.add_row(Text(problem.severity.value, worst([problem])), line)
    if len(told) <= limit:
        return table
    return Group(table, Text(f"and {len(told) - limit:,} more (-v shows all)", DIM))


def worst(problems: Sequence[Problem]) -> str:
    """The style for all of these problems together."""
    return ERROR if any(problem.severity is Severity.PROBLEM for problem in problems) else WARN
