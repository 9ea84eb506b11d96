"""The pieces that terminal output is made of: the console, bars, and how things are marked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.text import Text

from narration_cleanup.model import Problem, Severity
from narration_cleanup.output import sentences
from narration_cleanup.output.words import count

GOES = "yellow"
STAYS = "cyan"
GOOD = "green"
BAD = "red"
QUIET = "bright_black"


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


def bar(console: Console, width: int, parts: Sequence[tuple[float, str]], whole: float) -> Text:
    """A bar of ``width`` cells: each part's share of ``whole`` in its style, the rest faint.

    A part that is more than nothing gets at least half a cell, so that it is seen.
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
    text.append(empty * (width - used), QUIET)
    return text


def problem_lines(problems: Sequence[Problem], *, verbose: bool) -> list[Text]:
    """Problems for a terminal; the first ten unless ``verbose``."""
    lines = []
    limit = len(problems) if verbose else sentences.MORE_PROBLEMS
    for problem in problems[:limit]:
        severe = problem.severity is Severity.PROBLEM
        line = Text(f"{problem.severity.value}  ", BAD if severe else GOES)
        lines.append(line.append(sentences.problem_line(problem), "default"))
    if len(problems) > limit:
        lines.append(Text(f"and {len(problems) - limit:,} more (-v shows all)", QUIET))
    return lines


def problems_title(problems: Sequence[Problem]) -> str:
    """``1 problem``, ``3 problems``."""
    return count(len(problems), "problem")
